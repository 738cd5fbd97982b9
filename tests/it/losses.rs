//! Bytes that Envoy did not record. If it counted them, the capture leaves a gap of that size. Each kind of loss is
//! reported once.

use std::io::Write;

use crate::bad::convert;
use crate::conversation::{frames, lost};
use crate::fixtures;
use crate::harness::{Outcome, Scratch, each};
use crate::judge::{FAULTS, faults};
use crate::make::parts::{begin, connection, segment, socket};
use crate::make::{Ev, Form, Made, What};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// The largest TCP payloads of an IPv4 and an IPv6 packet.
const MAX_PAYLOAD: [usize; 2] = [65_495, 65_515];

pub(crate) const STREAMED: [Form; 4] = [
    Form::Streamed,
    Form::StreamedDelimited,
    Form::StreamedText,
    Form::StreamedJson,
];

/// An event with Envoy's count before it.
pub(crate) fn counted(what: What, micros: i32, data: &[u8], seq_num: u64) -> Ev {
    Ev {
        seq_num,
        ..Ev::new(what, micros, data)
    }
}

/// The same, truncated.
pub(crate) fn cut(what: What, micros: i32, data: &[u8], seq_num: u64) -> Ev {
    Ev {
        truncated: true,
        ..counted(what, micros, data, seq_num)
    }
}

/// Converts a trace. Returns the outcome and the capture, whose sequence numbers are checked.
#[track_caller]
pub(crate) fn captured(scratch: &Scratch, bytes: &[u8], options: &[&str]) -> (Outcome, Capture) {
    let (outcome, records) = convert(scratch, bytes, options);
    let Some(records) = records else {
        panic!("no capture{}", outcome.explain());
    };
    let capture = Capture {
        snaplen: 0,
        records,
    };
    capture.streams();
    (outcome, capture)
}

/// Fails if tshark finds a fault in the last capture.
#[track_caller]
pub(crate) fn assert_content(scratch: &Scratch) {
    assert_eq!(faults(&scratch.path("output.pcap"), None, FAULTS), "");
}

/// Fails unless standard error holds exactly one warning with each of `parts`, and no others.
#[track_caller]
pub(crate) fn assert_warns(outcome: &Outcome, parts: &[&str]) {
    let lines: Vec<_> = outcome.stderr.lines().collect();
    let hints = lines.iter().filter(|line| line.starts_with("hint: "));
    assert_eq!(
        lines.len() - hints.count(),
        parts.len(),
        "{}",
        outcome.explain()
    );
    for part in parts {
        let found = lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(found, 1, "{part:?}{}", outcome.explain());
    }
}

#[test]
fn a_large_loss_spans_frames() {
    let events = vec![
        cut(What::Read, 0, &[b'a'; 100], 1),
        counted(What::Write, 1000, &[b'b'; 50], 200_001),
        counted(What::Read, 2000, &[b'c'; 30], 200_051),
        counted(What::Closed, 3000, &[], 200_082),
    ];
    for (made, max) in [Made::v4(events.clone()), Made::v6(events)]
        .iter()
        .zip(MAX_PAYLOAD)
    {
        for form in STREAMED {
            let scratch = Scratch::new();
            let (outcome, capture) = captured(&scratch, &made.encode(form).bytes, &[]);
            let outcome = outcome.exits(0);
            assert_warns(
                &outcome,
                &["1 truncated event: 199,900 bytes are not in the trace"],
            );
            assert_content(&scratch);
            let segments = capture.segments();
            // The recorded bytes, and the length on the wire.
            let seen: Vec<_> = segments
                .iter()
                .map(|s| (s.payload.len(), s.length))
                .collect();
            let rest = 200_000 - 3 * max;
            let expected = [
                (100, max),
                (0, max),
                (0, max),
                (0, rest),
                (50, 50),
                (30, 30),
                (0, 0),
            ];
            assert_eq!(seen, expected, "{form:?}");
            for (record, segment) in capture.records.iter().zip(&segments) {
                // Unknown sizes are not in the sum.
                let unknown = segment.payload.len() < segment.length;
                assert_eq!(segment.checksum == 0, unknown, "{form:?}: {segment:?}");
                assert_eq!(lost(record), segment.length - segment.payload.len());
            }
            assert!(
                capture.records[..4]
                    .iter()
                    .all(|r| r.time == made.events[0].nanos())
            );
        }
    }
}

/// A snaplen and an MSS apply to recorded bytes; missing bytes keep their length.
#[test]
fn losses_and_limits_go_together() {
    let events = vec![
        cut(What::Read, 0, &[b'a'; 100], 1),
        counted(What::Read, 1000, b"next", 100_001),
    ];
    let scratch = Scratch::new();
    let options = ["--mss", "40", "-s", "80"];
    let trace = Made::v4(events).encode(Form::Streamed).bytes;
    let (outcome, capture) = captured(&scratch, &trace, &options);
    outcome.exits(0);
    assert!(capture.records.iter().all(|record| record.data.len() <= 80));
    let lengths: Vec<_> = frames(&capture).iter().map(|frame| frame.2).collect();
    assert_eq!(lengths, [40, 40, 40, 65_495, 100_000 - 120 - 65_495, 4]);
    assert_content(&scratch);
}

/// The limit was reached exactly, so no byte of the next event was recorded.
#[test]
fn an_event_without_recorded_bytes_leaves_a_gap() {
    let events = vec![
        counted(What::Read, 0, b"first", 1),
        cut(What::Read, 1000, b"", 6),
        counted(What::Write, 2000, b"answer", 506),
        counted(What::Closed, 3000, b"", 513),
    ];
    for form in STREAMED {
        let scratch = Scratch::new();
        let trace = Made::v4(events.clone()).encode(form).bytes;
        let (outcome, capture) = captured(&scratch, &trace, &[]);
        assert_warns(&outcome.exits(0), &["1 truncated event: 500 bytes"]);
        let seen: Vec<_> = capture
            .segments()
            .iter()
            .map(|s| (s.payload.len(), s.length))
            .collect();
        assert_eq!(seen, [(5, 5), (0, 500), (6, 6), (0, 0)], "{form:?}");
        assert_eq!(capture.records[1].time, events[1].nanos(), "{form:?}");
        assert_content(&scratch);
    }
    // Without a count, the gap is one byte.
    let mut made = Made::v4(events);
    made.events.retain(|event| event.what != What::Closed);
    for event in &mut made.events {
        event.seq_num = 0;
    }
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, &made.encode(Form::Streamed).bytes, &[]);
    assert_warns(&outcome.exits(0), &["1 truncated event: Envoy kept only"]);
    let lengths: Vec<_> = frames(&capture).iter().map(|frame| frame.2).collect();
    assert_eq!(lengths, [5, 1, 6]);
}

#[test]
fn without_a_count_a_truncation_leaves_a_gap_of_a_byte() {
    let mut events: Vec<_> = (0..6)
        .map(|i| {
            let what = if i % 2 == 0 { What::Read } else { What::Write };
            cut(what, 1000 * i, &[b'a'; 100], 0)
        })
        .collect();
    events[5].truncated = false;
    let made = Made::v4(events);
    for form in Form::ALL {
        if form == Form::Bare {
            continue; // Envoy 1.7 to 1.9 truncated nothing.
        }
        let scratch = Scratch::new();
        let (outcome, capture) = captured(&scratch, &made.encode(form).bytes, &["--strict"]);
        let outcome = outcome.exits(0);
        let unknown = "5 truncated events: Envoy kept only";
        if form.is_streamed() {
            assert_warns(&outcome, &[unknown]);
        } else {
            assert_warns(
                &outcome,
                &[unknown, "2 directions truncated at the tap's limit"],
            );
        }
        outcome.says(["gap of at least 5"]);
        let lost: Vec<_> = capture.records.iter().map(lost).collect();
        assert_eq!(lost, [1, 1, 1, 1, 1, 0], "{form:?}");
        assert_content(&scratch);
    }
}

#[test]
fn a_last_event_of_unknown_size_leaves_a_gap_of_a_byte() {
    let events = vec![
        counted(What::Read, 0, b"request", 1),
        cut(What::Write, 1000, &[b'b'; 1024], 8),
    ];
    for form in STREAMED {
        let scratch = Scratch::new();
        let trace = Made::v4(events.clone()).encode(form).bytes;
        let (outcome, capture) = captured(&scratch, &trace, &[]);
        assert_warns(&outcome.exits(0), &["1 truncated event: Envoy kept only"]);
        let lengths: Vec<_> = frames(&capture).iter().map(|f| f.2).collect();
        assert_eq!(lengths, [7, 1025], "{form:?}");
        let lost: Vec<_> = capture.records.iter().map(lost).collect();
        assert_eq!(lost, [0, 1], "{form:?}");
    }
}

/// A truncated event waits only for the next event of its own trace.
#[test]
fn a_truncated_event_is_written_with_the_next_event_of_its_trace() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let other = socket("10.0.0.3", 50001);
    let messages = [
        begin(1, &connection(Some(&local), Some(&remote))),
        begin(2, &connection(Some(&local), Some(&other))),
        segment(1, &cut(What::Read, 0, b"cut", 1).message()),
        segment(2, &cut(What::Read, 1, b"short", 1).message()),
        segment(2, &counted(What::Write, 2, b"other", 1_001).message()),
        segment(1, &counted(What::Write, 3, b"own", 70_001).message()),
        segment(2, &counted(What::Closed, 4, b"", 1_007).message()),
    ];
    // The packets that are written after each number of messages: recorded payload, and length on the wire.
    let due: [&[(&[u8], usize)]; 7] = [
        &[],
        &[],
        &[],
        &[],
        &[
            (b"", 0),
            (b"", 0),
            (b"", 0),
            (b"short", 1_000),
            (b"other", 5),
        ],
        &[(b"cut", 65_495), (b"", 4_505), (b"own", 3)],
        &[(b"", 0), (b"", 0), (b"", 0)],
    ];
    let scratch = Scratch::new();
    let run = scratch
        .capture2pcap()
        .args(["--role=downstream", "--handshake=always"]);
    let mut running = run.args(["-", "-"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    // All messages at once: an event that waits for more than a second is written without its size.
    stdin.write_all(&messages.concat()).expect("a reader");
    let stdout = running.stdout.as_mut().expect("a pipe");
    let mut capture = stdout.read(24, PATIENCE).expect("a header");
    let mut before = 0;
    for (i, due) in due.into_iter().enumerate() {
        let place = format!("message {i}");
        if i == 5 {
            // This one opens its connection here.
            for _ in 0..3 {
                capture.extend(next_record(&mut running, &place));
                before += 1;
            }
        }
        for &(payload, length) in due {
            capture.extend(next_record(&mut running, &place));
            let whole = Capture::parse(&capture).unwrap_or_else(|e| panic!("{place}: {e}"));
            let segment = whole.segments().swap_remove(before);
            assert_eq!(
                (segment.payload, segment.length),
                (payload, length),
                "{place}"
            );
            before += 1;
        }
    }
    drop(stdin);
    let outcome = running.finish().exits(0);
    // The events that waited come after others with later times.
    let warnings = [
        "2 truncated events: 70,992 bytes",
        "times in the capture go backwards",
    ];
    assert_warns(&outcome, &warnings);
}

/// One line for each kind, for any number of losses; with --verbose, one line for each event.
#[test]
fn every_loss_is_reported_once_with_its_count() {
    let mut events = Vec::new();
    let mut seq = 1;
    for i in 0..20 {
        events.push(cut(What::Read, 10_000 * i, b"cut", seq));
        seq += 1_000;
        events.push(counted(What::Write, 10_000 * i + 1, b"lost after it.", seq));
        seq += 14 + 7;
    }
    events.push(cut(What::Read, 1_000_000, b"last", seq));
    let trace = Made::v4(events).encode(Form::StreamedDelimited).bytes;
    let scratch = Scratch::new();
    let (outcome, _) = captured(&scratch, &trace, &[]);
    let messages = [
        "input: 20 truncated events: 19,940 bytes",
        "input: 20 gaps in Envoy's count: events with 140 bytes",
        "input: 1 truncated event: Envoy kept only",
    ];
    assert_warns(&outcome.exits(0), &messages);
    let (outcome, _) = captured(&scratch, &trace, &["-v"]);
    let lines = |part: &str| {
        outcome
            .stderr
            .lines()
            .filter(|line| line.contains(part))
            .count()
    };
    assert_eq!(lines("1 gap in Envoy's count"), 20, "{}", outcome.explain());
    captured(&scratch, &trace, &["-q"]).0.says_nothing();
}

/// The recordings with truncated bodies.
#[test]
fn recorded_losses_are_reported_once() {
    let mut traces = fixtures::socket_traces();
    traces.retain(|fixture| fixture.name.contains("_trunc_"));
    assert_eq!(traces.len(), 6);
    each(
        &traces,
        |fixture| fixture.name.clone(),
        |fixture| {
            let scratch = Scratch::new();
            let (outcome, _) = captured(&scratch, &fixture.bytes(), &["--strict"]);
            let outcome = outcome.exits(0);
            if ["buf_trunc_123.pb", "str_trunc_132.pb_length_delimited"]
                .iter()
                .any(|short| fixture.name.ends_with(short))
            {
                outcome.says_nothing(); // Its bodies are below the limit.
            } else if fixture.name.contains("str_trunc") {
                assert_warns(
                    &outcome,
                    &["are not in the trace, and the capture leaves a gap"],
                );
            } else {
                assert_warns(&outcome, &["Envoy kept only", "at the tap's limit"]);
            }
        },
    );
}
