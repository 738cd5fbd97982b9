//! Properties of the events that a sequencer delivers, for any events that it receives.
//!
//! They follow from the sequencer's contract, not from its implementation: each event is delivered once unless it repeats
//! another, the events of a connection are in the order of their counts, and the counts add up.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use capture2pcap::model::event::{Connection, Direction, Event, GapKind, TraceId, What};
use capture2pcap::model::warning::{WarningKind, Warnings};
use capture2pcap::sequence::{MAX_EVENT_LOSS, Memory, Next, Sequencer};

/// The possible lengths of a PROXY protocol header, in bytes.
const PROXY_HEADERS: std::ops::RangeInclusive<u64> = 15..=536;

/// Pushes an event, and passes on the events that are due.
pub(crate) fn push(
    sequencer: &mut Sequencer,
    event: &mut Event,
    warnings: &mut Warnings,
    take: &mut impl FnMut(&Event, &mut Warnings),
) {
    if sequencer.push(event, warnings) == Next::Deliver {
        take(event, warnings);
        assert_eq!(sequencer.pop(), None, "more than the event that was pushed");
    }
    drain(sequencer, warnings, take);
}

/// Ends the trace, and passes on the remaining events.
pub(crate) fn finish(
    sequencer: &mut Sequencer,
    warnings: &mut Warnings,
    take: &mut impl FnMut(&Event, &mut Warnings),
) {
    sequencer.finish(warnings);
    drain(sequencer, warnings, take);
}

fn drain(
    sequencer: &mut Sequencer,
    warnings: &mut Warnings,
    take: &mut impl FnMut(&Event, &mut Warnings),
) {
    while let Some(event) = sequencer.pop() {
        take(&event, warnings);
    }
}

/// An event in the format of assertions.
pub(crate) struct Brief<'a>(pub(crate) &'a Event);

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = self.0.clone();
        if let What::Data { payload, .. } = &mut event.what {
            write!(f, "{} bytes: ", payload.len())?;
            *payload = payload[..payload.len().min(40)].to_vec();
        }
        event.fmt(f)
    }
}

/// Whether the sequencer orders events of this kind.
pub(crate) const fn is_ordered(event: &Event) -> bool {
    matches!(event.what, What::Data { .. } | What::Closed)
}

/// Verifies that `delivered` is the right result for the events `read`.
pub(crate) fn check(read: &[Event], delivered: &[Event], warnings: &Warnings, memory: Memory) {
    let dropped = dropped(read, delivered);
    assert_eq!(
        dropped.len() as u64,
        warnings.count(WarningKind::Repeated),
        "dropped, and reported as repeated: {:?}",
        dropped.iter().map(|event| event.offset).collect::<Vec<_>>()
    );
    for event in dropped {
        let same = |other: &&Event| {
            (other.trace.number, other.seq_num, other.time)
                == (event.trace.number, event.seq_num, event.time)
                && looks_like(&event.what, &other.what)
        };
        assert!(
            event.seq_num.is_some(),
            "dropped without a count: {:?}",
            Brief(event)
        );
        assert!(
            delivered.iter().any(|event| same(&event)),
            "repeats nothing: {:?}",
            Brief(event)
        );
    }
    unchanged(read, delivered);
    let mut connections = Connections {
        named: named(read),
        is_sure: [WarningKind::ImpossibleCount, WarningKind::LossyString]
            .iter()
            .all(|kind| warnings.count(*kind) == 0),
        memory,
        known: HashMap::new(),
    };
    for event in delivered {
        connections.take(event);
    }
}

/// Whether one event repeats the other, judged by the first and the last bytes.
fn looks_like(one: &What, other: &What) -> bool {
    let flags = |what: &What| match what {
        What::Data {
            direction,
            payload,
            truncated,
            as_string,
            end_stream,
        } => {
            let ends = payload.len().min(8);
            let ends = [&payload[..ends], &payload[payload.len() - ends..]].concat();
            let flags = [*truncated, *as_string, *end_stream];
            Some((*direction, payload.len(), ends, flags))
        }
        _ => None,
    };
    flags(one) == flags(other) && matches!(one, What::Closed) == matches!(other, What::Closed)
}

/// The events that were not delivered. Each of the others was delivered once, unchanged.
fn dropped<'a>(read: &'a [Event], delivered: &[Event]) -> Vec<&'a Event> {
    let mut left: HashMap<u64, VecDeque<&Event>> = HashMap::new();
    for event in read.iter().filter(|event| is_ordered(event)) {
        left.entry(event.offset).or_default().push_back(event);
    }
    for event in delivered.iter().filter(|event| is_ordered(event)) {
        let mut original = event.clone();
        original.trace.instance = 0;
        (original.missing, original.gap) = (None, None);
        let there = left.get_mut(&event.offset);
        let found = there.and_then(|left| {
            let at = left.iter().position(|left| {
                // The decoder knows the missing bytes of the last event in a cut trace.
                let mut left = (*left).clone();
                left.missing = None;
                left == original
            })?;
            left.remove(at)
        });
        assert!(
            found.is_some(),
            "delivered twice, or never read: {:?}",
            Brief(event)
        );
    }
    let mut dropped: Vec<_> = left.into_values().flatten().collect();
    dropped.sort_by_key(|event| event.offset);
    dropped
}

/// Verifies that events which the sequencer does not order are passed on unchanged.
fn unchanged(read: &[Event], delivered: &[Event]) {
    let passed = |events: &[Event]| -> Vec<Event> {
        let is_passed = |event: &&Event| {
            let decided = matches!(event.what, What::Begin | What::Over | What::Connection(_));
            !is_ordered(event) && !decided
        };
        let plain = |event: &Event| {
            let mut event = event.clone();
            event.trace.instance = 0;
            event
        };
        events.iter().filter(is_passed).map(plain).collect()
    };
    assert_eq!(passed(read), passed(delivered), "what is only passed on");
}

/// The connection that each event names, by its trace number and offset. A buffered message names one connection for all
/// of its events.
fn named(read: &[Event]) -> HashMap<(u64, u64), &Connection> {
    let mut named = HashMap::new();
    for pair in read.windows(2) {
        let [before, event] = pair else { continue };
        let place = (event.trace.number, event.offset);
        if let What::Connection(connection) = &before.what
            && is_ordered(event)
            && (before.trace.number, before.offset) == place
        {
            named.insert(place, &**connection);
        }
    }
    let begin = |event: &&Event| matches!(event.what, What::Begin);
    for event in read.iter().filter(begin) {
        named.retain(|(number, _), _| *number != event.trace.number);
    }
    named
}

/// The state of each connection, from the events delivered so far.
struct Connections<'a> {
    named: HashMap<(u64, u64), &'a Connection>,
    /// Whether the counts are right: no warning about them was reported.
    is_sure: bool,
    memory: Memory,
    known: HashMap<TraceId, Known>,
}

#[derive(Default)]
struct Known {
    connection: Connection,
    is_over: bool,
    /// The number of events with a count.
    counted: u64,
    /// The offset of the last event without a count.
    uncounted: Option<u64>,
    last: Option<Last>,
}

/// The last event of a connection with a count.
struct Last {
    count: u64,
    /// The next count, if no event is missing.
    end: u64,
    direction: Option<Direction>,
    /// Whether its true size is unknown.
    is_unsized: bool,
}

impl Connections<'_> {
    fn take(&mut self, event: &Event) {
        let known = self.known.entry(event.trace).or_default();
        match &event.what {
            What::Data { .. } | What::Closed | What::Connection(_) | What::Begin | What::Over => {}
            _ => return,
        }
        if known.is_over {
            // The sequencer reuses the numbers of connections that it has forgotten.
            assert!(
                self.memory == Memory::Bounded,
                "after its end: {:?}",
                Brief(event)
            );
            *known = Known::default();
        }
        match &event.what {
            What::Connection(named) => {
                let (known, named) = (&mut known.connection, (**named).clone());
                known.local = named.local.or(known.local.take());
                known.remote = named.remote.or(known.remote.take());
            }
            What::Over => known.is_over = true,
            What::Data { .. } | What::Closed => {
                let place = (event.trace.number, event.offset);
                if let Some(named) = self.named.get(&place) {
                    known.assert_is(named, event);
                }
                known.event(event, self.is_sure);
            }
            _ => {}
        }
    }
}

impl Known {
    /// Verifies that an event belongs to the connection that it names.
    fn assert_is(&self, named: &Connection, event: &Event) {
        for (named, known) in [
            (&named.local, &self.connection.local),
            (&named.remote, &self.connection.remote),
        ] {
            let fits = named.is_none() || named == known;
            assert!(
                fits,
                "of {:?}, and not of {named:?}: {:?}",
                Brief(event),
                self.connection
            );
        }
    }

    fn event(&mut self, event: &Event, is_sure: bool) {
        self.is_over = matches!(event.what, What::Closed);
        let (direction, len, is_cut) = match &event.what {
            What::Data {
                direction,
                payload,
                truncated,
                ..
            } => (Some(*direction), payload.len() as u64, *truncated),
            _ => (None, 0, false),
        };
        let missing = event.missing.unwrap_or(0);
        let lost = event.gap.as_ref().map_or(0, |gap| gap.bytes);
        assert!(
            missing <= MAX_EVENT_LOSS && lost <= MAX_EVENT_LOSS,
            "{:?}",
            Brief(event)
        );
        let Some(count) = event.count_before() else {
            assert!(
                (event.missing.is_none() || is_cut) && event.gap.is_none(),
                "{:?}",
                Brief(event)
            );
            let in_order = self.uncounted.is_none_or(|last| last <= event.offset);
            assert!(
                in_order,
                "out of the order of the trace: {:?}",
                Brief(event)
            );
            self.uncounted = Some(event.offset);
            self.last = None;
            return;
        };
        assert!(event.missing.is_none() || is_cut, "{:?}", Brief(event));
        self.gap(event, direction);
        if is_sure {
            let end = match &self.last {
                Some(last) => {
                    assert!(
                        last.count <= count,
                        "out of the order of counts: {:?}",
                        Brief(event)
                    );
                    Some(last.end)
                }
                // Envoy counts from 1.
                None => (self.counted == 0).then_some(1),
            };
            let adds_up = end.is_none_or(|end| end + lost == count);
            assert!(adds_up, "comes after {end:?}: {:?}", Brief(event));
        }
        self.counted += 1;
        self.last = Some(Last {
            count,
            end: count.saturating_add(len + missing),
            direction,
            is_unsized: is_cut && event.missing.is_none(),
        });
    }

    /// Verifies the gap before an event.
    fn gap(&self, event: &Event, direction: Option<Direction>) {
        let Some(gap) = &event.gap else { return };
        let last = self.last.as_ref();
        let before = last.and_then(|last| last.direction);
        assert!(gap.bytes > 0, "{:?}", Brief(event));
        match gap.kind {
            GapKind::Lost => {
                let is_certain = before.is_some() && before == direction;
                assert!(gap.direction.is_none() || is_certain, "{:?}", Brief(event));
                assert_eq!(
                    gap.direction,
                    direction.filter(|_| is_certain),
                    "{:?}",
                    Brief(event)
                );
            }
            GapKind::Cut => {
                assert!(
                    last.is_some_and(|last| last.is_unsized),
                    "{:?}",
                    Brief(event)
                );
                assert_eq!(gap.direction, before, "{:?}", Brief(event));
            }
            GapKind::ProxyHeader => {
                let is_second = self.counted == 1 && before == Some(Direction::Write);
                assert!(
                    is_second && PROXY_HEADERS.contains(&gap.bytes),
                    "{:?}",
                    Brief(event)
                );
                assert_eq!(gap.direction, None, "{:?}", Brief(event));
            }
        }
    }
}
