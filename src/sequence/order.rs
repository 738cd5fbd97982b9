//! The order of one connection's events by `seq_num`, Envoy's running count of bytes.
//!
//! The count says which event comes next, which was already there, and how many bytes are missing. It knows
//! nothing of other connections.
//!
//! Invariant: events that wait are sorted by their counts, and each counts more than what was delivered.

use std::collections::VecDeque;

use crate::event::{Direction, Event, Gap, GapKind, Timestamp, What};
use crate::notice::{Kind, Notice, Notices};
use crate::protocol::{self, Role};
use crate::slice::Slice;

use super::{MAX_EVENT_LOSS, Next};

/// How many events wait for a missing one, and how many bytes of payload they may hold.
const WINDOW_EVENTS: usize = 64;
const WINDOW_BYTES: usize = 8 << 20;
/// The payload of all events that wait in a trace, in bytes.
const MAX_HELD: usize = 64 << 20;
/// How much later than the first event that waits another one may have happened, in nanoseconds.
const WINDOW_TIME: u64 = 1_000_000_000;
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

/// What a repeated event has in common with the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    count: u64,
    len: usize,
    time: Option<Timestamp>,
    direction: Option<Direction>,
}

impl Mark {
    fn of(event: &Event, count: u64) -> Self {
        let payload = event.payload();
        Self {
            count,
            len: payload.map_or(0, |(_, payload)| payload.len()),
            time: event.time,
            direction: payload.map(|(direction, _)| direction),
        }
    }
}

/// Where events go that are due, and what they cost while they wait.
pub(super) struct Queue<'a> {
    pub(super) ready: &'a mut VecDeque<Event>,
    /// The payload of all events of the trace that wait, in bytes.
    pub(super) held: &'a mut usize,
    pub(super) notices: &'a mut Notices,
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

    /// Which wait is under way, if one is.
    pub(super) fn turn(&self) -> Option<u32> {
        let rare = self.rare.as_ref().filter(|_| !self.is_idle())?;
        Some(rare.turn)
    }

    /// Whether the connection's end was delivered.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether an event with this count would be the next.
    pub(super) fn expects(&self, count: u64) -> bool {
        let cut = self.rare.as_ref().and_then(|rare| rare.cut.as_ref());
        match cut.and_then(end_of) {
            Some(end) => count >= end,
            None => self.expected.unwrap_or(1) == count,
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

    /// Takes an event in the order of the trace.
    pub(super) fn push(&mut self, event: &mut Event, queue: &mut Queue<'_>) -> Next {
        let Some(count) = event.count_before() else {
            self.flush(queue);
            self.uncounted();
            return deliver(event, queue);
        };
        if let Some(cut) = self.rare.as_mut().and_then(|rare| rare.cut.take()) {
            if self.recent.contains(&Mark::of(event, count))
                || end_of(&cut).is_some_and(|_| same(&cut, event))
            {
                if let Some(rare) = &mut self.rare {
                    rare.cut = Some(cut);
                }
                queue.notices.add(Notice::of_event(Kind::Repeated, event));
                return Next::Drop;
            }
            self.measure(cut, count, queue);
        }
        let expected = match self.expected {
            None if self.delivered == 0 => Some(1),
            expected => expected,
        };
        match expected {
            Some(expected) if count > expected => self.ahead(event, count, expected, queue),
            Some(expected) if count < expected => self.behind(event, count, expected, queue),
            _ => self.in_order(event, count, queue),
        }
    }

    /// Delivers an event whose turn it is, and those that have waited for it.
    #[inline]
    fn in_order(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        let notice = Notice::of_event(Kind::Reordered, event);
        let next = self.accept(event, count, queue);
        if self.rare.as_ref().is_some_and(|rare| !rare.held.is_empty()) {
            // Those that waited come after this one, although the trace has them before it.
            queue.notices.add(notice);
            if next == Next::Deliver {
                queue.ready.push_back(std::mem::take(event));
            }
            self.drain(queue);
            return Next::Wait;
        }
        next
    }

    /// Takes an event as the next; a truncated one waits for its size.
    fn accept(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        let mark = Mark::of(event, count);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(mark);
        self.delivered = self.delivered.saturating_add(1);
        self.expected = Some(count.saturating_add(mark.len as u64));
        self.last_direction = mark.direction;
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
            rare.turn = rare.turn.wrapping_add(1);
            rare.cut = Some(kept(event));
            return Next::Wait;
        }
        deliver(event, queue)
    }

    /// Tells the size of a truncated event by the count of the one that follows it.
    fn measure(&mut self, mut cut: Event, count: u64, queue: &mut Queue<'_>) {
        let known = cut.payload().map_or(0, |(_, payload)| payload.len() as u64);
        let from = cut.count_before().unwrap_or(0);
        let missing = count
            .checked_sub(from)
            .and_then(|size| size.checked_sub(known));
        match missing {
            Some(missing) if missing <= MAX_EVENT_LOSS => {
                cut.missing = Some(missing);
                self.expected = Some(count);
            }
            _ => {
                let detail = format!("from {from} to {count} over an event of {known} bytes");
                let bytes = from.saturating_add(known).abs_diff(count);
                self.mismatch(&cut, bytes, detail, queue);
                cut.missing = Some(0);
                self.expected = Some(count);
            }
        }
        queue.ready.push_back(cut);
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

    /// Keeps an event until the ones before it come, or for as long as the window allows.
    fn hold(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        let rare = self.rare.get_or_insert_default();
        let at = rare
            .held
            .partition_point(|held| held.count_before().unwrap_or(0) <= count);
        let repeats = rare
            .held
            .range(..at)
            .rev()
            .take_while(|held| held.count_before() == Some(count))
            .any(|held| same(held, event));
        if repeats {
            queue.notices.add(Notice::of_event(Kind::Repeated, event));
            return Next::Drop;
        }
        if at < rare.held.len() {
            queue.notices.add(Notice::of_event(Kind::Reordered, event));
        }
        if rare.held.is_empty() {
            rare.turn = rare.turn.wrapping_add(1);
        }
        let event = kept(event);
        *queue.held += len(&event);
        rare.held.insert(at, event);
        while !self.fits(*queue.held) {
            self.give_up(queue);
        }
        Next::Wait
    }

    /// Whether what is held fits the window.
    fn fits(&self, held_in_all: usize) -> bool {
        let Some(rare) = &self.rare else { return true };
        let (Some(first), Some(last)) = (rare.held.front(), rare.held.back()) else {
            return true;
        };
        let bytes: usize = rare.held.iter().map(len).sum();
        let late = match (first.time, last.time) {
            (Some(first), Some(last)) => last > first.saturating_add(WINDOW_TIME),
            _ => false,
        };
        rare.held.len() <= WINDOW_EVENTS
            && bytes <= WINDOW_BYTES
            && held_in_all <= MAX_HELD
            && !late
    }

    /// Delivers the first event that waits although bytes before it are missing, and those that follow it.
    fn give_up(&mut self, queue: &mut Queue<'_>) {
        let Some(mut event) = self.take_held(queue) else {
            return;
        };
        let count = event.count_before().unwrap_or(0);
        let expected = self.expected.unwrap_or(1);
        let direction = event.payload().map(|(direction, _)| direction);
        if count > expected {
            event.gap = Some(Box::new(Gap {
                bytes: count - expected,
                direction: direction.filter(|_| direction == self.last_direction),
                kind: GapKind::Lost,
            }));
        }
        if self.accept(&mut event, count, queue) == Next::Deliver {
            queue.ready.push_back(event);
        }
        self.drain(queue);
    }

    fn take_held(&mut self, queue: &mut Queue<'_>) -> Option<Event> {
        let event = self.rare.as_mut()?.held.pop_front()?;
        *queue.held = queue.held.saturating_sub(len(&event));
        Some(event)
    }

    /// Delivers what has waited for what was delivered now.
    fn drain(&mut self, queue: &mut Queue<'_>) {
        loop {
            let rare = self.rare.as_ref();
            let count = rare
                .and_then(|rare| rare.held.front())
                .and_then(Event::count_before);
            let Some(count) = count else { return };
            if let Some(cut) = self.rare.as_mut().and_then(|rare| rare.cut.take()) {
                self.measure(cut, count, queue);
            }
            let expected = self.expected.unwrap_or(1);
            if count > expected {
                return;
            }
            let Some(mut event) = self.take_held(queue) else {
                return;
            };
            let next = match count < expected {
                true => self.behind(&mut event, count, expected, queue),
                false => self.accept(&mut event, count, queue),
            };
            if next == Next::Deliver {
                queue.ready.push_back(event);
            }
        }
    }

    /// Takes an event that counts less than what was delivered.
    fn behind(
        &mut self,
        event: &mut Event,
        count: u64,
        expected: u64,
        queue: &mut Queue<'_>,
    ) -> Next {
        if self.recent.contains(&Mark::of(event, count)) {
            queue.notices.add(Notice::of_event(Kind::Repeated, event));
            return Next::Drop;
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
        queue.notices.add(if self.as_string || as_string {
            Notice {
                bytes,
                ..Notice::of_event(Kind::LossyString, event)
            }
        } else {
            Notice {
                detail,
                ..Notice::of_event(Kind::ImpossibleCount, event)
            }
        });
    }

    /// Delivers all that waits.
    pub(super) fn flush(&mut self, queue: &mut Queue<'_>) {
        loop {
            if let Some(cut) = self.rare.as_mut().and_then(|rare| rare.cut.take()) {
                let direction = cut.payload().map(|(direction, _)| direction);
                if let (Some(end), Some(direction), Some(rare)) =
                    (end_of(&cut), direction, &mut self.rare)
                {
                    rare.unsized_cut = Some((end, direction));
                }
                queue.ready.push_back(cut);
            }
            if self.rare.as_ref().is_none_or(|rare| rare.held.is_empty()) {
                return;
            }
            self.give_up(queue);
        }
    }
}

/// Delivers an event after those that are due before it.
#[inline]
fn deliver(event: &mut Event, queue: &mut Queue<'_>) -> Next {
    if queue.ready.is_empty() {
        return Next::Deliver;
    }
    queue.ready.push_back(std::mem::take(event));
    Next::Wait
}

/// An event to be kept: a payload of its own, as the other would hold all that was read with it.
fn kept(event: &mut Event) -> Event {
    let mut event = std::mem::take(event);
    if let What::Data { payload, .. } = &mut event.what {
        *payload = Slice::copy_of(payload);
    }
    event
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

/// Whether one event repeats the other.
fn same(one: &Event, other: &Event) -> bool {
    (one.seq_num, one.time, &one.what) == (other.seq_num, other.time, &other.what)
}
