//! Messages with their fields in any order, in pieces, and with several members of a oneof.
//!
//! The result has to be that of a parser of the whole message, by protobuf's rules:
//! <https://protobuf.dev/programming-guides/encoding/#last-one-wins>.

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
    encoding: Encoding,
) -> Vec<Event> {
    let read = |input| {
        let mut reader = Reader::new(input, Some(encoding), None);
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
fn a_member_in_pieces_is_one() {
    let parts = [
        number(1, 9),
        field(2, &connection()),
        field(3, &event(What::Read, 1, "one")),
        field(3, &event(What::Write, 2, "two")),
    ];
    let whole = said(
        "whole",
        &delimit(&field(3, &parts.concat())),
        Encoding::Delimited,
    );
    assert_eq!(whole.len(), 4);
    for order in orders(&parts)
        .iter()
        .filter(|order| keeps(order, &parts[2..]))
    {
        for cut in 0..=parts.len() {
            let (a, b) = order.split_at(cut);
            let message = [field(3, &a.concat()), unknown(), field(3, &b.concat())].concat();
            let name = format!("{order:x?} in two after {cut}");
            assert_eq!(
                said(&name, &delimit(&message), Encoding::Delimited),
                whole,
                "{name}"
            );
        }
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

/// An event in two pieces, which protobuf merges.
#[test]
fn an_event_in_pieces_is_one() {
    let one = Ev {
        seq_num: 7,
        truncated: true,
        ..Ev::new(What::Write, 5, "streamed")
    };
    let whole = field(4, &[number(1, 9), field(3, &one.message())].concat());
    let whole = said("whole", &whole, Encoding::Binary);
    let (time, rest) = {
        let all = one.message();
        let rest = one.without_time();
        (all[..all.len() - rest.len()].to_vec(), rest)
    };
    for (a, b) in [(&time, &rest), (&rest, &time)] {
        let segment = [field(3, a), number(1, 9), field(3, b)].concat();
        let binary = field(4, &segment);
        assert_eq!(said("one segment", &binary, Encoding::Binary), whole);
        let split = [
            field(4, &field(3, a)),
            field(4, &[field(3, b), number(1, 9)].concat()),
        ];
        let delimited = delimit(&split.concat());
        assert_eq!(said("two segments", &delimited, Encoding::Delimited), whole);
    }
}

#[test]
fn of_a_oneof_the_last_member_counts() {
    let of = |parts: &[&[u8]]| delimit(&parts.concat());
    let said = |name, bytes: &[u8]| said(name, bytes, Encoding::Delimited);
    let buffered = |id, data| {
        let parts = [
            number(1, id),
            field(2, &connection()),
            field(3, &event(What::Read, 1, data)),
        ];
        field(3, &parts.concat())
    };
    let streamed = |id, data| {
        field(
            4,
            &[number(1, id), field(3, &event(What::Read, 1, data))].concat(),
        )
    };
    // Of a wrapper.
    let (a, b) = (buffered(1, "first"), streamed(2, "second"));
    assert_eq!(said("a, b", &of(&[&a, &b])), said("b", &of(&[&b])));
    assert_eq!(said("b, a", &of(&[&b, &a])), said("a", &of(&[&a])));
    let again = buffered(3, "third");
    assert_eq!(
        said("a, b, a", &of(&[&a, &b, &again])),
        said("a", &of(&[&again]))
    );
    // Of a segment.
    let pieces = [
        field(2, &connection()),
        field(3, &event(What::Read, 1, "event")),
        field(4, &field(1, &event(What::Write, 2, "batch"))),
    ];
    for first in &pieces {
        for last in &pieces {
            if first == last {
                continue;
            }
            let id = number(1, 9);
            let both = field(4, &[&id[..], first, last].concat());
            let one = field(4, &[&id[..], last].concat());
            assert_eq!(said("both", &of(&[&both])), said("one", &of(&[&one])));
            let both = field(4, &[&first[..], last, &id].concat());
            assert_eq!(said("both, id", &of(&[&both])), said("one", &of(&[&one])));
        }
    }
    // Of an event.
    let time = field(1, &number(1, 1_700_000_000));
    let read = field(2, &field(1, &field(1, b"read")));
    let write = field(3, &[field(1, &field(1, b"write")), number(2, 1)].concat());
    let of_event = |parts: &[&[u8]]| of(&[&field(4, &field(3, &parts.concat()))]);
    assert_eq!(
        said("read, write", &of_event(&[&read, &write, &time])),
        said("write", &of_event(&[&time, &write]))
    );
    assert_eq!(
        said("write, read", &of_event(&[&write, &time, &read])),
        said("read", &of_event(&[&time, &read]))
    );
}

/// An exchange in pieces of the wrapper's field, and other fields before it.
#[test]
fn an_exchange_in_pieces_is_one() {
    let half = |headers| Half {
        headers,
        body: Some(parts::body(b"body")),
        ..Half::default()
    };
    let ask = half(request("GET", &[header("a", "b")]));
    let answer = half(response("200", &[]));
    let whole = exchange(Some(&ask), Some(&answer), Some(&connection()));
    let expected = said("whole", &delimit(&whole), Encoding::Delimited);
    assert_eq!(expected.len(), 6);
    let pieces = [
        exchange(Some(&ask), None, None),
        exchange(None, Some(&answer), None),
        exchange(None, None, Some(&connection())),
    ];
    for order in orders(&pieces) {
        let message = delimit(&order.concat());
        let events = said("pieces", &message, Encoding::Delimited);
        assert_eq!(events, expected, "{order:x?}");
    }
    let rate = field(5, &number(1, 50));
    let events = said(
        "a rate",
        &delimit(&[whole, rate].concat()),
        Encoding::Delimited,
    );
    assert_eq!(events[..6], expected);
    assert_eq!(events[6].what, Said::SampleRate(500_000));
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
    // Events before and after it belong to one trace.
    let bytes = bare(&first);
    let len = 2 + usize::from(bytes[1]);
    let (connection, rest) = bytes.split_at(len);
    let one = 2 + usize::from(rest[1]);
    let middle = [&rest[..one], connection, &rest[one..]].concat();
    assert_eq!(read(&middle), read(&bytes));
}

/// JSON with its names sorted, as `jq -S`, Go and Python write it.
fn sorted(value: &Value) -> String {
    // serde_json sorts maps unless its feature preserve_order is on.
    serde_json::to_string(value).expect("JSON")
}

#[test]
fn sorted_json_is_the_same_trace() {
    for form in [Form::Json, Form::StreamedJson] {
        let made = Made::v4(vec![
            Ev::new(What::Read, 1, "one"),
            Ev::new(What::Write, 2, "two"),
            Ev::new(What::Closed, 3, ""),
        ]);
        let bytes = made.encode(form).bytes;
        let whole = said("whole", &bytes, Encoding::Json);
        let messages = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let messages: Vec<_> = messages
            .map(|message| sorted(&message.expect("JSON")))
            .collect();
        for between in ["", "\n"] {
            let bytes = messages.join(between);
            assert_eq!(said("sorted", bytes.as_bytes(), Encoding::Json), whole);
        }
    }
}

#[test]
fn text_in_another_order_is_the_same_trace() {
    let event = |text: &str| {
        format!(
            "{{ read {{ data {{ as_bytes: '{text}' }} }} timestamp {{ nanos: 5 seconds: 9 }} }}"
        )
    };
    let connection = "connection { remote_address { pipe { path: '/b' } } local_address { pipe { path: '/a' } } }";
    let (one, two) = (event("one"), event("two"));
    let of = |name: &str, parts: &[&str]| {
        let text = format!("{name} {{ {} }}", parts.join(" "));
        said(&text, text.as_bytes(), Encoding::Text)
    };
    let (one, two) = (&*format!("events {one}"), &*format!("events {two}"));
    let buffered = |parts: &[&str]| of("socket_buffered_trace", parts);
    let whole = buffered(&["trace_id: 9", connection, one, two]);
    assert_eq!(whole.len(), 4);
    assert_eq!(buffered(&[one, connection, two, "trace_id: 9"]), whole);
    assert_eq!(buffered(&["trace_id: 9", one, two, connection]), whole);
    assert_eq!(
        buffered(&[connection, one, two, "what: 1", "trace_id: 9"]),
        whole
    );
    let streamed = |parts: &[&str]| of("socket_streamed_trace_segment", parts);
    let batch = &*format!("events {{ {one} {two} }}");
    let single = &*event("one").replacen('{', "event {", 1);
    for piece in [batch, single, connection] {
        assert_eq!(
            streamed(&[piece, "trace_id: 9"]),
            streamed(&["trace_id: 9", piece])
        );
    }
}

/// The packets and messages of converting `bytes`, as a file and from a stream.
fn both(bytes: &[u8]) -> [(Vec<Record>, String); 2] {
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, bytes, &[]);
    let from_file = (records.expect("a capture"), outcome.exits(0).stderr);
    let outcome = scratch.capture2pcap().args(["-", "-"]).stdin(bytes).run();
    let outcome = outcome.exits(0);
    let capture = Capture::parse(&outcome.stdout).expect("a capture");
    [from_file, (capture.records, outcome.stderr)]
}

/// A conversation of `len` bytes in events of `size`.
fn long(len: usize, size: usize) -> Made {
    let events = (0..len / size).map(|i| {
        let what = [What::Read, What::Write][i % 2];
        let data: Vec<u8> = noise(i as u64).take(size).collect();
        Ev::new(what, i as i32, data)
    });
    Made::v4(events.collect())
}

/// The members of the one buffered message of `made`.
fn members(made: &Made) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let events = made
        .events
        .iter()
        .flat_map(|event| field(3, &event.message()));
    (
        number(1, made.id),
        field(2, &connection()),
        events.collect(),
    )
}

/// Messages larger than the window, and larger than the part of a file that is buffered.
#[test]
fn a_long_message_names_its_connection_last() {
    let made = long(3 << 20, 3000);
    let (id, connection, events) = members(&made);
    let whole = field(3, &[&id[..], &connection, &events].concat());
    let last = field(3, &[&events[..], &connection, &id].concat());
    let id_last = field(3, &[&connection[..], &events, &id].concat());
    let split = [
        field(3, &[&connection[..], &events].concat()),
        field(3, &id),
    ];
    let rated = [&whole[..], &field(5, &number(1, 50))].concat();
    let Value::Object(json) = serde_json::from_slice(&made.encode(Form::Json).bytes).expect("JSON")
    else {
        panic!("no object")
    };
    let json = Value::Object(json);
    let text = String::from_utf8(made.encode(Form::Text).bytes).expect("text");
    // The connection ends at the start of the first event, and the id is before it.
    let (head, tail) = text.split_once("  events").expect("events");
    let (name, connection) = head.split_once('\n').expect("a line");
    let tail = tail.trim_end().strip_suffix('}').expect("an end");
    let text = format!("{name}\n  events{tail}\n{connection}\n}}\n");
    let cases = [
        ("last", last.clone()),
        ("the id last", id_last),
        ("delimited, in pieces", delimit(&split.concat())),
        ("delimited, with a rate", delimit(&rated)),
        ("delimited, last", delimit(&last)),
        ("sorted JSON", sorted(&json).into_bytes()),
        ("text", text.into_bytes()),
    ];
    let expected = both(&whole).map(|(records, _)| records);
    assert_eq!(expected[0].len(), made.events.len());
    each(
        &cases,
        |(name, _)| (*name).to_owned(),
        |(name, bytes)| {
            for (got, (records, stderr)) in both(bytes).into_iter().enumerate() {
                // Real addresses and stand-ins differ in their ports.
                let payloads = |records: &[Record]| -> Vec<_> {
                    records
                        .iter()
                        .map(|r| r.segment().expect("TCP").payload.to_vec())
                        .collect()
                };
                assert_eq!(payloads(&records), payloads(&expected[got]), "{name}");
                assert_eq!(stderr, "", "{name}");
            }
        },
    );
}

/// A stream is buffered only up to a limit. Events after that have stand-in addresses, with a warning.
#[test]
fn a_stream_that_names_its_connection_too_late_says_so() {
    let made = long(12 << 20, 40_000);
    let (id, connection, events) = members(&made);
    let last = field(3, &[&id[..], &events, &connection].concat());
    let [(from_file, file_said), (from_stream, stream_said)] = both(&last);
    assert_eq!(file_said, "");
    assert!(
        from_file[0]
            .segment()
            .expect("TCP")
            .source
            .ip()
            .to_string()
            .starts_with("10.0.0.")
    );
    assert_eq!(from_stream.len(), from_file.len());
    for (one, other) in from_stream.iter().zip(&from_file) {
        let (one, other) = (one.segment().expect("TCP"), other.segment().expect("TCP"));
        assert_eq!(one.payload, other.payload);
    }
    for part in [
        "addresses were recorded too late",
        "hint: convert the trace from a file",
    ] {
        assert!(stream_said.contains(part), "{stream_said}");
    }
    assert!(
        !stream_said.contains("with stand-in addresses"),
        "{stream_said}"
    );

    // A message without a connection has stand-ins, as a file and from a stream.
    let never = field(3, &[&id[..], &events].concat());
    for (records, stderr) in both(&never) {
        assert_eq!(records.len(), from_file.len());
        assert!(
            stderr.contains("1 connection with stand-in addresses"),
            "{stderr}"
        );
        assert!(!stderr.contains("too late"), "{stderr}");
    }
}

/// A message is complete at its end: its packets do not wait for the next message.
#[test]
fn a_live_stream_does_not_wait_for_the_next_message() {
    let one = Ev::new(What::Read, 1, "streamed");
    let segment = field(4, &[field(3, &one.message()), number(1, 9)].concat());
    let json = json!({"socket_streamed_trace_segment": {
        "event": {"read": {"data": {"as_bytes": "c3RyZWFtZWQ="}}},
        "trace_id": "9",
    }});
    let text = "socket_streamed_trace_segment { event { read { data { as_bytes: 'streamed' } } } trace_id: 9 }";
    let cases = [
        ("binary", segment.clone()),
        ("delimited", delimit(&segment)),
        ("json", sorted(&json).into_bytes()),
        ("text", text.as_bytes().to_vec()),
    ];
    for (encoding, message) in cases {
        let scratch = Scratch::new();
        let mut running = scratch
            .capture2pcap()
            .args(["--input-format", encoding, "-", "-"])
            .start();
        let stdin = running.stdin.as_mut().expect("a pipe");
        stdin.write_all(&message).expect("a reader");
        stdin.flush().expect("a reader");
        let stdout = running.stdout.as_mut().expect("a pipe");
        // The header of the file, and a packet with eight bytes.
        let got = stdout.read(24 + 16 + 54 + 8, PATIENCE);
        let got = got.unwrap_or_else(|why| panic!("{encoding}: {why}"));
        assert!(got.ends_with(b"streamed"), "{encoding}");
        running.finish().exits(0);
    }
}

/// If the trace is cut before the connection, the events are kept, and the offset of the cut is reported.
#[test]
fn a_cut_message_that_names_its_connection_last_keeps_its_events() {
    let events = vec![
        Ev::new(What::Read, 1, "one"),
        Ev::new(What::Write, 2, "two"),
    ];
    let (id, connection, events) = members(&Made::v4(events));
    let whole = field(3, &[&events[..], &connection, &id].concat());
    let head = whole.len() - connection.len() - id.len();
    for cut in [head, head + 1, head + 10] {
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, &whole[..cut], &[]);
        assert_eq!(records.expect("a capture").len(), 2, "{cut}");
        outcome.exits(1).says([&format!("cut at offset {cut}")]);
        let outcome = scratch
            .capture2pcap()
            .args(["-", "-"])
            .stdin(&whole[..cut])
            .run();
        let capture = Capture::parse(&outcome.stdout).expect("a capture");
        assert_eq!(capture.records.len(), 2, "{cut}");
        outcome.exits(1).says([&format!("cut at offset {cut}")]);
    }
}

/// Many messages that each need a look ahead, and messages with many fields.
#[test]
fn looking_ahead_takes_linear_time() {
    let small = Made::v4(vec![Ev::new(What::Read, 1, "one")]);
    let (id, connection, events) = members(&small);
    let one = field(3, &[&events[..], &connection, &id].concat());
    let many = one.repeat(50_000);
    let pieces = field(
        3,
        &[connection.repeat(50_000), events.repeat(50_000)].concat(),
    );
    let rate = field(5, &number(1, 50));
    let segment = field(4, &field(3, &small.events[0].message()));
    let rated = delimit(&[segment, rate.repeat(100_000)].concat());
    let read = AtomicUsize::new(0);
    let cases = [
        ("many", many, Encoding::Binary),
        ("pieces", pieces, Encoding::Binary),
        ("rates", rated, Encoding::Delimited),
    ];
    each(
        &cases,
        |(name, ..)| (*name).to_owned(),
        |(_, bytes, encoding)| {
            for (_, input) in inputs(bytes) {
                let mut reader = Reader::new(input, Some(*encoding), None);
                loop {
                    match reader.advance() {
                        Ok(Step::Item(())) => drop(read.fetch_add(1, Ordering::Relaxed)),
                        Ok(Step::More) => {
                            reader.fill(&Wait::default()).expect("memory is readable");
                        }
                        Ok(Step::End) => break,
                        Err(damage) => panic!("{damage}"),
                    }
                }
            }
        },
    );
    assert!(read.into_inner() > 3 * 100_000);
}

/// Parts of an exchange in separate messages are not merged as pieces of one.
#[test]
fn messages_without_lengths_are_no_pieces() {
    let one = exchange(Some(&Half::default()), None, None);
    let events = said("two", &one.repeat(2), Encoding::Binary);
    let begun = |event: &&Event| matches!(event.what, Said::Http(Http::Begin { .. }));
    assert_eq!(events.iter().filter(begun).count(), 2);
    let is_headers = |event: &&Event| {
        matches!(
            event.what,
            Said::Http(Http::Part {
                part: Part::Headers(_),
                ..
            })
        )
    };
    assert_eq!(events.iter().filter(is_headers).count(), 2);
}

/// Traces from the field, which must equal the result of a parser of the whole message.
#[test]
fn field_traces_in_another_order_are_the_same() {
    let scratch = Scratch::new();
    let read = |name: &str| {
        let path = fixtures::testdata().join("field").join(name);
        std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let records = |name: &str| {
        let (outcome, records) = convert(&scratch, &read(name), &[]);
        // In some of them, two simultaneous connections follow one another.
        let outcome = outcome.exits(0);
        let lines = outcome.stderr.lines();
        let others: Vec<_> = lines
            .filter(|line| !line.contains("times in the capture go backwards"))
            .filter(|line| !line.contains("--merge puts all packets"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        records.expect("a capture")
    };
    assert_eq!(records("sorted.json"), records("inter.json"));
    assert_eq!(records("buf_connlast.pb"), records("buf.json"));
    let [first, second, third] = ["conn_last", "split_wrapper", "trace_id_last"]
        .map(|name| records(&format!("12-{name}.pb_length_delimited")));
    assert_eq!(first.len(), 2);
    assert_eq!(first, second);
    assert_eq!(first, third);
    for record in &first {
        let segment = record.segment().expect("TCP");
        let ips = [
            segment.source.ip().to_string(),
            segment.destination.ip().to_string(),
        ];
        assert!(ips.iter().all(|ip| ip.starts_with("10.0.0.")), "{ips:?}");
    }
}

/// The addresses had the offset of the first event, which the merge then lost.
#[test]
fn a_merge_keeps_the_events_before_their_connection() {
    let scratch = Scratch::new();
    let merged = |name: &str| {
        let input = fixtures::testdata().join("field").join(name);
        let run = scratch.capture2pcap().arg("--merge").arg(input);
        run.arg(scratch.path("out.pcap")).run().exits(0);
        Capture::read(&scratch.path("out.pcap")).streams()
    };
    let streams = merged("buf_connlast.pb");
    assert_eq!(streams.len(), 2);
    assert_eq!(streams, merged("buf.json"));
}

/// An unknown field before the trace.
#[test]
fn an_unknown_field_before_a_text_trace_is_no_damage() {
    let scratch = Scratch::new();
    let trace = Made::v4(vec![Ev::new(What::Read, 0, "hello")]).encode(Form::Text);
    let rate = b"sample_rate { numerator: 50 }\n";
    let (outcome, with) = convert(&scratch, &[&rate[..], &trace.bytes].concat(), &[]);
    outcome.exits(0).says_nothing();
    let (outcome, without) = convert(&scratch, &trace.bytes, &[]);
    outcome.exits(0).says_nothing();
    assert_eq!(with.expect("a capture"), without.expect("a capture"));
}
