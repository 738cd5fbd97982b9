//! Text that other tools add around and inside a trace. It is skipped, in files and from pipes.

use std::fs;
use std::io::Write;

use crate::bad::{convert, made};
use crate::fixtures;
use crate::harness::{Scratch, each};
use crate::make::{Ev, Form, Made, What};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// The readable encodings.
const READABLE: [Form; 4] = [
    Form::Json,
    Form::StreamedJson,
    Form::Text,
    Form::StreamedText,
];

/// Text before a trace, and text that may follow it.
const AROUND: [(&str, &str); 14] = [
    ("\u{feff}", ""),
    ("\u{feff}\r\n", "\r\n"),
    (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: envoy\r\n\r\n",
        "",
    ),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
        "\n",
    ),
    (
        "*   Trying 127.0.0.1:9901...\n* Connected to localhost (127.0.0.1) port 9901 (#0)\n\
         > POST /tap HTTP/1.1\r\n> Host: localhost:9901\r\n> \r\n} [181 bytes data]\n\
         < HTTP/1.1 200 OK\r\n< etag: \"x\"\r\n< \r\n{ [5 bytes data]\n",
        "\n* Connection #0 to host localhost left intact\n",
    ),
    (
        "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n\
         \r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0\
         \r100   181    0     0  100   181      0    150  0:00:01  0:00:01 --:--:--   150\n",
        "\ncurl: (18) transfer closed with outstanding read data remaining\n",
    ),
    (
        "istio-proxy@app-0:/etc/istio/proxy$ cat tap_1.json\n",
        "\nistio-proxy@app-0:/$ ",
    ),
    ("/ # cat x\n", "\n/ # "),
    (
        "PS C:\\Users\\x> type tap.json\r\n",
        "\r\nPS C:\\Users\\x> ",
    ),
    (
        "\x1b]0;u@h: ~\x07\x1b[01;32mu@h\x1b[00m:~$ cat x\r\n",
        "\r\n\x1b[01;32mu@h\x1b[00m:~$ ",
    ),
    (
        "$ curl -d '{\"config_id\": \"t\", \"tap_config\": {}}' host/tap\n",
        "\n^C\n$ ",
    ),
    ("```\n", "\n```\n"),
    (
        "Hello,\n\nhere is the trace:\n\n```json\n",
        "\n```\n\nThanks!\n",
    ),
    ("~~~\n", "\n~~~\n"),
];

/// Prefixes that programs put before each line. Some contain line numbers.
const PREFIXES: [&str; 11] = [
    "2026-11-22T06:08:#.#Z ",
    "[pod/tap-6f9c7/envoy] ",
    "[pod/tap-6f9c7/envoy] 2026-11-22T06:08:#.#Z ",
    "\x1b[36menvoy-1  | \x1b[0m",
    "envoy-1  | ",
    "tap-6f9c7 envoy ",
    "Nov 22 06:08:# host tap[123]: ",
    "> ",
    "    #\t",
    "#:",
    "data: ",
];

fn with_prefix(prefix: &str, trace: &[u8]) -> Vec<u8> {
    let lines = trace.split_inclusive(|&byte| byte == b'\n').enumerate();
    let line = |(i, line): (usize, &[u8])| {
        let prefix = prefix.replace('#', &(i * 37 + 1).to_string());
        [prefix.as_bytes(), line].concat()
    };
    lines.flat_map(line).collect()
}

/// Converts ASCII to UTF-16.
fn utf16(text: &[u8], big: bool, mark: bool) -> Vec<u8> {
    let text = String::from_utf8(text.to_vec()).expect("text");
    let mark = if mark { "\u{feff}" } else { "" };
    let text = format!("{mark}{text}");
    let bytes = |unit: u16| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    };
    text.encode_utf16().flat_map(bytes).collect()
}

/// Fails unless a trace gives `capture` without messages, as a file and from a pipe in small pieces.
#[track_caller]
fn assert_gives(trace: &[u8], capture: &[u8], place: &str) {
    let scratch = Scratch::new();
    let (outcome, _) = convert(&scratch, trace, &[]);
    let outcome = outcome.exits(0).says_nothing();
    let found = fs::read(scratch.path("output.pcap")).expect("a capture");
    assert!(
        found == capture,
        "{place}: another capture{}",
        outcome.explain()
    );
    let mut running = scratch.capture2pcap().args(["-", "-"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    for piece in trace.chunks(trace.len() / 40 + 1) {
        stdin.write_all(piece).expect("a reader");
    }
    drop(stdin);
    let outcome = running.finish().exits(0).says_nothing();
    let explain = outcome.explain();
    assert!(
        outcome.stdout == capture,
        "{place}: another capture from a pipe{explain}"
    );
}

/// A trace without changes, and its capture.
fn plain(form: Form) -> (Vec<u8>, Vec<u8>) {
    let trace = made().encode(form).bytes;
    let scratch = Scratch::new();
    convert(&scratch, &trace, &[]).0.exits(0).says_nothing();
    let capture = fs::read(scratch.path("output.pcap")).expect("a capture");
    (trace, capture)
}

#[test]
fn text_around_a_trace_is_skipped() {
    for form in READABLE {
        let (trace, capture) = plain(form);
        each(
            &AROUND,
            |around| format!("{form:?} after {around:?}"),
            |(before, after)| {
                let around = [before.as_bytes(), &trace, after.as_bytes()].concat();
                assert_gives(&around, &capture, "as it is");
                let crlf = String::from_utf8(around.clone()).expect("text");
                assert_gives(crlf.replace('\n', "\r\n").as_bytes(), &capture, "CRLF");
                if !before.starts_with('\u{feff}') {
                    assert_gives(&utf16(&around, false, true), &capture, "UTF-16");
                }
            },
        );
    }
}

#[test]
fn prefixes_of_lines_are_skipped() {
    for form in READABLE {
        let (trace, capture) = plain(form);
        each(
            &PREFIXES,
            |prefix| format!("{form:?} with {prefix:?}"),
            |prefix| {
                let prefixed = with_prefix(prefix, &trace);
                assert_gives(&prefixed, &capture, "as it is");
                let log = with_prefix(prefix, &[b"starting\n".as_slice(), &trace].concat());
                assert_gives(&log, &capture, "after a line");
                assert_gives(&utf16(&prefixed, false, true), &capture, "UTF-16");
            },
        );
    }
}

/// A line without the prefix stays as it is, and so does the same text later in a line.
#[test]
fn a_prefix_is_removed_only_at_the_start_of_lines() {
    let bytes = b"data: {\"socket_buffered_trace\": 1}\ndata: x".as_slice();
    let made = Made::v4(vec![
        Ev::new(What::Read, 0, bytes),
        Ev::new(What::Write, 1, "ok"),
    ]);
    for form in READABLE {
        let trace = made.encode(form).bytes;
        let scratch = Scratch::new();
        let expected = convert(&scratch, &trace, &[]).1;
        for trace in [
            with_prefix("data: ", &trace),
            // Only the first of two parts has the prefix.
            [
                with_prefix("data: ", &trace[..trace.len() / 2]),
                trace[trace.len() / 2..].to_vec(),
            ]
            .concat(),
        ] {
            let (outcome, records) = convert(&scratch, &trace, &[]);
            outcome.exits(0).says_nothing();
            assert_eq!(records, expected, "{form:?}");
        }
    }
}

#[test]
fn utf16_is_read_with_and_without_a_mark() {
    for form in READABLE {
        let (trace, capture) = plain(form);
        for (big, mark) in [(false, true), (true, true), (false, false), (true, false)] {
            let place = format!("{form:?}, big: {big}, mark: {mark}");
            assert_gives(&utf16(&trace, big, mark), &capture, &place);
        }
    }
}

/// The traces in testdata/field.
#[test]
fn wrapped_traces_of_the_field_equal_the_plain_one() {
    let folder = fixtures::testdata().join("field/wrapped");
    let scratch = Scratch::new();
    let read = |name: &str| fs::read(folder.join(name)).expect("a trace");
    let expected = convert(&scratch, &read("sock_plain.json"), &[])
        .1
        .expect("a capture");
    assert_eq!(expected.len(), 3);
    for name in [
        "sock_bom.json",
        "sock_curl_i.json",
        "sock_prompt.json",
        "sock_utf16.json",
    ] {
        let (outcome, records) = convert(&scratch, &read(name), &[]);
        outcome.exits(0).says_nothing();
        assert_eq!(records.as_ref(), Some(&expected), "{name}");
    }
    let (outcome, records) = convert(&scratch, &read("tty.pb"), &[]);
    outcome
        .exits(0)
        .says(["went through a terminal", "hint: kubectl exec"]);
    let plain = fs::read(fixtures::testdata().join("path_0.pb")).expect("a trace");
    assert_eq!(records, convert(&scratch, &plain, &[]).1);
}

/// A terminal inserts a carriage return before each line feed, and changes nothing else, so that it can be undone.
#[test]
fn binary_from_a_terminal_is_repaired() {
    let through_terminal = |bytes: &[u8]| -> Vec<u8> {
        let change = |&byte: &u8| match byte {
            b'\n' => b"\r\n".to_vec(),
            byte => vec![byte],
        };
        bytes.iter().flat_map(change).collect()
    };
    let data = |i: u8| {
        [&[b'\n', b'\r', i][..], b"\r\n\r\r\n\n\x04\x03"]
            .concat()
            .repeat(9)
    };
    let events = (0..9).map(|i| {
        let what = if i % 2 == 0 { What::Read } else { What::Write };
        Ev::new(what, 1000 * i32::from(i), data(i))
    });
    let made = Made::v4(events.collect());
    for form in [
        Form::Binary,
        Form::Old,
        Form::Bare,
        Form::Delimited,
        Form::StreamedDelimited,
        Form::Streamed,
    ] {
        let trace = made.encode(form).bytes;
        let scratch = Scratch::new();
        let expected = convert(&scratch, &trace, &[]).1;
        let (outcome, records) = convert(&scratch, &through_terminal(&trace), &[]);
        outcome.exits(0).says(["went through a terminal"]);
        assert_eq!(records, expected, "{form:?}");
        // Also in a merge, which reads single events.
        scratch.write("trace.pb", &through_terminal(&trace));
        let run = scratch
            .capture2pcap()
            .args(["-m", "--handshake=never", "trace.pb", "all.pcap"]);
        run.run().exits(0);
        let merged = Capture::read(&scratch.path("all.pcap")).records;
        assert_eq!(Some(merged), expected, "{form:?}");
    }
}

/// A merge reads traces twice, so it keeps a restored copy.
#[test]
fn wrapped_traces_can_be_merged() {
    for form in READABLE {
        let (trace, _) = plain(form);
        let scratch = Scratch::new();
        let merged = |trace: &[u8]| {
            scratch.write("trace.json", trace);
            let run = scratch
                .capture2pcap()
                .args(["-m", "trace.json", "all.pcap"]);
            run.run().exits(0).says_nothing();
            fs::read(scratch.path("all.pcap")).expect("a capture")
        };
        let expected = merged(&trace);
        for wrapped in [
            utf16(&trace, false, true),
            with_prefix("2026-11-22T06:08:#.#Z ", &trace),
            [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &trace].concat(),
        ] {
            assert!(merged(&wrapped) == expected, "{form:?}");
        }
    }
}

/// The packet of a message is written before the next message arrives, with any text before the first one.
#[test]
fn the_packets_of_a_wrapped_stream_do_not_wait_for_more() {
    type Wrap = fn(&[u8]) -> Vec<u8>;
    let wrap: [(&str, Wrap); 4] = [
        ("curl", |trace| {
            [
                b"HTTP/1.1 200 OK\r\nserver: envoy\r\n\r\n".as_slice(),
                trace,
            ]
            .concat()
        }),
        ("UTF-16", |trace| utf16(trace, false, true)),
        ("a prefix", |trace| {
            with_prefix("2026-11-22T06:08:#.#Z ", trace)
        }),
        ("a terminal", |trace| {
            String::from_utf8_lossy(trace)
                .replace('\n', "\r\n")
                .into_bytes()
        }),
    ];
    for form in [Form::StreamedJson, Form::StreamedText] {
        let encoded = made().encode(form);
        for (name, wrap) in wrap {
            let scratch = Scratch::new();
            let mut running = scratch.capture2pcap().args(["-", "-"]).start();
            let mut stdin = running.stdin.take().expect("a pipe");
            let whole = wrap(&encoded.bytes);
            let mut written = 0;
            for (i, &(_, end)) in encoded.events.iter().enumerate() {
                let place = format!("{form:?} with {name}: packet {i}");
                // The last line of the message may continue.
                let there = wrap(encoded.bytes[..end].trim_ascii_end()).len();
                stdin.write_all(&whole[written..there]).expect("a reader");
                written = there;
                if i == 0 {
                    let stdout = running.stdout.as_mut().expect("a pipe");
                    stdout
                        .read(24, PATIENCE)
                        .unwrap_or_else(|e| panic!("{place}: {e}"));
                }
                next_record(&mut running, &place);
            }
            drop(stdin);
            running.finish().exits(0);
        }
    }
}

/// Log lines between messages are not damage, and lines of Envoy itself are counted.
#[test]
fn other_text_between_messages_is_reported() {
    for form in [Form::StreamedJson, Form::StreamedText] {
        let encoded = made().encode(form);
        let scratch = Scratch::new();
        let whole = convert(&scratch, &encoded.bytes, &[]).1;
        let at = encoded.events[5].0;
        let log = "[2026-11-22 06:08:46.153][12][info][main] starting main dispatch loop\n";
        let trace = [&encoded.bytes[..at], log.as_bytes(), &encoded.bytes[at..]].concat();
        let (outcome, records) = convert(&scratch, &trace, &["--strict"]);
        let message = format!(
            "1 piece of other text between messages: {} bytes are",
            log.len()
        );
        let outcome = outcome.exits(0).says([message, format!("offset {at}")]);
        assert_eq!(records, whole, "{form:?}{}", outcome.explain());
    }
}
