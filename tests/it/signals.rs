//! Signals during a batch and a merge.
//!
//! After SIGINT and SIGTERM, all captures are complete and no temporary file is left. SIGKILL leaves a temporary file,
//! but no incomplete capture. Single conversions are tested in `files.rs`.

use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::bad::{assert_left_over, made};
use crate::batch::{alone, files, write_trace};
use crate::files::temporaries;
use crate::harness::{Running, SIGINT, SIGKILL, SIGTERM, Scratch, each, wait_until};
use crate::make::{Ev, Form, Made, What};
use crate::pcap::Capture;
use crate::stdio::PATIENCE;

/// Starts a batch of 30 traces and a FIFO that never ends, and waits until it reads the FIFO.
fn hanging(scratch: &Scratch) -> (Running, fs::File) {
    for number in 0..30 {
        write_trace(scratch, format!("in/path_{number}.pb"), number);
    }
    scratch.shell("mkfifo slow.pb").run().exits(0);
    // The only thread reaches the FIFO last, as it has no size.
    let run = scratch.interruptible();
    let running = run.args(["-j1", "in", "slow.pb", "out"]).start();
    let mut slow = OpenOptions::new();
    let mut slow = slow.write(true).open(scratch.path("slow.pb")).expect("it");
    let encoded = made().encode(Form::Streamed);
    slow.write_all(&encoded.bytes[..encoded.events[4].1])
        .expect("half a trace");
    let out = scratch.path("out");
    let count = || fs::read_dir(&out).map_or(0, Iterator::count);
    wait_until("the last capture", || {
        count() == 31 && temporaries(&out).len() == 1
    });
    (running, slow)
}

/// Fails unless the 30 captures are complete. Returns the names of the other files.
#[track_caller]
fn assert_whole(scratch: &Scratch) -> Vec<String> {
    let mut others = Vec::new();
    let mut whole = 0;
    for (name, bytes) in files(&scratch.path("out")) {
        let trace = scratch.path("in").join(&name).with_extension("pb");
        if trace.exists() {
            assert!(bytes == alone(&trace), "{}", name.display());
            whole += 1;
        } else {
            others.push(name.display().to_string());
        }
    }
    assert_eq!(whole, 30);
    others
}

/// It leaves a temporary file, which does not affect later runs.
#[test]
fn a_killed_batch_leaves_whole_captures() {
    let scratch = Scratch::new();
    let (running, slow) = hanging(&scratch);
    running.signal(SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.status.code(), None, "{}", outcome.explain());
    drop(slow);
    let left = assert_whole(&scratch);
    assert!(
        matches!(&left[..], [name] if name.starts_with(".capture2pcap-") && name.ends_with(".tmp")),
        "{left:?}"
    );
    let run = scratch.capture2pcap().args(["in", "out"]);
    run.run().exits(0);
    assert_eq!(assert_whole(&scratch), left);
}

#[test]
fn a_signal_ends_a_batch_without_temporary_files() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let scratch = Scratch::new();
        let (running, slow) = hanging(&scratch);
        running.signal(signal);
        running.finish().exits(code);
        drop(slow);
        // The capture of the FIFO has the events before the signal.
        assert_eq!(assert_whole(&scratch), ["slow.pcap"]);
        let capture = Capture::read(&scratch.path("out/slow.pcap"));
        assert!(capture.records.len() <= 5);
    }
}

/// Traces whose merge takes a while.
fn write_many_events(scratch: &Scratch) {
    let events = (0..4000).map(|i| Ev::new(What::Read, i, [b'a'; 1000]));
    let bytes = Made::v4(events.collect()).encode(Form::Streamed).bytes;
    for number in 0..8 {
        scratch.write(&format!("{number}.pb"), &bytes);
    }
}

#[test]
fn a_signal_ends_a_merge_with_a_whole_capture() {
    let merge = [
        "-m", "0.pb", "1.pb", "2.pb", "3.pb", "4.pb", "5.pb", "6.pb", "7.pb",
    ];
    let scratch = Scratch::new();
    write_many_events(&scratch);
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // The test reads no further, so the merge waits in the middle until the signal arrives.
        let mut running = scratch.interruptible().args(merge).arg("-").start();
        let stdout = running.stdout.as_mut().expect("a pipe");
        let mut bytes = stdout.read(24, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
        running.signal(signal);
        let outcome = running.finish().exits(code);
        bytes.extend(&outcome.stdout);
        let capture = Capture::parse(&bytes).unwrap_or_else(|e| panic!("{e}"));
        let packets = capture.records.len();
        assert!((1..8 * 4000).contains(&packets), "{packets} packets");

        // Into a file, the number of packets depends on timing.
        for old in [false, true] {
            let scratch = Scratch::new();
            write_many_events(&scratch);
            if old {
                scratch.write("all.pcap", b"kept");
            }
            let running = scratch.interruptible().args(merge).arg("all.pcap").start();
            wait_until("a temporary file", || {
                !temporaries(scratch.dir()).is_empty() || scratch.path("all.pcap").exists() && !old
            });
            running.signal(signal);
            running.finish().exits_one_of(&[code, 0]);
            assert_eq!(temporaries(scratch.dir()), [""; 0]);
            Capture::read(&scratch.path("all.pcap"));
        }
    }
}

#[test]
fn a_killed_merge_leaves_the_old_capture_or_a_whole_one() {
    let scratch = Scratch::new();
    write_many_events(&scratch);
    scratch.write("all.pcap", b"kept");
    let run = scratch.capture2pcap();
    let running = run
        .args(["-m", "0.pb", "1.pb", "2.pb", "3.pb", "all.pcap"])
        .start();
    wait_until("a temporary file", || {
        !temporaries(scratch.dir()).is_empty()
    });
    running.signal(SIGKILL);
    running.finish();
    if temporaries(scratch.dir()).is_empty() {
        Capture::read(&scratch.path("all.pcap"));
    } else {
        assert_eq!(fs::read(scratch.path("all.pcap")).expect("it"), b"kept");
    }
}

/// A signal has to end the wait for the writer of a FIFO.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_the_wait_for_a_writer() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let scratch = Scratch::new();
        write_trace(&scratch, "a.pb", 0);
        scratch.shell("mkfifo fifo.pb").run().exits(0);
        for arguments in [&["fifo.pb", "out.pcap"][..], &["--info", "fifo.pb"]] {
            let running = scratch.interruptible().args(arguments).start();
            running.signal(signal);
            running.finish().exits(code);
            assert_left_over(&scratch, &["a.pb", "fifo.pb"]);
        }
    }
}

/// The same for a capture that is a FIFO without a reader.
#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let scratch = Scratch::new();
        write_trace(&scratch, "a.pb", 0);
        write_trace(&scratch, "b.pb", 1);
        scratch.shell("mkfifo fifo").run().exits(0);
        for arguments in [&["a.pb", "fifo"][..], &["-m", "a.pb", "b.pb", "fifo"]] {
            let running = scratch.interruptible().args(arguments).start();
            running.signal(signal);
            running.finish().exits(code);
            assert_left_over(&scratch, &["a.pb", "b.pb", "fifo"]);
        }
    }
}

/// A viewer that is stopped, or waits for the user, does not read. The first signal ends the conversion anyway.
#[test]
fn a_signal_ends_a_write_to_a_reader_that_does_not_read() {
    let events = (0..100).map(|i| Ev::new(What::Read, i, vec![b'a'; 100_000]));
    let made = Made::v4(events.collect());
    let scratch = Scratch::new();
    scratch.write("a.pb", &made.encode(Form::Streamed).bytes);
    write_trace(&scratch, "b.pb", 1);
    let to_stdout: [&[&str]; 4] = [
        &["a.pb", "-"],
        &["-F", "pcapng", "a.pb", "-"],
        &["-m", "a.pb", "b.pb", "-"],
        &["-q", "-m", "-F", "pcapng", "a.pb", "b.pb", "-"],
    ];
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        each(
            &to_stdout,
            |arguments| format!("{arguments:?}"),
            |arguments| {
                let mut running = scratch.interruptible().args(*arguments).start();
                let stdout = running.stdout.as_mut().expect("a pipe");
                stdout.read(24, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
                running.signal(signal);
                wait_until("its end", || running.has_ended());
                running.finish().exits(code);
            },
        );
    }
    // The same for a FIFO that a shell keeps open.
    let script = "mkfifo out; exec 3<>out; capture2pcap a.pb out & \
        head -c 24 <&3 >head; kill -TERM $!; wait $!";
    scratch.shell(script).run().exits(143);
}
