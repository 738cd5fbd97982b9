//! Socket events, compared with the generated type.

use super::*;
use crate::encoded::{field, number};
use crate::trace::decode::proto::tap;
use prost::Message as _;

fn decoded(message: &[u8]) -> Result<SocketEvent<'_>, Broken> {
    let mut event = SocketEvent::default();
    event.decode(message, Generation::Tap).map(|()| event)
}

/// The generated type's decoding of `message`.
fn generated(message: &[u8]) -> SocketEvent<'_> {
    use tap::{body::BodyType, socket_event::EventSelector};
    let event = tap::SocketEvent::decode(message).unwrap();
    let mut same = SocketEvent {
        time: event.timestamp.map(|at| (at.seconds, at.nanos)),
        connection: event
            .connection
            .map(|connection| connection.encode_to_vec())
            .unwrap_or_default(),
        seq_num: event.seq_num,
        ..SocketEvent::default()
    };
    let (selector, body, end_stream) = match event.event_selector {
        Some(EventSelector::Read(read)) => {
            (Some(Selector::Data(Direction::Read)), read.data, false)
        }
        Some(EventSelector::Write(write)) => (
            Some(Selector::Data(Direction::Write)),
            write.data,
            write.end_stream,
        ),
        Some(EventSelector::Closed(_)) => (Some(Selector::Closed), None, false),
        None => (None, None, false),
    };
    (same.selector, same.end_stream) = (selector, end_stream);
    if let Some(body) = body {
        same.truncated = body.truncated;
        let (bytes, as_string) = match body.body_type {
            Some(BodyType::AsBytes(bytes)) => (bytes, false),
            Some(BodyType::AsString(bytes)) => (bytes, true),
            None => Default::default(),
        };
        same.as_string = as_string;
        // Each payload below repeats one byte, which occurs in no other payload.
        let at = message
            .windows(bytes.len().max(1))
            .rposition(|window| window == bytes);
        same.payload = at.map_or(&[], |at| &message[at..at + bytes.len()]);
    }
    same
}

#[test]
fn fields_are_decoded_as_by_the_generated_code() {
    let (a, b) = (field(1, &[0xaa; 40]), field(2, &[0xbb; 200]));
    let pieces = [
        field(1, &[number(1, 1_700_000_000), number(2, 5)].concat()),
        field(1, &number(2, u64::MAX)),
        field(1, &number(1, (-5_i64) as u64)),
        field(2, &field(1, &a)),
        field(2, &field(1, &[a.clone(), b.clone(), number(3, 1)].concat())),
        field(3, &[field(1, &b), number(2, 1)].concat()),
        field(3, &field(1, &number(3, 1))),
        field(3, &number(2, 0)),
        field(4, &[]),
        field(5, &field(1, &field(2, &field(1, b"/a")))),
        number(6, 1 << 40),
        // Unknown fields of each wire type.
        number(7, 9),
        field(99, b"what"),
        [&[0x79][..], &[1; 8]].concat(),
        [&[0x7d][..], &[1; 4]].concat(),
    ];
    for first in &pieces {
        for second in &pieces {
            for third in &pieces {
                let message = [&first[..], second, third].concat();
                let mut read = decoded(&message).unwrap();
                // Merged messages are encoded again.
                let connection = tap::Connection::decode(&read.connection[..]).unwrap();
                read.connection = connection.encode_to_vec();
                assert_eq!(read, generated(&message), "{message:x?}");
            }
        }
    }
}

#[test]
fn a_cut_is_a_fault_wherever_it_is() {
    let body = field(1, &[field(1, &[0xaa; 140]), number(3, 1)].concat());
    let time = field(1, &[number(1, 1_700_000_000), number(2, 5)].concat());
    let whole = [time.clone(), field(3, &[body, number(2, 1)].concat())].concat();
    for cut in 0..whole.len() {
        let read = decoded(&whole[..cut]);
        assert_eq!(read.is_ok(), cut == 0 || cut == time.len(), "{cut}");
    }
    // A message that ends inside a field of its own, followed by other bytes.
    let message = [&[0x0a, 2, 0x08, 0x80][..], &[0x01, 0x10, 0x05]].concat();
    assert!(decoded(&message).is_err());
}
