//! Many traces in one capture: it contains everything that each trace gives alone, in strict time order, and keeps
//! connections apart.

mod apart;
mod times;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::bad::{assert_left_over, made};
use crate::batch::alone;
use crate::fixtures;
use crate::harness::{Outcome, Scratch, capinfos, tshark, tshark_run};
use crate::judge::{FAULTS, faults, http2_ports};
use crate::make::{Ev, Form, Made, START, What};
use crate::pcap::{Capture, FIN, SYN};
use crate::pdml::view;

/// Merges traces into `all.pcap`.
#[track_caller]
fn merge(scratch: &Scratch, options: &[&str], traces: &[PathBuf]) -> (Outcome, Capture) {
    let run = scratch.capture2pcap().arg("--merge").args(options);
    let outcome = run.args(traces).arg("all.pcap").run();
    assert!(outcome.stdout.is_empty(), "{}", outcome.explain());
    let outcome = outcome.exits_one_of(&[0, 1]);
    let path = scratch.path("all.pcap");
    assert!(path.exists(), "no capture{}", outcome.explain());
    (outcome, Capture::read(&path))
}

/// A frame with payload: its time, its ends, its bytes, and their number on the wire.
type Data = (u64, SocketAddr, SocketAddr, Vec<u8>, usize);

/// The frames with payload, sorted by time and contents.
#[track_caller]
fn data(capture: &Capture) -> Vec<Data> {
    let segments = capture.segments();
    let frames = capture.records.iter().zip(&segments);
    let mut data: Vec<_> = frames
        .filter(|(_, segment)| segment.length > 0)
        .map(|(record, segment)| {
            let payload = segment.payload.to_vec();
            let (from, to) = (segment.source, segment.destination);
            (record.time, from, to, payload, segment.length)
        })
        .collect();
    data.sort();
    data
}

/// Fails if a time is earlier than the one before.
#[track_caller]
fn assert_in_order(capture: &Capture) {
    let in_order = capture.records.is_sorted_by_key(|record| record.time);
    assert!(in_order, "times go back");
}

/// The number of frames with `flag`.
fn count(capture: &Capture, flag: u8) -> usize {
    let segments = capture.segments();
    let with = segments.iter().filter(|segment| segment.flags & flag != 0);
    with.count()
}

/// tshark's streams with their ends, the lower one first.
#[track_caller]
fn streams(path: &Path) -> Vec<(String, [String; 2])> {
    let mut args = vec!["-r".into(), path.as_os_str().to_owned()];
    let fields = "-T fields -e tcp.stream -e ip.src -e ipv6.src -e tcp.srcport -e ip.dst -e ipv6.dst -e tcp.dstport";
    args.extend(fields.split(' ').map(Into::into));
    let mut streams: Vec<_> = tshark(args)
        .lines()
        .map(|line| {
            let (stream, ends) = line.split_once('\t').expect("fields");
            let ends: Vec<_> = ends.split('\t').collect();
            let mut ends = [ends[..3].join(" "), ends[3..].join(" ")];
            ends.sort();
            (stream.to_owned(), ends)
        })
        .collect();
    streams.sort();
    streams.dedup();
    streams
}

/// Fails unless tshark finds this number of connections, all with different ends, and no fault.
#[track_caller]
fn assert_apart(scratch: &Scratch, capture: &Capture, connections: usize) {
    let path = scratch.path("all.pcap");
    assert_eq!(faults(&path, http2_ports(capture), FAULTS), "");
    let mut streams = streams(&path);
    assert_eq!(streams.len(), connections, "{streams:?}");
    streams.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(
        streams.len(),
        connections,
        "a stream of several connections"
    );
}

/// A text trace with all times moved by `by` nanoseconds.
fn later(text: &str, by: u64) -> String {
    let mut out = String::new();
    let mut seconds = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(number) = line.strip_prefix("seconds: ") {
            seconds = number.parse::<u64>().ok();
        } else if let Some(number) = line.strip_prefix("nanos: ") {
            let nanos: u64 = number.parse().expect("nanoseconds");
            let time = seconds.take().expect("seconds") * 1_000_000_000 + nanos + by;
            let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
            out.push_str(&format!("seconds: {seconds}\nnanos: {nanos}\n"));
        } else {
            assert_eq!(seconds, None, "a time of whole seconds");
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The client port, the microseconds and the payload of all frames with payload, in the order of the capture.
fn places(capture: &Capture) -> Vec<(u16, u64, Vec<u8>)> {
    let segments = capture.segments();
    let frames = capture.records.iter().zip(&segments);
    frames
        .filter(|(_, segment)| segment.length > 0)
        .map(|(record, segment)| {
            let client = segment.source.port().max(segment.destination.port());
            let micros = (record.time - START as u64 * 1_000_000_000) / 1000;
            (client, micros, segment.payload.to_vec())
        })
        .collect()
}

/// All recordings of buffered and streamed socket taps that name both addresses.
#[test]
fn all_recordings_become_one_capture() {
    let traces: Vec<_> = fixtures::socket_traces()
        .into_iter()
        .filter(|fixture| {
            let name = fixture.name.strip_prefix("envoy-1.40/taps/").unwrap_or("");
            let addressed =
                !name.starts_with("buf_uds") && !name.contains("str_json_body_as_string");
            addressed && (name.starts_with("buf_") || name.starts_with("str_"))
        })
        .map(|fixture| fixture.path)
        .collect();
    assert_eq!(traces.len(), 47, "recordings with addresses");
    let scratch = Scratch::new();
    let (outcome, capture) = merge(&scratch, &["-j1"], &traces);
    let outcome = outcome
        .exits(0)
        .says(["1 capture of 47 traces, 47 connections, "]);
    assert!(
        !outcome.stderr.contains("stand-in"),
        "{}",
        outcome.explain()
    );
    assert_in_order(&capture);
    let table = capinfos([
        "-T",
        "-r",
        "-o",
        scratch.path("all.pcap").to_str().expect("UTF-8"),
    ]);
    assert!(table.ends_with("\tTrue\n"), "{table}");

    let mut expected = Vec::new();
    let mut streams = Vec::new();
    for trace in &traces {
        let capture = Capture::parse(&alone(trace)).unwrap_or_else(|e| panic!("{e}"));
        expected.extend(data(&capture));
        streams.extend(capture.streams());
    }
    expected.sort();
    streams.sort();
    assert!(data(&capture) == expected, "other frames than alone");
    let mut found = capture.streams();
    found.sort();
    assert!(found == streams, "other streams than alone");
    assert_apart(&scratch, &capture, traces.len());
    assert_eq!(count(&capture, SYN), 2 * traces.len());
    assert_eq!(count(&capture, FIN), 2 * traces.len());

    // The number of threads and the order of the traces make no difference.
    let bytes = fs::read(scratch.path("all.pcap")).expect("a capture");
    let (outcome, _) = merge(&scratch, &["-j2"], &traces);
    outcome.exits(0);
    assert!(fs::read(scratch.path("all.pcap")).expect("a capture") == bytes);
    // From standard output, tshark reads the same.
    let run = scratch.capture2pcap().arg("-m").args(&traces).arg("-");
    let (first, second) = run.pipe_into(tshark_run(["-r", "-", "-T", "fields", "-e", "frame.len"]));
    first.exits(0);
    let second = second.exits(0);
    let lines = String::from_utf8_lossy(&second.stdout).lines().count();
    assert_eq!(lines, capture.records.len());
}

/// tshark shows each exchange of HTTP taps in the merge as in its own capture.
#[test]
fn http_exchanges_are_all_there() {
    let traces: Vec<_> = fixtures::http_traces().into_iter().step_by(5).collect();
    assert_eq!(traces.len(), 14);
    let scratch = Scratch::new();
    let (outcome, capture) = merge(&scratch, &["--start", "2026-11-22T06:08:47Z"], &traces);
    outcome.exits(0);
    assert_in_order(&capture);
    let merged = view(&scratch.path("all.pcap"), http2_ports(&capture));
    assert_eq!(merged.faults, [""; 0]);
    let shown = |view: crate::pdml::View| -> Vec<String> {
        let exchanges = view.exchanges.into_iter();
        exchanges
            .map(|exchange| format!("{:?}", exchange.messages))
            .collect()
    };
    let mut expected = Vec::new();
    for trace in &traces {
        let path = scratch.write("alone.pcap", &alone(trace));
        expected.extend(shown(view(&path, http2_ports(&Capture::read(&path)))));
    }
    let mut found = shown(merged);
    assert!(found.len() >= traces.len(), "{}", found.len());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Writes a trace with its own client port.
fn write(scratch: &Scratch, name: &str, form: Form, client: u16, events: Vec<Ev>) -> PathBuf {
    let mut made = Made::v4(events);
    made.remote.1 = client;
    made.id = u64::from(client);
    scratch.write(name, &made.encode(form).bytes)
}

/// The command that opens a capture shows both HTTP/1 and HTTP/2, also where they share a port.
#[test]
fn the_command_shows_both_versions_of_http() {
    let scratch = Scratch::new();
    let traces = fixtures::testdata().join("envoy-1.10");
    let run = scratch.capture2pcap().args(["-v", "-m"]).arg(traces);
    let outcome = run.arg("all.pcap").run().exits(0);
    let (_, command) = outcome
        .stderr
        .split_once("open it with: ")
        .expect("a command");
    let script = format!(
        "{} -Y 'http or http2' -T fields -e tcp.stream",
        command.trim()
    );
    let shown = String::from_utf8(scratch.shell(&script).run().stdout).expect("UTF-8");
    let mut streams: Vec<_> = shown.lines().collect();
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len(), 9, "{script}: {shown}");
}

#[test]
fn bad_traces_leave_the_others_alone() {
    let scratch = Scratch::new();
    let events = |micros: [i32; 2]| {
        micros
            .map(|micros| Ev::new(What::Read, micros, "x"))
            .to_vec()
    };
    let a = write(&scratch, "a.pb", Form::Binary, 50001, events([0, 2000]));
    let b = write(
        &scratch,
        "b.pb",
        Form::StreamedText,
        50002,
        events([1000, 3000]),
    );
    let none = scratch.write("none.pb", b"hello, world\n");
    let missing = scratch.path("missing.pb");
    let (outcome, _) = merge(&scratch, &[], &[a.clone(), b.clone()]);
    outcome.exits(0);
    let good = fs::read(scratch.path("all.pcap")).expect("a capture");
    let traces = [a.clone(), none.clone(), missing.clone(), b.clone()];
    let (outcome, _) = merge(&scratch, &[], &traces);
    outcome.exits(1).says([
        "none.pb: not recognized at offset 0",
        "missing.pb: cannot open: ",
        "1 capture of 4 traces, 2 connections, 4 events ",
        " 2 failures, ",
    ]);
    assert!(fs::read(scratch.path("all.pcap")).expect("a capture") == good);

    // A cut trace gives its events; with --strict, none.
    let whole = made().encode(Form::Streamed);
    let cut = scratch.write("cut.pb", &whole.bytes[..whole.events[7].1 - 3]);
    let single = Capture::parse(&alone(&cut)).unwrap_or_else(|e| panic!("{e}"));
    let traces = [a, cut, b];
    let (outcome, capture) = merge(&scratch, &[], &traces);
    outcome
        .exits(1)
        .says(["cut.pb: ", " offset ", " 1 damaged trace, "]);
    assert_eq!(data(&capture).len(), 4 + data(&single).len());
    assert_apart(&scratch, &capture, 3);
    let (outcome, _) = merge(&scratch, &["--strict"], &traces);
    outcome
        .exits(1)
        .says(["cut.pb: ", " offset ", " 1 failure, "]);
    assert!(fs::read(scratch.path("all.pcap")).expect("a capture") == good);
}

#[test]
fn bad_traces_alone_make_no_capture() {
    let scratch = Scratch::new();
    scratch.write("none.pb", b"hello, world\n");
    let run = || {
        scratch
            .capture2pcap()
            .args(["-m", "none.pb", "missing.pb", "all.pcap"])
    };
    run().run().exits(1).says(["none.pb: ", "missing.pb: "]);
    assert_left_over(&scratch, &["none.pb"]);
    scratch.write("all.pcap", b"kept");
    run().run().exits(1);
    assert_left_over(&scratch, &["all.pcap", "none.pb"]);
    assert_eq!(
        fs::read(scratch.path("all.pcap")).expect("all.pcap"),
        b"kept"
    );
}

#[test]
fn standard_input_is_not_merged() {
    let scratch = Scratch::new();
    let encoded = made().encode(Form::Binary).bytes;
    scratch.write("a.pb", &encoded);
    for arguments in [
        &["-m", "-", "all.pcap"][..],
        &["-m", "a.pb", "-", "all.pcap"],
    ] {
        let run = scratch.capture2pcap().args(arguments).stdin(&*encoded);
        run.run()
            .exits(2)
            .says(["capture2pcap: standard input cannot be merged"]);
        assert_left_over(&scratch, &["a.pb"]);
    }
}

/// An impossible count is damage in a merge and in `--info`, as it is in a conversion.
#[test]
fn an_impossible_count_is_damage_everywhere() {
    let mut events = [("hello", 1), ("world", 2)].map(|(data, seq_num)| Ev {
        seq_num,
        ..Ev::new(What::Read, seq_num as i32, data)
    });
    events[1].time.1 += 1000;
    let scratch = Scratch::new();
    let bad = write(&scratch, "bad", Form::Streamed, 50001, events.to_vec());
    let good = write(
        &scratch,
        "good",
        Form::Binary,
        50002,
        vec![Ev::new(What::Read, 0, "x")],
    );
    let (outcome, _) = merge(&scratch, &[], &[bad.clone(), good.clone()]);
    outcome.exits(1).says(["bad: 1 impossible seq_num"]);
    let (outcome, capture) = merge(&scratch, &["--strict"], &[bad.clone(), good]);
    outcome.exits(1).says(["bad: damaged, so --strict"]);
    assert_eq!(places(&capture).len(), 1);
    fs::remove_file(scratch.path("all.pcap")).expect("a capture");
    let run = scratch.capture2pcap().args(["-m", "--strict"]).arg(&bad);
    run.arg("all.pcap").run().exits(1);
    assert!(!scratch.path("all.pcap").exists());
    scratch.capture2pcap().arg("--info").arg(bad).run().exits(1);
}
