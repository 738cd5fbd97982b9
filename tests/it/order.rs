//! Messages with their fields in any order, in pieces, and with several members of a oneof.
//!
//! The result has to be that of a parser of the whole message, by protobuf's rules:
//! <https://protobuf.dev/programming-guides/encoding/#last-one-wins>.

mod encodings;
mod large;
mod last;
mod pieces;

use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use capture2pcap::input::{Input, Wait};
use capture2pcap::model::event::{Event, Http, Part, What as Said};
use capture2pcap::trace::{Encoding, EventDecoder, Location, Reader, Step};
use serde_json::{Value, json};

use crate::bad::convert;
use crate::fixtures;
use crate::harness::{Scratch, each};
use crate::make::parts::{self, Half, exchange, header, request, response, socket};
use crate::make::{Ev, Form, Made, What, field, noise, number, varint};
use crate::pcap::{Capture, Record};
use crate::stdio::PATIENCE;

/// A reader that returns a few bytes at a time.
struct Pieces(Vec<u8>, usize);

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(self.0.len()).min(room.len());
        room[..n].copy_from_slice(&self.0[..n]);
        self.0.drain(..n);
        Ok(n)
    }
}

/// The same bytes as a file, a stream, and memory.
fn inputs(bytes: &[u8]) -> Vec<(&'static str, Input)> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("a disk");
    io::Seek::rewind(&mut file).expect("a file");
    let step = 1 + bytes.len() / 50;
    vec![
        ("a file", Input::from_file(file).expect("a file")),
        ("a stream", Input::from_reader(Pieces(bytes.to_vec(), step))),
        ("memory", Input::from_bytes(bytes)),
    ]
}

/// The contents of a trace, without positions. Each event is also decoded again from its location.
fn said(name: &str, bytes: &[u8], encoding: Encoding) -> Vec<Event> {
    said_by(inputs(bytes), name, bytes, encoding)
}

/// The same, for some of the inputs.
fn said_by(
    inputs: Vec<(&'static str, Input)>,
    name: &str,
    bytes: &[u8],
    encoding: impl Into<Option<Encoding>>,
) -> Vec<Event> {
    let encoding = encoding.into();
    let read = |input| {
        let mut reader = Reader::new(input, encoding, None);
        let (mut events, mut decoder) = (Vec::new(), EventDecoder::default());
        loop {
            match reader.advance() {
                Ok(Step::Item(())) => {
                    let event = reader.current().expect("an event").clone();
                    check_location(name, &reader, &event, bytes, &mut decoder);
                    events.push(Event { offset: 0, ..event });
                }
                Ok(Step::More) => reader.fill(&Wait::default()).expect("memory is readable"),
                Ok(Step::End) => return events,
                Err(damage) => panic!("{name}: {damage}"),
            }
        }
    };
    let mut all = inputs
        .into_iter()
        .map(|(input_name, input)| (input_name, read(input)));
    let (_, first) = all.next().expect("a way to read");
    for (input_name, events) in all {
        assert_eq!(events, first, "{name}: {input_name}");
    }
    first
}

fn check_location(
    name: &str,
    reader: &Reader,
    event: &Event,
    bytes: &[u8],
    decoder: &mut EventDecoder,
) {
    let location = reader.location();
    if location == Location::default() {
        return;
    }
    let start = location.offset as usize;
    let bytes = &bytes[start..start + location.len as usize];
    let format = reader.format().expect("a format");
    let decoded = decoder
        .decode(format, location, bytes)
        .unwrap_or_else(|damage| panic!("{name}: {damage}"));
    // The caller sets these fields.
    decoded.trace = event.trace;
    decoded.offset = event.offset;
    assert_eq!(decoded, event, "{name}: decoded again");
}

/// All orders of `parts`.
fn orders(parts: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if parts.len() < 2 {
        return vec![parts.to_vec()];
    }
    (0..parts.len())
        .flat_map(|i| {
            let mut rest = parts.to_vec();
            let first = rest.remove(i);
            orders(&rest).into_iter().map(move |mut order| {
                order.insert(0, first.clone());
                order
            })
        })
        .collect()
}

/// Whether the events among `parts` are in their original order, as protobuf keeps the order of a repeated field.
fn keeps(order: &[Vec<u8>], parts: &[Vec<u8>]) -> bool {
    let place = |part| order.iter().position(|other| other == part);
    parts.iter().map(place).is_sorted()
}

fn delimit(message: &[u8]) -> Vec<u8> {
    [varint(message.len() as u64), message.to_vec()].concat()
}

fn address(ip: &str) -> Vec<u8> {
    socket(ip, 443)
}

/// A connection with both ends; below, the same in two pieces.
fn connection() -> Vec<u8> {
    let (local, remote) = (address("10.0.0.1"), address("10.0.0.2"));
    parts::connection(Some(&local), Some(&remote))
}

fn halves() -> [Vec<u8>; 2] {
    let (local, remote) = (address("10.0.0.1"), address("10.0.0.2"));
    [
        parts::connection(Some(&local), None),
        parts::connection(None, Some(&remote)),
    ]
}

fn event(what: What, micros: i32, data: &str) -> Vec<u8> {
    Ev::new(what, micros, data).message()
}

/// An unknown field.
fn unknown() -> Vec<u8> {
    [field(99, b"what"), number(98, 5)].concat()
}

/// JSON with its names sorted, as `jq -S`, Go and Python write it.
fn sorted(value: &Value) -> String {
    // serde_json sorts maps unless its feature preserve_order is on.
    serde_json::to_string(value).expect("JSON")
}

#[test]
fn a_buffered_message_in_any_order() {
    let events = [
        field(3, &event(What::Read, 1, "one")),
        field(3, &event(What::Write, 2, "two")),
    ];
    let [local, remote] = halves();
    let connection = field(2, &connection());
    let canonical = [&number(1, 9), &connection, &events[0], &events[1]];
    let canonical = field(3, &canonical.map(Vec::as_slice).concat());
    let whole = said("canonical", &canonical, Encoding::Binary);
    assert_eq!(whole.len(), 4, "{whole:?}");
    let sets = [
        vec![number(1, 9), connection.clone()],
        vec![number(1, 9), connection.clone(), unknown()],
        // Fields in pieces, and several ids, of which the last counts.
        vec![number(1, 9), field(2, &local), field(2, &remote)],
    ];
    for set in sets {
        let all = [&events[..], &set].concat();
        for order in orders(&all).iter().filter(|order| keeps(order, &events)) {
            let message = field(3, &order.concat());
            let name = format!("{:x?}", message);
            assert_eq!(said(&name, &message, Encoding::Binary), whole, "{name}");
            let message = delimit(&message);
            assert_eq!(said(&name, &message, Encoding::Delimited), whole, "{name}");
        }
    }
    // The last id counts, wherever the first one is. A stream with an id and both addresses does not wait for another
    // id.
    let twice = vec![number(1, 3), number(1, 9), connection];
    let all = [&events[..], &twice].concat();
    for order in orders(&all).iter().filter(|order| keeps(order, &events)) {
        let Some(true) = order
            .iter()
            .position(|part| *part == twice[0])
            .map(|first| {
                first
                    < order
                        .iter()
                        .position(|part| *part == twice[1])
                        .expect("a second")
            })
        else {
            continue;
        };
        let message = field(3, &order.concat());
        let name = format!("{:x?}", message);
        let mut files = inputs(&message);
        files.retain(|(input_name, _)| *input_name != "a stream");
        let contents = said_by(files, &name, &message, Encoding::Binary);
        assert_eq!(contents, whole, "{name}");
    }
}

#[test]
fn a_streamed_message_in_any_order() {
    let one = Ev {
        seq_num: 7,
        end_stream: true,
        ..Ev::new(What::Write, 5, "streamed")
    }
    .message();
    let batch = [field(1, &one), field(1, &event(What::Read, 6, "next"))].concat();
    let pieces = [
        field(2, &connection()),
        field(3, &one),
        field(4, &batch),
        field(3, &Ev::new(What::Closed, 7, "").message()),
    ];
    // Other messages before and after keep their own ids.
    let other = |delimited: bool| {
        let message = field(4, &[number(1, 1), field(3, &one)].concat());
        if delimited {
            delimit(&message)
        } else {
            message
        }
    };
    for piece in &pieces {
        let whole = field(4, &[number(1, 9), piece.clone()].concat());
        let whole = [other(false), whole, other(false)].concat();
        let whole = said("whole", &whole, Encoding::Binary);
        let parts = [number(1, 9), piece.clone(), unknown()];
        for order in orders(&parts) {
            let message = field(4, &order.concat());
            let name = format!("{message:x?}");
            let binary = [other(false), message.clone(), other(false)].concat();
            assert_eq!(said(&name, &binary, Encoding::Binary), whole, "{name}");
            let delimited = [other(true), delimit(&message), other(true)].concat();
            assert_eq!(
                said(&name, &delimited, Encoding::Delimited),
                whole,
                "{name}"
            );
            // The wrapper's field in two pieces.
            let split = [
                field(4, &order[0]),
                unknown(),
                field(4, &order[1..].concat()),
            ];
            let delimited = [other(true), delimit(&split.concat()), other(true)].concat();
            assert_eq!(
                said(&name, &delimited, Encoding::Delimited),
                whole,
                "{name}"
            );
        }
    }
}

/// A trace in the layout of Envoy 1.7, with the connection last.
#[test]
fn a_bare_trace_with_its_connection_last() {
    let bare = |made: &Made| made.encode(Form::Bare).bytes;
    let events = |micros| {
        vec![
            Ev::new(What::Read, micros, "one"),
            Ev::new(What::Write, micros + 1, "two"),
        ]
    };
    let first = Made::v4(events(1));
    let second = Made {
        id: 8,
        ..Made::v6(events(3))
    };
    // The connection is the first field of each.
    let last = |made: &Made| {
        let bytes = bare(made);
        let len = 2 + usize::from(bytes[1]);
        [&bytes[len..], &bytes[..len]].concat()
    };
    let read = |bytes: &[u8]| said("bare", bytes, Encoding::Binary);
    assert_eq!(read(&last(&first)), read(&bare(&first)));
    let both = [bare(&first), bare(&second)].concat();
    assert_eq!(read(&[last(&first), last(&second)].concat()), read(&both));
    // Events before and after the connection belong to one trace.
    let bytes = bare(&first);
    let len = 2 + usize::from(bytes[1]);
    let (connection, rest) = bytes.split_at(len);
    let one = 2 + usize::from(rest[1]);
    let middle = [&rest[..one], connection, &rest[one..]].concat();
    assert_eq!(read(&middle), read(&bytes));
}
