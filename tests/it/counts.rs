//! Byte counts of Envoy that contradict the events: which are trusted, which are damage, and which mean lost events.

use crate::bad::convert;
use crate::conversation::{LOCAL, REMOTE, frames, lost};
use crate::harness::Scratch;
use crate::losses::{STREAMED, assert_content, assert_warns, captured, counted, cut};
use crate::make::parts::{begin, connection, segment, socket};
use crate::make::{Form, Made, What};
use crate::pcap::Record;

/// The largest loss of one event that is trusted, in bytes.
const MAX_EVENT_LOSS: u64 = 1 << 30;

#[test]
fn a_loss_up_to_the_limit_is_trusted() {
    let events = vec![
        cut(What::Read, 0, &[b'a'; 100], 1),
        counted(What::Write, 1000, b"next", 101 + MAX_EVENT_LOSS),
    ];
    let scratch = Scratch::new();
    let trace = Made::v4(events).encode(Form::Streamed).bytes;
    let (outcome, records) = convert(&scratch, &trace, &["--strict"]);
    assert_warns(
        &outcome.exits(0),
        &["1 truncated event: 1,073,741,824 bytes"],
    );
    // The streams are not reassembled, because they would contain a gigabyte of zeros.
    let records = records.expect("a capture");
    let total: usize = records.iter().map(lost).sum();
    assert_eq!(total as u64, MAX_EVENT_LOSS);
    let numbers = |record: &Record| {
        let segment = record.segment().expect("a segment");
        (segment.sequence, segment.acknowledgement)
    };
    let (first, last) = (numbers(&records[0]), numbers(&records[records.len() - 1]));
    let size = 100 + MAX_EVENT_LOSS as u32;
    assert_eq!(last, (first.1, first.0.wrapping_add(size)));
}

/// A loss above the limit, or a decreasing count: recorded bytes are written, and no gap is left.
#[test]
fn an_impossible_count_is_damage() {
    let last = u64::MAX;
    for next in [102 + MAX_EVENT_LOSS, last, last - 1, 100, 50, 1] {
        let events = vec![
            cut(What::Read, 0, &[b'a'; 100], 1),
            counted(What::Write, 1000, b"next", next),
            counted(What::Read, 2000, b"and on", next.saturating_add(4)),
        ];
        for form in STREAMED {
            let scratch = Scratch::new();
            let trace = Made::v4(events.clone()).encode(form).bytes;
            let (outcome, capture) = captured(&scratch, &trace, &[]);
            let outcome = outcome.exits(1);
            assert_warns(&outcome, &["1 impossible seq_num: "]);
            let expected = [(REMOTE, 100), (LOCAL, 4), (REMOTE, 6)];
            let seen: Vec<_> = frames(&capture).iter().map(|f| (f.0, f.2)).collect();
            assert_eq!(seen, expected, "{form:?}, then {next}");
            let (outcome, records) = convert(&scratch, &trace, &["--strict"]);
            outcome.exits(1).says(["strict", "impossible seq_num"]);
            assert_eq!(records, None, "{form:?}, then {next}: a capture");
        }
    }
    // A decreasing count without a truncated event before it.
    let mut made = Made::v4(vec![
        counted(What::Read, 0, &[b'a'; 100], 1),
        counted(What::Write, 1000, b"next", 50),
        counted(What::Write, 2000, b"down", 54),
        counted(What::Write, 3000, b"again", 3),
        counted(What::Closed, 4000, b"", 9),
    ]);
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, &made.encode(Form::Streamed).bytes, &[]);
    assert_warns(&outcome.exits(1), &["2 impossible seq_nums: "]);
    let lengths: Vec<_> = frames(&capture).iter().map(|f| f.2).collect();
    assert_eq!(lengths, [100, 4, 4, 5, 0]);
    // Also at the end.
    made.events.truncate(1);
    made.events.push(counted(What::Closed, 1000, b"", 90));
    let (outcome, _) = captured(&scratch, &made.encode(Form::Streamed).bytes, &[]);
    assert_warns(&outcome.exits(1), &["1 impossible seq_num: "]);
}

/// A jump without a truncated event: the direction of the bytes is unknown, so the sequence numbers stay.
#[test]
fn lost_events_are_counted() {
    let events = vec![
        counted(What::Read, 0, &[b'a'; 100], 11),
        counted(What::Write, 1000, b"next", 1_111),
        counted(What::Read, 2000, b"on", 1_115),
        counted(What::Closed, 3000, b"", 2_118),
    ];
    for form in STREAMED {
        let scratch = Scratch::new();
        let trace = Made::v4(events.clone()).encode(form).bytes;
        let (outcome, capture) = captured(&scratch, &trace, &["--strict"]);
        // 10 bytes before the first event, 1,000 after it, 1,000 before the end.
        assert_warns(
            &outcome.exits(0),
            &["3 gaps in Envoy's count: events with 2,010 bytes"],
        );
        let lengths: Vec<_> = frames(&capture).iter().map(|f| f.2).collect();
        assert_eq!(lengths, [100, 4, 2, 0], "{form:?}");
        assert_content(&scratch);
    }
}

/// Addresses recorded late do not affect the count.
#[test]
fn a_connection_recorded_late_keeps_the_count() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let whole = connection(Some(&local), Some(&remote));
    let half = connection(None, Some(&remote));
    let late = [
        segment(7, &counted(What::Read, 0, &[b'a'; 100], 1).message()),
        segment(
            7,
            &counted(What::Write, 1000, &[b'b'; 50], 101).with_connection(&whole),
        ),
    ];
    let held = [
        begin(7, &half),
        segment(7, &counted(What::Write, 0, &[b'x'; 10], 1).message()),
        segment(7, &cut(What::Read, 1000, &[b'a'; 100], 11).message()),
        segment(
            7,
            &counted(What::Read, 2000, &[b'c'; 20], 1_011).with_connection(&whole),
        ),
    ];
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, &late.concat(), &["--role=upstream"]);
    let warnings = ["1 connection whose addresses were recorded too late"];
    assert_warns(&outcome.exits(0), &warnings);
    assert_eq!(capture.streams().len(), 2);
    let (outcome, capture) = captured(&scratch, &held.concat(), &["--role=upstream"]);
    let warnings = [
        "1 connection whose addresses were recorded too late",
        "1 truncated event: 900 bytes",
    ];
    assert_warns(&outcome.exits(0), &warnings);
    let total: usize = frames(&capture).iter().map(|frame| frame.2).sum();
    assert_eq!(total, 10 + 1000 + 20);
    assert_content(&scratch);
}
