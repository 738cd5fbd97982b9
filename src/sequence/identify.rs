//! Identifies the connection of an event.
//!
//! A trace id and both addresses identify a connection. A trace may record only the id, record the addresses
//! late, or use one id for several connections at once. Knows nothing of the order of events.
//!
//! Invariant: no two open connections of one id have the same addresses.

mod buffered;
mod choose;

use foldhash::{HashMap, HashMapExt as _};
use indexmap::IndexSet;

use crate::model::event::{Connection, Endpoint, Event, Timestamp, TraceId, What};

use super::order::Order;
use choose::{MAX_COMPARED, choose};

/// The index of a connection in the [`Directory`].
pub(super) type Slot = u32;

/// A connection that may have ended: its slot, and which of the slot's connections it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle(Slot, u64);

/// An open connection.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: TraceId,
    /// Distinguishes the connections of one slot.
    serial: u64,
    pub(super) connection: Connection,
    /// Addresses recorded for its id after its end.
    next: Option<Box<Connection>>,
    /// The last recorded time.
    pub(super) last: Option<Timestamp>,
    pub(super) order: Order,
}

/// The state of an id.
#[derive(Debug, Default)]
struct Known {
    /// The number of connections it has had.
    instances: u32,
    /// The connection mentioned last.
    latest: Option<Slot>,
    /// The other open connections.
    others: IndexSet<Slot>,
    /// Whether all events belong to `latest`, since it is the subject of a buffered message.
    in_message: bool,
    /// A buffered message has begun, and no event of it has arrived. Its addresses and its first time decide
    /// whether it continues a connection.
    message: Option<Box<Event>>,
    has_message: bool,
    /// Whether the sharing of the id has been reported.
    reported: bool,
}

/// Both endpoints of a connection of an id.
type Ends = (TraceId, Option<Endpoint>, Option<Endpoint>);

/// The open connections of a trace.
#[derive(Debug)]
pub(super) struct Directory {
    tracks: Vec<Option<Track>>,
    free: Vec<Slot>,
    /// The number of connections so far.
    opened: u64,
    ids: HashMap<TraceId, Known>,
    by_ends: HashMap<Ends, Slot>,
    /// The id of the last event and its connection, if it is unambiguous.
    last: Option<(TraceId, Slot)>,
    /// The connection that the event at this offset names.
    named: Option<(TraceId, u64, Slot)>,
    forgets: bool,
}

impl Directory {
    /// Creates an empty directory. With `forgets`, it drops the state of an id that has no open connections.
    pub(super) fn new(forgets: bool) -> Self {
        Self {
            forgets,
            tracks: Vec::new(),
            free: Vec::new(),
            opened: 0,
            ids: HashMap::new(),
            by_ends: HashMap::new(),
            last: None,
            named: None,
        }
    }
}

impl Directory {
    /// The connection of an event, if it can only be the last event's.
    #[inline]
    pub(super) fn current(&self, trace: TraceId) -> Option<Slot> {
        self.last
            .and_then(|(id, slot)| (id == trace).then_some(slot))
    }

    /// The connection in a slot.
    ///
    /// # Panics
    /// If there is none: slots come from this directory, and are dropped with their connections.
    #[inline]
    #[allow(clippy::expect_used, reason = "slots never come from outside")]
    pub(super) fn track(&mut self, slot: Slot) -> &mut Track {
        self.tracks[slot as usize].as_mut().expect("an open slot")
    }

    /// The connection in a slot, if it is open.
    #[inline]
    pub(super) fn open_track(&mut self, slot: Slot) -> Option<&mut Track> {
        self.tracks.get_mut(slot as usize)?.as_mut()
    }

    /// A reference to a connection that may end.
    pub(super) fn handle(&mut self, slot: Slot) -> Handle {
        Handle(slot, self.track(slot).serial)
    }

    /// The slot of a connection, unless it has ended.
    pub(super) fn slot(&self, Handle(slot, serial): Handle) -> Option<Slot> {
        let track = self.tracks.get(slot as usize)?.as_ref()?;
        (track.serial == serial).then_some(slot)
    }

    /// The connections with waiting events, in the order of the last events read.
    pub(super) fn waiting(&self) -> Vec<Handle> {
        let tracks = self.tracks.iter().zip(0..);
        let waiting = tracks.filter_map(|(track, slot)| {
            let track = track.as_ref()?;
            let handle = Handle(slot, track.serial);
            (!track.order.is_idle()).then_some((track.last, track.id, handle))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(last, id, _)| (*last, *id));
        waiting.into_iter().map(|(.., handle)| handle).collect()
    }

    /// Adds what the trace records about a connection; returns true if later stages need to know. The event then
    /// has the connection's own id.
    pub(super) fn connection(&mut self, event: &mut Event) -> bool {
        let id = event.trace;
        let Some(recorded) = connection_of(event) else {
            return false;
        };
        let known = self.ids.entry(id).or_default();
        if known.has_message {
            known.message = Some(Box::new(std::mem::take(event)));
            return false;
        }
        if recorded.is_empty() && known.latest.is_some() {
            return false;
        }
        let in_message = known.in_message.then_some(known.latest).flatten();
        let recorded = recorded.clone();
        let slot = match self.matching(id, &recorded).or(in_message) {
            Some(slot) => slot,
            None => self.open(id),
        };
        let track = self.track(slot);
        let news = if track.order.is_closed() {
            // Later events repeat one of it, or belong to the next connection, which may lack some of its
            // addresses.
            track.next = Some(Box::new(recorded));
            false
        } else {
            self.learn(slot, &recorded)
        };
        self.mention(id, slot);
        self.named = Some((id, event.offset, slot));
        event.trace = self.track(slot).id;
        news
    }

    /// The connection of an event, and whether it is ambiguous, which is reported once.
    pub(super) fn find(&mut self, event: &Event) -> (Slot, bool) {
        let id = event.trace;
        if let Some((named, offset, slot)) = self.named
            && (named, offset) == (id, event.offset)
        {
            return (slot, false);
        }
        let known = self.ids.entry(id).or_default();
        let Some(latest) = known.latest else {
            let slot = self.open(id);
            self.last = Some((id, slot));
            return (slot, false);
        };
        if known.others.is_empty() || known.in_message {
            self.last = Some((id, latest));
            return (latest, false);
        }
        let others = known.others.iter().rev().take(MAX_COMPARED).copied();
        let candidates = std::iter::once(latest).chain(others);
        let (found, is_ambiguous) = choose(candidates, &self.tracks, event);
        let is_first = is_ambiguous && !std::mem::replace(&mut known.reported, true);
        (found.unwrap_or(latest), is_first)
    }

    /// The latest connection of `id`, or a new one.
    pub(super) fn latest_or_new(&mut self, id: TraceId) -> Slot {
        match self.ids.get(&id).and_then(|known| known.latest) {
            Some(slot) => slot,
            None => self.open(id),
        }
    }

    /// The open connection of `id` with these addresses, or with some of them and no others.
    fn matching(&self, id: TraceId, recorded: &Connection) -> Option<Slot> {
        let (local, remote) = (&recorded.local, &recorded.remote);
        let get = |local: &Option<Endpoint>, remote: &Option<Endpoint>| {
            let ends = (id, local.clone(), remote.clone());
            self.by_ends.get(&ends).copied()
        };
        let exact = get(local, remote)
            .or_else(|| get(&None, remote))
            .or_else(|| get(local, &None))
            .or_else(|| get(&None, &None));
        // Fewer addresses than known: the latest connection, if it agrees.
        exact.or_else(|| {
            let latest = self.ids.get(&id)?.latest?;
            let known = &self.tracks[latest as usize].as_ref()?.connection;
            let agrees = |recorded: &Option<Endpoint>, known: &Option<Endpoint>| {
                recorded.is_none() || known.is_none() || recorded == known
            };
            (agrees(local, &known.local) && agrees(remote, &known.remote)).then_some(latest)
        })
    }

    /// Opens an unknown connection of `id`.
    fn open(&mut self, id: TraceId) -> Slot {
        let known = self.ids.entry(id).or_default();
        let instance = known.instances;
        known.instances = known.instances.wrapping_add(1);
        self.opened += 1;
        let track = Track {
            id: TraceId { instance, ..id },
            serial: self.opened,
            connection: Connection::default(),
            next: None,
            last: None,
            order: Order::default(),
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.tracks[slot as usize] = Some(track);
                slot
            }
            None => {
                self.tracks.push(Some(track));
                (self.tracks.len() - 1) as Slot
            }
        };
        self.by_ends.insert((id, None, None), slot);
        self.mention(id, slot);
        slot
    }

    /// Makes a connection the latest of its id.
    fn mention(&mut self, id: TraceId, slot: Slot) {
        self.last = None;
        let known = self.ids.entry(id).or_default();
        if known.latest == Some(slot) {
            return;
        }
        known.others.swap_remove(&slot);
        known.others.extend(known.latest.replace(slot));
        known.in_message = false;
    }

    /// Adds addresses to a connection; returns true if they are new.
    fn learn(&mut self, slot: Slot, recorded: &Connection) -> bool {
        let track = self.track(slot);
        let before = track.connection.clone();
        if !track.connection.learn(recorded) {
            return false;
        }
        let whole = track.connection.clone();
        let id = TraceId {
            instance: 0,
            ..track.id
        };
        let ends = (id, before.local, before.remote);
        if self.by_ends.get(&ends) == Some(&slot) {
            self.by_ends.remove(&ends);
        }
        self.by_ends.insert((id, whole.local, whole.remote), slot);
        true
    }

    /// The known addresses of a connection, as an event.
    pub(super) fn about(&mut self, slot: Slot, offset: u64) -> Option<Event> {
        let track = self.track(slot);
        (!track.connection.is_empty()).then(|| Event {
            trace: track.id,
            offset,
            what: What::Connection(Box::new(track.connection.clone())),
            ..Event::default()
        })
    }

    /// Opens another connection with the id of an ended one, and with its addresses unless others were named.
    pub(super) fn reopen(&mut self, slot: Slot) -> Slot {
        let track = self.track(slot);
        let id = TraceId {
            instance: 0,
            ..track.id
        };
        let connection = match track.next.take() {
            Some(next) => *next,
            None => track.connection.clone(),
        };
        self.close(slot);
        let slot = self.open(id);
        self.learn(slot, &connection);
        slot
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, slot: Slot) {
        let Some(track) = self.tracks[slot as usize].take() else {
            return;
        };
        self.free.push(slot);
        let id = TraceId {
            instance: 0,
            ..track.id
        };
        let Connection { local, remote, .. } = track.connection;
        let ends = (id, local, remote);
        if self.by_ends.get(&ends) == Some(&slot) {
            self.by_ends.remove(&ends);
        }
        self.last = None;
        if self.named.is_some_and(|(_, _, named)| named == slot) {
            self.named = None;
        }
        if let Some(known) = self.ids.get_mut(&id) {
            known.others.swap_remove(&slot);
            if known.latest == Some(slot) {
                known.latest = known.others.pop();
                known.in_message = false;
            }
            if self.forgets && known.latest.is_none() && !known.has_message {
                self.ids.remove(&id);
            }
        }
    }
}

fn connection_of(event: &Event) -> Option<&Connection> {
    match &event.what {
        What::Connection(connection) => Some(connection),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
