//! The order of one connection's events by `seq_num`, Envoy's running count of bytes.
//!
//! The count shows which event is next, which is repeated, and how many bytes are missing. Knows nothing of other
//! connections.
//!
//! Invariant: waiting events are sorted by their counts, and none of them is delivered after the connection's
//! close.

mod mark;
mod queue;
mod window;

use std::collections::VecDeque;

use crate::model::event::{Direction, Event, Gap, GapKind, PlainEvent, What};
use crate::model::protocol::{self, Role};
use crate::model::warning::{Warning, WarningKind};
use crate::plural;

use super::{MAX_EVENT_LOSS, Next};
use mark::Mark;

pub(super) use queue::Queue;

/// The number of delivered events that are compared with a repeated one.
const REMEMBERED: usize = 32;

/// The order of one connection's events.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The next count if no event is missing.
    expected: Option<u64>,
    /// The number of delivered events with a count, up to a small maximum.
    delivered: u8,
    /// Whether the last event's body was recorded as a string.
    as_string: bool,
    last_direction: Option<Direction>,
    /// Whether the close was delivered.
    closed: bool,
    /// State that most connections do not need.
    rare: Option<Box<Rare>>,
    recent: VecDeque<Mark>,
}

#[derive(Debug, Default)]
struct Rare {
    /// A truncated event whose size follows from the next count.
    cut: Option<Event>,
    /// A truncated event that was delivered before its size was known: the count after its known bytes, and its
    /// direction.
    unsized_cut: Option<(u64, Direction)>,
    /// The count that was expected when a lower one arrived: the trace may continue from there.
    resumes: Option<u64>,
    /// Events that wait for an earlier one.
    held: VecDeque<Event>,
    /// Identifies the current wait.
    turn: u32,
}

/// How well a count fits the delivered events of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is not the next count.
    Not,
    /// It may be the next: the size of the event before it is unknown.
    Maybe,
    /// It is the next.
    Exact,
}

impl Order {
    /// Whether no event waits.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        match &self.rare {
            None => true,
            Some(rare) => rare.cut.is_none() && rare.held.is_empty(),
        }
    }

    /// Whether the connection is open, and no event ever waited.
    #[inline]
    pub(super) const fn never_waited(&self) -> bool {
        self.rare.is_none() && !self.closed
    }

    /// Whether a plain event is delivered at once: no event waits or ever waited, and its count, if it has one, is
    /// the expected one.
    #[inline(always)]
    pub(super) fn takes_plain(&self, event: &PlainEvent<'_>) -> bool {
        if !self.never_waited() {
            return false;
        }
        let Some(count) = event.seq_num else {
            return true;
        };
        // An event without bytes may be a repetition.
        !event.payload.is_empty() && self.next_count().is_none_or(|next| next == count.get())
    }

    /// Records that a plain event is delivered, which [`takes_plain`](Self::takes_plain) has allowed.
    #[inline(always)]
    pub(super) fn plain(&mut self, event: &PlainEvent<'_>) {
        let Some(count) = event.seq_num else {
            return self.uncounted();
        };
        let flags = [false; 3];
        let (time, count) = (Some(event.time), count.get());
        let mark = Mark::of_bytes(time, count, event.direction, flags, event.payload);
        let end = count.saturating_add(event.payload.len() as u64);
        self.remember(mark, end, Some(event.direction));
        self.as_string = false;
    }

    /// The count of the next event, if no event is missing and it is known.
    #[inline]
    const fn next_count(&self) -> Option<u64> {
        match self.expected {
            None if self.delivered == 0 => Some(1),
            expected => expected,
        }
    }

    /// Records that an event was delivered, and the count after it.
    #[inline]
    fn remember(&mut self, mark: Mark, end: u64, direction: Option<Direction>) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(mark);
        self.delivered = self.delivered.saturating_add(1);
        self.expected = Some(end);
        self.last_direction = direction;
    }

    /// The current wait, if there is one.
    pub(super) fn turn(&self) -> Option<u32> {
        let rare = self.rare.as_ref().filter(|_| !self.is_idle())?;
        Some(rare.turn)
    }

    /// Whether the connection's close was delivered.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How well a count fits the next event.
    pub(super) fn fit(&self, count: u64) -> Fit {
        if self.closed {
            return Fit::Not;
        }
        let open_end = self.rare.as_ref().and_then(|rare| match &rare.cut {
            Some(cut) => end_of(cut),
            None => rare.unsized_cut.map(|(end, _)| end),
        });
        match open_end {
            Some(end) if (end..=end.saturating_add(MAX_EVENT_LOSS)).contains(&count) => Fit::Maybe,
            None if self.expected.unwrap_or(1) == count => Fit::Exact,
            _ => Fit::Not,
        }
    }

    /// Records an event without a count.
    #[inline]
    pub(super) const fn uncounted(&mut self) {
        self.expected = None;
        self.as_string = false;
    }

    /// Whether an event with a count was delivered.
    pub(super) fn is_repeat(&self, event: &Event) -> bool {
        let count = event.count_before();
        count.is_some_and(|count| self.recent.contains(&Mark::of(event, count)))
    }

    /// Takes an event in the order of the trace. [`flush`](Self::flush) comes before an event without a count.
    pub(super) fn push(&mut self, event: &mut Event, queue: &mut Queue<'_>) -> Next {
        let Some(count) = event.count_before() else {
            self.uncounted();
            self.closed |= matches!(event.what, What::Closed);
            return queue.deliver(event);
        };
        if self.rare.as_ref().is_some_and(|rare| rare.cut.is_some()) {
            if self.is_repeat(event) {
                return queue.drop(event);
            }
            self.measure_cut(count, queue);
        }
        match self.next_count() {
            Some(expected) if count > expected => self.ahead(event, count, expected, queue),
            Some(expected) if count < expected => self.late(event, count, expected, queue),
            // An event without bytes has the same count as the next one.
            _ if len(event) == 0 && event.time.is_some() && self.is_repeat(event) => {
                queue.drop(event)
            }
            _ => self.in_order(event, count, queue),
        }
    }

    /// Delivers the next event, and those that waited for it.
    #[inline]
    fn in_order(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        if self.rare.as_ref().is_none_or(|rare| rare.held.is_empty()) {
            return self.accept(event, count, queue);
        }
        // The waiting events follow this one, although the trace has them before it.
        queue
            .warnings
            .add(Warning::of_event(WarningKind::Reordered, event));
        if self.accept(event, count, queue) == Next::Deliver {
            queue.ready.push_back(std::mem::take(event));
        }
        self.drain(queue);
        Next::Wait
    }

    /// Takes an event as the next one; a truncated event waits for its size.
    fn accept(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        let end = count.saturating_add(len(event) as u64);
        let direction = event.payload().map(|(direction, _)| direction);
        self.remember(Mark::of(event, count), end, direction);
        self.closed |= matches!(event.what, What::Closed);
        if let Some(rare) = &mut self.rare {
            rare.unsized_cut = None;
        }
        let (truncated, as_string) = match event.what {
            What::Data {
                truncated,
                as_string,
                ..
            } => (truncated, as_string),
            _ => (false, false),
        };
        self.as_string = as_string;
        if truncated && event.missing.is_none() {
            let rare = self.rare.get_or_insert_default();
            if queue.has_room(event) {
                rare.turn = rare.turn.wrapping_add(1);
                rare.cut = Some(queue.keep(event));
                return Next::Wait;
            }
            rare.unsized_cut = self.last_direction.map(|direction| (end, direction));
        }
        queue.deliver(event)
    }

    /// Sets the size of a waiting truncated event from the count of the next one.
    fn measure_cut(&mut self, count: u64, queue: &mut Queue<'_>) {
        let Some(mut cut) = self.take_cut(queue) else {
            return;
        };
        let known = len(&cut) as u64;
        let from = cut.count_before().unwrap_or(0);
        let missing = count
            .checked_sub(from)
            .and_then(|size| size.checked_sub(known));
        match missing {
            Some(missing) if missing <= MAX_EVENT_LOSS => cut.missing = Some(missing),
            _ => {
                let unit = plural(known, "byte");
                let detail = format!("from {from} to {count} over an event of {known} {unit}");
                let bytes = from.saturating_add(known).abs_diff(count);
                self.mismatch(&cut, bytes, detail, queue);
                cut.missing = Some(0);
            }
        }
        self.expected = Some(count);
        queue.ready.push_back(cut);
    }

    fn take_cut(&mut self, queue: &mut Queue<'_>) -> Option<Event> {
        let cut = self.rare.as_mut()?.cut.take()?;
        queue.let_go(&cut);
        Some(cut)
    }

    /// Takes an event with missing bytes before it.
    fn ahead(
        &mut self,
        event: &mut Event,
        count: u64,
        expected: u64,
        queue: &mut Queue<'_>,
    ) -> Next {
        let lost = count - expected;
        let resumes = self.rare.as_mut().and_then(|rare| rare.resumes.take());
        if resumes == Some(count) {
            return self.in_order(event, count, queue);
        }
        let unsized_cut = self.rare.as_mut().and_then(|rare| rare.unsized_cut.take());
        if self.as_string || lost > MAX_EVENT_LOSS {
            let detail = format!("{count} where {expected} comes next");
            self.mismatch(event, lost, detail, queue);
            return self.in_order(event, count, queue);
        }
        if let Some((_, direction)) = unsized_cut {
            event.gap = Some(Box::new(Gap {
                bytes: lost,
                direction: Some(direction),
                kind: GapKind::Cut,
            }));
            return self.in_order(event, count, queue);
        }
        if self.is_proxy_header(lost) {
            event.gap = Some(Box::new(Gap {
                bytes: lost,
                direction: None,
                kind: GapKind::ProxyHeader,
            }));
            return self.in_order(event, count, queue);
        }
        self.hold(event, count, queue)
    }

    /// Whether the missing bytes are a PROXY protocol header, which Envoy sends first on an upstream connection:
    /// no event records it, and it counts as part of the first write.
    fn is_proxy_header(&self, lost: u64) -> bool {
        self.delivered == 1
            && self.last_direction == Some(Direction::Write)
            && protocol::explains_proxy_header(lost, Role::Upstream)
    }

    /// Takes an event with a lower count than those delivered.
    fn late(
        &mut self,
        event: &mut Event,
        count: u64,
        expected: u64,
        queue: &mut Queue<'_>,
    ) -> Next {
        if self.is_repeat(event) {
            return queue.drop(event);
        }
        let detail = format!("{count} where {expected} comes next");
        self.mismatch(event, expected - count, detail, queue);
        self.rare.get_or_insert_default().resumes = Some(expected);
        self.accept(event, count, queue)
    }

    /// Reports by how many bytes the count and an event's length disagree.
    fn mismatch(&self, event: &Event, bytes: u64, detail: String, queue: &mut Queue<'_>) {
        let as_string = matches!(
            event.what,
            What::Data {
                as_string: true,
                ..
            }
        );
        queue.warnings.add(if self.as_string || as_string {
            Warning {
                bytes,
                ..Warning::of_event(WarningKind::LossyString, event)
            }
        } else {
            Warning {
                detail,
                ..Warning::of_event(WarningKind::ImpossibleCount, event)
            }
        });
    }
}

fn len(event: &Event) -> usize {
    event.payload().map_or(0, |(_, payload)| payload.len())
}

/// The count after an event, as far as it is recorded.
fn end_of(event: &Event) -> Option<u64> {
    event
        .count_before()
        .map(|count| count.saturating_add(len(event) as u64))
}

#[cfg(test)]
mod tests;
