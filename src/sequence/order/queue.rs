//! The queue of events to deliver, and the memory that waiting events use.

use std::collections::VecDeque;

use crate::model::event::{Event, What};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::sequence::Next;

use super::len;

/// The maximum memory of all waiting events of a trace, in bytes.
const MAX_HELD: usize = 64 << 20;

/// The queue of events to deliver, and the memory of those that wait.
pub(in crate::sequence) struct Queue<'a> {
    pub(in crate::sequence) ready: &'a mut VecDeque<Event>,
    /// The memory of all waiting events of the trace, in bytes.
    pub(in crate::sequence) held: &'a mut usize,
    pub(in crate::sequence) warnings: &'a mut Warnings,
}

impl Queue<'_> {
    /// Delivers an event after those that were due before it.
    #[inline]
    pub(super) fn deliver(&mut self, event: &mut Event) -> Next {
        if self.ready.is_empty() {
            return Next::Deliver;
        }
        self.ready.push_back(std::mem::take(event));
        Next::Wait
    }

    /// Drops an event that repeats another.
    pub(super) fn drop(&mut self, event: &Event) -> Next {
        self.warnings
            .add(Warning::of_event(WarningKind::Repeated, event));
        Next::Drop
    }

    /// Whether an event may be kept.
    pub(super) fn has_room(&self, event: &Event) -> bool {
        self.held.saturating_add(cost(event)) <= MAX_HELD
    }

    /// Whether the waiting events use more memory than allowed.
    pub(super) const fn is_too_much(&self) -> bool {
        *self.held > MAX_HELD
    }

    /// Takes an event that waits.
    pub(super) fn keep(&mut self, event: &mut Event) -> Event {
        let mut event = std::mem::take(event);
        if let What::Data { payload, .. } = &mut event.what {
            // An event before it may have been larger.
            payload.shrink_to_fit();
        }
        *self.held += cost(&event);
        event
    }

    /// Records that an event no longer waits.
    pub(super) fn let_go(&mut self, event: &Event) {
        *self.held = self.held.saturating_sub(cost(event));
    }
}

/// The memory that an event uses while it waits, in bytes.
fn cost(event: &Event) -> usize {
    size_of::<Event>() + len(event)
}
