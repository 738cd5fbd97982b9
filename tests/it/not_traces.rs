//! Files that are not traces: they are refused without a capture, and named if they are recognized.

use std::fs;
use std::io::Write as _;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::bad::{assert_left_over, convert, made};
use crate::fixtures;
use crate::harness::{Outcome, Run, Scratch, each};
use crate::make::{Form, field, noise, number, varint};

/// More than may be read of a stream that is not a trace, in bytes.
const ENDLESS: usize = 256 << 20;

/// Fails unless `bytes` are refused.
#[track_caller]
fn refused(bytes: &[u8]) -> Outcome {
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, bytes, &[]);
    let outcome = outcome.exits(1).says(["not recognized at offset 0"]);
    assert_eq!(records, None, "a capture{}", outcome.explain());
    assert_left_over(&scratch, &["input"]);
    outcome
}

/// Records of other programs that share folders with traces.
fn others() -> Vec<(&'static str, Vec<u8>)> {
    let pair = |key: &str, value: &str| {
        field(
            1,
            &[
                field(1, key.as_bytes()),
                field(2, &field(1, value.as_bytes())),
            ]
            .concat(),
        )
    };
    let fixed = |n: u8, value: u64| [&[n << 3 | 1][..], &value.to_le_bytes()].concat();
    let resource = [pair("service.name", "shop"), pair("host.name", "h")].concat();
    let scope = [field(1, b"lib"), field(2, b"1.0")].concat();
    let span = [
        field(1, b"0123456789abcdef"),
        field(2, b"01234567"),
        field(5, b"GET /"),
        number(6, 2),
        fixed(7, 1_700_000_000_000_000_000),
        pair("http.method", "GET"),
    ];
    let scope_spans = [field(1, &scope), field(2, &span.concat())].concat();
    let traces = |resource: &[u8]| field(1, &[field(1, resource), field(2, &scope_spans)].concat());
    let log = [
        fixed(1, 1_700_000_000_000_000_000),
        number(2, 9),
        field(5, &field(1, b"hello")),
    ];
    let scope_logs = [field(1, &scope), field(2, &log.concat())].concat();
    let logs = field(1, &[field(1, &resource), field(2, &scope_logs)].concat());
    let point = [fixed(3, 1_700_000_000_000_000_000), fixed(4, 1)].concat();
    let metric = [
        field(1, b"requests"),
        field(3, b"1"),
        field(7, &field(1, &point)),
    ]
    .concat();
    let metrics = field(
        1,
        &[field(1, &resource), field(2, &field(2, &metric))].concat(),
    );
    let address = field(1, &[field(2, b"10.0.0.1"), number(3, 4000)].concat());
    let time = number(1, 1_700_000_000);
    let common = [field(2, &address), field(5, &time), field(7, &number(1, 1))].concat();
    let http = [
        field(1, &common),
        field(3, &field(5, b"/")),
        field(4, &number(1, 200)),
    ]
    .concat();
    let node = field(1, &[field(1, b"node"), field(2, b"cluster")].concat());
    let identifier = field(1, &[node.clone(), field(2, b"log")].concat());
    let any = [
        field(1, b"type.googleapis.com/envoy.config.cluster.v3.Cluster"),
        field(2, b"x"),
    ];
    let discovery = [
        field(1, b"2026-11-22T06:08:46Z/7"),
        field(2, &any.concat()),
        field(4, b"type.googleapis.com/envoy.config.cluster.v3.Cluster"),
        field(5, b"nonce"),
    ];
    let descriptor = [
        field(1, b"a/b.proto"),
        field(2, b"a"),
        field(
            4,
            &[
                field(1, b"M"),
                field(2, &[field(1, b"f"), number(3, 1)].concat()),
            ]
            .concat(),
        ),
        field(12, b"proto3"),
    ];
    vec![
        ("OTLP traces", traces(&resource)),
        ("OTLP traces of no resource", traces(b"")),
        ("OTLP logs", logs),
        ("OTLP metrics", metrics),
        ("an access log entry", http.clone()),
        ("a TCP access log entry", field(1, &common)),
        (
            "a stream of access logs",
            [identifier.clone(), field(2, &field(1, &http))].concat(),
        ),
        (
            "a stream of TCP access logs",
            [identifier, field(3, &field(1, &field(1, &common)))].concat(),
        ),
        ("a discovery response", discovery.concat()),
        ("a descriptor set", field(1, &descriptor.concat())),
        ("a node", node),
        (
            "numbers",
            (1..40).flat_map(|n| number(n, u64::from(n) * 97)).collect(),
        ),
        ("strings", (1..9).flat_map(|n| field(n, b"hello")).collect()),
        (
            "empty messages",
            (1..9).flat_map(|n| field(n, b"")).collect(),
        ),
    ]
}

#[test]
fn other_protobufs_are_not_traces() {
    each(
        &others(),
        |(name, _)| (*name).to_owned(),
        |(_, message)| {
            refused(message);
            refused(&message.repeat(3));
            let delimited = [varint(message.len() as u64), message.clone()].concat();
            refused(&delimited);
            refused(&delimited.repeat(3));
            let grpc = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
            refused(&grpc.repeat(2));
        },
    );
}

/// Fields of later releases of Envoy, at any position.
#[test]
fn unknown_fields_of_any_number_and_size_do_not_hide_a_trace() {
    let key = |number: u32, wire_type: u32| varint(u64::from(number << 3 | wire_type));
    let unknown = [
        [key(99, 1), 0x4b7e_b554_u64.to_le_bytes().to_vec()].concat(),
        [key(57, 5), 7_u32.to_le_bytes().to_vec()].concat(),
        [key(70_000, 2), varint(3), b"new".to_vec()].concat(),
        [key(536_870_911, 0), varint(1)].concat(),
    ];
    let scratch = Scratch::new();
    let trace = made().encode(Form::Binary).bytes;
    let (_, plain) = convert(&scratch, &trace, &[]);
    assert!(plain.is_some());
    each(
        &unknown,
        |field| format!("{field:x?}"),
        |field| {
            // The fields of a message may be in any order, so this is one message.
            for bytes in [[&field[..], &trace].concat(), [&trace[..], field].concat()] {
                let scratch = Scratch::new();
                let (outcome, records) = convert(&scratch, &bytes, &[]);
                outcome.exits(0);
                assert_eq!(records, plain);
            }
        },
    );
}

/// A segment of a few bytes, recorded with a wrong clock.
#[test]
fn unknown_fields_do_not_hide_a_close_at_an_unusual_time() {
    let unknown = [&[0xa1, 6][..], &7_u64.to_le_bytes()].concat();
    let time = field(1, &number(1, 1_000_000_000));
    let event = [time, field(4, &[]), unknown.clone()].concat();
    let segment = [number(1, 5), field(3, &event), unknown.clone()].concat();
    let trace = [unknown, field(4, &segment)].concat();
    let (outcome, records) = convert(&Scratch::new(), &trace, &[]);
    outcome.exits(0);
    assert!(records.is_some());
}

/// A trace without events has only an id if its connection has no address.
#[test]
fn an_id_alone_is_a_trace_in_any_encoding() {
    let id = u64::MAX / 3;
    let binary = field(3, &number(1, id));
    let streamed = field(4, &number(1, id));
    let delimited = |message: &[u8]| [varint(message.len() as u64), message.to_vec()].concat();
    for trace in [
        delimited(&binary),
        delimited(&streamed),
        field(3, &binary),
        binary,
        streamed,
        format!("socket_buffered_trace {{ trace_id: {id} }}").into_bytes(),
        format!("{{\"socket_buffered_trace\": {{\"trace_id\": \"{id}\"}}}}").into_bytes(),
    ] {
        let (outcome, records) = convert(&Scratch::new(), &trace, &[]);
        outcome.exits(0).says(["the trace holds no event"]);
        assert_eq!(records, Some(Vec::new()));
    }
}

/// Numbers in messages are common.
#[test]
fn an_id_with_anything_beside_it_is_not_a_trace() {
    for field_number in [2, 3, 4] {
        let id = field(field_number, &number(1, 7));
        refused(&id.repeat(2));
        refused(&[id.clone(), field(9, b"x")].concat());
        refused(&field(field_number, &[number(1, 7), number(9, 1)].concat()));
        refused(&field(field_number, b""));
    }
    refused(&number(1, 7));
    refused(&field(2, &number(1, 7)));
    refused(&field(1, &number(1, 7)));
}

/// How many bytes of an endless stream, which begins with `first`, are read before it is refused.
fn read_of_endless(first: &[u8]) -> usize {
    let scratch = Scratch::new();
    let mut running = scratch.capture2pcap().args(["-", "out.pcap"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    let zeros = vec![0; 64 << 10];
    let mut read = 0;
    while read < ENDLESS
        && stdin
            .write_all(if read == 0 { first } else { &zeros })
            .is_ok()
    {
        read += zeros.len();
    }
    drop(stdin);
    running
        .finish()
        .exits(1)
        .says(["not recognized at offset 0"]);
    read
}

/// Nested messages, each of which claims to be a little longer than the next.
fn claims(tags: &[u8], length: u64) -> Vec<u8> {
    let mut length = length;
    let claims = tags.iter().flat_map(|&tag| {
        length -= 10;
        [&[tag][..], &varint(length)].concat()
    });
    claims.collect()
}

/// A stream is not kept in memory without an end in the search for what shows a trace.
#[test]
fn an_endless_stream_is_refused_after_a_while() {
    // A body after a terminal has changed its line feeds.
    let tags = [&b"\r\n"[..], b"\r\n", b"\x12", b"\r\n"];
    let terminal = tags.map(|tag| [tag, &varint(1 << 30)].concat()).concat();
    let body = |length| claims(&[0x0a, 0x0a, 0x12, 0x0a], length);
    for (first, most) in [
        (terminal, 1 << 20),
        // The headers may follow a body, but not one of a gigabyte.
        (body(1 << 30), 1 << 20),
        (body(15 << 20), 20 << 20),
        (body(1 << 20), 4 << 20),
    ] {
        let read = read_of_endless(&first);
        assert!(read <= most, "{read} bytes of {}", first.escape_ascii());
    }
}

/// An access log of Envoy, and a message of OpenTelemetry.
#[test]
fn other_protobufs_of_the_field_are_not_traces() {
    for name in ["als_entry.pb", "otlp.pb"] {
        let path = fixtures::testdata().join("field/not-a-trace").join(name);
        refused(&fs::read(path).expect("a file"));
    }
}

#[test]
fn random_varints_are_not_a_trace() {
    for seed in 0..60 {
        let mut bytes = noise(seed);
        let mut next = || usize::from(bytes.next().expect("no end"));
        let mut soup = Vec::new();
        while soup.len() < 20 + 10 * seed as usize {
            let field_number = 1 + next() as u32 % 6;
            match next() % 3 {
                0 => soup.extend(number(field_number, next() as u64)),
                1 => {
                    let bytes: Vec<u8> = (0..next() % 20).map(|_| next() as u8).collect();
                    soup.extend(field(field_number, &bytes));
                }
                _ => soup.extend(field(field_number, &number(1 + next() as u32 % 4, 7))),
            }
        }
        refused(&soup);
    }
}

/// The field names of a bare Trace are common in other files.
#[test]
fn other_objects_and_texts_are_not_traces() {
    for text in [
        "{\"events\": [{\"type\": \"click\", \"time\": 1}]}",
        "{\"connection\": {\"host\": \"a\", \"port\": 80}}",
        "{\"resourceSpans\": [{\"resource\": {}}]}",
        "events {\n  name: \"a\"\n}\n",
        "connection: { host: 1 }",
        "trace_id: 5\nname: 7\n",
        "{\"trace_id\": \"5\", \"span_id\": \"7\"}",
        "identifier: x",
    ] {
        refused(text.as_bytes());
    }
}

/// The output of `program` for a file.
fn dump(scratch: &Scratch, program: &str, args: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let path = scratch.write("dumped", bytes);
    let known = Run::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .run();
    if !known.status.success() {
        return None;
    }
    Some(Run::new(program).args(args).arg(path).run().exits(0).stdout)
}

#[test]
fn other_formats_are_named() {
    let trace = made().encode(Form::Binary).bytes;
    let json = made().encode(Form::StreamedJson).bytes;
    let scratch = Scratch::new();
    for trace in [&trace, &json] {
        let base64 = BASE64_STANDARD.encode(trace);
        let lines: Vec<_> = base64.as_bytes().chunks(76).collect();
        for encoded in [
            base64.clone().into_bytes(),
            lines.join(&b'\n'),
            lines.join(&b"\r\n"[..]),
            BASE64_URL_SAFE_NO_PAD.encode(trace).into_bytes(),
        ] {
            refused(&encoded).says(["a trace in base64", "hint: base64 -d"]);
        }
        let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
        refused(hex.as_bytes()).says(["a hex dump", "xxd -r"]);
        for (program, args) in [
            ("xxd", &[][..]),
            ("xxd", &["-p"]),
            ("hexdump", &["-C"]),
            ("hexdump", &[]),
            ("od", &[]),
            ("od", &["-A", "x", "-t", "x1"]),
        ] {
            if let Some(dump) = dump(&scratch, program, args, trace) {
                refused(&dump).says(["a hex dump"]);
            }
        }
    }
    // Written by these programs, if they are installed.
    let line = "00000000: 1a7f 1a7d 0809 1223 0a0f 0a0d 1208 3130  ...}...#......10\n";
    refused(line.as_bytes()).says(["a hex dump"]);
    let magic: [(&[u8], &str); 5] = [
        (b"BZh91AY&SY\x00\x01", "bzip2"),
        (b"\xfd7zXZ\x00\x00\x04", "xz"),
        (b"PK\x03\x04\x14\x00", "zip"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
        (b"\n <HTML>\n", "HTML"),
    ];
    for (bytes, name) in magic {
        refused(bytes).says([name]);
    }
    let mut tar = vec![0; 512];
    tar[..9].copy_from_slice(b"tap_1.pb\0");
    tar[257..263].copy_from_slice(b"ustar\0");
    refused(&[tar, trace.clone()].concat()).says(["tar"]);
    let compressed = [&[1, 0, 0, 0, 20][..], b"\x1f\x8b\x08\x00\x00\x00\x00\x00"].concat();
    refused(&compressed).says(["gRPC"]);
    refused(b"{\"log\":\"{\\n\",\"stream\":\"stdout\"}\n").says(["Docker"]);
    refused(b"config_id: my_tap\ntap_config:\n  match: {}\n").says(["configuration"]);
}

/// The error message of a service is the only help, so it is shown in full.
#[test]
fn an_errors_text_is_shown_whole() {
    let long =
        "upstream connect error or disconnect/reset before headers. reset reason: ".repeat(4);
    let end = "the last word";
    refused(format!("{long}{end}").as_bytes()).says([end]);
    refused(
        format!("HTTP/1.1 503 Service Unavailable\r\nserver: envoy\r\n\r\n{long}{end}").as_bytes(),
    )
    .says(["503 Service Unavailable\\r\\nserver", end]);
    let escaped = refused(b"first\n\x1b[31msecond\x1b[0m\n");
    escaped.says(["first\\n\\u{1b}[31msecond"]);
    let endless = format!("{}{end}", "no healthy upstream\n".repeat(10_000));
    let outcome = refused(endless.as_bytes()).says(["it begins with"]);
    assert!(outcome.stderr.len() < 8 << 10, "{}", outcome.explain());
    assert!(!outcome.stderr.contains(end));
}
