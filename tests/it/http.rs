//! Unusual HTTP messages: invalid in HTTP/2, very large, or incomplete.

use crate::harness::{Outcome, Scratch};
use crate::make::parts::{
    Half, body, connection, exchange, header, raw_header, request, response, socket,
};
use crate::make::{START, field, noise, number};
use crate::pcap::Capture;
use crate::pdml::View;
use crate::taps::{assert_shown, show};
use crate::tree::{Recorded, exchanges};

/// The types of HTTP/2 frames.
const DATA: u64 = 0;
const HEADERS: u64 = 1;
const CONTINUATION: u64 = 9;

/// The preface of an HTTP/2 client.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) fn downstream() -> Vec<u8> {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    connection(Some(&local), Some(&remote))
}

/// A request `at` seconds after the start, and a response `took` seconds later.
pub(crate) fn halves(at: i64, took: i64) -> (Half, Half) {
    let asked = Half {
        headers: request("GET", &[]),
        time: Some((START + at, 0)),
        ..Half::default()
    };
    let answered = Half {
        headers: response("200", &[header("server", "envoy")]),
        body: Some(body(b"hello")),
        time: Some((START + at + took, 0)),
        ..Half::default()
    };
    (asked, answered)
}

/// Converts a trace, compares tshark's view with the trace, and returns both.
#[track_caller]
pub(crate) fn convert(trace: &[u8], options: &[&str]) -> (Outcome, Capture, View, Vec<Recorded>) {
    let scratch = Scratch::new();
    let input = scratch.write("trace.pb", trace);
    let (outcome, capture, view) = show(&scratch, &input, options);
    let recorded = exchanges("pb", trace);
    assert_shown("trace.pb", &recorded, &view);
    (outcome, capture, view, recorded)
}

#[test]
fn any_field_is_kept_as_recorded() {
    let (mut asked, mut answered) = halves(0, 1);
    let odd = [
        header("Upper-Case", "Kept"),
        header("connection", "keep-alive, Upgrade"),
        header("transfer-encoding", "chunked"),
        header("te", "gzip"),
        header("empty", ""),
        header("with space", " padded "),
        raw_header("raw", b"\xff\xfe\x00\r\n\x80"),
        // JSON prints both fields, one of them empty.
        [header("raw-beside-empty", ""), field(3, b"\xc3\x28")].concat(),
        header("utf-8", "gr\u{fc}n \u{1f980}"),
        header("twice", "first"),
        header("twice", "second"),
        header(":late", "a pseudo-header that comes last"),
    ];
    asked.headers.extend_from_slice(&odd);
    answered.headers.extend_from_slice(&odd);
    answered.trailers = odd[..9].to_vec();
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let (outcome, _, view, _) = convert(&trace, &[]);
    outcome.says_nothing();
    let shown = &view.exchanges[0].messages[0].headers;
    let value = |name: &[u8]| {
        let found = shown.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| &value[..])
    };
    assert_eq!(value(b"raw"), Some(&b"\xff\xfe\x00\r\n\x80"[..]));
    assert_eq!(value(b"Upper-Case"), Some(&b"Kept"[..]));
    assert_eq!(value(b"empty"), Some(&b""[..]));
    assert_eq!(shown[4].0, b":late", "pseudo-headers first");
    assert_eq!(view.exchanges[0].messages[1].trailers.len(), 9);
}

/// In the readable encodings, `raw_value` is escaped or in base64.
#[test]
fn bytes_in_a_header_survive_every_encoding() {
    let text = "http_buffered_trace {\n  request {\n    headers {\n      key: \":method\"\n      value: \"GET\"\n    }\n    \
        headers {\n      key: \"raw\"\n      raw_value: \"\\377\\000a\\n\"\n    }\n  }\n}\n";
    let json = r#"{"http_buffered_trace": {"request": {"headers": [
        {"key": ":method", "value": "GET", "raw_value": ""},
        {"key": "raw", "value": "", "raw_value": "/wBhCg=="}], "trailers": []}}}"#;
    let asked = Half {
        headers: vec![header(":method", "GET"), raw_header("raw", b"\xff\x00a\n")],
        ..Half::default()
    };
    let binary = exchange(Some(&asked), None, None);
    for (extension, trace) in [
        ("pb_text", text.as_bytes()),
        ("json", json.as_bytes()),
        ("pb", &binary),
    ] {
        let scratch = Scratch::new();
        let input = scratch.write(&format!("trace.{extension}"), trace);
        let (_, _, view) = show(&scratch, &input, &[]);
        assert_shown(extension, &exchanges(extension, trace), &view);
        let headers = &view.exchanges[0].messages[0].headers;
        let expected = [(":method", &b"GET"[..]), ("raw", b"\xff\x00a\n")]
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        assert_eq!(headers[..], expected, "{extension}");
    }
}

/// A value of `len` letters.
fn letters(len: usize) -> String {
    let letters = noise(3).map(|byte| char::from(b'a' + byte % 26));
    letters.take(len).collect()
}

#[test]
fn long_headers_continue() {
    let (mut asked, mut answered) = halves(0, 1);
    // nghttp2, with which tshark decodes, accepts strings up to 64 KiB.
    asked.headers.push(header("cookie", &letters(60_000)));
    asked.headers.push(header("after", "it"));
    answered.trailers = vec![header("trailer", &letters(20_000))];
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let (_, _, view, _) = convert(&trace, &[]);
    // With frames of 16,384 bytes, the headers need four and the trailers two.
    assert_eq!(view.frames[&CONTINUATION], 3 + 1);
}

/// A header that tshark does not decode is still written in full, and tshark reports no fault.
#[test]
fn longer_headers_than_tshark_decodes_are_written() {
    let (mut asked, answered) = halves(0, 1);
    let long = letters(100 << 10);
    asked.headers.push(header("cookie", &long));
    asked.headers.push(header("after", "it"));
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let scratch = Scratch::new();
    let (_, capture, view) = show(&scratch, &scratch.write("trace.pb", &trace), &[]);
    assert_eq!(view.frames[&CONTINUATION], 6);
    // The exchange after it is complete.
    assert_eq!(view.exchanges[0].messages[1].body, b"hello");

    let streams = capture.http_streams();
    let client = streams.iter().find(|stream| stream.0.port() == 50000);
    let bytes = &client.expect("a client").2;
    let mut rest = bytes.strip_prefix(PREFACE).expect("a preface");
    let mut block = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        assert!(length <= 16_384, "a frame of {length} bytes");
        if matches!(u64::from(*kind), HEADERS | CONTINUATION) {
            block.extend(&after[..length]);
        }
        rest = &after[length..];
    }
    // HPACK: the length is 127 plus 102,273, the latter in groups of seven bits.
    let field = [
        b"\x00\x06cookie\x7f\x81\x9f\x06",
        long.as_bytes(),
        b"\x00\x05after\x02it",
    ]
    .concat();
    assert!(block.ends_with(&field), "another header block");
}

#[test]
fn large_bodies_are_split_and_fit_the_windows() {
    let (mut asked, mut answered) = halves(0, 1);
    let bytes: Vec<u8> = noise(4).take(3 << 20).collect();
    asked.headers = request("POST", &[]);
    asked.body = Some(body(&bytes[..1 << 20]));
    answered.body = Some(body(&bytes));
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let (_, capture, view, _) = convert(&trace, &[]);
    let frames = (3 << 20) / 16_384 + (1 << 20) / 16_384;
    assert_eq!(view.frames[&DATA], frames, "each as large as it may be");
    let sent: usize = capture.http_streams().iter().map(|s| s.2.len()).sum();
    assert!(sent > 4 << 20, "{sent} bytes");
}

#[test]
fn truncated_bodies_are_reported() {
    let (asked, mut answered) = halves(0, 1);
    answered.body = Some([body(b"the first of them"), number(3, 1)].concat());
    let one = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let (outcome, _, view, _) = convert(&one, &[]);
    outcome.says(["1 truncated event: ", "max_buffered"]);
    assert_eq!(view.exchanges[0].messages[1].body, b"the first of them");
    // One warning for any number of them.
    let (outcome, ..) = convert(&[one.clone(), one.clone(), one].concat(), &["--strict"]);
    assert_eq!(
        outcome.stderr.matches("truncated").count(),
        1,
        "{}",
        outcome.explain()
    );
    outcome.says(["3 truncated events: "]);
}

#[test]
fn strings_in_place_of_bytes_are_reported() {
    let (asked, mut answered) = halves(0, 1);
    answered.body = Some(field(2, b"\x89PNG\xff"));
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let (outcome, _, view, _) = convert(&trace, &[]);
    outcome.says(["1 string in place of bytes"]);
    assert_eq!(view.exchanges[0].messages[1].body, b"\x89PNG\xff");
    // A string that contains all bytes is not lossy.
    answered.body = Some(field(2, "gr\u{fc}n".as_bytes()));
    let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    convert(&trace, &[]).0.says_nothing();
}

/// Envoy 1.40 replaces a byte that a string cannot hold by a space, so that the string itself looks valid.
#[test]
fn a_space_in_a_binary_body_may_have_been_anything() {
    let kinds = [
        (("content-type", "application/grpc+proto"), true),
        (("content-type", "image/png"), true),
        (("content-encoding", "gzip"), true),
        (("content-encoding", "identity"), false),
        (("content-type", "text/plain"), false),
    ];
    for ((name, value), binary) in kinds {
        for (text, space) in [
            (&b"\0\0\0\x01 bytes"[..], true),
            (b"\0\0\0\0\x05bytes", false),
        ] {
            let (asked, mut answered) = halves(0, 1);
            answered.headers = response("200", &[header(name, value)]);
            answered.body = Some(field(2, text));
            let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
            let scratch = Scratch::new();
            let input = scratch.write("trace.pb", &trace);
            let output = scratch.path("trace.pcap");
            let outcome = scratch.capture2pcap().args([&input, &output]).run();
            let outcome = outcome.exits(0);
            if binary && space {
                outcome.says(["1 string in place of bytes"]);
            } else {
                outcome.says_nothing();
            }
        }
    }
}

#[test]
fn missing_parts_of_an_exchange_are_not_invented() {
    let (asked, answered) = halves(0, 1);
    for (asked, answered) in [(Some(&asked), None), (None, Some(&answered))] {
        let (outcome, _, view, _) = convert(&exchange(asked, answered, Some(&downstream())), &[]);
        outcome.says_nothing();
        let there = view.exchanges[0].messages.clone().map(|m| m.there);
        assert_eq!(there, [asked.is_some(), answered.is_some()]);
    }
    // Neither a request nor a response: no packets, and no fault.
    let scratch = Scratch::new();
    let trace = exchange(None, None, Some(&downstream()));
    let input = scratch.write("trace.pb", &trace);
    let (_, capture, _) = show(&scratch, &input, &[]);
    assert_eq!(capture.records, []);
}

/// HTTP/2 has no status 101, but Envoy records that of HTTP/1.
#[test]
fn switching_protocols_is_shown() {
    let (mut asked, mut answered) = halves(0, 1);
    asked.headers = request(
        "GET",
        &[
            header("upgrade", "websocket"),
            header("connection", "Upgrade"),
        ],
    );
    answered.headers = response("101", &[header("upgrade", "websocket")]);
    for bytes in [None, Some(body(b"\x81\x05hello"))] {
        answered.body = bytes;
        let trace = exchange(Some(&asked), Some(&answered), Some(&downstream()));
        let (_, _, view, _) = convert(&trace, &[]);
        let status = &view.exchanges[0].messages[1].headers[0];
        assert_eq!(*status, (b":status".to_vec(), b"101".to_vec()));
    }
}
