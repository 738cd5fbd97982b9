//! Many traces, one capture.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use capture2pcap::capture::{DEFAULT_SNAPLEN, Precision, Target};
use capture2pcap::convert::Options;
use capture2pcap::event::{Event, Http, What};
use capture2pcap::input::Input;
use capture2pcap::interrupt::Interrupt;
use capture2pcap::merge::Merged;
use capture2pcap::notice::Notices;
use tempfile::TempDir;

use crate::convert::parse;
use crate::decode::{Told, read};
use crate::knobs;

/// What stands between two traces of an input.
const BETWEEN: &[u8] = b"\xff--\xff";
/// The most traces that an input is taken apart into.
const MAX_TRACES: usize = 6;
/// What truncated events may claim together, in bytes; more makes a large file for nothing new.
const MAX_CUT: usize = 8;

/// The merge: a well-formed capture in strict time order, which holds all that its traces hold.
pub fn merge(data: &[u8]) {
    let Some((options, rest)) = knobs::split(data) else {
        return;
    };
    let dir = dir();
    let mut traces = Vec::new();
    let mut rest = Some(rest);
    while let Some(bytes) = rest.filter(|_| traces.len() < MAX_TRACES) {
        let end = memchr::memmem::find(bytes, BETWEEN);
        let trace = &bytes[..end.unwrap_or(bytes.len())];
        rest = end.map(|end| &bytes[end + BETWEEN.len()..]);
        let path = dir.path().join(format!("trace_{}", traces.len()));
        fs::write(&path, trace).expect("the folder is writable");
        let input = Input::from_bytes(Bytes::copy_from_slice(trace));
        traces.push((path, read(input, trace.len(), options.encoding)));
    }
    let cut = |event: &&Event| matches!(event.what, What::Data { truncated, .. } if truncated);
    let events = || traces.iter().flat_map(|(_, told)| &told.events);
    if events().filter(cut).count() > MAX_CUT {
        return;
    }
    let paths: Vec<_> = traces.iter().map(|(path, _)| path.clone()).collect();
    let (merged, capture) = merged(dir.path(), &paths, &options, 1);
    for (outcome, (_, told)) in merged.traces.iter().zip(&traces) {
        assert_outcome(outcome, told);
    }
    let Some(capture) = capture else {
        assert!(merged.traces.iter().all(|trace| trace.result.is_err()));
        return;
    };
    // Nothing depends on which of the traces is read first. Threads take time, so not always.
    if options.capture.precision == Precision::Nano {
        let (_, again) = self::merged(dir.path(), &paths, &options, 2);
        let same = again.as_ref() == Some(&capture);
        assert!(same, "another capture from two threads");
    }

    let (capture, _) = parse(&capture, options.capture.format);
    let records = &capture.records;
    assert_eq!(records.len() as u64, merged.frames, "frames");
    let sorted = records.is_sorted_by_key(|record| record.time);
    assert!(sorted, "frames out of the order of time");
    if options.capture.snaplen != DEFAULT_SNAPLEN {
        return;
    }
    let mut shown = 0;
    let mut payloads = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let payload = if record.is_udp() {
            record.datagram().map(|datagram| datagram.payload)
        } else {
            record.segment().map(|segment| segment.payload)
        };
        let payload = payload.unwrap_or_else(|e| panic!("record {i}: {e}"));
        shown += payload.len();
        payloads.push(payload);
    }
    // Exchanges of HTTP taps are bytes that no trace holds.
    if events().any(|event| matches!(event.what, What::Http(_))) {
        return;
    }
    let mut told = Vec::new();
    for event in events() {
        if let What::Data { payload, .. } = &event.what {
            told.extend_from_slice(payload);
        }
    }
    assert_eq!(shown, told.len(), "bytes of payload");
    let finder = |payload: &&&[u8]| memchr::memmem::find(&told, payload).is_none();
    let strange = payloads.iter().find(finder);
    assert_eq!(strange, None, "bytes that are in no trace");
}

/// Merges, and gives the capture where there is one.
fn merged(
    dir: &Path,
    paths: &[PathBuf],
    options: &Options,
    threads: usize,
) -> (Merged, Option<Vec<u8>>) {
    let path = dir.join("capture");
    let _ = fs::remove_file(&path);
    let merged = capture2pcap::merge::merge(
        paths,
        &Target::File(path.clone()),
        options,
        threads,
        &Interrupt::default(),
        |_| Notices::default(),
    );
    let merged = merged.unwrap_or_else(|failure| panic!("{failure:?}"));
    (merged, fs::read(path).ok())
}

/// Verifies that a merge takes from a trace what there is in it.
fn assert_outcome(outcome: &capture2pcap::merge::Outcome, told: &Told) {
    match &outcome.result {
        Ok(summary) => {
            let counts = |event: &&Event| {
                matches!(
                    event.what,
                    What::Data { .. } | What::Closed | What::Http(Http::Part { .. })
                )
            };
            let events = told.events.iter().filter(counts).count();
            assert_eq!(summary.events, events as u64, "events");
            assert_eq!(summary.damage, told.damage, "damage");
        }
        Err(failure) => assert!(
            told.damage.is_some() && !told.recognised,
            "{failure:?}, and {told:?}"
        ),
    }
    for tally in outcome.notices.tallies() {
        assert!(!tally.to_string().is_empty());
    }
}

/// A folder in memory, where there is such a place.
fn dir() -> TempDir {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm),
        false => tempfile::tempdir(),
    };
    dir.expect("a folder")
}
