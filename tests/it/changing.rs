//! Traces that change while they are read: Envoy continues to write, Envoy is restarted, or the file is
//! truncated to free disk space.
//!
//! No test depends on timing: the program cannot continue to write while its standard output is not read,
//! so it has stopped in the middle of the trace when the test changes the file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::harness::{Outcome, Running, Scratch};
use crate::make::{Encoded, Ev, Form, Made, What, noise};
use crate::pcap::{Capture, Record};
use crate::stdio::{PATIENCE, next_record};

/// The size and number of events in a trace that is far larger than all buffers together.
const SIZE: usize = 50_003;
const EVENTS: i32 = 400;

/// A large trace, with an event every millisecond.
fn large(form: Form) -> Encoded {
    let event = |i| Ev::new(What::Read, 1000 * i, vec![i as u8; SIZE]);
    Made::v4((0..EVENTS).map(event).collect()).encode(form)
}

/// Starts a conversion of `trace`, and returns in the middle of it, with the output so far.
fn start(scratch: &Scratch, arguments: &[&str]) -> (Running, Vec<u8>) {
    let run = scratch.capture2pcap().arg("--role=downstream");
    let mut running = run.args(arguments).args(["trace", "-"]).start();
    let stdout = running.stdout.as_mut().expect("a pipe");
    let header = stdout.read(24, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
    (running, header)
}

/// Waits for the end of the conversion, and returns the packets with payload.
#[track_caller]
fn end(running: Running, mut bytes: Vec<u8>) -> (Outcome, Vec<Record>) {
    let mut outcome = running.finish();
    bytes.append(&mut outcome.stdout);
    let capture = Capture::parse(&bytes).unwrap_or_else(|e| panic!("{e}{}", outcome.explain()));
    let mut records = capture.records;
    records.retain(|record| !record.segment().expect("a segment").payload.is_empty());
    (outcome, records)
}

/// Fails unless the packets are the first ones of the trace. Returns their number.
#[track_caller]
fn count(records: &[Record]) -> usize {
    for (i, record) in records.iter().enumerate() {
        let payload = record.segment().expect("a segment").payload;
        let whole = [i as u8; SIZE];
        // The event at which the trace is cut may be there in part.
        let is_cut = i + 1 == records.len() && whole.starts_with(payload);
        assert!(payload == whole || is_cut, "packet {i} holds other bytes");
    }
    records.len()
}

const MODES: [&[&str]; 2] = [&[], &["-m"]];

#[test]
fn a_trace_may_grow_while_it_is_read() {
    let encoded = large(Form::StreamedDelimited);
    let half = encoded.events[EVENTS as usize / 2].0;
    for mode in MODES {
        let scratch = Scratch::new();
        let path = scratch.write("trace", &encoded.bytes[..half]);
        let (running, header) = start(&scratch, mode);
        let mut trace = OpenOptions::new().append(true).open(path).expect("trace");
        trace.write_all(&encoded.bytes[half..]).expect("the rest");
        let (outcome, records) = end(running, header);
        outcome.exits(0).says_nothing();
        // The capture may contain some of the appended events; a merge contains those that its first pass has counted.
        let counted = count(&records);
        let all = if mode.is_empty() { EVENTS } else { EVENTS / 2 };
        assert!(
            (EVENTS as usize / 2..=all as usize).contains(&counted),
            "{mode:?}: {counted}"
        );
    }
}

/// Truncated after the program's position, before it, and to nothing.
#[test]
fn a_trace_may_be_cut_while_it_is_read() {
    for form in [
        Form::Binary,
        Form::StreamedDelimited,
        Form::Streamed,
        Form::Json,
    ] {
        let encoded = large(form);
        let late = encoded.bytes.len() / 4 * 3;
        for (mode, length) in MODES
            .iter()
            .flat_map(|mode| [late, 100_000, 0].map(|n| (mode, n)))
        {
            let place = format!("{form:?} {mode:?} cut to {length}");
            let scratch = Scratch::new();
            let path = scratch.write("trace", &encoded.bytes);
            let (running, header) = start(&scratch, mode);
            let trace = OpenOptions::new().write(true).open(path).expect("trace");
            trace.set_len(length as u64).expect("it is cut");
            let (outcome, records) = end(running, header);
            let outcome = outcome
                .exits(1)
                .says(["capture2pcap: trace: cut at offset "]);
            let counted = count(&records);
            // All events before the cut, and at least one.
            let least = encoded.events.iter().filter(|(_, end)| *end <= length);
            let least = least.count().max(1);
            assert!(
                (least..EVENTS as usize).contains(&counted),
                "{place}: {counted} packets, not {least} or more{}",
                outcome.explain()
            );
        }
    }
}

/// A restarted Envoy numbers its connections from 0 again, and truncates and rewrites its files.
#[test]
fn a_trace_may_be_rewritten_while_it_is_read() {
    let encoded = large(Form::StreamedDelimited);
    let noise: Vec<u8> = noise(5).take(encoded.bytes.len() / 8).collect();
    let other = large(Form::Json).bytes;
    for mode in MODES {
        for anew in [&encoded.bytes, &other, &noise] {
            let scratch = Scratch::new();
            let path = scratch.write("trace", &encoded.bytes);
            let (running, header) = start(&scratch, mode);
            fs::write(path, anew).expect("a new trace");
            let (outcome, records) = end(running, header);
            assert!(!records.is_empty());
            if *anew != encoded.bytes {
                outcome.exits(1);
                continue;
            }
            // If the new bytes equal the old ones, nothing changes, unless the program reads the file while it is
            // still shorter.
            let outcome = outcome.exits_one_of(&[0, 1]);
            if outcome.status.success() {
                assert_eq!(count(&records), EVENTS as usize);
            } else {
                outcome.says(["capture2pcap: trace: cut at offset "]);
                count(&records);
            }
        }
    }
}

/// With --strict, a trace that was cut gives no capture. On a stream, packets that are written stay written, and the
/// exit status reports the damage.
#[test]
fn a_strict_merge_of_a_changed_trace_fails() {
    let encoded = large(Form::StreamedDelimited);
    let scratch = Scratch::new();
    let path = scratch.write("trace", &encoded.bytes);
    let (running, header) = start(&scratch, &["-m", "--strict"]);
    let trace = OpenOptions::new().write(true).open(path).expect("trace");
    let cut = encoded.bytes.len() as u64 / 4 * 3;
    trace.set_len(cut).expect("it is cut");
    let (outcome, _) = end(running, header);
    outcome.exits(1).says(["strict"]);
}

/// At any moment, also in the first pass of a merge: the program is not ended by a signal, and no incomplete capture is
/// left.
#[test]
fn a_trace_may_be_cut_at_any_moment() {
    let encoded = large(Form::StreamedDelimited);
    let commands: [&[&str]; 4] = [
        &["trace", "out.pcap"],
        &["-m", "trace", "out.pcap"],
        &["trace", "trace", "out/"],
        &["--info", "trace"],
    ];
    for (round, command) in (0..3).flat_map(|round| commands.map(|command| (round, command))) {
        let scratch = Scratch::new();
        let path = scratch.write("trace", &encoded.bytes);
        let running = scratch.capture2pcap().args(command).start();
        thread::sleep(Duration::from_millis(2 + 9 * round));
        let trace = OpenOptions::new().write(true).open(path).expect("trace");
        trace.set_len(4096).expect("it is cut");
        let outcome = running.finish().exits_one_of(&[0, 1]);
        let found = crate::batch::files(scratch.dir());
        for (name, bytes) in found.iter().filter(|(name, _)| !name.ends_with("trace")) {
            let capture = Capture::parse(bytes);
            capture.unwrap_or_else(|e| panic!("{}: {e}{}", name.display(), outcome.explain()));
        }
    }
}

/// Following a file as in the README: packets are written while the file grows.
#[test]
fn a_file_that_grows_is_followed_through_a_pipe() {
    let data = |i: i32| format!("GET /{i} HTTP/1.1\r\n\r\n");
    let events: Vec<_> = (0..6)
        .map(|i| Ev::new(What::Read, 1000 * i, data(i)))
        .collect();
    let encoded = Made::v4(events.clone()).encode(Form::StreamedDelimited);
    let scratch = Scratch::new();
    let mut file = File::create(scratch.path("trace")).expect("a trace");
    let script = "mkfifo pipe
        tail -c +1 -f trace > pipe &
        echo $! > pid
        capture2pcap - - < pipe";
    let mut running = scratch.shell(script).start();
    let (mut capture, mut written) = (Vec::new(), 0);
    for (i, (event, &(_, end))) in events.iter().zip(&encoded.events).enumerate() {
        // The event arrives in two pieces.
        for end in [end - 7, end] {
            file.write_all(&encoded.bytes[written..end])
                .expect("a piece");
            written = end;
        }
        if i == 0 {
            let stdout = running.stdout.as_mut().expect("a pipe");
            capture.extend(stdout.read(24, PATIENCE).unwrap_or_else(|e| panic!("{e}")));
        }
        let record = next_record(&mut running, &format!("packet {i}"));
        assert!(
            record.ends_with(&event.data),
            "packet {i} holds other bytes"
        );
        capture.extend(record);
    }
    scratch.shell("kill $(cat pid)").run().exits(0);
    let outcome = running.finish().exits(0);
    assert!(outcome.stdout.is_empty(), "{}", outcome.explain());
    let capture = Capture::parse(&capture).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(capture.records.len(), 6);
}
