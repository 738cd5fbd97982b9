//! Messages of the tap service, which contain traces: in every encoding, and with gRPC's prefix before each.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::bad::{convert, made};
use crate::fixtures;
use crate::harness::Scratch;
use crate::make::{Form, field, number, varint};
use crate::pcap::{Capture, Record};

/// The identifier of the sender, which only the first message of a stream has.
fn identifier() -> Vec<u8> {
    // A node has an id, a cluster, metadata, a locality, and more.
    let node = [
        field(1, b"sc-worker-0"),
        field(2, b"scp"),
        field(3, &field(1, b"metadata")),
        field(6, b"envoy"),
        number(12, 1),
    ];
    field(
        1,
        &[field(1, &node.concat()), field(2, b"tap-ing")].concat(),
    )
}

/// Each message of a trace, wrapped as a message to a tap service.
fn wrapped(messages: &[&[u8]], with_id: bool) -> Vec<Vec<u8>> {
    let wrap = |(i, message): (usize, &&[u8])| {
        let identifier = if i == 0 { identifier() } else { Vec::new() };
        let id = if with_id { number(2, 77) } else { Vec::new() };
        [identifier, id, field(3, message)].concat()
    };
    messages.iter().enumerate().map(wrap).collect()
}

/// The messages of an encoded trace.
fn messages(form: Form) -> Vec<Vec<u8>> {
    let encoded = made().encode(form);
    let mut ends: Vec<usize> = encoded.events.iter().map(|event| event.0).collect();
    ends.push(encoded.bytes.len());
    let mut start = 0;
    let mut messages = Vec::new();
    for end in ends {
        messages.push(encoded.bytes[start..end].to_vec());
        start = end;
    }
    messages
}

fn records(trace: &[u8]) -> Vec<Record> {
    let (outcome, records) = convert(&Scratch::new(), trace, &[]);
    outcome.exits(0).says_nothing();
    records.expect("a capture")
}

#[test]
fn messages_of_a_tap_service_are_unwrapped() {
    let streamed = messages(Form::Streamed);
    let streamed: Vec<&[u8]> = streamed.iter().map(Vec::as_slice).collect();
    let buffered = made().encode(Form::Binary).bytes;
    for (messages, plain) in [
        (streamed.clone(), streamed.concat()),
        (vec![buffered.as_slice()], buffered.clone()),
    ] {
        let expected = records(&plain);
        assert_eq!(expected.len(), 12);
        for with_id in [true, false] {
            let wrapped = wrapped(&messages, with_id);
            assert_eq!(records(&wrapped.concat()), expected);
            let delimited = wrapped
                .iter()
                .flat_map(|message| [varint(message.len() as u64), message.clone()].concat());
            assert_eq!(records(&delimited.collect::<Vec<_>>()), expected);
            let grpc = |message: &[u8]| {
                let length = u32::try_from(message.len()).expect("a short message");
                [&[0][..], &length.to_be_bytes(), message].concat()
            };
            let body: Vec<u8> = wrapped.iter().flat_map(|message| grpc(message)).collect();
            assert_eq!(records(&body), expected);
            // Other programs may have unwrapped the messages already.
            let body: Vec<u8> = messages.iter().flat_map(|message| grpc(message)).collect();
            assert_eq!(records(&body), expected);
        }
    }
}

#[test]
fn messages_of_a_tap_service_are_unwrapped_in_readable_encodings() {
    let of = |form: Form| {
        messages(form)
            .into_iter()
            .map(|m| String::from_utf8(m).expect("text"))
    };
    let identifier = "\"identifier\": {\"node\": {\"id\": \"a\", \"metadata\": {\"trace\": 1}}, \"tap_id\": \"t\"}, ";
    let expected = records(&made().encode(Form::StreamedJson).bytes);
    let json = |id: &str| -> String {
        of(Form::StreamedJson)
            .enumerate()
            .map(|(i, message)| {
                let identifier = if i == 0 { identifier } else { "" };
                format!("{{{identifier}{id}\"trace\": {message}}}\n")
            })
            .collect()
    };
    for id in ["\"trace_id\": \"77\", ", "\"traceId\": 77, ", ""] {
        assert_eq!(records(json(id).as_bytes()), expected, "{id}");
        let array = format!("[{}]", json(id).trim_end().replace("}\n{", "},\n{"));
        assert_eq!(records(array.as_bytes()), expected, "{id}");
    }
    let text = |id: &str| -> String {
        of(Form::StreamedText)
            .enumerate()
            .map(|(i, message)| {
                let identifier = match i {
                    0 => "identifier {\n  node {\n    id: \"a\"\n  }\n  tap_id: \"t\"\n}\n",
                    _ => "",
                };
                format!("{identifier}{id}trace {{\n{message}}}\n")
            })
            .collect()
    };
    for id in ["trace_id: 77\n", ""] {
        assert_eq!(records(text(id).as_bytes()), expected, "{id}");
    }
}

/// An Any contains its type: in JSON as the first member, in text as the name.
#[test]
fn an_any_around_a_message_is_read() {
    const TAP: &str = "type.googleapis.com/envoy.data.tap.v3.TraceWrapper";
    const ANY: &str = "type.googleapis.com/google.protobuf.Any";
    const SERVICE: &str = "type.googleapis.com/envoy.service.tap.v3.StreamTapsRequest";
    let expected = records(&made().encode(Form::StreamedJson).bytes);
    let all = |form: Form, wrap: &dyn Fn(&str) -> String| -> String {
        let messages = messages(form).into_iter();
        messages
            .map(|message| wrap(String::from_utf8(message).expect("text").trim()))
            .collect()
    };
    let typed = |message: &str| message.replacen('{', &format!("{{\"@type\": \"{TAP}\", "), 1);
    let json: [&dyn Fn(&str) -> String; 4] = [
        &typed,
        &|message| format!("{{\"@type\":\"{ANY}\",\n\"value\": {}}}", typed(message)),
        &|message| format!("{{\"@type\":\"{SERVICE}\", \"trace\": {message}}}"),
        // Inside a message, a type is an unknown name.
        &|message| message.replacen("{\n  \"trace_id\"", "{\"@type\": \"x\", \"trace_id\"", 1),
    ];
    for (i, wrap) in json.into_iter().enumerate() {
        let trace = all(Form::StreamedJson, wrap);
        assert_eq!(records(trace.as_bytes()), expected, "{i}");
    }
    let text: [&dyn Fn(&str) -> String; 3] = [
        &|message| format!("[{TAP}] {{ {message} }}\n"),
        &|message| format!("[{ANY}]: < [{TAP}] {{\n{message}\n}} >\n"),
        &|message| format!("[{SERVICE}] {{ trace {{ {message} }} }}\n"),
    ];
    for (i, wrap) in text.into_iter().enumerate() {
        let trace = all(Form::StreamedText, wrap);
        assert_eq!(records(trace.as_bytes()), expected, "{i}");
    }
}

/// The messages in testdata/field, and their unwrapped contents.
#[test]
fn field_messages_of_a_tap_service_are_unwrapped() {
    let folder = fixtures::testdata().join("field/tap-service");
    let inner = fs::read(folder.join("inner_socket_buffered.pb")).expect("a trace");
    let expected = records(&field(3, &inner));
    assert_eq!(expected.len(), 2);
    for name in [
        "inner_socket_buffered.pb",
        "streamtaps_one.pb",
        "streamtaps_one.json",
    ] {
        let trace = fs::read(folder.join(name)).expect("a trace");
        assert_eq!(records(&trace), expected, "{name}");
    }
    let stream = fs::read(folder.join("streamtaps_stream.pb")).expect("a trace");
    let scratch = Scratch::new();
    // Its connections follow one another, although they were open at the same time.
    let outcome = convert(&scratch, &stream, &[]).0.exits(0);
    let outcome = outcome.says(["1 event earlier than the one before"]);
    assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.explain());
    let capture = Capture::read(&scratch.path("output.pcap"));
    assert_eq!(capture.streams().len(), 4);
}

/// Some programs wrap base64 into lines of 64 or 76 characters.
#[test]
fn base64_in_lines_is_read() {
    let expected = records(&made().encode(Form::StreamedJson).bytes);
    let trace = String::from_utf8(made().encode(Form::StreamedJson).bytes).expect("text");
    for end in ["\\n", "\\r\\n", "\n", "\r\n   "] {
        let mut broken = trace.clone();
        for event in &made().events {
            let whole = BASE64_STANDARD.encode(&event.data);
            let lines: Vec<_> = whole.as_bytes().chunks(76).collect();
            let lines: Vec<_> = lines
                .iter()
                .map(|line| String::from_utf8_lossy(line))
                .collect();
            broken = broken.replace(&whole, &(lines.join(end) + end));
        }
        assert_ne!(broken, trace);
        assert_eq!(records(broken.as_bytes()), expected, "{end:?}");
    }
}
