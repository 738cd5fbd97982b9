use crate::input::{Prefix, Utf16};

use super::*;

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).unwrap();
    assert!(len < 0x80);
    [&[number << 3 | 2, len], value].concat()
}

fn address(host: &str) -> Vec<u8> {
    field(1, &[field(2, host.as_bytes()), vec![0x18, 80]].concat())
}

fn delimit(message: &[u8]) -> Vec<u8> {
    [&[u8::try_from(message.len()).unwrap()], message].concat()
}

/// The detected encoding of `bytes` that arrive all at once, and one at a time.
fn taken_for(bytes: &[u8]) -> Detected {
    let whole = detect(bytes, true, None, None);
    let (mut detector, mut bytewise) = (Detector::default(), Detected::Short);
    for end in 0..=bytes.len() {
        bytewise = detector.detect(&bytes[..end], end == bytes.len(), None, None);
        if bytewise != Detected::Short {
            break;
        }
    }
    assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
    whole
}

fn detect(bytes: &[u8], ended: bool, wanted: Option<Encoding>, path: Option<&Path>) -> Detected {
    Detector::default().detect(bytes, ended, wanted, path)
}

fn tap(encoding: Encoding) -> Detected {
    Detected::of(Layout::new(encoding, Generation::Tap))
}

fn capture(encoding: Encoding) -> Detected {
    Detected::of(Layout::new(encoding, Generation::Capture))
}

#[test]
fn readable_traces_show_in_their_first_name() {
    let cases = [
        ("socket_buffered_trace {", tap(Encoding::Text)),
        (
            "# a comment\n\n  http_buffered_trace: {",
            tap(Encoding::Text),
        ),
        ("socket_streamed_trace_segment <", tap(Encoding::Text)),
        ("connection {\n  id: 1", capture(Encoding::Text)),
        ("events: <timestamp {", capture(Encoding::Text)),
        (
            "[type.googleapis.com/envoy.data.tap.v3.TraceWrapper] {",
            tap(Encoding::Text),
        ),
        ("identifier {", tap(Encoding::Text)),
        ("{\n \"socket_buffered_trace\": {", tap(Encoding::Json)),
        ("{\"socketBufferedTrace\":", tap(Encoding::Json)),
        ("[{\"events\": [ {\"read\"", capture(Encoding::Json)),
        (
            "{\"connection\": {\"local_address\":",
            capture(Encoding::Json),
        ),
        ("{\"@type\": \"type.googleapis.com/", tap(Encoding::Json)),
        ("{\"trace_id\": \"3\"", tap(Encoding::Json)),
        ("{\"a_field_of_the_future\": 1", tap(Encoding::Json)),
        (
            "Failed to convert protobuf message to JSON string: x",
            tap(Encoding::Json),
        ),
        ("hello world, this is no trace", Detected::Nothing),
        ("{ 1: 2 }", Detected::Nothing),
        ("connection refused", Detected::Nothing),
        // Names that others have as well.
        ("events {\n  name: 1", Detected::Nothing),
        ("connection: {", Detected::Nothing),
    ];
    for (text, expected) in cases {
        assert_eq!(taken_for(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn binary_traces_are_distinguished_by_their_shape() {
    let new = [
        field(1, &address("10.0.0.1")),
        field(2, &address("10.0.0.2")),
    ]
    .concat();
    let old = [
        field(2, &address("10.0.0.1")),
        field(3, &address("10.0.0.2")),
    ]
    .concat();
    let time = field(1, &[0x08, 1, 0x10, 2]);
    let event = [time.clone(), field(2, &field(1, &field(1, b"data")))].concat();
    let bare_event = [time, field(2, &field(1, b"data"))].concat();
    for connection in [&new, &old] {
        let buffered = field(3, &[field(2, connection), field(3, &event)].concat());
        assert_eq!(taken_for(&buffered), tap(Encoding::Binary));
        assert_eq!(taken_for(&delimit(&buffered)), tap(Encoding::Delimited));
        let streamed = field(4, &[vec![0x08, 7], field(2, connection)].concat());
        assert_eq!(
            taken_for(&[&streamed[..], &streamed].concat()),
            tap(Encoding::Binary)
        );
    }
    for id in [&[][..], &[0x08, 9]] {
        let bare = [field(1, &[id, &old].concat()), field(2, &bare_event)].concat();
        assert_eq!(taken_for(&bare), capture(Encoding::Binary));
    }
    let header = |name: &[u8]| field(1, &[field(1, name), field(2, b"200")].concat());
    let response = field(1, &field(2, &header(b":status")));
    assert_eq!(
        taken_for(&response),
        tap(Encoding::Binary),
        "an HTTP response, no connection"
    );
    let segment = field(2, &[vec![0x08, 7], field(5, &header(b":status"))].concat());
    assert_eq!(
        taken_for(&segment),
        tap(Encoding::Binary),
        "no event of a bare Trace"
    );
}

/// Lengths that are tags, too: a delimited trace that begins like another layout.
#[test]
fn a_length_that_looks_like_a_tag_is_still_a_length() {
    for wanted in [
        0x0a_usize,
        0x12,
        0x1a,
        0x22,
        0x7b,
        b's'.into(),
        b'c'.into(),
        b'e'.into(),
    ] {
        let build = |pad: usize| {
            let body = field(1, &vec![b'x'; pad]);
            let event = field(3, &field(2, &field(1, &body)));
            field(4, &[vec![0x08, 7], event].concat())
        };
        let pad = (0..112).find(|&pad| build(pad).len() == wanted);
        let message = match pad {
            Some(pad) => build(pad),
            // Too short for bytes: a read of nothing.
            None => field(4, &[0x08, 0x87, 0x80, 0x01, 0x1a, 2, 0x12, 0]),
        };
        assert_eq!(message.len(), wanted);
        let two = [delimit(&message), delimit(&message)].concat();
        assert_eq!(taken_for(&two), tap(Encoding::Delimited), "{wanted}");
    }
}

#[test]
fn the_user_decides_where_the_bytes_do_not() {
    let wanted = Some(Encoding::Delimited);
    assert_eq!(
        detect(b"\xff\xff", true, wanted, None),
        tap(Encoding::Delimited)
    );
}

/// What a shell, curl, a log and a program for Windows put around a trace.
#[test]
fn a_trace_is_found_after_other_text() {
    let plain = "{\n \"socket_buffered_trace\": {";
    let text = "socket_buffered_trace {\n";
    let cases = [
        ("HTTP/1.1 200 OK\r\nserver: envoy\r\n\r\n", ""),
        ("$ cat x.json\n", ""),
        ("root@pod:/# ", ""),
        ("```json\n", ""),
        (
            "An attached /tap admin stream already exists. Detach it.",
            "",
        ),
        (
            "* Connected\n> POST /tap HTTP/1.1\n< HTTP/1.1 200 OK\n{ [5 bytes data]\n",
            "",
        ),
        ("\r100   12    0    12   0 --:--:-- --:--:--     0", ""),
        ("\u{feff}", ""),
        ("\u{feff}# ", "\n"),
    ];
    for (before, after) in cases {
        for (trace, encoding) in [(plain, Encoding::Json), (text, Encoding::Text)] {
            let Detected::As(layout) = taken_for(format!("{before}{after}{trace}").as_bytes())
            else {
                panic!("{before:?} before {encoding}");
            };
            assert_eq!(layout.encoding, encoding, "{before:?}");
            let mark = if before.starts_with('\u{feff}') { 3 } else { 0 };
            assert_eq!(layout.mark, mark, "{before:?}");
        }
    }
}

/// The prefix is the sample's, if each line has one.
#[test]
fn prefixes_of_lines_are_found() {
    let samples = [
        "2026-11-22T06:08:46.153382123Z ",
        "[pod/tap-6f9c/envoy] ",
        "envoy-1  | ",
        "> ",
        "7:",
        "tap.json:7:",
        "     7\t",
        "[2026-11-22 06:08:46.153][12][info][tap] ",
    ];
    for sample in samples {
        let prefix = Prefix::of(sample.as_bytes());
        let traces = [
            (
                format!("{sample}{{\n{sample} \"socket_buffered_trace\": {{"),
                Encoding::Json,
            ),
            (
                format!("{sample}{{\"socket_buffered_trace\": {{"),
                Encoding::Json,
            ),
            (
                format!("{sample}socket_buffered_trace {{\n"),
                Encoding::Text,
            ),
            (
                format!("{sample}hello\n{sample}socket_buffered_trace {{\n"),
                Encoding::Text,
            ),
        ];
        for (trace, encoding) in traces {
            let Detected::As(layout) = taken_for(trace.as_bytes()) else {
                panic!("{trace:?}");
            };
            assert_eq!(layout.encoding, encoding, "{trace:?}");
            assert_eq!(layout.recoding.prefix, prefix, "{trace:?}");
        }
    }
    // In one line alone, it is a prompt.
    let prompt = "root@pod:/# {\n \"socket_buffered_trace\": {";
    assert_eq!(taken_for(prompt.as_bytes()), tap(Encoding::Json));
    // A field's name is no prefix.
    let field = "trace_id: 7 socket_buffered_trace {\n";
    assert_eq!(taken_for(field.as_bytes()), tap(Encoding::Text));
    let field = "x\nport_value: 7 socket_buffered_trace {\n";
    assert_eq!(taken_for(field.as_bytes()), tap(Encoding::Text));
}

#[test]
fn utf16_shows_without_a_mark() {
    let text = " {\r\n \"socket_buffered_trace\": {";
    for mark in ["\u{feff}", ""] {
        for order in [Utf16::Little, Utf16::Big] {
            let bytes = order.encoded(&format!("{mark}{text}"));
            let mut layout = Layout::new(Encoding::Json, Generation::Tap);
            layout.recoding.utf16 = Some(order);
            assert_eq!(
                taken_for(&bytes),
                Detected::of(layout),
                "{mark:?} {order:?}"
            );
        }
    }
    // The length of a delimited message is no mark.
    let message = [&[0xff, 0xfe, 0x01][..], &field(4, &[0x08, 7])].concat();
    assert_eq!(charset(&message, false), Charset::Utf8 { mark: 0 });
}

/// A message of a tap service has a trace in its third field, where `TraceWrapper` has one of another type.
#[test]
fn messages_of_a_tap_service_are_distinguished_from_traces() {
    let connection = [
        field(1, &address("10.0.0.1")),
        field(2, &address("10.0.0.2")),
    ]
    .concat();
    let streamed = field(4, &[&[0x08, 7][..], &field(2, &connection)].concat());
    let time = field(1, &[0x08, 0xf0, 0xa9, 0xff, 0xd7, 0x06]);
    let event = [time, field(2, &field(1, &field(1, b"data")))].concat();
    let buffered = [&[0x08, 7][..], &field(2, &connection), &field(3, &event)].concat();
    let wrapped = field(3, &buffered);
    let header = field(1, &[field(1, b":method"), field(2, b"GET")].concat());
    let http = field(1, &field(1, &header));
    let node = [
        field(1, b"sc-worker-0"),
        field(2, b"scp"),
        field(3, &[0x0a, 0]),
    ]
    .concat();
    let identifier = field(1, &[field(1, &node), field(2, b"tap")].concat());
    let grpc =
        |message: &[u8]| [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat();
    let of = |encoding, root, framing| {
        Detected::of(Layout {
            root,
            framing,
            ..Layout::new(encoding, Generation::Tap)
        })
    };
    for trace in [&streamed, &wrapped, &http] {
        for first in [&identifier[..], &[], &[0x10, 3]] {
            let message = [first, &field(3, trace)].concat();
            let (taps, none) = (Level::Taps, Framing::None);
            assert_eq!(taken_for(&message), of(Encoding::Binary, taps, none));
            let two = delimit(&message).repeat(2);
            assert_eq!(
                taken_for(&two),
                of(Encoding::Delimited, taps, Framing::Varint)
            );
            let two = grpc(&message).repeat(2);
            assert_eq!(
                taken_for(&two),
                of(Encoding::Delimited, taps, Framing::Grpc)
            );
        }
        assert_eq!(taken_for(trace), tap(Encoding::Binary));
        let two = grpc(trace).repeat(2);
        assert_eq!(
            taken_for(&two),
            of(Encoding::Delimited, Level::Wrapper, Framing::Grpc)
        );
    }
    let inner = of(Encoding::Binary, Level::Buffered, Framing::None);
    assert_eq!(taken_for(&buffered), inner);
}
