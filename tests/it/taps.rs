//! HTTP taps: what tshark shows of a capture is what the trace tells.
//!
//! Each recording is read twice, by [`tree`](crate::tree) and, converted, by tshark; both give the same
//! requests and responses, field for field and byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixtures::http_traces;
use crate::harness::{Outcome, Scratch, each};
use crate::judge::http2_ports;
use crate::pcap::{Capture, FIN, SYN};
use crate::pdml::{View, view};
use crate::tree::{Told, exchanges};

/// Converts a trace, and fails where a reader finds fault with the capture.
#[track_caller]
pub(crate) fn show(scratch: &Scratch, input: &Path, options: &[&str]) -> (Outcome, Capture, View) {
    let output = scratch.path("out.pcap");
    let outcome = scratch
        .capture2pcap()
        .args(options)
        .arg(input)
        .arg(&output)
        .run()
        .exits(0);
    let capture = Capture::read(&output);
    capture.http_streams();
    let view = view(&output, http2_ports(&capture));
    assert_eq!(view.faults, [""; 0], "{}", outcome.explain());
    (outcome, capture, view)
}

/// Fails unless tshark shows each exchange that the trace tells, and no other.
#[track_caller]
pub(crate) fn assert_shown(name: &str, told: &[Told], view: &View) {
    assert_eq!(view.exchanges.len(), told.len(), "{name}: exchanges");
    for (i, (told, shown)) in told.iter().zip(&view.exchanges).enumerate() {
        for side in 0..2 {
            let place = format!("{name}: exchange {i}, {}", ["request", "response"][side]);
            let mut expected = told.messages[side].clone();
            // HTTP/2 requires pseudo-headers first; the others stay in their order.
            expected
                .headers
                .sort_by_key(|(name, _)| !name.starts_with(b":"));
            assert_eq!(shown.messages[side], expected, "{place}");
            // A streamed trace does not tell the end of a message without trailers.
            let ended = expected.there && (!told.is_streamed() || !expected.trailers.is_empty());
            assert_eq!(shown.ended[side], ended, "{place}: the stream's end");
            if let Some(time) = told.times[side] {
                let off = shown.times[side].iter().find(|&&shown| shown != time);
                assert_eq!(off, None, "{place}: headers received at {time}");
            }
        }
        if let Some(ends) = &told.ends {
            assert_eq!(shown.ends, *ends, "{name}: exchange {i}: client and server");
        }
    }
    let streams = view
        .exchanges
        .iter()
        .map(|shown| shown.stream.0)
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(view.prefaces.len(), streams.len(), "{name}: prefaces");
    assert!(
        view.prefaces.values().all(|&n| n == 1),
        "{name}: prefaces {:?}",
        view.prefaces
    );
}

fn read(path: &Path) -> (String, Vec<Told>) {
    let name = path.file_name().expect("a name").to_string_lossy();
    let extension = match name.rsplit_once('.').expect("an extension") {
        (stem, "out") if stem.ends_with("LENGTH_DELIMITED") => "delimited.out",
        (_, extension) => extension,
    };
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let told = exchanges(extension, &bytes);
    (name.into_owned(), told)
}

#[test]
fn tshark_shows_what_the_trace_records() {
    each(
        &http_traces(),
        |path| path.display().to_string(),
        |path| {
            let (name, told) = read(path);
            assert!(!told.is_empty(), "{name}: no exchange");
            let scratch = Scratch::new();
            let (outcome, capture, view) = show(&scratch, path, &[]);
            assert_shown(&name, &told, &view);
            let segments = capture.segments();
            // Each connection behind the first is opened and closed.
            let control = segments
                .iter()
                .filter(|segment| segment.flags & (SYN | FIN) != 0);
            let later = view.prefaces.len() - 1;
            assert_eq!(control.count(), 4 * later, "{name}: SYN and FIN");

            let streamed = told.iter().all(|told| told.ends.is_none());
            if streamed {
                // Neither times nor addresses: stand-ins, and it is said, once.
                let events: usize = outcome.stderr.matches("without a time").count();
                assert_eq!(events, 1, "{name}{}", outcome.explain());
                let stand_in = outcome.stderr.matches("with stand-in addresses").count();
                assert_eq!(stand_in, 1, "{name}{}", outcome.explain());
                assert_eq!(capture.records[0].time, 0, "{name}: the first time");
                // A microsecond from one event to the next, and never back.
                let mut times: Vec<_> = capture.records.iter().map(|r| r.time).collect();
                capture.streams();
                times.sort_unstable();
                times.dedup();
                let expected: Vec<_> = (0..times.len() as u64).map(|i| i * 1000).collect();
                assert_eq!(times, expected, "{name}: times");
            } else if !name.contains("string") {
                outcome.says_nothing();
            }
        },
    );
}

/// The readers above are worth little if they read nothing.
#[test]
fn the_recordings_hold_what_they_are_said_to_hold() {
    let paths: Vec<PathBuf> = http_traces();
    let told: Vec<Told> = paths.iter().flat_map(|path| read(path).1).collect();
    let with = |what: &dyn Fn(&Told) -> bool| told.iter().filter(|told| what(told)).count();
    let header = |told: &Told, side: usize, name: &str| {
        let fields = told.messages[side].headers.clone();
        let found = fields
            .into_iter()
            .find(|(other, _)| other == name.as_bytes());
        found.map(|(_, value)| String::from_utf8(value).expect("UTF-8"))
    };
    assert!(told.len() >= 68, "{} exchanges", told.len());
    assert_eq!(
        with(&|told| told.messages.iter().all(|message| message.there)),
        told.len()
    );
    assert_eq!(
        with(&|told| told.times[0].is_none() != told.ends.is_none()),
        0
    );
    assert!(with(&|told| told.ends.is_some()) >= 30);
    for method in ["GET", "POST"] {
        assert!(with(&|told| header(told, 0, ":method").as_deref() == Some(method)) > 5);
    }
    for status in ["200", "404"] {
        assert!(with(&|told| header(told, 1, ":status").as_deref() == Some(status)) > 5);
    }
    assert!(
        with(&|told| !told.messages[0].body.is_empty()) > 5,
        "request bodies"
    );
    assert!(
        with(&|told| told.messages[1].body.len() > 16_384) > 5,
        "large bodies"
    );
    let odd = |told: &Told| std::str::from_utf8(&told.messages[1].body).is_err();
    assert!(with(&odd) > 5, "bodies of bytes");
}
