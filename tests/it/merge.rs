//! Many traces in one capture: it contains everything that each trace gives alone, in strict time order, and keeps
//! connections apart.

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

/// Fails if a time goes back.
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

/// A trace and its copy an hour later; then 150 µs later, so that both are open at once.
#[test]
fn the_same_endpoints_again() {
    for name in ["buf_proto_text_22.pb_text", "str_proto_text_67.pb_text"] {
        let path = fixtures::testdata().join("envoy-1.40/taps").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let single = Capture::parse(&alone(&path)).unwrap_or_else(|e| panic!("{e}"));
        let single: Vec<_> = single
            .streams()
            .into_iter()
            .map(|stream| stream.2)
            .collect();
        assert_eq!(single.len(), 2, "{name}");
        for (by, at_once) in [(3_600_000_000_000, false), (150_000, true)] {
            let place = format!("{name} {by} ns later");
            let scratch = Scratch::new();
            let traces = [
                scratch.write("a.pb_text", text.as_bytes()),
                scratch.write("b.pb_text", later(&text, by).as_bytes()),
            ];
            let (outcome, capture) = merge(&scratch, &[], &traces);
            let outcome = outcome.exits(0);
            let found = outcome
                .stderr
                .contains("b.pb_text: 1 connection with a stand-in client port");
            assert_eq!(found, at_once, "{place}{}", outcome.explain());
            assert!(
                !outcome.stderr.contains("a.pb_text: "),
                "{place}{}",
                outcome.explain()
            );
            assert_in_order(&capture);
            let path = scratch.path("all.pcap");
            assert_eq!(faults(&path, http2_ports(&capture), FAULTS), "", "{place}");
            let seen = streams(&path);
            assert_eq!(seen.len(), 2, "{place}: {seen:?}");
            let same = seen[0].1 == seen[1].1;
            assert_eq!(same, !at_once, "{place}: {seen:?}");
            assert_eq!(
                (count(&capture, SYN), count(&capture, FIN)),
                (4, 4),
                "{place}"
            );
            // Everything is there twice, one after the other or at the same time.
            let mut found: Vec<_> = capture
                .streams()
                .into_iter()
                .map(|stream| stream.2)
                .collect();
            let mut expected = if at_once {
                [&single[..], &single].concat()
            } else {
                single.iter().map(|stream| stream.repeat(2)).collect()
            };
            found.sort();
            expected.sort();
            assert!(found == expected, "{place}: other bytes");
        }
    }
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

/// If the clock steps back, a merge keeps the last time until the trace has caught up. Without --merge, times stay as
/// recorded.
#[test]
fn a_clock_that_steps_back_keeps_the_order() {
    for form in [Form::Binary, Form::StreamedDelimited, Form::StreamedJson] {
        let scratch = Scratch::new();
        let event = |micros, data: &str| Ev::new(What::Read, micros, data);
        let stepping = [(0, "a"), (5000, "b"), (3000, "c"), (4500, "d"), (6000, "e")];
        let events = stepping.map(|(micros, data)| event(micros, data));
        let steady = [(4000, "A"), (5500, "B")].map(|(micros, data)| event(micros, data));
        let traces = [
            write(&scratch, "back", form, 50001, events.to_vec()),
            write(&scratch, "steady", form, 50002, steady.to_vec()),
        ];
        let (outcome, capture) = merge(&scratch, &[], &traces);
        let outcome = outcome
            .exits(0)
            .says(["back: 2 events moved to a later time"]);
        assert!(
            !outcome.stderr.contains("steady: "),
            "{form:?}{}",
            outcome.explain()
        );
        let expected = [
            (50001, 0, "a"),
            (50002, 4000, "A"),
            (50001, 5000, "b"),
            (50001, 5000, "c"),
            (50001, 5000, "d"),
            (50002, 5500, "B"),
            (50001, 6000, "e"),
        ];
        let expected = expected.map(|(port, at, data)| (port, at, data.as_bytes().to_vec()));
        assert_eq!(places(&capture), expected, "{form:?}");
        assert_in_order(&capture);
        assert_apart(&scratch, &capture, 2);

        let single = Capture::parse(&alone(&traces[0])).unwrap_or_else(|e| panic!("{e}"));
        let times: Vec<_> = places(&single).into_iter().map(|place| place.1).collect();
        assert_eq!(times, [0, 5000, 3000, 4500, 6000], "{form:?} alone");
    }
}

/// Events with the same time are sorted by the names of their traces.
#[test]
fn equal_times_keep_the_order_of_the_traces() {
    let scratch = Scratch::new();
    let events = |data: [&str; 3]| {
        let times = [1000, 1000, 2000].into_iter().zip(data);
        times
            .map(|(at, data)| Ev::new(What::Read, at, data))
            .collect()
    };
    let (a, b) = (events(["a", "b", "c"]), events(["A", "B", "C"]));
    let mut traces = [
        write(&scratch, "a", Form::Streamed, 50001, a),
        write(&scratch, "b", Form::Streamed, 50002, b),
    ];
    for _ in 0..2 {
        let (_, capture) = merge(&scratch, &[], &traces);
        let found: Vec<_> = places(&capture)
            .into_iter()
            .flat_map(|place| place.2)
            .collect();
        assert_eq!(String::from_utf8_lossy(&found), "abABcC");
        traces.reverse();
    }
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

/// Traces without times are placed at `--start`, among the others.
#[test]
fn traces_without_time_are_put_at_the_start() {
    let timeless: Vec<_> = fixtures::http_traces()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("http_str_proto_binary_1"))
        .collect();
    assert_eq!(timeless.len(), 5);
    let scratch = Scratch::new();
    let events = [0, 2_000_000].map(|micros| Ev::new(What::Read, micros, "x"));
    let timed = write(&scratch, "timed", Form::Binary, 50001, events.to_vec());
    let traces = [&timeless[..], &[timed]].concat();
    // In the middle of the trace with times.
    let start = START as u64 + 1;
    let (outcome, capture) = merge(&scratch, &["--start", "2026-11-22T06:08:47Z"], &traces);
    let outcome = outcome.exits(0);
    // One warning for all of them.
    let outcome =
        outcome.says([".pb and 4 other traces: 22 events without a time: stand-in times"]);
    let lines = outcome.stderr.matches("without a time").count();
    assert_eq!(lines, 1, "{}", outcome.explain());
    assert_in_order(&capture);
    assert_apart(&scratch, &capture, traces.len());
    let segments = capture.segments();
    let frames = capture.records.iter().zip(&segments);
    let (mut timed, mut stood) = (Vec::new(), Vec::new());
    for (record, segment) in frames {
        let ports = [segment.source.port(), segment.destination.port()];
        if ports.contains(&50001) {
            timed.push(record.time);
        } else {
            stood.push(record.time);
        }
    }
    assert_eq!(timed.first(), Some(&(START as u64 * 1_000_000_000)));
    assert_eq!(timed.last(), Some(&((START as u64 + 2) * 1_000_000_000)));
    assert_eq!(stood.first(), Some(&(start * 1_000_000_000)));
    assert!(
        stood
            .last()
            .is_some_and(|&last| last < start * 1_000_000_000 + 1_000_000)
    );
}

/// A truncated event has its true size in a merge, although only the next event of its trace shows it, which comes
/// after many others.
#[test]
fn a_counted_loss_keeps_its_size() {
    let sizes = [100, 100_000, 300];
    let mut counted = 1;
    let mut events = Vec::new();
    for (i, size) in (0..).zip(sizes) {
        let mut event = Ev::new(What::Write, 100_000 * i, vec![b'x'; size.min(200)]);
        (event.truncated, event.seq_num) = (size > 200, counted);
        counted += size as u64;
        events.push(event);
    }
    let mut closed = Ev::new(What::Closed, 300_000, "");
    closed.seq_num = counted + 1;
    events.push(closed);
    let between = (0..200).map(|i| Ev::new(What::Read, 1500 * i, "between"));
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        let scratch = Scratch::new();
        let traces = [
            write(&scratch, "cut", form, 50001, events.clone()),
            write(&scratch, "between", form, 50002, between.clone().collect()),
        ];
        let (outcome, capture) = merge(&scratch, &[], &traces);
        outcome
            .exits(0)
            .says(["cut: 2 truncated events: 99,900 bytes are not in the trace"]);
        let mut expected = Vec::new();
        for trace in &traces {
            let single = Capture::parse(&alone(trace)).unwrap_or_else(|e| panic!("{e}"));
            expected.extend(data(&single));
        }
        expected.sort();
        assert_eq!(data(&capture), expected, "{form:?}");
        let sent: usize = data(&capture)
            .iter()
            .filter(|frame| frame.2.port() == 50001)
            .map(|frame| frame.4)
            .sum();
        assert_eq!(sent, 100_400, "{form:?}");
        assert_apart(&scratch, &capture, 2);
    }
}

/// Messages of one file whose times overlap: Envoy writes each when its connection ends, or in pieces.
#[test]
fn messages_of_one_file_overlap() {
    for form in [Form::Binary, Form::Delimited, Form::Text, Form::Json] {
        let message = |client: u16, times: &[i32]| {
            let events = times
                .iter()
                .map(|&micros| Ev::new(What::Read, micros, format!("{client} {micros};")));
            let mut made = Made::v4(events.collect());
            made.remote.1 = client;
            made.id = u64::from(client);
            made.encode(form).bytes
        };
        let scratch = Scratch::new();
        // A1 B1 A2, and last a connection that ended before all of them.
        let bytes = [
            message(50001, &[1000, 3000]),
            message(50002, &[2000, 4000, 6000]),
            message(50001, &[5000, 7000]),
            message(50003, &[500, 900]),
        ];
        let trace = scratch.write("trace", &bytes.concat());
        let (outcome, capture) = merge(&scratch, &[], &[trace]);
        let outcome = outcome.exits(0);
        assert!(
            !outcome.stderr.contains("later time"),
            "{form:?}{}",
            outcome.explain()
        );
        let expected = [
            (50003, 500),
            (50003, 900),
            (50001, 1000),
            (50002, 2000),
            (50001, 3000),
            (50002, 4000),
            (50001, 5000),
            (50002, 6000),
            (50001, 7000),
        ];
        let expected = expected
            .map(|(client, micros)| (client, micros, format!("{client} {micros};").into_bytes()));
        assert_eq!(places(&capture), expected, "{form:?}");
        assert_in_order(&capture);
        assert_eq!(
            (count(&capture, SYN), count(&capture, FIN)),
            (6, 6),
            "{form:?}"
        );
        assert_apart(&scratch, &capture, 3);
    }
}

/// Two thousand traces with one pair of endpoints, a second apart, with few open files.
#[test]
fn thousands_of_traces_one_after_the_other() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for i in 0..2000 {
        // Most of them overlap with their neighbours.
        let begin = 1_000_000 * i;
        let events = vec![
            Ev::new(What::Read, begin, format!("request {i}")),
            Ev::new(What::Write, begin + 900_000, format!("response {i}")),
        ];
        let name = format!("in/path_{}.pb", (i * 7) % 2000);
        write(&scratch, &name, Form::Binary, 50001, events);
    }
    for jobs in [1, 2] {
        let script = format!("ulimit -n 64; exec capture2pcap -j {jobs} -m in all_{jobs}.pcap");
        let outcome = scratch.shell(&script).run();
        outcome
            .exits(0)
            .says(["1 capture of 2,000 traces, 2,000 connections, 4,000 events "]);
    }
    let one = fs::read(scratch.path("all_1.pcap")).expect("a capture");
    let two = fs::read(scratch.path("all_2.pcap")).expect("a capture");
    assert!(one == two, "other bytes with two threads");
    fs::rename(scratch.path("all_1.pcap"), scratch.path("all.pcap")).expect("a capture");
    let capture = Capture::read(&scratch.path("all.pcap"));
    assert_in_order(&capture);
    let payloads: Vec<_> = places(&capture).into_iter().map(|place| place.2).collect();
    let expected = (0..2000).flat_map(|i| [format!("request {i}"), format!("response {i}")]);
    assert!(payloads.into_iter().eq(expected.map(String::into_bytes)));
    assert_eq!(count(&capture, SYN), 4000);
    assert_apart(&scratch, &capture, 2000);
}

/// Traces that all overlap need as many readers, but only few open files.
#[test]
fn overlapping_traces_are_merged_with_few_open_files() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for i in 0..200 {
        let events = [0, 1_000_000].map(|at| Ev::new(What::Read, at + i, format!("{i} at {at}")));
        let client = 50000 + i as u16;
        write(
            &scratch,
            &format!("in/{i}.pb"),
            Form::Binary,
            client,
            events.to_vec(),
        );
    }
    let outcome = scratch
        .shell("ulimit -n 64; exec capture2pcap -m in all.pcap")
        .run();
    outcome
        .exits(0)
        .says(["1 capture of 200 traces, 200 connections, 400 events "]);
    let capture = Capture::read(&scratch.path("all.pcap"));
    assert_in_order(&capture);
    assert_eq!(capture.streams().len(), 200);
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
        "none.pb: not recognised at offset 0",
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

/// A batched `/tap` stream, recorded by a real Envoy: each batch belongs to one connection, and has earlier times than
/// the batch before.
#[test]
fn a_stream_of_several_connections_keeps_the_recorded_times() {
    let trace = fixtures::testdata().join("field/merge/batch-three-connections.json");
    let json = fs::read_to_string(&trace).expect("a fixture");
    let times = json.split("\"timestamp\": \"").skip(1);
    let mut recorded: Vec<_> = times
        .map(|rest| {
            let time = rest.split('"').next().expect("a time");
            let (_, fraction) = time.split_once(":20.").expect("one second");
            fraction
                .trim_end_matches('Z')
                .parse::<u64>()
                .expect("microseconds")
        })
        .collect();
    assert_eq!(recorded.len(), 33);
    recorded.sort_unstable();
    recorded.dedup();
    let scratch = Scratch::new();
    let (outcome, capture) = merge(&scratch, &[], std::slice::from_ref(&trace));
    outcome.exits(0).says_nothing();
    let times = capture
        .records
        .iter()
        .map(|record| record.time / 1000 % 1_000_000);
    let mut times: Vec<_> = times.collect();
    assert_in_order(&capture);
    times.dedup();
    assert_eq!(times, recorded);
    assert_apart(&scratch, &capture, 3);

    // Without --merge, the capture has the order of the trace, with a warning.
    let run = scratch.capture2pcap().arg(&trace).arg("alone.pcap").run();
    run.exits(0).says([
        " events earlier than the one before: times in the capture go backwards",
        "hint: --merge puts all packets in the order of their times",
    ]);
}

/// More simultaneous buffered traces than a conversion keeps open.
#[test]
fn more_traces_than_a_conversion_keeps_open_stay_whole() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    const TRACES: u16 = 4500;
    for i in 0..TRACES {
        let at = |second| 1_000_000 * second + i32::from(i);
        let events = vec![
            Ev::new(What::Read, at(0), format!("GET /{i} HTTP/1.1\r\n\r\n")),
            Ev::new(What::Write, at(10), format!("HTTP/1.1 200 OK\r\n\r\n{i}")),
        ];
        write(
            &scratch,
            &format!("in/{i}.pb"),
            Form::Binary,
            50_000 + i,
            events,
        );
    }
    let (outcome, capture) = merge(&scratch, &[], &[scratch.path("in")]);
    let outcome = outcome.exits(0).says(["4,500 connections, 9,000 events"]);
    assert!(
        !outcome.stderr.contains("stand-in"),
        "{}",
        outcome.explain()
    );
    assert_in_order(&capture);
    assert_eq!(capture.streams().len(), 2 * usize::from(TRACES));
    assert_eq!(count(&capture, SYN), 2 * usize::from(TRACES));
    // No connection ends before each has had its response.
    let segments = capture.segments();
    let last_request = segments.iter().rposition(|s| s.payload.starts_with(b"GET"));
    let first_end = segments.iter().position(|s| s.flags & FIN != 0);
    assert!(last_request < first_end, "{last_request:?} {first_end:?}");
}

/// Two buffered messages of one file with the same id and times, but different addresses.
#[test]
fn messages_of_one_id_and_other_addresses_stay_apart() {
    for form in [Form::Binary, Form::Delimited, Form::Text, Form::Json] {
        let message = |client: u16, first: i32| {
            let events = (0..3).map(|i| {
                let what = if i == 2 { What::Write } else { What::Read };
                Ev::new(what, first + 100 * i, format!("{client} {i};"))
            });
            let mut made = Made::v4(events.collect());
            made.remote.1 = client;
            made.encode(form).bytes
        };
        let scratch = Scratch::new();
        let bytes = [message(50001, 0), message(50002, 50), message(50001, 1000)];
        let trace = scratch.write("trace", &bytes.concat());
        let (outcome, capture) = merge(&scratch, &[], &[trace]);
        outcome.exits(0).says_nothing();
        let seen: Vec<_> = places(&capture).into_iter().map(|p| (p.0, p.1)).collect();
        let expected = [
            (50001, 0),
            (50002, 50),
            (50001, 100),
            (50002, 150),
            (50001, 200),
            (50002, 250),
            (50001, 1000),
            (50001, 1100),
            (50001, 1200),
        ];
        assert_eq!(seen, expected, "{form:?}");
        assert_apart(&scratch, &capture, 2);
    }
}

/// A truncated event keeps its time, for any number of events before the one that shows its size.
#[test]
fn a_truncated_event_keeps_its_time_among_thousands() {
    let mut events = vec![(1, 0, "cut", true, 1)];
    events.extend((0..3000).map(|i| (2, 1 + i, "B", false, 1 + i as u64)));
    events.push((1, 5_000_000, "answer", false, 1001));
    let connection = |id: u64| {
        use crate::make::parts::{connection, socket};
        let (local, remote) = (socket("10.0.0.1", 80), socket("10.0.0.2", 50_000 + id));
        crate::make::parts::begin(id, &connection(Some(&local), Some(&remote)))
    };
    let mut trace = [connection(1), connection(2)].concat();
    for (id, at, data, truncated, seq_num) in events {
        let mut event = Ev::new(What::Read, at, data);
        (event.truncated, event.seq_num) = (truncated, seq_num);
        trace.extend(crate::make::parts::segment(id, &event.message()));
    }
    let scratch = Scratch::new();
    let trace = scratch.write("trace", &trace);
    let (outcome, capture) = merge(&scratch, &["--role=downstream"], &[trace]);
    let outcome = outcome.exits(0);
    let found = outcome
        .stderr
        .lines()
        .filter(|line| !line.starts_with("hint"));
    assert_eq!(found.count(), 1, "{}", outcome.explain());
    assert_in_order(&capture);
    let first = &places(&capture)[0];
    assert_eq!((first.0, first.1, &first.2[..]), (50_001, 0, &b"cut"[..]));
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
    outcome.exits(1).says(["bad: damaged, and --strict"]);
    assert_eq!(places(&capture).len(), 1);
    fs::remove_file(scratch.path("all.pcap")).expect("a capture");
    let run = scratch.capture2pcap().args(["-m", "--strict"]).arg(&bad);
    run.arg("all.pcap").run().exits(1);
    assert!(!scratch.path("all.pcap").exists());
    scratch.capture2pcap().arg("--info").arg(bad).run().exits(1);
}
