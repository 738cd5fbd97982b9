//! The order of one connection's events, the gaps between them, and repetitions.

mod limits;

use std::num::NonZeroU64;

use super::*;
use crate::model::event::Timestamp;
use crate::model::warning::Warnings;

/// The time of the first event, in nanoseconds.
const START: u64 = 1_700_000_000_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// An event with this count and direction, this many milliseconds after the first.
fn data(count: u64, direction: Direction, millis: u64, payload: &[u8]) -> Event {
    Event {
        offset: 1000 * millis,
        time: Some(Timestamp::from_nanos(START + millis * MILLISECOND)),
        seq_num: NonZeroU64::new(count),
        ..Event::of_bytes(direction, payload)
    }
}

fn read(count: u64, millis: u64, payload: &str) -> Event {
    data(count, Direction::Read, millis, payload.as_bytes())
}

fn write(count: u64, millis: u64, payload: &str) -> Event {
    data(count, Direction::Write, millis, payload.as_bytes())
}

fn cut(event: Event) -> Event {
    let mut event = event;
    if let What::Data { truncated, .. } = &mut event.what {
        *truncated = true;
    }
    event
}

fn as_string(event: Event) -> Event {
    let mut event = event;
    if let What::Data { as_string, .. } = &mut event.what {
        *as_string = true;
    }
    event
}

fn closed(count: u64, millis: u64) -> Event {
    Event {
        what: What::Closed,
        // The count of a close is one higher than that of another event at the same position.
        ..data(count + 1, Direction::Read, millis, b"")
    }
}

fn uncounted(millis: u64, payload: &str) -> Event {
    Event {
        seq_num: None,
        ..read(1, millis, payload)
    }
}

/// An order, and the events that it has delivered.
#[derive(Default)]
struct Run {
    order: Order,
    ready: VecDeque<Event>,
    held: usize,
    warnings: Warnings,
    delivered: Vec<Event>,
}

impl Run {
    fn queue(&mut self) -> (&mut Order, Queue<'_>) {
        let queue = Queue {
            ready: &mut self.ready,
            held: &mut self.held,
            warnings: &mut self.warnings,
        };
        (&mut self.order, queue)
    }

    fn push(&mut self, event: Event) -> Next {
        let mut event = event;
        let (order, mut queue) = self.queue();
        let next = order.push(&mut event, &mut queue);
        if next == Next::Deliver {
            self.delivered.push(event);
        }
        self.delivered.extend(self.ready.drain(..));
        next
    }

    fn flush(&mut self) {
        let (order, mut queue) = self.queue();
        order.flush(&mut queue);
        self.delivered.extend(self.ready.drain(..));
    }

    fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut run = Self::default();
        for event in events {
            run.push(event);
        }
        run.flush();
        assert_eq!(run.held, 0, "the memory of waiting events");
        run
    }

    /// The count of each delivered event, and the numbers of bytes missing before it and at its end.
    fn seen(&self) -> Vec<(u64, u64, u64)> {
        let seen = self.delivered.iter().map(|event| {
            let gap = event.gap.as_ref().map_or(0, |gap| gap.bytes);
            let count = event.count_before().unwrap_or(0);
            (count, gap, event.missing.unwrap_or(0))
        });
        seen.collect()
    }

    /// The kinds of warnings, and the number of each.
    fn warned(&self) -> Vec<(WarningKind, u64)> {
        let tallies = self.warnings.tallies();
        tallies
            .map(|tally| (tally.first.kind, tally.count))
            .collect()
    }
}

#[test]
fn events_in_order_are_delivered_at_once() {
    let mut run = Run::default();
    for event in [read(1, 0, "abc"), write(4, 1, "de"), closed(6, 2)] {
        assert_eq!(run.push(event), Next::Deliver);
        assert!(run.order.is_idle());
    }
    assert!(run.order.is_closed());
    assert_eq!(run.seen(), [(1, 0, 0), (4, 0, 0), (6, 0, 0)]);
    assert_eq!(run.warned(), []);
}

#[test]
fn a_late_event_takes_its_place() {
    let run = Run::of([
        read(1, 0, "abc"),
        write(6, 2, "f"),
        closed(7, 3),
        write(4, 1, "de"),
    ]);
    assert_eq!(run.seen(), [(1, 0, 0), (4, 0, 0), (6, 0, 0), (7, 0, 0)]);
    assert_eq!(run.warned(), [(WarningKind::Reordered, 1)]);
}

#[test]
fn a_repeated_event_is_dropped_wherever_it_comes() {
    let events = [
        read(1, 0, "abc"),
        read(1, 0, "abc"),
        // Repetitions of an event that waits for an earlier one, and of one that waits for its size.
        write(8, 2, "f"),
        write(8, 2, "f"),
        cut(write(4, 1, "de")),
        read(1, 0, "abc"),
        cut(write(4, 1, "de")),
        // An event without bytes has the same count as the next one.
        write(9, 3, ""),
        write(9, 3, ""),
        read(9, 4, "g"),
        write(9, 3, ""),
    ];
    let run = Run::of(events);
    let expected = [(1, 0, 0), (4, 0, 2), (8, 0, 0), (9, 0, 0), (9, 0, 0)];
    assert_eq!(run.seen(), expected);
    assert_eq!(
        run.warned(),
        [(WarningKind::Repeated, 6), (WarningKind::Reordered, 1)]
    );
}

#[test]
fn an_event_with_only_the_same_count_and_length_is_no_repetition() {
    let others = [
        write(1, 0, "abc"),
        read(1, 1, "abc"),
        read(1, 0, "abd"),
        read(1, 0, "xbc"),
        read(1, 0, "ab"),
    ];
    for other in others {
        let run = Run::of([read(1, 0, "abc"), other]);
        assert_eq!(run.delivered.len(), 2);
        assert_eq!(run.warned(), [(WarningKind::ImpossibleCount, 1)]);
    }
}

#[test]
fn the_next_count_determines_the_size_of_a_truncated_event() {
    let mut run = Run::default();
    assert_eq!(run.push(cut(read(1, 0, "abc"))), Next::Wait);
    assert!(!run.order.is_idle());
    assert_eq!(run.push(write(11, 1, "d")), Next::Wait);
    assert_eq!(run.push(cut(write(12, 2, "e"))), Next::Wait);
    // The count of a close is one higher.
    run.push(closed(20, 3));
    assert_eq!(run.seen(), [(1, 0, 7), (11, 0, 0), (12, 0, 7), (20, 0, 0)]);
    assert_eq!(run.warned(), []);
}

#[test]
fn a_truncated_event_that_is_delivered_early_is_measured_later() {
    let mut run = Run::default();
    run.push(cut(read(1, 0, "abc")));
    run.flush();
    assert_eq!(run.delivered[0].missing, None);
    run.push(write(11, 1, "d"));
    let gap = run.delivered[1].gap.as_deref();
    let expected = Gap {
        bytes: 7,
        direction: Some(Direction::Read),
        kind: GapKind::Cut,
    };
    assert_eq!(gap, Some(&expected));
}

#[test]
fn a_gap_between_events_of_one_direction_has_that_direction() {
    for (first, second, direction) in [
        (read(1, 0, "abc"), read(10, 1, "d"), Some(Direction::Read)),
        (read(1, 0, "abc"), write(10, 1, "d"), None),
        (read(1, 0, "abc"), closed(10, 1), None),
    ] {
        let run = Run::of([first, second]);
        let gap = run.delivered[1].gap.as_deref();
        let expected = Gap {
            bytes: 6,
            direction,
            kind: GapKind::Lost,
        };
        assert_eq!(gap, Some(&expected));
    }
    // Before the first event, the direction is unknown.
    let run = Run::of([read(10, 1, "d")]);
    assert_eq!(
        run.delivered[0].gap.as_ref().map(|gap| gap.direction),
        Some(None)
    );
}

#[test]
fn a_proxy_header_is_one_only_before_the_second_event() {
    let kinds = |events: Vec<Event>| -> Vec<_> {
        let run = Run::of(events);
        let gaps = run.delivered.iter().filter_map(|event| event.gap.as_ref());
        gaps.map(|gap| gap.kind).collect()
    };
    assert_eq!(
        kinds(vec![write(1, 0, "abc"), read(32, 1, "d")]),
        [GapKind::ProxyHeader]
    );
    assert_eq!(
        kinds(vec![read(1, 0, "abc"), write(32, 1, "d")]),
        [GapKind::Lost]
    );
    assert_eq!(
        kinds(vec![write(1, 0, "abc"), write(4, 1, "d"), read(33, 2, "e")]),
        [GapKind::Lost]
    );
}

#[test]
fn the_length_of_a_string_may_differ_from_the_count() {
    let run = Run::of([
        as_string(read(1, 0, "abc")),
        as_string(read(9, 1, "d")),
        as_string(read(5, 2, "e")),
    ]);
    assert_eq!(run.delivered.len(), 3);
    assert_eq!(run.warned(), [(WarningKind::LossyString, 2)]);
}

#[test]
fn nothing_is_delivered_after_the_end() {
    // A waiting event with a higher count than the close belongs to another connection.
    let mut run = Run::default();
    for event in [
        read(1, 0, "abc"),
        read(30, 3, "later"),
        closed(20, 2),
        read(19, 1, "x"),
    ] {
        run.push(event);
    }
    run.flush();
    assert_eq!(run.seen(), [(1, 0, 0), (19, 15, 0), (20, 0, 0)]);
    assert!(run.order.is_closed() && !run.order.is_idle());
    let (order, mut queue) = run.queue();
    let rest = order.take_rest(&mut queue);
    assert_eq!(rest.len(), 1);
    assert!(run.order.is_idle());
    assert_eq!(run.held, 0);
}

#[test]
fn the_end_comes_after_an_event_without_bytes() {
    let run = Run::of([closed(20, 2), write(20, 1, ""), read(1, 0, "abc")]);
    assert!(matches!(run.delivered[2].what, What::Closed));
    assert_eq!(run.delivered.len(), 3);
}

#[test]
fn an_event_without_a_count_makes_no_gap() {
    let run = Run::of([
        read(1, 0, "abc"),
        uncounted(1, "x"),
        read(100, 2, "d"),
        read(102, 3, "e"),
    ]);
    assert_eq!(run.seen(), [(1, 0, 0), (0, 0, 0), (100, 0, 0), (102, 1, 0)]);
}

#[test]
fn a_count_fits_where_it_may_come_next() {
    let mut run = Run::default();
    assert_eq!(
        [1, 2].map(|count| run.order.fit(count)),
        [Fit::Exact, Fit::Not]
    );
    run.push(read(1, 0, "abc"));
    assert_eq!(
        [1, 3, 4, 5].map(|count| run.order.fit(count)),
        [Fit::Not, Fit::Not, Fit::Exact, Fit::Not]
    );
    run.push(cut(read(4, 1, "d")));
    let fits = |run: &Run| [4, 5, 500, 6 + MAX_EVENT_LOSS].map(|count| run.order.fit(count));
    let expected = [Fit::Not, Fit::Maybe, Fit::Maybe, Fit::Not];
    assert_eq!(fits(&run), expected);
    run.flush();
    assert_eq!(fits(&run), expected, "delivered before its size was known");
    run.push(closed(9, 2));
    assert_eq!(run.order.fit(9), Fit::Not, "nothing comes after the end");
}
