//! The messages of buffered traces, each of which may continue the connection of an earlier one.

use crate::evicted::Evicted;
use crate::model::event::{Connection, Event, Timestamp, TraceId, What};

use super::{Memory, Sequencer};

/// The number of connections of buffered traces that are kept open for later messages, unless the caller knows
/// when each of them ends. No message is marked as the last.
pub(super) const MAX_RESUMABLE: usize = 4096;

impl Sequencer {
    /// Decides which connection the last buffered message of `id` belongs to, unless that has been done. Returns true
    /// if the message continues an evicted connection, so that it appears to open another one.
    #[must_use]
    pub(super) fn assign_message(&mut self, id: TraceId, time: Option<Timestamp>) -> bool {
        let Some(message) = self.directory.assign_message(id, time) else {
            return false;
        };
        self.ready.extend(message.ended.map(over));
        if message.is_new {
            self.ready.push_back(Event {
                trace: self.directory.track(message.slot).id,
                what: What::Begin,
                ..Event::default()
            });
        }
        self.ready.extend(message.connection);
        if !message.is_new || self.memory == Memory::Whole {
            return false;
        }
        let track = self.directory.track(message.slot);
        let is_split = continues(&self.evicted, track.id.number, &track.connection);
        self.resumable
            .push_back(self.directory.handle(message.slot));
        if self.resumable.len() > MAX_RESUMABLE
            && let Some(oldest) = self.resumable.pop_front()
            && let Some(slot) = self.directory.slot(oldest)
        {
            let track = self.directory.track(slot);
            let id = track.id;
            self.evicted.add((id.number, &track.connection));
            self.evicted.add(id.number);
            self.directory.close(slot);
            self.ready.push_back(over(id));
        }
        is_split
    }
}

/// Whether a message with this id and these addresses continues an evicted connection.
fn continues(evicted: &Evicted, id: u64, connection: &Connection) -> bool {
    match connection.is_empty() {
        true => evicted.has(id),
        // The addresses may have been unknown before.
        false => evicted.has((id, connection)) || evicted.has((id, &Connection::default())),
    }
}

/// The end of a connection whose close is not recorded.
fn over(id: TraceId) -> Event {
    Event {
        trace: id,
        what: What::Over,
        ..Event::default()
    }
}
