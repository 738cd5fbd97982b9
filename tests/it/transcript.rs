//! The transcript in Envoy's documentation, line by line.
//!
//! Its traces belong to the Envoy project and are not copied. If they are not in a folder next to the checkout, the
//! tests report that and test nothing.

use std::path::{Path, PathBuf};

use crate::harness::{Scratch, tshark, tshark_run};

/// The folder with the traces of the transcript, if it is present.
fn folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces/seed");
    if !path.exists() {
        eprintln!("the traces of the transcript are not present: skipped");
        return None;
    }
    Some(path)
}

/// A line of `tshark -P`: number, time, source, arrow, destination, protocol, length and the names of the HTTP/2 frames,
/// without the stream ids and paths that newer versions of tshark print.
fn summary(line: &str) -> Vec<String> {
    let mut words = line.split_whitespace();
    let mut fields: Vec<_> = words.by_ref().take(7).map(str::to_owned).collect();
    let rest = words.collect::<Vec<_>>().join(" ");
    fields.extend(rest.split(", ").map(|frame| {
        frame
            .split(['[', ':', ' '])
            .next()
            .unwrap_or_default()
            .to_owned()
    }));
    fields
}

/// Compares tshark's output with the transcript.
#[track_caller]
fn assert_transcript(folder: &Path, printed: &str, what: &str) {
    let transcript =
        std::fs::read_to_string(folder.join("transcript.txt")).expect("transcript.txt");
    let (expected, got): (Vec<_>, Vec<_>) = (
        transcript.lines().map(summary).collect(),
        printed.lines().map(summary).collect(),
    );
    assert_eq!(expected.len(), 6, "lines of transcript.txt");
    assert_eq!(got, expected, "{what}:\n{printed}");
}

const ARGS: [&str; 3] = ["-d", "tcp.port==10000,http2", "-P"];
const TRACES: [&str; 3] = [
    "path_0.pb",
    "capture2pcap_h2_ipv4.pb_text",
    "tap2pcap_h2_ipv4.pb_text",
];

#[test]
fn the_transcript_comes_out_of_a_file() {
    let Some(folder) = folder() else { return };
    for trace in TRACES {
        let scratch = Scratch::new();
        let path = scratch.path("path_0.pcap");
        scratch
            .capture2pcap()
            .arg(folder.join(trace))
            .arg(&path)
            .run()
            .exits(0);
        let path = path.to_str().expect("a path in UTF-8");
        assert_transcript(
            &folder,
            &tshark(["-r", path].into_iter().chain(ARGS)),
            trace,
        );
    }
}

#[test]
fn the_transcript_comes_out_of_a_pipe() {
    let Some(folder) = folder() else { return };
    for trace in TRACES {
        let scratch = Scratch::new();
        let convert = scratch.capture2pcap().arg(folder.join(trace)).arg("-");
        let (convert, tshark) = convert.pipe_into(tshark_run(["-r", "-"].into_iter().chain(ARGS)));
        convert.exits(0);
        let printed = tshark.exits(0).stdout;
        assert_transcript(&folder, &String::from_utf8(printed).expect("UTF-8"), trace);
    }
}
