//! The messages of buffered traces, each of which may continue the connection of an earlier one.

use crate::forgotten::Forgotten;
use crate::model::event::{Connection, Event, Timestamp, TraceId, What};

use super::{Memory, Sequencer};

/// The number of connections of buffered traces that are kept open for later messages, unless the caller knows
/// when each of them ends. No message is marked as the last.
pub(super) const MAX_RESUMABLE: usize = 4096;

impl Sequencer {
    /// Decides which connection the last buffered message of `id` belongs to, unless that is decided. Returns true
    /// if it continues a forgotten one, and so begins another.
    #[must_use]
    pub(super) fn settle(&mut self, id: TraceId, time: Option<Timestamp>) -> bool {
        let Some(settled) = self.directory.settle(id, time) else {
            return false;
        };
        self.ready.extend(settled.ended.map(over));
        if settled.is_new {
            self.ready.push_back(Event {
                trace: self.directory.track(settled.slot).id,
                what: What::Begin,
                ..Event::default()
            });
        }
        self.ready.extend(settled.connection);
        if !settled.is_new || self.memory == Memory::Whole {
            return false;
        }
        let track = self.directory.track(settled.slot);
        let is_split = continues(&self.forgotten, track.id.number, &track.connection);
        self.resumable
            .push_back(self.directory.handle(settled.slot));
        if self.resumable.len() > MAX_RESUMABLE
            && let Some(oldest) = self.resumable.pop_front()
            && let Some(slot) = self.directory.slot(oldest)
        {
            let track = self.directory.track(slot);
            let id = track.id;
            self.forgotten.add((id.number, &track.connection));
            self.forgotten.add(id.number);
            self.directory.close(slot);
            self.ready.push_back(over(id));
        }
        is_split
    }
}

/// Whether a message with this id and these addresses continues a forgotten connection.
fn continues(forgotten: &Forgotten, id: u64, connection: &Connection) -> bool {
    match connection.is_empty() {
        true => forgotten.has(id),
        // The addresses may have been unknown before.
        false => forgotten.has((id, connection)) || forgotten.has((id, &Connection::default())),
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
