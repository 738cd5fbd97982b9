//! Buffered messages: whether one continues a connection that an earlier message began.
//!
//! A message is pending until its first event, because only that event has a time.
//!
//! Invariant: the events of a message belong to one connection.

use crate::model::event::{Event, Timestamp, TraceId};

use super::{Directory, Slot, connection_of};

/// The connection of a buffered message.
pub(in crate::sequence) struct AssignedMessage {
    pub(in crate::sequence) slot: Slot,
    /// Whether the connection begins with it.
    pub(in crate::sequence) is_new: bool,
    /// New information about the connection.
    pub(in crate::sequence) connection: Option<Event>,
    /// The earlier connection with the same id and addresses, which has ended now.
    pub(in crate::sequence) ended: Option<TraceId>,
}

impl Directory {
    /// Begins a buffered message of `id`.
    pub(in crate::sequence) fn begin(&mut self, id: TraceId) {
        self.last = None;
        let known = self.ids.entry(id).or_default();
        known.in_message = false;
        known.has_message = true;
        known.message = None;
    }

    /// The ids whose last message has no events.
    pub(in crate::sequence) fn pending_messages(&self) -> Vec<TraceId> {
        let pending = self.ids.iter().filter(|(_, known)| known.has_message);
        let mut ids: Vec<_> = pending.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Decides which connection the pending message of `id` belongs to; `time` is that of its first event.
    ///
    /// The same addresses and a later time continue a connection; anything else begins one.
    pub(in crate::sequence) fn assign_message(
        &mut self,
        id: TraceId,
        time: Option<Timestamp>,
    ) -> Option<AssignedMessage> {
        let known = self.ids.get_mut(&id).filter(|known| known.has_message)?;
        known.has_message = false;
        let recorded = known.message.take().map(|event| *event);
        let connection = recorded.as_ref().and_then(connection_of);
        let before = match connection {
            Some(connection) => self.matching(id, connection),
            None => known.latest,
        };
        let mut ended = None;
        let mut continued = None;
        if let Some(slot) = before {
            let track = self.track(slot);
            match (time, track.last) {
                _ if track.order.is_closed() => {}
                (Some(time), Some(last)) if time < last => ended = Some(track.id),
                _ => continued = Some(slot),
            }
            if ended.is_some() {
                self.close(slot);
            }
        }
        let (slot, is_new) = match continued {
            Some(slot) => (slot, false),
            None => (self.open(id), true),
        };
        let news = connection.is_some_and(|connection| self.learn(slot, connection));
        let trace = self.track(slot).id;
        self.mention(id, slot);
        self.ids.entry(id).or_default().in_message = true;
        self.last = Some((id, slot));
        Some(AssignedMessage {
            slot,
            is_new,
            connection: recorded
                .filter(|_| news)
                .map(|event| Event { trace, ..event }),
            ended,
        })
    }
}
