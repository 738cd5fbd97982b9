//! Events of any kind in any order, and events of real connections that a collector has received out of order or repeatedly.

use std::collections::HashSet;
use std::num::NonZeroU64;

use capture2pcap::model::event::{
    Connection, Direction, Endpoint, Event, Timestamp, TraceId, What,
};
use capture2pcap::model::warning::{WarningKind, Warnings};
use capture2pcap::sequence::{MAX_EVENT_LOSS, Memory, Sequencer};

use crate::delivered::{self, is_ordered};

/// The number of bytes that encode an event.
const LEN: usize = 7;
/// The payload of all events of an input, in bytes.
const MAX_PAYLOAD: usize = 96 << 20;
/// The time of the first event, in nanoseconds.
const START: u64 = 1_700_000_000_000_000_000;
/// The number of events of a connection that are reordered together. It is smaller than the number of events that a
/// sequencer holds, and than the number that it compares with a repeated event.
const BLOCK: usize = 16;

/// The sequencer, with events that no Envoy records, and with events of real connections, repeated and reordered.
pub fn sequence(data: &[u8]) {
    match data.split_first() {
        Some((how, rest)) if how & 1 == 0 => any(rest),
        Some((how, rest)) => mixed(rest, how & 2 != 0),
        None => {}
    }
}

/// Some bytes of payload, different for each `seed`.
fn payload(seed: usize, len: usize) -> Vec<u8> {
    let byte = |i: usize| (seed.wrapping_mul(31) + i) as u8;
    (0..len).map(byte).collect()
}

fn endpoint(number: u8) -> Option<Endpoint> {
    (number > 0).then(|| Endpoint::Ip([10, 0, 0, number].into(), 1000 + u16::from(number)))
}

/// Verifies the properties of any events. `None` is the end of the trace, after which more events may follow.
fn run(events: &[Option<Event>], memory: Memory) -> (Vec<Event>, Warnings) {
    let mut sequencer = Sequencer::new(memory, false);
    let (mut delivered, mut warnings) = (Vec::new(), Warnings::default());
    let mut take = |event: &Event, _: &mut Warnings| delivered.push(event.clone());
    for event in events {
        match event.clone() {
            Some(mut event) => {
                delivered::push(&mut sequencer, &mut event, &mut warnings, &mut take);
            }
            None => delivered::finish(&mut sequencer, &mut warnings, &mut take),
        }
    }
    delivered::finish(&mut sequencer, &mut warnings, &mut take);
    (delivered, warnings)
}

/// Events with arbitrary counts and connections.
fn any(data: &[u8]) {
    let events = any_events(data);
    let read: Vec<_> = events.iter().flatten().cloned().collect();
    for memory in [Memory::Bounded, Memory::Whole] {
        let (delivered, warnings) = run(&events, memory);
        delivered::check(&read, &delivered, &warnings, memory);
    }
}

fn any_events(data: &[u8]) -> Vec<Option<Event>> {
    let mut events = Vec::new();
    // The count of each connection to which an event may belong.
    let mut counts = vec![1_u64; 256];
    let (mut time, mut bytes) = (START, 0);
    for (i, chunk) in data.chunks_exact(LEN).enumerate() {
        let &[kind, whose, size, shift, later, extra, flags] = chunk else {
            break;
        };
        time += u64::from(later) * 4_000_000;
        let offset = 10 * i as u64;
        let trace = TraceId {
            number: u64::from(whose & 3),
            ..TraceId::default()
        };
        let connection = || {
            What::Connection(Box::new(Connection {
                local: endpoint(whose >> 2 & 3),
                remote: endpoint(whose >> 4 & 7),
                ..Connection::default()
            }))
        };
        let event_with = |what| Event {
            trace,
            offset,
            what,
            ..Event::default()
        };
        let len = match size {
            0..250 => usize::from(size),
            _ => usize::from(size - 249) << 20,
        };
        bytes += len;
        if bytes > MAX_PAYLOAD {
            break;
        }
        let direction = match kind & 1 {
            0 => Direction::Read,
            _ => Direction::Write,
        };
        let what = match kind >> 1 & 15 {
            0..=7 => What::Data {
                direction,
                payload: payload(usize::from(extra >> 6), len),
                truncated: flags & 1 != 0,
                as_string: flags & 6 == 6,
                end_stream: flags & 8 != 0,
            },
            8 | 9 => What::Closed,
            10 => connection(),
            11 => What::Begin,
            12 => What::Truncated(direction),
            13 => What::Nothing,
            14 => What::Failed,
            _ => {
                events.push(None);
                continue;
            }
        };
        let mut event = event_with(what);
        if is_ordered(&event) {
            let count = &mut counts[usize::from(whose)];
            let closes = u64::from(matches!(event.what, What::Closed));
            let shifted = match shift as i8 {
                i8::MAX => count.saturating_add(MAX_EVENT_LOSS + u64::from(extra)),
                126 => u64::MAX - u64::from(extra),
                125 => 1,
                shift => count.saturating_add_signed(shift.into()),
            };
            if flags & 16 == 0 {
                event.seq_num = NonZeroU64::new(shifted.saturating_add(closes));
            }
            // A wrong count does not always persist.
            if flags & 32 == 0 {
                let cut = if flags & 1 != 0 {
                    u64::from(extra & 63)
                } else {
                    0
                };
                *count = shifted.saturating_add(len as u64 + cut);
            }
            event.time = (flags & 64 == 0).then(|| Timestamp::from_nanos(time));
            if flags & 128 != 0 {
                events.push(Some(event_with(connection())));
            }
        }
        events.push(Some(event));
    }
    events
}

/// A connection whose events all arrive within the window of the sequencer, any number of times.
struct Real {
    trace: TraceId,
    connection: Connection,
    /// Whether each event names its connection.
    names: bool,
    events: Vec<Event>,
}

/// The events of a tap, and the same as a collector may have received them: within blocks, in any order, each event once or
/// several times. With truncated events only whole blocks repeat, because the next event shows their size.
fn mixed(data: &[u8], is_cut: bool) {
    let Some((&[count, shared], rest)) = data.split_first_chunk() else {
        return;
    };
    let count = usize::from(count % 6) + 1;
    let connections: Vec<_> = (0..count)
        .map(|number| real(number, count, shared >> (number % 8) & 1 == 1, rest, is_cut))
        .collect();
    let mut dice = rest.iter().copied().cycle();
    let mut next = move || usize::from(dice.next().unwrap_or(0));

    let plain: Vec<_> = connections
        .iter()
        .map(|real| (0..real.events.len()).collect::<Vec<_>>())
        .collect();
    let other: Vec<_> = connections
        .iter()
        .map(|real| other_order(real.events.len(), is_cut, &mut next))
        .collect();
    let repeats =
        other.iter().map(Vec::len).sum::<usize>() - plain.iter().map(Vec::len).sum::<usize>();

    let (expected, warnings) = run_connections(&connections, plain, &mut || 0);
    assert_eq!(warnings.tallies().count(), 0, "{:?}", warnings);
    let (seen, warnings) = run_connections(&connections, other, &mut next);
    assert_eq!(warnings.count(WarningKind::Repeated), repeats as u64);
    for tally in warnings.tallies() {
        let kind = tally.first.kind;
        assert!(
            matches!(kind, WarningKind::Repeated | WarningKind::Reordered),
            "{tally}"
        );
    }
    for (real, (expected, seen)) in connections.iter().zip(expected.iter().zip(&seen)) {
        assert_eq!(seen, expected, "other events of {:?}", real.connection);
    }
}

/// The connection with a number, from the bytes.
fn real(number: usize, count: usize, names: bool, data: &[u8], is_cut: bool) -> Real {
    // Connections whose events name them share an id.
    let trace = TraceId {
        number: if names { 0 } else { 1 + number as u64 },
        ..TraceId::default()
    };
    let connection = Connection {
        local: endpoint(1),
        remote: endpoint(10 + number as u8),
        ..Connection::default()
    };
    let mut seq = 1;
    let mut events = Vec::new();
    let own = data.iter().skip(number).step_by(count).take(60);
    for (i, &byte) in own.enumerate() {
        let len = usize::from(byte >> 2) + 1;
        let truncated = is_cut && byte & 2 != 0;
        let missing = if truncated { u64::from(byte) * 7 } else { 0 };
        events.push(Event {
            seq_num: NonZeroU64::new(seq),
            what: What::Data {
                // After an event sent by Envoy, the first gap would be taken for a PROXY protocol header.
                direction: [Direction::Read, Direction::Write]
                    [usize::from(byte & 1 & i.min(1) as u8)],
                payload: payload(i, len),
                truncated,
                as_string: false,
                end_stream: false,
            },
            ..Event::default()
        });
        seq += len as u64 + missing;
    }
    if number.is_multiple_of(2) {
        events.push(Event {
            seq_num: NonZeroU64::new(seq + 1),
            what: What::Closed,
            ..Event::default()
        });
    }
    for (i, event) in events.iter_mut().enumerate() {
        event.trace = trace;
        event.offset = (1000 * (number + 1) + i) as u64;
        event.time = Some(Timestamp::from_nanos(START + 10_000_000 * i as u64));
    }
    Real {
        trace,
        connection,
        names,
        events,
    }
}

/// The indices of events in another order, some of them several times.
fn other_order(count: usize, is_cut: bool, next: &mut impl FnMut() -> usize) -> Vec<usize> {
    let mut order = Vec::new();
    let all: Vec<_> = (0..count).collect();
    for block in all.chunks(BLOCK) {
        let mut block = block.to_vec();
        let more: Vec<_> = match is_cut {
            true if next() & 1 == 1 => block.clone(),
            true => Vec::new(),
            false => block.iter().copied().filter(|_| next() & 1 == 1).collect(),
        };
        block.extend(more);
        if !is_cut {
            // A Fisher-Yates shuffle with choices from the bytes.
            for last in (1..block.len()).rev() {
                block.swap(last, next() % (last + 1));
            }
        }
        order.extend(block);
    }
    order
}

/// Delivers the events of connections, each in the given order, in turns. Returns the events of each connection, without
/// the details that depend on the order.
fn run_connections(
    connections: &[Real],
    mut orders: Vec<Vec<usize>>,
    next: &mut impl FnMut() -> usize,
) -> (Vec<Vec<Event>>, Warnings) {
    let mut events = Vec::new();
    let event_with = |real: &Real, offset| Event {
        trace: real.trace,
        offset,
        what: What::Connection(Box::new(real.connection.clone())),
        ..Event::default()
    };
    for real in connections.iter().filter(|real| !real.names) {
        events.push(Some(event_with(real, 0)));
    }
    for order in &mut orders {
        order.reverse();
    }
    loop {
        let open: Vec<_> = (0..orders.len())
            .filter(|i| !orders[*i].is_empty())
            .collect();
        if open.is_empty() {
            break;
        }
        let of = open[next() % open.len()];
        let Some(at) = orders[of].pop() else { break };
        let real = &connections[of];
        if real.names {
            events.push(Some(event_with(real, real.events[at].offset)));
        }
        events.push(Some(real.events[at].clone()));
    }
    let (delivered, warnings) = run(&events, Memory::Bounded);
    let mut ids = HashSet::new();
    let mut of = |real: &Real| {
        let first = real.events.first().map_or(0, |event| event.offset);
        let own = first..first + real.events.len() as u64;
        let own = |event: &&Event| is_ordered(event) && own.contains(&event.offset);
        let mut own: Vec<_> = delivered.iter().filter(own).cloned().collect();
        let id = own.first().map(|event| event.trace);
        assert!(id.is_none_or(|id| ids.insert(id)), "two connections as one");
        for event in &mut own {
            assert_eq!(Some(event.trace), id, "one connection as two");
            event.trace.instance = 0;
        }
        own
    };
    (connections.iter().map(&mut of).collect(), warnings)
}
