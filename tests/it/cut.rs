//! Traces that are cut at the end: every event before the cut is converted, and the offset of the damage is reported.

use std::fs;

use crate::bad::{assert_left_over, convert, made};
use crate::fixtures;
use crate::harness::{Scratch, each, tshark};
use crate::make::{Form, Made, varint};
use crate::pcap::{Capture, Record};

/// Whether `records` are the first ones of `whole`. The last may be the start of an event that is cut, with a gap for
/// the rest of its payload.
fn are_first(records: &[Record], whole: &[Record]) -> bool {
    let Some((last, before)) = records.split_last() else {
        return true;
    };
    let is_front = |there: &Record| {
        let (got, full) = (last.segment(), there.segment());
        let (got, full) = (got.expect("a segment"), full.expect("a segment"));
        (last.time, got.sequence, got.length) == (there.time, full.sequence, full.length)
            && full.payload.starts_with(got.payload)
    };
    let there = whole.get(before.len());
    whole.starts_with(before) && there.is_some_and(|there| last == there || is_front(there))
}

/// Positions at which to cut an input of `len` bytes: the first and last ones, and others evenly between.
fn cuts(len: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = (1..=6)
        .chain((1..=28).map(|i| len * i / 29))
        .chain(len.saturating_sub(6)..len)
        .collect();
    cuts.retain(|&cut| cut < len);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[test]
fn a_cut_gives_every_event_before_it() {
    each(
        &Form::ALL,
        |form| format!("{form:?}"),
        |&form| {
            let encoded = made().encode(form);
            let scratch = Scratch::new();
            let (outcome, whole) = convert(&scratch, &encoded.bytes, &[]);
            outcome.exits(0);
            let whole = whole.unwrap_or_else(|| panic!("{form:?}: no capture"));
            assert_eq!(
                whole.len(),
                encoded.events.len(),
                "{form:?}: records of the whole"
            );

            let mut cuts = cuts(encoded.bytes.len());
            // The end of each event, and one byte before and after it.
            cuts.extend(
                encoded
                    .events
                    .iter()
                    .flat_map(|&(_, end)| [end - 1, end, end + 1]),
            );
            cuts.retain(|&cut| cut < encoded.bytes.len());
            for cut in cuts {
                let place = format!("{form:?} cut at {cut} of {}", encoded.bytes.len());
                let (outcome, records) = convert(&scratch, &encoded.bytes[..cut], &[]);
                let records = records.unwrap_or_default();
                assert!(
                    are_first(&records, &whole),
                    "{place}: other records than the whole's{}",
                    outcome.explain()
                );
                let least = encoded
                    .events
                    .iter()
                    .filter(|&&(_, end)| end <= cut)
                    .count();
                let most = encoded
                    .events
                    .iter()
                    .filter(|&&(start, _)| start < cut)
                    .count();
                let (got, explain) = (records.len(), outcome.explain());
                assert!(
                    (least..=most).contains(&got),
                    "{place}: {got} records, not {least} to {most}{explain}"
                );
                if encoded.boundaries.contains(&cut) {
                    outcome.exits_one_of(&[0, 1]);
                } else {
                    outcome.exits(1).says(["input", "offset"]);
                }
            }
        },
    );
}

/// A cut between two messages is not damage: Envoy may still be writing, or may have been stopped there.
#[test]
fn a_cut_between_messages_is_no_damage() {
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        let encoded = made().encode(form);
        let scratch = Scratch::new();
        let cut = encoded.events[5].1;
        let (outcome, records) = convert(&scratch, &encoded.bytes[..cut], &[]);
        outcome.exits(0);
        assert_eq!(records.map(|records| records.len()), Some(6), "{form:?}");
    }
}

#[test]
fn a_cut_recording_gives_a_prefix_of_the_whole() {
    let traces = [
        "envoy-1.7/buf_proto_binary_4.pb",
        "envoy-1.10/buf_proto_binary_4.pb",
        "envoy-1.10/str_proto_binary_length_delimited_58.pb_length_delimited",
        "envoy-1.40/taps/buf_proto_binary_4.pb",
        "envoy-1.40/taps/buf_proto_binary_length_delimited_13.pb_length_delimited",
        "envoy-1.40/taps/buf_proto_text_22.pb_text",
        "envoy-1.40/taps/buf_json_body_as_bytes_31.json",
        "envoy-1.40/taps/buf_json_body_as_string_40.json",
        "envoy-1.40/taps/str_proto_binary_49.pb",
        "envoy-1.40/taps/str_proto_binary_length_delimited_58.pb_length_delimited",
        "envoy-1.40/taps/str_proto_text_67.pb_text",
        "envoy-1.40/taps/str_json_body_as_bytes_76.json",
        "envoy-1.40/taps/str_json_body_as_string_85.json",
        "envoy-1.40/taps/str_perevent_94.pb_length_delimited",
    ];
    each(
        &traces,
        |trace| (*trace).to_owned(),
        |trace| {
            let bytes = fs::read(fixtures::testdata().join(trace))
                .unwrap_or_else(|e| panic!("{trace}: {e}"));
            let scratch = Scratch::new();
            let whole = convert(&scratch, &bytes, &[])
                .1
                .unwrap_or_else(|| panic!("{trace}: no capture"));
            let mut before = 0;
            for cut in cuts(bytes.len()) {
                let place = format!("{trace} cut at {cut} of {}", bytes.len());
                let (outcome, records) = convert(&scratch, &bytes[..cut], &[]);
                let records = records.unwrap_or_default();
                assert!(
                    are_first(&records, &whole),
                    "{place}: other records than the whole's{}",
                    outcome.explain()
                );
                assert!(
                    records.len() >= before,
                    "{place}: fewer records than before{}",
                    outcome.explain()
                );
                before = records.len();
                let outcome = outcome.exits_one_of(&[0, 1]);
                if outcome.status.code() == Some(1) {
                    outcome.says(["input", "offset"]);
                }
            }
            assert!(
                before + 2 >= whole.len(),
                "{trace}: the longest cut gives {before} of {} records",
                whole.len()
            );
        },
    );
}

#[test]
fn strict_writes_no_capture_of_a_cut_trace() {
    each(
        &Form::ALL,
        |form| format!("{form:?}"),
        |&form| {
            let encoded = made().encode(form);
            let scratch = Scratch::new();
            let cut = encoded.events[8].1 - 3;
            let (outcome, records) = convert(&scratch, &encoded.bytes[..cut], &["--strict"]);
            outcome.exits(1).says(["input", "offset"]);
            assert_eq!(records, None, "{form:?}: a capture");

            // An existing capture stays.
            let kept = scratch.write("kept.pcap", b"kept");
            let outcome = scratch
                .capture2pcap()
                .arg("--strict")
                .arg(scratch.path("input"))
                .arg(&kept)
                .run();
            outcome.exits(1);
            assert_eq!(fs::read(&kept).expect("kept.pcap"), b"kept", "{form:?}");
            assert_left_over(&scratch, &["input", "kept.pcap"]);
        },
    );
}

/// The position in `bytes` of an event's payload, and its length.
fn payload(made: &Made, bytes: &[u8], event: usize) -> (usize, usize) {
    let payload = &made.events[event].data;
    let at = memchr::memmem::find(bytes, payload).expect("the payload");
    (at, payload.len())
}

/// If a binary trace is cut inside an event, the recorded part is written, with a gap for the rest.
#[test]
fn the_recorded_part_of_a_cut_event_is_kept() {
    let forms = Form::ALL.into_iter().filter(|form| {
        let extension = form.extension();
        extension == "pb" || extension == "pb_length_delimited"
    });
    for form in forms {
        let made = made();
        let encoded = made.encode(form);
        let (at, len) = payload(&made, &encoded.bytes, 8);
        let scratch = Scratch::new();
        let (_, whole) = convert(&scratch, &encoded.bytes, &[]);
        let whole = whole.expect("a capture");
        for there in [0, 1, 100, len - 1, len] {
            let place = format!("{form:?} after {there} of {len}");
            let cut = &encoded.bytes[..at + there];
            let (outcome, records) = convert(&scratch, cut, &[]);
            let records = records.expect("a capture");
            assert!(are_first(&records, &whole), "{place}{}", outcome.explain());
            let (_, end) = encoded.events[8];
            let is_whole = at + there == end;
            assert_eq!(records.len(), 8 + usize::from(there > 0), "{place}");
            if there > 0 && there < len {
                let missing = len - there;
                let s = if missing == 1 { "byte is" } else { "bytes are" };
                let last = records[8].segment().expect("a segment");
                assert_eq!((last.payload.len(), last.length), (there, len), "{place}");
                outcome.exits(1).says([
                    &format!("1 truncated event: {missing} {s} not in the trace"),
                    &format!("cut at offset {}", cut.len()),
                ]);
            } else if !is_whole {
                outcome
                    .exits(1)
                    .says([&format!("cut at offset {}", cut.len())]);
            }
            // A stream gives the same.
            let outcome = scratch.capture2pcap().args(["-", "-"]).stdin(cut).run();
            let capture = Capture::parse(&outcome.stdout).expect("a capture");
            assert!(capture.records == records, "{place}: a stream");
        }
    }
}

/// A recording of an Envoy that was killed: tshark shows everything except the missing bytes.
#[test]
fn a_killed_envoy_leaves_part_of_an_event() {
    let trace = fixtures::testdata().join("field/killed-cut-event.pb_length_delimited");
    let scratch = Scratch::new();
    let capture = scratch.path("killed.pcap");
    let outcome = scratch.capture2pcap().arg(&trace).arg(&capture).run();
    outcome.exits(1).says(["an event needs 1710 bytes more"]);
    let fields = [
        "-T",
        "fields",
        "-e",
        "tcp.len",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ];
    let mut args = vec!["-r".into(), capture.into_os_string()];
    args.extend(fields.map(Into::into));
    let shown = tshark(args);
    let last: Vec<u64> = shown
        .lines()
        .last()
        .expect("a packet")
        .split('\t')
        .map(|field| field.parse().expect("a number"))
        .collect();
    // 1,706 bytes of payload, and the event's seq_num.
    assert_eq!(last[1] - last[2], 1706);
    assert_eq!(last[0], last[1] - 54);
}

/// A payload with an implausible length gets no gap.
#[test]
fn an_implausible_length_at_the_cut_leaves_no_gap() {
    let claim = (1_u64 << 31) - 100;
    let body = [&[0x0a][..], &varint(claim), b"GET / HTTP/1.1"].concat();
    let nest =
        |key: u8, inner: &[u8], more: u64| [&[key][..], &varint(claim + more), inner].concat();
    let read = nest(0x0a, &body, 6);
    let event = nest(0x12, &read, 12);
    let segment = nest(0x1a, &event, 18);
    let trace = nest(0x22, &[&[0x08, 7][..], &segment].concat(), 26);
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, &trace, &[]);
    outcome
        .exits(1)
        .says(["1 truncated event: Envoy kept only"]);
    assert_eq!(records.expect("a capture").len(), 1);
}
