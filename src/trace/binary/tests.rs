//! The fast paths have the same results as the general decoder, for any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::input::Input;
use crate::model::event::{Event, Timestamp, What};
use crate::properties::config;
use crate::trace::binary::socket::{Selector, SocketEvent};
use crate::trace::binary::walk::PlainFields;
use crate::trace::detect::{Encoding, Generation};
use crate::trace::readable::lexer::Step;
use crate::trace::{Location, Reader};

/// A varint, possibly longer than necessary.
fn varint(value: u64, padding: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(value, &mut bytes);
    for _ in 0..padding {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push(0);
    }
    bytes
}

fn number(number: u64, value: u64, padding: usize) -> Vec<u8> {
    [varint(number << 3, 0), varint(value, padding)].concat()
}

fn field(number: u64, padding: usize, bytes: &[u8]) -> Vec<u8> {
    let len = varint(bytes.len() as u64, padding);
    [&varint(number << 3 | 2, 0)[..], &len, bytes].concat()
}

/// Numbers as in traces, and at the limits.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(1_795_327_726),
        4 => 0_u64..1_000_000_000,
        1 => any::<u64>(),
        1 => (0_u32..64).prop_map(|bits| u64::MAX >> bits),
    ]
}

/// Usually nothing, sometimes zeros at a varint's end.
fn padding() -> impl Strategy<Value = usize> {
    prop_oneof![15 => Just(0), 1 => 1_usize..9]
}

fn time() -> impl Strategy<Value = Vec<u8>> {
    (any_number(), any_number(), padding(), 0..10).prop_map(|(seconds, nanos, padding, odd)| {
        let (a, b) = (number(1, seconds, padding), number(2, nanos, padding));
        match odd {
            0 => b,
            1 => [b, a].concat(),
            2 => [a.clone(), b, a].concat(),
            _ => [a, b].concat(),
        }
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![8 => 0_usize..140, 1 => 250_usize..260, 1 => 16_370_usize..16_390];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

/// A `Read` or `Write`.
fn data() -> impl Strategy<Value = Vec<u8>> {
    (payload(), padding(), 0..16).prop_map(|(bytes, padding, odd)| {
        let body = field(1, padding, &bytes);
        match odd {
            0 => field(1, 0, &[body, number(3, 1, 0)].concat()),
            1 => field(1, 0, &field(2, 0, &bytes)),
            2 => [field(1, 0, &body), number(2, 1, 0)].concat(),
            3 => [field(1, 0, &body), field(1, 0, &body)].concat(),
            _ => field(1, padding, &body),
        }
    })
}

/// An event, usually of a time and bytes only.
fn event() -> impl Strategy<Value = Vec<u8>> {
    let more = (any_number(), 0..12);
    (time(), data(), data(), any::<bool>(), more).prop_map(
        |(time, one, other, way, (count, odd))| {
            let (time, way) = (field(1, 0, &time), 2 + u64::from(way));
            let plain = [time.clone(), field(way, 0, &one)].concat();
            match odd {
                0 => field(way, 0, &one),
                1 => [time, field(4, 0, &[])].concat(),
                2 => [plain, field(5 - way, 0, &other)].concat(),
                3 => [plain, field(way, 0, &other)].concat(),
                4 => [plain, field(99, 0, b"unknown")].concat(),
                5..8 => [plain, number(6, count, 0)].concat(),
                _ => plain,
            }
        },
    )
}

/// Bytes with some of them changed, removed or added.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (0_u8..8, any::<prop::sample::Index>(), any::<u8>());
    (bytes, change).prop_map(|(mut bytes, (kind, at, byte))| {
        let at = at.index(bytes.len() + 1);
        match kind {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            // Near the beginning, where the headers are.
            3 if at % 40 < bytes.len() => bytes[at % 40] = byte,
            4 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            _ => {}
        }
        bytes
    })
}

fn segment(id: u64, content: &[u8]) -> Vec<u8> {
    field(4, 0, &[&number(1, id, 0)[..], content].concat())
}

/// A message of a trace.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let connection = field(2, 0, &field(1, 0, &field(1, 0, &field(2, 0, b"10.0.0.1"))));
    (vec(event(), 1..5), 0_u64..300, 0..12).prop_map(move |(events, id, kind)| {
        let all = |number| -> Vec<u8> {
            let events = events.iter().map(|event| field(number, 0, event));
            events.flatten().collect()
        };
        match kind {
            0..3 => field(
                3,
                0,
                &[number(1, id, 0), connection.clone(), all(3)].concat(),
            ),
            3 => field(3, 0, &[all(3), number(1, id, 0), number(4, 1, 0)].concat()),
            4 => segment(id, &field(4, 0, &all(1))),
            5 => segment(id, &connection),
            6 => segment(id, &all(3)),
            7 => field(4, 0, &[all(3), number(1, id, 0)].concat()),
            _ => segment(id, &field(3, 0, &events[0])),
        }
    })
}

/// How a trace is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Without fast paths.
    General,
    /// Plain events are decoded on the fast path.
    Short,
    /// Plain events are lent.
    Lent,
}

/// The result of reading a trace.
fn all_of(bytes: &[u8], encoding: Encoding, way: Way) -> Vec<String> {
    let mut reader = Reader::new(Input::from_bytes(bytes), Some(encoding), None);
    let mut seen = Vec::new();
    loop {
        if let (Way::Lent, Some(lent)) = (way, reader.plain()) {
            let event = Event {
                trace: lent.event.trace,
                offset: lent.offset,
                time: Some(lent.event.time),
                seq_num: lent.event.seq_num,
                what: What::Data {
                    direction: lent.event.direction,
                    payload: lent.event.payload.to_vec(),
                    truncated: false,
                    as_string: false,
                    end_stream: false,
                },
                ..Event::default()
            };
            seen.push(format!("{:?} {:?}", Some(event), lent.location()));
            let pass = lent.pass();
            reader.pass(pass);
            continue;
        }
        let step = match way {
            Way::Short => reader.advance(),
            Way::General | Way::Lent => reader.advance_any(),
        };
        let location: Location = reader.location();
        seen.push(match &step {
            Ok(Step::Item(())) => format!("{:?} {location:?}", reader.current()),
            other => format!("{other:?} {} {}", reader.offset(), reader.recognised()),
        });
        if !matches!(step, Ok(Step::Item(()))) {
            return seen;
        }
    }
}

/// Fails if a plain event differs from the general decoder's event for the same bytes.
fn is_decoded_alike(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut general = SocketEvent::default();
    let result = general.decode(bytes, Generation::Tap);
    if let Some(plain) = PlainFields::decode(bytes) {
        prop_assert_eq!(result, Ok(()));
        let (seconds, nanos) = general.time.unwrap_or_default();
        prop_assert_eq!((plain.time, false), Timestamp::from_parts(seconds, nanos));
        let same = SocketEvent {
            time: general.time,
            selector: Some(Selector::Data(plain.direction)),
            payload: plain.payload,
            seq_num: plain.seq_num,
            ..SocketEvent::default()
        };
        prop_assert_eq!(same, general);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn a_plain_event_is_decoded_as_by_the_general_decoder(bytes in damaged(event())) {
        is_decoded_alike(&bytes)?;
    }

    #[test]
    fn any_bytes_are_decoded_as_by_the_general_decoder(bytes in vec(any::<u8>(), 0..60)) {
        is_decoded_alike(&bytes)?;
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn a_trace_is_read_as_by_the_general_walk(
        bytes in damaged(vec(message(), 1..6).prop_map(|all| all.concat()))
    ) {
        let general = all_of(&bytes, Encoding::Binary, Way::General);
        prop_assert_eq!(&all_of(&bytes, Encoding::Binary, Way::Short), &general);
        prop_assert_eq!(all_of(&bytes, Encoding::Binary, Way::Lent), general);
    }

    #[test]
    fn a_delimited_trace_is_read_as_by_the_general_walk(
        bytes in damaged(vec(message(), 1..6).prop_map(|all| {
            all.iter().flat_map(|one| [varint(one.len() as u64, 0), one.clone()].concat()).collect()
        }))
    ) {
        let general = all_of(&bytes, Encoding::Delimited, Way::General);
        prop_assert_eq!(&all_of(&bytes, Encoding::Delimited, Way::Short), &general);
        prop_assert_eq!(all_of(&bytes, Encoding::Delimited, Way::Lent), general);
    }
}

/// The comparison above would also succeed if the fast path took no event.
#[test]
fn usual_events_are_plain() {
    let time = field(
        1,
        0,
        &[number(1, 1_795_327_726, 0), number(2, 300_000_000, 0)].concat(),
    );
    for len in [0, 1, 100, 121, 122, 125, 126, 127, 128, 300, 16_380, 70_000] {
        for way in [2, 3] {
            let body = field(1, 0, &field(1, 0, &vec![7; len]));
            let event = [time.clone(), field(way, 0, &body)].concat();
            assert!(PlainFields::decode(&event).is_some(), "{len}");
            let counted = [event, number(6, 123_456, 0)].concat();
            assert!(PlainFields::decode(&counted).is_some(), "{len}");
        }
    }
}

/// A message that claims to be shorter than its contents.
#[test]
fn an_event_that_is_longer_than_its_message_is_not_plain() {
    let body = field(1, 0, &field(1, 0, &[7; 30]));
    let time = [number(1, 1_795_327_726, 0), number(2, 300_000_000, 0)].concat();
    let event = [field(1, 0, &time), field(2, 0, &body)].concat();
    let events = [field(3, 0, &event), field(3, 0, &event)].concat();
    let content = [number(1, 5, 0), events].concat();
    for len in 0..content.len() {
        let trace = [&varint(3 << 3 | 2, 0), &varint(len as u64, 0), &content[..]].concat();
        let general = all_of(&trace, Encoding::Binary, Way::General);
        for way in [Way::Short, Way::Lent] {
            assert_eq!(
                all_of(&trace, Encoding::Binary, way),
                general,
                "{len} {way:?}"
            );
        }
    }
}

/// Lengths of one byte that fit into each other only if their sum overflows.
#[test]
fn lengths_that_overflow_a_byte_are_not_plain() {
    let time = [number(1, 1_795_327_726, 0), number(2, 300_000_000, 0)].concat();
    let time = field(1, 0, &time);
    for (a, b, c) in [
        (2, 0, 254),
        (3, 1, 255),
        (0, 254, 252),
        (129, 127, 125),
        (128, 126, 124),
    ] {
        for first in [1, 7, 0x80] {
            let mut payload = vec![7; usize::from(c)];
            payload[0] = first;
            let event = [&time[..], &[0x12, a, 0x0a, b, 0x0a, c], &payload].concat();
            assert!(PlainFields::decode(&event).is_none(), "{a} {b} {c}");
        }
    }
}
