//! Damage in JSON and text: reading resumes at the start of the next message, and the skipped part is reported.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};

use capture2pcap::input::{Input, Wait};
use capture2pcap::model::event::{Event, SkipKind, What as Said};
use capture2pcap::trace::{Damage, Reader, Step};

use crate::bad::{assert_left_over, convert, made};
use crate::fixtures;
use crate::harness::{Scratch, each, tshark};
use crate::make::{Encoded, Ev, Form, Made, What};

/// The encodings in which events after damage can be read: those with one message per event.
const READABLE: [Form; 2] = [Form::StreamedJson, Form::StreamedText];

/// A reader that returns bytes in pieces.
struct Pieces(Vec<u8>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0.drain(..n);
        Ok(n)
    }
}

/// The events of a trace that is read in pieces, and the damage.
fn read(bytes: &[u8], size: usize) -> (Vec<Event>, Option<Damage>) {
    let input = Input::from_reader(Pieces(bytes.to_vec(), size));
    let mut reader = Reader::new(input, None, None);
    let mut events = Vec::new();
    loop {
        match reader.event() {
            Ok(Step::Item(event)) => events.push(event),
            Ok(Step::More) => reader.fill(&Wait::default()).expect("memory is readable"),
            Ok(Step::End) => return (events, None),
            Err(damage) => return (events, Some(damage)),
        }
    }
}

/// The payload of each event.
fn payloads(events: &[Event]) -> Vec<Vec<u8>> {
    let payload = |event: &Event| event.payload().map(|(_, bytes)| bytes.to_vec());
    events.iter().filter_map(payload).collect()
}

/// The skipped ranges.
fn passed(events: &[Event]) -> Vec<(u64, u64)> {
    let place = |event: &Event| match &event.what {
        Said::Skipped(skip) => Some((event.offset, skip.to)),
        _ => None,
    };
    events.iter().filter_map(place).collect()
}

/// The ranges that were skipped as damage.
fn skipped(events: &[Event]) -> Vec<(u64, u64)> {
    let place = |event: &Event| match &event.what {
        Said::Skipped(skip) if matches!(skip.kind, SkipKind::Damage(_)) => {
            Some((event.offset, skip.to))
        }
        _ => None,
    };
    events.iter().filter_map(place).collect()
}

/// A conversation with difficult bytes: those that end strings, begin messages, or escape others.
fn awkward() -> Made {
    let bytes: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\"}]}' socket_buffered_trace {\n {\"socket_buffered_trace\": {",
        b"",
        b"\\\\\\ \x00\xff\n\n{{{{",
        b"the end",
    ];
    let events = bytes.iter().enumerate().map(|(i, bytes)| {
        let what = if i % 2 == 0 { What::Read } else { What::Write };
        Ev::new(what, 1000 * i as i32, *bytes)
    });
    Made::v4(events.collect())
}

/// A part of a message, cut at any position, with complete messages after it: only that message is lost.
#[test]
fn a_cut_message_takes_no_other_with_it() {
    let made = awkward();
    for form in READABLE {
        let Encoded { bytes, events, .. } = made.encode(form);
        let whole: Vec<_> = made.events.iter().map(|event| event.data.clone()).collect();
        let (start, end) = events[2];
        let cuts: Vec<usize> = (1..end - start).collect();
        each(
            &cuts,
            |cut| format!("{form:?} cut after {cut}"),
            |&cut| {
                for between in ["", "\n", "\r\nlevel=info msg=\"reopened\"\n"] {
                    let before = &bytes[..start + cut];
                    let trace = [before, between.as_bytes(), &bytes[end..]].concat();
                    let (events, damage) = read(&trace, 1 << 20);
                    assert_eq!(damage, None);
                    let is_whole = bytes[start + cut..end].trim_ascii().is_empty();
                    let mut expected = whole.clone();
                    if !is_whole {
                        // The event may be complete even if its message is not.
                        let event = bytes[start..start + cut].trim_ascii_end();
                        if payloads(&events).len() < whole.len() || !event.ends_with(b"}") {
                            expected.remove(2);
                        }
                        let [(from, to)] = passed(&events)[..] else {
                            panic!("{:?}", passed(&events));
                        };
                        // A few letters may be any text.
                        assert!(cut < 6 || skipped(&events) == [(from, to)]);
                        let next = (start + cut + between.len()) as u64;
                        assert!(from >= start as u64 && from < to, "{from} to {to}");
                        assert_eq!(to, next, "{from} to {to}");
                    }
                    assert_eq!(payloads(&events), expected, "{between:?}");
                    // The size of the pieces makes no difference.
                    assert_eq!(read(&trace, 1).0, events, "{between:?}");
                }
            },
        );
    }
}

/// A message whose beginning is lost, or its middle.
#[test]
fn the_rest_of_a_damaged_message_is_reported() {
    let made = made();
    for form in READABLE {
        let Encoded { bytes, events, .. } = made.encode(form);
        let whole: Vec<_> = made.events.iter().map(|event| event.data.clone()).collect();
        for lost in [0, 5, 11] {
            let (start, end) = events[lost];
            // Fewer letters than a name has may be any text.
            for from in (start + 40..end - 2).step_by(7) {
                let trace = [&bytes[..start], &bytes[from..]].concat();
                let (events, damage) = read(&trace, 1 << 20);
                let mut expected = whole.clone();
                expected.remove(lost);
                assert_eq!(
                    payloads(&events),
                    expected,
                    "{form:?} from {from} of {start}"
                );
                let places = skipped(&events).len() + usize::from(damage.is_some());
                assert_eq!(places, 1, "{form:?} from {from} of {start}: {damage:?}");
            }
        }
    }
}

/// A wrong value affects only its event, also in a message with other events.
#[test]
fn a_wrong_value_loses_only_its_event() {
    for form in [Form::Json, Form::StreamedJson] {
        let encoded = made().encode(form);
        let text = String::from_utf8(encoded.bytes).expect("text");
        let scratch = Scratch::new();
        let whole = convert(&scratch, text.as_bytes(), &[])
            .1
            .expect("a capture");
        let start = encoded.events[4].0;
        let (before, after) = text.split_at(start);
        for (good, wrong) in [("\"as_bytes\": \"", "\"as_bytes\": \"!"), ("Z\"", "\"")] {
            let trace = format!("{before}{}", after.replacen(good, wrong, 1));
            let (outcome, records) = convert(&scratch, trace.as_bytes(), &[]);
            let outcome = outcome
                .exits(1)
                .says(["damaged at offset", "skipped from offset"]);
            let mut expected = whole.clone();
            expected.remove(4);
            let records = records.expect("a capture");
            let data = |records: &[crate::pcap::Record]| -> Vec<Vec<u8>> {
                let payload = |record: &crate::pcap::Record| {
                    record.segment().expect("a segment").payload.to_vec()
                };
                records.iter().map(payload).collect()
            };
            assert_eq!(
                data(&records),
                data(&expected),
                "{form:?}{}",
                outcome.explain()
            );
        }
    }
}

/// A damaged name is not taken for an unknown field, which would be ignored silently.
#[test]
fn a_damaged_name_is_no_unknown_field() {
    let made = made();
    for (form, names) in [
        (Form::StreamedJson, ["socket_streamed", "event", "as_bytes"]),
        (
            Form::StreamedText,
            ["socket_streamed", "streamed_trace", "cket_streamed"],
        ),
    ] {
        let Encoded { bytes, events, .. } = made.encode(form);
        for name in names {
            let (before, after) = bytes.split_at(events[4].0);
            let after = String::from_utf8(after.to_vec()).expect("text");
            let damaged = match form {
                Form::StreamedJson => after.replacen(name, "\u{ff}", 1),
                // The start of the name is lost.
                _ => after[after.find(name).expect("a name")..].to_owned(),
            };
            let is_whole = damaged.starts_with("socket_streamed");
            let trace = [before, damaged.as_bytes()].concat();
            let (events, damage) = read(&trace, 1 << 20);
            assert_eq!(damage, None, "{form:?} {name}");
            assert_eq!(
                payloads(&events).len(),
                if is_whole { 12 } else { 11 },
                "{form:?} {name}"
            );
            assert_eq!(
                skipped(&events).len(),
                usize::from(!is_whole),
                "{form:?} {name}"
            );
        }
    }
}

/// Recorded in the field: a message cut in the middle, and the response to a second client.
#[test]
fn field_traces_continue_after_damage() {
    let scratch = Scratch::new();
    let folder = fixtures::testdata().join("field/resume");
    let cases = [
        (
            "cut_then_more.pb_text",
            1,
            vec!["offset 837", "skipped from offset 792 to 837"],
        ),
        (
            "detach_mid.json",
            0,
            vec!["1 line from Envoy itself", "offset 908"],
        ),
    ];
    for (name, code, says) in cases {
        let bytes = fs::read(folder.join(name)).expect("a trace");
        let (outcome, _) = convert(&scratch, &bytes, &[]);
        outcome.exits(code).says(says);
        let path = scratch.path("output.pcap");
        let uris = tshark([
            "-r",
            &path.display().to_string(),
            "-Y",
            "http.request",
            "-T",
            "fields",
            "-e",
            "http.request.uri",
        ]);
        let uris: HashSet<_> = uris.lines().collect();
        assert_eq!(uris, HashSet::from(["/a", "/b", "/c"]), "{name}");
    }
}

#[test]
fn skipped_damage_is_damage() {
    for form in READABLE {
        let Encoded {
            mut bytes, events, ..
        } = made().encode(form);
        for damaged in [3, 7] {
            let (start, _) = events[damaged];
            bytes[start..start + 5].fill(b'!');
        }
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, &bytes, &[]);
        let offset = format!("offset {}", events[3].0);
        let outcome = outcome
            .exits(1)
            .says([&*offset, "and in 1 more place", "bytes in all"]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.explain());
        assert_eq!(records.map(|records| records.len()), Some(10), "{form:?}");

        let (outcome, records) = convert(&scratch, &bytes, &["--strict"]);
        outcome.exits(1).says(["offset", "--strict"]);
        assert_eq!(records, None, "{form:?}");

        let run = scratch.capture2pcap().args(["--info", "input"]).run();
        let outcome = run.exits(1);
        let table = String::from_utf8_lossy(&outcome.stdout);
        assert!(table.contains("and in 1 more place"), "{table}");
        let run = scratch
            .capture2pcap()
            .args(["--info", "--json", "input"])
            .run();
        let outcome = run.exits(1);
        let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
        let warnings = object["warnings"].as_array().expect("a list");
        let skipped = warnings.iter().find(|one| one["code"] == "skipped");
        let skipped = skipped.expect("a warning");
        assert_eq!(skipped["count"], 2, "{form:?}");
        let message = skipped["message"].as_str().expect("a text");
        let place = format!("from offset {} to", events[3].0);
        assert!(message.contains(&place), "{message}");
        assert_eq!(object["events"], 10);
        assert_left_over(&scratch, &["input"]);
    }
}

/// Each of many thousands of broken lines is skipped once, and only a few are listed.
#[test]
fn very_many_broken_lines_are_counted() {
    let scratch = Scratch::new();
    let good = made().encode(Form::StreamedJson).bytes;
    let text = made().encode(Form::StreamedText).bytes;
    let lines = 50_000;
    for (broken, good) in [
        (
            "{\"socket_streamed_trace_segment\": {\"trace_id\": ]}}\n",
            &good,
        ),
        ("{\"socket_streamed_trace_segment\": {\"a\": \"\n", &good),
        ("socket_streamed_trace_segment { trace_id: ] }\n", &text),
        ("socket_streamed_trace_segment { a: \"\n", &text),
    ] {
        let trace = [good.as_slice(), broken.repeat(lines).as_bytes(), good].concat();
        let (outcome, records) = convert(&scratch, &trace, &[]);
        let outcome = outcome.exits(1);
        assert_eq!(records.map(|records| records.len()), Some(24), "{broken}");
        let messages = &outcome.stderr;
        assert!(
            messages.lines().count() < 5 && messages.len() < 2000,
            "{}",
            outcome.explain()
        );
    }
}

/// A name of a megabyte is not copied for each value in its list.
#[test]
fn a_list_under_a_very_long_name_takes_linear_time() {
    let scratch = Scratch::new();
    let name = "n".repeat(1 << 20);
    let values = "1,".repeat(300_000);
    let json =
        format!("{{\"socket_buffered_trace\": {{\"{name}\": [{values}1], \"trace_id\": 7}}}}");
    let text = format!("socket_buffered_trace {{ {name}: [{values}1] trace_id: 7 }}");
    for trace in [json, text] {
        convert(&scratch, trace.as_bytes(), &[]).0.exits(0);
    }
}
