//! The order of one connection's events by `seq_num`, Envoy's running count of bytes.
//!
//! The count says which event comes next, which was already there, and how many bytes are missing. It knows
//! nothing of other connections.
//!
//! Invariant: events that wait are sorted by their counts, and none of them is delivered after the connection's
//! end.

mod mark;
mod queue;
mod window;

use std::collections::VecDeque;

use crate::model::event::{Direction, Event, Gap, GapKind, What};
use crate::model::protocol::{self, Role};
use crate::model::warning::{Warning, WarningKind};

use super::{MAX_EVENT_LOSS, Next};
use mark::Mark;

pub(super) use queue::Queue;

/// How many delivered events a repeated one is compared with.
const REMEMBERED: usize = 32;

/// What the events of one connection wait for.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The count that comes next if no event is lost.
    expected: Option<u64>,
    /// The counted events that were delivered, up to a number that is enough here.
    delivered: u8,
    /// Whether the last event's body was recorded as a string.
    as_string: bool,
    last_direction: Option<Direction>,
    /// Whether the end was delivered.
    closed: bool,
    /// What most connections never need.
    rare: Option<Box<Rare>>,
    recent: VecDeque<Mark>,
}

#[derive(Debug, Default)]
struct Rare {
    /// A truncated event whose size the next one's count tells.
    cut: Option<Event>,
    /// A truncated event that was delivered before its size was known: where its known bytes end, and
    /// which way it went.
    unsized_cut: Option<(u64, Direction)>,
    /// The count that was expected when one came that was too low: the trace may go on from there.
    resumes: Option<u64>,
    /// Events that wait for one before them.
    held: VecDeque<Event>,
    /// Tells one wait from the next.
    turn: u32,
}

/// How well a count fits what was delivered of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is another one than the next.
    Not,
    /// It may be the next: how long the event before it was is unknown.
    Maybe,
    /// It is the next.
    Exact,
}

impl Order {
    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        match &self.rare {
            None => true,
            Some(rare) => rare.cut.is_none() && rare.held.is_empty(),
        }
    }

    /// Whether the connection is open, and nothing ever waited.
    #[inline]
    pub(super) const fn is_straight(&self) -> bool {
        self.rare.is_none() && !self.closed
    }

    /// Which wait is under way, if one is.
    pub(super) fn turn(&self) -> Option<u32> {
        let rare = self.rare.as_ref().filter(|_| !self.is_idle())?;
        Some(rare.turn)
    }

    /// Whether the connection's end was delivered.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How well a count fits an event that would come next.
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

    /// Takes note of an event without a count.
    #[inline]
    pub(super) const fn uncounted(&mut self) {
        self.expected = None;
        self.as_string = false;
    }

    /// Whether an event with a count was delivered before.
    pub(super) fn is_repeat(&self, event: &Event) -> bool {
        let count = event.count_before();
        count.is_some_and(|count| self.recent.contains(&Mark::of(event, count)))
    }

    /// Takes an event in the order of the trace. Before one without a count, [`flush`](Self::flush).
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
        let expected = match self.expected {
            None if self.delivered == 0 => Some(1),
            expected => expected,
        };
        match expected {
            Some(expected) if count > expected => self.ahead(event, count, expected, queue),
            Some(expected) if count < expected => self.behind(event, count, expected, queue),
            // Without bytes, an event has the count of the next one.
            _ if len(event) == 0 && event.time.is_some() && self.is_repeat(event) => {
                queue.drop(event)
            }
            _ => self.in_order(event, count, queue),
        }
    }

    /// Delivers an event whose turn it is, and those that have waited for it.
    #[inline]
    fn in_order(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        if self.rare.as_ref().is_none_or(|rare| rare.held.is_empty()) {
            return self.accept(event, count, queue);
        }
        // Those that waited come after this one, although the trace has them before it.
        queue
            .warnings
            .add(Warning::of_event(WarningKind::Reordered, event));
        if self.accept(event, count, queue) == Next::Deliver {
            queue.ready.push_back(std::mem::take(event));
        }
        self.drain(queue);
        Next::Wait
    }

    /// Takes an event as the next; a truncated one waits for its size.
    fn accept(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Mark::of(event, count));
        self.delivered = self.delivered.saturating_add(1);
        let end = count.saturating_add(len(event) as u64);
        self.expected = Some(end);
        self.last_direction = event.payload().map(|(direction, _)| direction);
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

    /// Tells the size of a truncated event that waits by the count of the one that follows it.
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
                let detail = format!("from {from} to {count} over an event of {known} bytes");
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

    /// Takes an event before which some bytes are missing.
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

    /// Whether the bytes that are missing are the header that Envoy sends before all others of an upstream
    /// connection: no event has it, and it counts as a part of the first write.
    fn is_proxy_header(&self, lost: u64) -> bool {
        self.delivered == 1
            && self.last_direction == Some(Direction::Write)
            && protocol::explains_proxy_header(lost, Role::Upstream)
    }

    /// Takes an event that counts less than what was delivered.
    fn behind(
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

    /// Reports that the count and an event's length do not fit by so many bytes.
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

/// What the count is after an event, as far as it is recorded.
fn end_of(event: &Event) -> Option<u64> {
    event
        .count_before()
        .map(|count| count.saturating_add(len(event) as u64))
}

#[cfg(test)]
mod tests;
