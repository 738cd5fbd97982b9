//! Damage in JSON and text: the next message that begins is read, and what lies between is reported.

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

/// The forms of which damage leaves the rest readable: those with a message an event.
const READABLE: [Form; 2] = [Form::StreamedJson, Form::StreamedText];

/// Gives bytes in pieces.
struct Pieces(Vec<u8>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0.drain(..n);
        Ok(n)
    }
}

/// What a reader tells of a trace that comes in pieces.
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

/// The bytes that each event holds.
fn payloads(events: &[Event]) -> Vec<Vec<u8>> {
    let payload = |event: &Event| event.payload().map(|(_, bytes)| bytes.to_vec());
    events.iter().filter_map(payload).collect()
}

/// Where something was skipped.
fn passed(events: &[Event]) -> Vec<(u64, u64)> {
    let place = |event: &Event| match &event.what {
        Said::Skipped(skip) => Some((event.offset, skip.to)),
        _ => None,
    };
    events.iter().filter_map(place).collect()
}

/// Where damage was skipped.
fn skipped(events: &[Event]) -> Vec<(u64, u64)> {
    let place = |event: &Event| match &event.what {
        Said::Skipped(skip) if matches!(skip.kind, SkipKind::Damage(_)) => {
            Some((event.offset, skip.to))
        }
        _ => None,
    };
    events.iter().filter_map(place).collect()
}

/// A conversation whose bytes are awkward: what ends strings, what begins messages, what escapes.
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

/// A part of one message, wherever it is cut, and whole ones after it: nothing but that message is lost.
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
                    let (told, damage) = read(&trace, 1 << 20);
                    assert_eq!(damage, None);
                    let is_whole = bytes[start + cut..end].trim_ascii().is_empty();
                    let mut expected = whole.clone();
                    if !is_whole {
                        // The event itself may be there in full, and the message around it not.
                        let event = bytes[start..start + cut].trim_ascii_end();
                        if payloads(&told).len() < whole.len() || !event.ends_with(b"}") {
                            expected.remove(2);
                        }
                        let [(from, to)] = passed(&told)[..] else {
                            panic!("{:?}", passed(&told));
                        };
                        // Of a few letters, nothing says what they are.
                        assert!(cut < 6 || skipped(&told) == [(from, to)]);
                        let next = (start + cut + between.len()) as u64;
                        assert!(from >= start as u64 && from < to, "{from} to {to}");
                        assert_eq!(to, next, "{from} to {to}");
                    }
                    assert_eq!(payloads(&told), expected, "{between:?}");
                    // In whatever pieces it comes.
                    assert_eq!(read(&trace, 1).0, told, "{between:?}");
                }
            },
        );
    }
}

/// A message whose beginning is lost, or its middle.
#[test]
fn what_is_left_of_a_message_is_reported() {
    let made = made();
    for form in READABLE {
        let Encoded { bytes, events, .. } = made.encode(form);
        let whole: Vec<_> = made.events.iter().map(|event| event.data.clone()).collect();
        for lost in [0, 5, 11] {
            let (start, end) = events[lost];
            // Of fewer letters than a name has, nothing says what they are.
            for from in (start + 40..end - 2).step_by(7) {
                let trace = [&bytes[..start], &bytes[from..]].concat();
                let (told, damage) = read(&trace, 1 << 20);
                let mut expected = whole.clone();
                expected.remove(lost);
                assert_eq!(payloads(&told), expected, "{form:?} from {from} of {start}");
                let places = skipped(&told).len() + usize::from(damage.is_some());
                assert_eq!(places, 1, "{form:?} from {from} of {start}: {damage:?}");
            }
        }
    }
}

/// A value that is wrong takes its event alone, also in a message that holds others.
#[test]
fn a_wrong_value_takes_its_event_alone() {
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

/// A name that is damaged is no field of the future, which would be passed over in silence.
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
                // Its beginning is lost.
                _ => after[after.find(name).expect("a name")..].to_owned(),
            };
            let is_whole = damaged.starts_with("socket_streamed");
            let trace = [before, damaged.as_bytes()].concat();
            let (told, damage) = read(&trace, 1 << 20);
            assert_eq!(damage, None, "{form:?} {name}");
            assert_eq!(
                payloads(&told).len(),
                if is_whole { 12 } else { 11 },
                "{form:?} {name}"
            );
            assert_eq!(
                skipped(&told).len(),
                usize::from(!is_whole),
                "{form:?} {name}"
            );
        }
    }
}

/// Recorded in the field: a part cut in the middle, and a second client's answer.
#[test]
fn the_fields_traces_go_on_after_damage() {
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
        let told = format!("offset {}", events[3].0);
        let outcome = outcome
            .exits(1)
            .says([&*told, "and in 1 more place", "bytes in all"]);
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

/// Each of a great many broken lines is passed once, and few are listed.
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
        let told = &outcome.stderr;
        assert!(
            told.lines().count() < 5 && told.len() < 2000,
            "{}",
            outcome.explain()
        );
    }
}

/// A name of a megabyte is not copied for each value of its list.
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
