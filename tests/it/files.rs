//! The safety of files: an existing file stays until the new capture is complete, no incomplete file has the name of a
//! capture, and users who may not read a trace may not read its capture.

mod in_place;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use crate::bad::{assert_left_over, made};
use crate::batch::{alone, files, write_trace};
use crate::harness::{Outcome, SIGINT, SIGKILL, SIGTERM, Scratch, not_tested, wait_until};
use crate::make::{Ev, Form, Made, What, noise};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// The outcome of a script with its own mounts, which end with it.
///
/// A user namespace makes that possible without root, if the system allows it. Root needs no user namespace.
pub(crate) fn with_mounts(scratch: &Scratch, script: &str) -> Option<Outcome> {
    let ways = ["--user --map-root-user --mount", "--mount"];
    let way = ways.iter().find(|way| {
        let probe = format!("mkdir -p mnt; exec unshare {way} sh -ec 'mount -t tmpfs none mnt'");
        let possible = scratch.shell(&probe).run().status.success();
        fs::remove_dir(scratch.path("mnt")).expect("a mount point");
        possible
    });
    let Some(way) = way else {
        not_tested("no mounts in a namespace of our own are allowed here");
        return None;
    };
    let script = format!("exec unshare {way} sh -ec '{script}'");
    Some(scratch.shell(&script).run())
}

/// A trace that is larger than a small disk.
pub(crate) fn write_large(scratch: &Scratch) -> PathBuf {
    let data: Vec<u8> = noise(1).take(3 << 20).collect();
    let made = Made::v4(vec![Ev::new(What::Read, 0, data)]);
    scratch.write("large.pb", &made.encode(Form::Binary).bytes)
}

#[test]
fn a_full_disk_leaves_the_old_capture() {
    let scratch = Scratch::new();
    write_large(&scratch);
    write_trace(&scratch, "small.pb", 0);
    let script = "
        mkdir full
        mount -t tmpfs -o size=1m none full
        printf kept > full/out.pcap
        code=0; capture2pcap large.pb full/out.pcap || code=$?
        cat full/out.pcap; ls -A full
        rm full/out.pcap
        code2=0; capture2pcap large.pb small.pb full || code2=$?
        ls -A full; cp full/small.pcap .
        code3=0; capture2pcap -m large.pb small.pb full/all.pcap || code3=$?
        ls -A full; echo $code $code2 $code3";
    let Some(outcome) = with_mounts(&scratch, script) else {
        return;
    };
    let outcome = outcome.exits(0).says([
        "capture2pcap: full/out.pcap: cannot write: No space left on device",
        "capture2pcap: full/large.pcap: cannot write: No space left on device",
        "capture2pcap: full/all.pcap: cannot write: No space left on device",
        "capture2pcap: 1 capture of 2 traces, ",
    ]);
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    // The files in the folder after each run: no others are left.
    let expected = "keptout.pcap\nsmall.pcap\nsmall.pcap\n1 1 1\n";
    assert_eq!(stdout, expected, "{}", outcome.explain());
    let small = fs::read(scratch.path("small.pcap")).expect("a capture");
    assert!(small == alone(&scratch.path("small.pb")));
}

#[test]
fn an_unwritable_folder_is_reported() {
    let scratch = Scratch::new();
    write_trace(&scratch, "small.pb", 0);
    let script = "
        mkdir folder
        mount -t tmpfs none folder
        printf kept > folder/out.pcap
        mount -o remount,bind,ro folder
        code=0; capture2pcap small.pb folder/out.pcap || code=$?
        code2=0; capture2pcap small.pb folder/ || code2=$?
        cat folder/out.pcap; ls -A folder; echo $code $code2";
    if let Some(outcome) = with_mounts(&scratch, script) {
        let outcome = outcome.exits(0).says([
            "capture2pcap: folder/out.pcap: cannot write: ",
            "capture2pcap: folder/small.pcap: cannot write: ",
            "ead-only file",
        ]);
        let stdout = String::from_utf8_lossy(&outcome.stdout);
        assert_eq!(stdout, "keptout.pcap\n1 1\n", "{}", outcome.explain());
    }

    // The same if permissions are missing; root does not need them.
    let scratch = Scratch::new();
    write_trace(&scratch, "small.pb", 0);
    fs::create_dir(scratch.path("folder")).expect("a folder");
    scratch.write("folder/out.pcap", b"kept");
    let rights = |mode| {
        let set = fs::set_permissions(scratch.path("folder"), Permissions::from_mode(mode));
        set.expect("rights");
    };
    rights(0o555);
    let can = fs::write(scratch.path("folder/probe"), b"").is_ok();
    let outcome = scratch
        .capture2pcap()
        .args(["small.pb", "folder/out.pcap"])
        .run();
    rights(0o755);
    if can {
        not_tested(
            "rights of a folder do not bind root; see faults::missing_permissions_are_reported",
        );
        return;
    }
    outcome.exits(1).says([
        "capture2pcap: folder/out.pcap: cannot write: ",
        "ermission denied",
    ]);
    let found: Vec<_> = files(&scratch.path("folder")).into_iter().collect();
    assert_eq!(found, [("out.pcap".into(), b"kept".to_vec())]);
}

/// The temporary files in a folder. The files are not opened, because reading a FIFO would wait.
pub(crate) fn temporaries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.starts_with(".capture2pcap-") && name.ends_with(".tmp"))
        .collect()
}

#[test]
fn a_killed_conversion_leaves_the_old_capture() {
    let scratch = Scratch::new();
    let old = scratch.write("out.pcap", b"kept");
    let encoded = made().encode(Form::Streamed);
    let mut running = scratch.capture2pcap().args(["-", "out.pcap"]).start();
    let stdin = running.stdin.as_mut().expect("a pipe");
    let half = &encoded.bytes[..encoded.events[5].1];
    stdin.write_all(half).expect("half a trace");
    wait_until("a temporary file", || temporaries(scratch.dir()).len() == 1);
    running.signal(SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.status.code(), None, "{}", outcome.explain());
    assert_eq!(fs::read(&old).expect("out.pcap"), b"kept");
    let left = temporaries(scratch.dir());
    assert_eq!(left.len(), 1, "{left:?}");
    assert_left_over(&scratch, &[&left[0], "out.pcap"]);
    // The next conversion is not affected.
    let run = scratch.capture2pcap().args(["-", "out.pcap"]);
    run.stdin(encoded.bytes).run().exits(0);
    assert_left_over(&scratch, &[&left[0], "out.pcap"]);
    assert_eq!(Capture::read(&old).records.len(), encoded.events.len());
}

/// If OUTPUT is forgotten, as in `capture2pcap *.pb` with two traces, the last trace would be the output.
#[test]
fn a_capture_does_not_replace_a_trace() {
    let scratch = Scratch::new();
    let names = ["path_0.pb", "path_1.pb", "path_2.pb", "renamed"];
    let write = |name: &str| fs::read(write_trace(&scratch, name, name.len() as u16)).expect("it");
    let traces = names.map(write);
    // Envoy has opened it, and not written to it yet.
    scratch.write("path_3.json", b"");
    let cases = [
        &["path_0.pb", "path_1.pb"][..],
        &["path_0.pb", "renamed"],
        &["path_0.pb", "path_3.json"],
        &["-m", "path_0.pb", "path_1.pb", "path_2.pb"],
        &["-m", "path_0.pb", "path_1.pb", "renamed"],
    ];
    for arguments in cases {
        let outcome = scratch.capture2pcap().args(arguments).run().exits(2);
        let output = arguments[arguments.len() - 1];
        outcome.says([
            &format!("capture2pcap: {output}: refusing to overwrite a trace")[..],
            "hint: the last argument is the output",
        ]);
        assert_left_over(
            &scratch,
            &[
                "path_0.pb",
                "path_1.pb",
                "path_2.pb",
                "path_3.json",
                "renamed",
            ],
        );
        for (name, trace) in names.iter().zip(&traces) {
            assert!(
                fs::read(scratch.path(name)).expect("it") == *trace,
                "{name}"
            );
        }
    }
    // An existing capture is replaced, and so is any other file.
    for old in [&alone(&scratch.path("path_1.pb"))[..], b"something else"] {
        scratch.write("out.pcap", old);
        let run = scratch.capture2pcap().args(["path_0.pb", "out.pcap"]);
        run.run().exits(0);
        let new = fs::read(scratch.path("out.pcap")).expect("a capture");
        assert!(new == alone(&scratch.path("path_0.pb")));
    }
}

/// The permissions of a file in the scratch directory.
#[track_caller]
fn mode(scratch: &Scratch, name: &str) -> u32 {
    let metadata = fs::metadata(scratch.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    metadata.mode() & 0o7777
}

#[test]
fn a_capture_is_no_more_readable_than_its_trace() {
    let scratch = Scratch::new();
    write_trace(&scratch, "t.pb", 0);
    write_trace(&scratch, "open.pb", 1);
    // The permissions of the trace, the umask, the permissions of an existing capture, and the result.
    let cases = [
        (0o644, "022", None, 0o644),
        (0o666, "000", None, 0o666),
        (0o600, "022", None, 0o600),
        (0o600, "000", None, 0o600),
        (0o640, "022", None, 0o640),
        (0o755, "022", None, 0o644),
        (0o644, "077", None, 0o600),
        (0o444, "022", None, 0o644),
        (0o644, "022", Some(0o600), 0o600),
        (0o600, "022", Some(0o644), 0o600),
    ];
    for (trace, umask, old, expected) in cases {
        let set = |name: &str, mode| {
            let set = fs::set_permissions(scratch.path(name), Permissions::from_mode(mode));
            set.unwrap_or_else(|e| panic!("{name}: {e}"));
        };
        set("t.pb", trace);
        set("open.pb", 0o666);
        for (how, capture) in [
            ("t.pb t.pcap", "t.pcap"),
            ("- t.pcap < t.pb", "t.pcap"),
            ("t.pb open.pb .", "t.pcap"),
            ("-m open.pb t.pb t.pcap", "t.pcap"),
        ] {
            let place = format!("{how}: trace {trace:o}, umask {umask}, old {old:?}");
            let _ = fs::remove_file(scratch.path(capture));
            if let Some(old) = old {
                scratch.write(capture, b"old");
                set(capture, old);
            }
            let script = format!("umask {umask}; exec capture2pcap {how}");
            scratch.shell(&script).run().exits(0);
            assert_eq!(mode(&scratch, capture), expected, "{place}");
        }
    }
    // A pipe does not show who may read the trace.
    let script = "umask 027; cat t.pb | capture2pcap - piped.pcap";
    scratch.shell(script).run().exits(0);
    assert_eq!(mode(&scratch, "piped.pcap"), 0o640);
}

/// This also holds if the trace is standard input, or if the shell has opened it for the capture.
#[test]
fn a_trace_is_never_overwritten() {
    let scratch = Scratch::new();
    let bytes = made().encode(Form::Binary).bytes;
    let trace = scratch.write("t.pb", &bytes);
    write_trace(&scratch, "other.pb", 1);
    fs::hard_link(&trace, scratch.path("hard.pb")).expect("a link");
    for how in [
        "t.pb - >> t.pb",
        "- - < t.pb >> t.pb",
        "- t.pb < t.pb",
        "- hard.pb < t.pb",
        "hard.pb - >> t.pb",
        "-m t.pb other.pb - >> t.pb",
        "-m other.pb t.pb hard.pb",
        "-m other.pb hard.pb t.pb",
    ] {
        let outcome = scratch.shell(&format!("exec capture2pcap {how}")).run();
        outcome
            .exits(2)
            .says(["capture2pcap: ", "INPUT and OUTPUT are the same file"]);
        assert_eq!(fs::read(&trace).expect("t.pb"), bytes, "{how}");
        assert_left_over(&scratch, &["hard.pb", "other.pb", "t.pb"]);
    }
}

/// A live stream that a signal ends: standard output and a file have a complete capture of the events until then.
#[test]
fn a_signal_ends_a_stream_with_a_whole_capture() {
    let encoded = made().encode(Form::StreamedDelimited);
    let (events, half) = (6, encoded.events[5].1);
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let scratch = Scratch::new();
        let mut running = scratch.interruptible().args(["-", "-"]).start();
        let mut stdin = running.stdin.take().expect("a pipe");
        stdin
            .write_all(&encoded.bytes[..half])
            .expect("half a trace");
        let stdout = running.stdout.as_mut().expect("a pipe");
        let mut bytes = stdout.read(24, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
        for i in 0..events {
            bytes.extend(next_record(&mut running, &format!("packet {i}")));
        }
        running.signal(signal);
        let outcome = running.finish().exits(code);
        bytes.extend(&outcome.stdout);
        let capture = Capture::parse(&bytes).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(capture.records.len(), events, "{}", outcome.explain());

        // The test cannot see how far a file is written. When the program reads again, it has converted everything.
        let mut running = scratch.interruptible().args(["-", "out.pcap"]).start();
        let mut input = running.stdin.take().expect("a pipe");
        input
            .write_all(&encoded.bytes[..half])
            .expect("half a trace");
        wait_until("a temporary file", || {
            !temporaries(scratch.dir()).is_empty()
        });
        running.signal(signal);
        running.finish().exits(code);
        drop((stdin, input));
        let capture = Capture::read(&scratch.path("out.pcap"));
        assert!(capture.records.len() <= events);
        assert_left_over(&scratch, &["out.pcap"]);
    }
}

#[test]
fn an_interrupt_before_any_input_changes_nothing() {
    for arguments in [["-", "out.pcap"], ["-", "new.pcap"]] {
        let scratch = Scratch::new();
        scratch.write("out.pcap", b"kept");
        let mut running = scratch.interruptible().args(arguments).start();
        let stdin = running.stdin.take();
        running.signal(SIGINT);
        running.finish().exits(130);
        drop(stdin);
        assert_left_over(&scratch, &["out.pcap"]);
        assert_eq!(
            fs::read(scratch.path("out.pcap")).expect("out.pcap"),
            b"kept"
        );
    }
}
