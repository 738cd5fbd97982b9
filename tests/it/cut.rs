//! Traces that end too early: every event before the end comes out, and the place of the fault is told.

use std::fs;

use crate::bad::{assert_left_over, convert, made};
use crate::fixtures;
use crate::harness::{Scratch, each};
use crate::make::Form;

/// Where to cut an input of `len` bytes: its first and last places and others evenly between.
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
            // A byte to either side of each event's end, and the end itself.
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
                    whole.starts_with(&records),
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

/// A cut between two messages is none: Envoy may yet go on, or may have been stopped in time.
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
                    whole.starts_with(&records),
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
fn strict_takes_nothing_from_a_cut_trace() {
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

            // Nor does it touch what is there.
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
