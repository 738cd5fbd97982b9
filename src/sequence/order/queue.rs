//! Where events go that are due, and what those take that wait.

use std::collections::VecDeque;

use crate::model::event::{Event, What};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::sequence::Next;
use crate::slice::Slice;

use super::len;

/// What all events that wait in a trace may take, in bytes.
const MAX_HELD: usize = 64 << 20;

/// Where events go that are due, and what it costs to keep others.
pub(in crate::sequence) struct Queue<'a> {
    pub(in crate::sequence) ready: &'a mut VecDeque<Event>,
    /// What all events of the trace take that wait, in bytes.
    pub(in crate::sequence) held: &'a mut usize,
    pub(in crate::sequence) warnings: &'a mut Warnings,
}

impl Queue<'_> {
    /// Delivers an event after those that are due before it.
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

    /// Whether there is room to keep an event.
    pub(super) fn has_room(&self, event: &Event) -> bool {
        self.held.saturating_add(cost(event)) <= MAX_HELD
    }

    /// Whether all that waits takes more than it may.
    pub(super) const fn is_too_much(&self) -> bool {
        *self.held > MAX_HELD
    }

    /// An event to be kept: with a payload of its own, as the other would hold all that was read with it.
    pub(super) fn keep(&mut self, event: &mut Event) -> Event {
        let mut event = std::mem::take(event);
        if let What::Data { payload, .. } = &mut event.what {
            *payload = Slice::copy_of(payload);
        }
        *self.held += cost(&event);
        event
    }

    /// Takes note that an event waits no more.
    pub(super) fn let_go(&mut self, event: &Event) {
        *self.held = self.held.saturating_sub(cost(event));
    }
}

/// What an event takes while it waits, in bytes.
fn cost(event: &Event) -> usize {
    size_of::<Event>() + len(event)
}
