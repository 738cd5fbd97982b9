//! HTTP taps: tshark's view of a capture equals the trace.
//!
//! Each recording is read by [`tree`](crate::tree), and its capture by tshark. Both give the same requests and
//! responses, field for field and byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixtures::http_traces;
use crate::harness::{Outcome, Scratch, each};
use crate::judge::http2_ports;
use crate::pcap::{Capture, FIN, SYN};
use crate::pdml::{View, view};
use crate::tree::{Recorded, exchanges};

/// Converts a trace, and fails if a reader finds a fault in the capture.
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

/// Fails unless tshark shows exactly the exchanges of the trace.
#[track_caller]
pub(crate) fn assert_shown(name: &str, recorded: &[Recorded], view: &View) {
    assert_eq!(view.exchanges.len(), recorded.len(), "{name}: exchanges");
    for (i, (recorded, shown)) in recorded.iter().zip(&view.exchanges).enumerate() {
        for side in 0..2 {
            let place = format!("{name}: exchange {i}, {}", ["request", "response"][side]);
            let mut expected = recorded.messages[side].clone();
            // HTTP/2 requires pseudo-headers first; the other fields keep their order.
            expected
                .headers
                .sort_by_key(|(name, _)| !name.starts_with(b":"));
            assert_eq!(shown.messages[side], expected, "{place}");
            // A streamed trace does not record the end of a message without trailers.
            let ended =
                expected.there && (!recorded.is_streamed() || !expected.trailers.is_empty());
            assert_eq!(shown.ended[side], ended, "{place}: the stream's end");
            if let Some(time) = recorded.times[side] {
                let off = shown.times[side].iter().find(|&&shown| shown != time);
                assert_eq!(off, None, "{place}: headers received at {time}");
            }
        }
        if let Some(ends) = &recorded.ends {
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

fn read(path: &Path) -> (String, Vec<Recorded>) {
    let name = path.file_name().expect("a name").to_string_lossy();
    let extension = match name.rsplit_once('.').expect("an extension") {
        (stem, "out") if stem.ends_with("LENGTH_DELIMITED") => "delimited.out",
        (_, extension) => extension,
    };
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let recorded = exchanges(extension, &bytes);
    (name.into_owned(), recorded)
}

#[test]
fn tshark_shows_what_the_trace_records() {
    each(
        &http_traces(),
        |path| path.display().to_string(),
        |path| {
            let (name, recorded) = read(path);
            assert!(!recorded.is_empty(), "{name}: no exchange");
            let scratch = Scratch::new();
            let (outcome, capture, view) = show(&scratch, path, &[]);
            assert_shown(&name, &recorded, &view);
            let segments = capture.segments();
            // Each connection after the first is opened and closed.
            let control = segments
                .iter()
                .filter(|segment| segment.flags & (SYN | FIN) != 0);
            let later = view.prefaces.len() - 1;
            assert_eq!(control.count(), 4 * later, "{name}: SYN and FIN");

            let streamed = recorded.iter().all(|recorded| recorded.ends.is_none());
            if streamed {
                // Without times and addresses, there are stand-ins and one warning for each.
                let events: usize = outcome.stderr.matches("without a time").count();
                assert_eq!(events, 1, "{name}{}", outcome.explain());
                let stand_in = outcome.stderr.matches("with stand-in addresses").count();
                assert_eq!(stand_in, 1, "{name}{}", outcome.explain());
                assert_eq!(capture.records[0].time, 0, "{name}: the first time");
                // Events are a microsecond apart, and never go back.
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

/// Without exchanges of every kind, the comparisons above would prove little.
#[test]
fn the_recordings_contain_exchanges_of_every_kind() {
    let paths: Vec<PathBuf> = http_traces();
    let recorded: Vec<Recorded> = paths.iter().flat_map(|path| read(path).1).collect();
    let with = |what: &dyn Fn(&Recorded) -> bool| {
        recorded.iter().filter(|recorded| what(recorded)).count()
    };
    let header = |recorded: &Recorded, side: usize, name: &str| {
        let fields = recorded.messages[side].headers.clone();
        let found = fields
            .into_iter()
            .find(|(other, _)| other == name.as_bytes());
        found.map(|(_, value)| String::from_utf8(value).expect("UTF-8"))
    };
    assert!(recorded.len() >= 68, "{} exchanges", recorded.len());
    assert_eq!(
        with(&|recorded| recorded.messages.iter().all(|message| message.there)),
        recorded.len()
    );
    assert_eq!(
        with(&|recorded| recorded.times[0].is_none() != recorded.ends.is_none()),
        0
    );
    assert!(with(&|recorded| recorded.ends.is_some()) >= 30);
    for method in ["GET", "POST"] {
        assert!(with(&|recorded| header(recorded, 0, ":method").as_deref() == Some(method)) > 5);
    }
    for status in ["200", "404"] {
        assert!(with(&|recorded| header(recorded, 1, ":status").as_deref() == Some(status)) > 5);
    }
    assert!(
        with(&|recorded| !recorded.messages[0].body.is_empty()) > 5,
        "request bodies"
    );
    assert!(
        with(&|recorded| recorded.messages[1].body.len() > 16_384) > 5,
        "large bodies"
    );
    let odd = |recorded: &Recorded| std::str::from_utf8(&recorded.messages[1].body).is_err();
    assert!(with(&odd) > 5, "bodies of bytes");
}
