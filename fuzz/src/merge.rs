//! Many traces in one capture.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use capture2pcap::capture::{DEFAULT_SNAPLEN, Precision, Target};
use capture2pcap::convert::Options;
use capture2pcap::input::Input;
use capture2pcap::interrupt::Interrupt;
use capture2pcap::merge::Merged;
use capture2pcap::model::event::{Event, Http, What};
use capture2pcap::model::warning::Warnings;
use capture2pcap::sequence::Memory;
use capture2pcap::trace::{Damage, Encoding, Reader};
use tempfile::TempDir;

use crate::convert::parse;
use crate::decode::{claimed, walk_in_order};
use crate::pcap::Record;
use crate::{delivered, options, oracle};

/// The separator between two traces of an input.
const BETWEEN: &[u8] = b"\xff--\xff";
/// The maximum number of traces in an input.
const MAX_TRACES: usize = 6;
/// The number of bytes that may be missing in all. More makes a large file, and tests nothing new.
const MAX_CLAIMED: u64 = 8 << 30;

/// The contents of one of the traces.
struct Trace {
    path: PathBuf,
    /// Its events, with the order and the connections of a merge.
    events: Vec<Event>,
    damage: Option<Damage>,
    /// Whether it was recognized as a trace.
    recognised: bool,
}

impl Trace {
    fn read(path: PathBuf, trace: &[u8], wanted: Option<Encoding>) -> Self {
        let input = Input::from_bytes(Bytes::copy_from_slice(trace));
        let mut reader = Reader::new(input, wanted, None);
        let mut warnings = Warnings::default();
        let (mut read, mut events) = (Vec::new(), Vec::new());
        let damage = walk_in_order(
            &mut reader,
            trace.len(),
            Memory::Whole,
            &mut warnings,
            |event| read.push(event.clone()),
            |event, _| events.push(event.clone()),
        );
        delivered::check(&read, &events, &warnings, Memory::Whole);
        Self {
            path,
            events,
            damage,
            recognised: reader.recognised(),
        }
    }
}

/// The merge: a well-formed capture in strict time order, with everything from its traces.
pub fn merge(data: &[u8]) {
    let Some((options, rest)) = options::split(data) else {
        return;
    };
    let dir = dir();
    let mut traces = Vec::new();
    let mut claims = 0_u64;
    let mut rest = Some(rest);
    while let Some(bytes) = rest.filter(|_| traces.len() < MAX_TRACES) {
        let end = memchr::memmem::find(bytes, BETWEEN);
        let trace = &bytes[..end.unwrap_or(bytes.len())];
        rest = end.map(|end| &bytes[end + BETWEEN.len()..]);
        let path = dir.path().join(format!("trace_{}", traces.len()));
        fs::write(&path, trace).expect("the folder is writable");
        let input = Input::from_bytes(Bytes::copy_from_slice(trace));
        claims = claims.saturating_add(claimed(input, trace.len(), options.encoding));
        traces.push(Trace::read(path, trace, options.encoding));
    }
    if claims > MAX_CLAIMED {
        return;
    }
    let paths: Vec<_> = traces.iter().map(|trace| trace.path.clone()).collect();
    let (merged, capture) = merged(dir.path(), &paths, &options, 1);
    for (outcome, trace) in merged.traces.iter().zip(&traces) {
        assert_outcome(outcome, trace);
    }
    let Some(capture) = capture else {
        assert!(merged.traces.iter().all(|trace| trace.result.is_err()));
        return;
    };
    // The result does not depend on which trace is read first. Threads are slow, so this is not always tested.
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
    // The bytes of HTTP exchanges are synthesized, and are in no trace.
    let events = || traces.iter().flat_map(|trace| &trace.events);
    let is_http = events().any(|event| matches!(event.what, What::Http(_)));
    if options.capture.snaplen == DEFAULT_SNAPLEN && !is_http {
        assert_payload(records, &traces, &options);
    }
}

/// Verifies that the bytes of all events are in the capture, in the order of their times.
fn assert_payload(records: &[Record], traces: &[Trace], options: &Options) {
    let mut shown = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let payload = if record.is_udp() {
            record.datagram().map(|datagram| datagram.payload)
        } else {
            record.segment().map(|segment| segment.payload)
        };
        let payload = payload.unwrap_or_else(|e| panic!("record {i}: {e}"));
        if !payload.is_empty() {
            shown.push((record.time, payload));
        }
    }
    let mut expected = Vec::new();
    let mut is_timed = true;
    for (source, trace) in traces.iter().enumerate() {
        let mut last = HashMap::new();
        for (place, event) in trace.events.iter().enumerate() {
            if let What::Data { .. } | What::Closed = event.what {
                is_timed &= event.time.is_some();
                // Within a connection, the order of the trace is kept.
                let last = last.entry(event.trace).or_default();
                *last = event.time.unwrap_or_default().max(*last);
                let payload = event.payload().map_or(&[][..], |(_, payload)| payload);
                expected.push(((*last, source, place), payload));
            }
        }
    }
    expected.sort_by_key(|(place, _)| *place);
    let payloads: Vec<u8> = expected
        .iter()
        .flat_map(|(_, payload)| payload.iter().copied())
        .collect();
    let bytes: usize = shown.iter().map(|(_, payload)| payload.len()).sum();
    assert_eq!(bytes, payloads.len(), "bytes of payload");
    if !is_timed {
        let finder =
            |(_, payload): &&(u64, &[u8])| memchr::memmem::find(&payloads, payload).is_none();
        let strange = shown.iter().find(finder);
        assert_eq!(strange, None, "bytes that are in no trace");
        return;
    }
    let mut shown = shown.into_iter();
    for ((time, ..), mut payload) in expected {
        while !payload.is_empty() {
            let (at, bytes) = shown.next().expect("as many bytes as there are");
            assert_eq!(at, oracle::shown(time, options), "a frame of {bytes:?}");
            let rest = payload.strip_prefix(bytes);
            payload = rest.unwrap_or_else(|| panic!("{bytes:?}, and not {payload:?}"));
        }
    }
}

/// Merges the traces. Returns the capture, if there is one.
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
        |_| Warnings::default(),
    );
    let merged = merged.unwrap_or_else(|failure| panic!("{failure:?}"));
    (merged, fs::read(path).ok())
}

/// Verifies that a merge has everything from a trace.
fn assert_outcome(outcome: &capture2pcap::merge::Outcome, trace: &Trace) {
    match &outcome.result {
        Ok(summary) => {
            let counts = |event: &&Event| {
                matches!(
                    event.what,
                    What::Data { .. } | What::Closed | What::Http(Http::Part { .. })
                )
            };
            let events = trace.events.iter().filter(counts).count();
            assert_eq!(summary.events, events as u64, "events");
            assert_eq!(summary.damage, trace.damage, "damage");
        }
        Err(failure) => assert!(
            trace.damage.is_some() && !trace.recognised,
            "{failure:?}, and {:?}",
            trace.events
        ),
    }
    for tally in outcome.warnings.tallies() {
        assert!(!tally.to_string().is_empty());
    }
}

/// A temporary folder, in memory if possible.
fn dir() -> TempDir {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm),
        false => tempfile::tempdir(),
    };
    dir.expect("a folder")
}
