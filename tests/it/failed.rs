//! Other contents in the middle of a trace: corrupt bytes, and the error messages that Envoy writes if it fails to
//! convert a message to JSON.

use crate::bad::{convert, made};
use crate::harness::{Outcome, Scratch, each};
use crate::make::Form;
use crate::pcap::Record;

/// The text that Envoy writes in place of a message, and its variable parts.
const FAILURES: [&str; 4] = [
    "Failed to convert protobuf message to JSON string: INTERNAL: something",
    "Failed to convert protobuf message to JSON string: INVALID_ARGUMENT: bad \"bytes\", at 3",
    "Failed to convert protobuf message to JSON string: UNKNOWN: ",
    "Failed to convert protobuf message to JSON string: INTERNAL: two\nlines",
];

/// The offset in a message.
#[track_caller]
fn offset(outcome: &Outcome) -> usize {
    let reported = outcome.stderr.split("offset ").nth(1).unwrap_or_default();
    let digits: String = reported.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|e| panic!("{e}{}", outcome.explain()))
}

/// Replaces the first bytes of an event by bytes that are invalid in every encoding.
fn damage(form: Form) {
    let encoded = made().encode(form);
    let scratch = Scratch::new();
    let whole = convert(&scratch, &encoded.bytes, &[]).1;
    let whole = whole.unwrap_or_else(|| panic!("{form:?}: no capture"));
    for damaged in [1, 6, 11] {
        let (start, end) = encoded.events[damaged];
        let mut bytes = encoded.bytes.clone();
        bytes[start..start + 11].fill(0xff);
        let (outcome, records) = convert(&scratch, &bytes, &[]);
        let outcome = outcome.exits(1).says(["input"]);
        let records = records.unwrap_or_default();
        // With one message per event, the later ones are read.
        let goes_on = matches!(form, Form::StreamedText | Form::StreamedJson);
        if goes_on {
            let lost = [&whole[..damaged], &whole[damaged + 1..]].concat();
            let payloads = |records: &[Record]| -> Vec<Vec<u8>> {
                let payload =
                    |record: &Record| record.segment().expect("a segment").payload.to_vec();
                records.iter().map(payload).collect()
            };
            assert_eq!(
                payloads(&records),
                payloads(&lost),
                "{form:?}{}",
                outcome.explain()
            );
        } else {
            assert_eq!(records, whole[..damaged], "{form:?}{}", outcome.explain());
        }
        let reported = offset(&outcome);
        assert!(
            (start..end).contains(&reported),
            "{form:?}: {reported}, not {start} to {end}"
        );
        // The number of converted events is reported as well.
        let saved = match damaged {
            _ if goes_on && damaged < 11 => "skipped from offset".to_owned(),
            1 => "the event before it is in the capture".to_owned(),
            n => format!("{n} events before it are in the capture"),
        };
        let outcome = outcome.says([saved]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.explain());

        let (outcome, records) = convert(&scratch, &bytes, &["--strict"]);
        outcome.exits(1).says(["input", "offset", "strict"]);
        assert_eq!(records, None, "{form:?}: a capture");
    }
}

#[test]
fn damage_in_the_middle_keeps_the_events_before_it() {
    each(&Form::ALL, |form| format!("{form:?}"), |&form| damage(form));
}

/// The trace continues after it, and nothing around it is lost.
#[test]
fn failed_conversions_are_skipped() {
    let encoded = made().encode(Form::StreamedJson);
    let scratch = Scratch::new();
    let whole = convert(&scratch, &encoded.bytes, &[]).1;
    // The start and end of each message, with the newline that this trace has; the stream of `/tap` has none.
    let places: Vec<_> = [0]
        .into_iter()
        .chain(encoded.boundaries.iter().copied())
        .collect();
    for failure in FAILURES {
        for separator in ["", "\n"] {
            for at in [
                &places[..1],
                &places[5..6],
                &places[places.len() - 1..],
                &places[..],
            ] {
                let mut bytes = encoded.bytes.clone();
                for &at in at.iter().rev() {
                    let text = format!("{failure}{separator}");
                    bytes.splice(at..at, text.into_bytes());
                }
                let place = format!("{failure:?} at {at:?}");
                for strict in [&[][..], &["--strict"]] {
                    let (outcome, records) = convert(&scratch, &bytes, strict);
                    let outcome = outcome.exits(0);
                    let s = if at.len() == 1 { "" } else { "s" };
                    let message = format!("{} message{s} that Envoy failed to convert", at.len());
                    let outcome = outcome.says([message]);
                    assert_eq!(
                        outcome.stderr.lines().count(),
                        1,
                        "{place}{}",
                        outcome.explain()
                    );
                    assert_eq!(records, whole, "{place}{}", outcome.explain());
                }
            }
        }
    }
}

/// A trace that contains only a failure is empty.
#[test]
fn a_failure_alone_is_an_empty_capture() {
    for failure in FAILURES {
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, failure.as_bytes(), &[]);
        outcome
            .exits(0)
            .says(["1 message that Envoy failed to convert", "no packets"]);
        assert_eq!(records, Some(Vec::new()), "{failure:?}");
    }
}
