//! Faults of the system: full disks, closed pipes, missing permissions, folders of any size with any contents.
//!
//! In every case there is a message that helps the user, the documented exit status, and no incomplete file with the
//! name of a capture. `files.rs`, `signals.rs`, `stdio.rs` and `batch.rs` test further cases.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::bad::assert_left_over;
use crate::batch::{alone, files, write_trace};
use crate::files::{with_mounts, write_large};
use crate::harness::{Outcome, Scratch, grouped, not_tested};
use crate::make::{Ev, Form, Made, START, What};
use crate::pcap::Capture;

/// The default number of traces in the large folder. 100,000 take one to three minutes with a debug build on a slow
/// disk.
const FILES: i64 = 10_000;
/// The environment variable that sets this number.
const FILES_VARIABLE: &str = "CAPTURE2PCAP_TEST_FILES";

/// A limit on file sizes can be set anywhere. It ends a process that does not handle the signal.
#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    for extension in ["pcap", "pcapng"] {
        let scratch = Scratch::new();
        write_large(&scratch);
        write_trace(&scratch, "small.pb", 0);
        let [one, all] = ["out", "all"].map(|name| format!("{name}.{extension}"));
        scratch.write(&one, b"kept");
        let script = format!(
            "ulimit -f 1024
            capture2pcap large.pb {one}; echo $?
            capture2pcap -F {extension} large.pb small.pb folder/; echo $?
            capture2pcap -m large.pb small.pb {all}; echo $?"
        );
        let outcome = scratch.shell(&script).run().exits(0);
        let message = "cannot write: File too large";
        let outcome = outcome.says([
            format!("capture2pcap: {one}: {message}"),
            format!("capture2pcap: folder/large.{extension}: {message}"),
            format!("capture2pcap: {all}: {message}"),
            "capture2pcap: 1 capture of 2 traces, ".to_owned(),
        ]);
        assert_eq!(outcome.stdout, b"1\n1\n1\n", "{}", outcome.explain());
        assert_eq!(fs::read(scratch.path(&one)).expect("a capture"), b"kept");
        assert_left_over(&scratch, &["folder", "large.pb", &one, "small.pb"]);
        let found: Vec<_> = files(&scratch.path("folder")).into_keys().collect();
        assert_eq!(found, [Path::new(&format!("small.{extension}"))]);
    }
}

/// Output other than captures can fill a disk, too. If messages cannot be written, the exit status reports the failure.
#[test]
fn a_full_device_is_reported_for_every_output() {
    let scratch = Scratch::new();
    write_trace(&scratch, "small.pb", 0);
    scratch.write("none.pb", b"hello, world\n");
    for how in [
        "-F pcapng small.pb -",
        "-m small.pb -",
        "--info small.pb",
        "--info --json small.pb",
        "--generate man",
        "--generate bash",
    ] {
        let script = format!("exec capture2pcap {how} > /dev/full");
        let message = "capture2pcap: standard output: cannot write: No space left on device";
        scratch.shell(&script).run().exits(1).says([message]);
    }
    for (how, code) in [("small.pb", 0), ("none.pb", 1), ("none.pb small.pb", 1)] {
        let script = format!("exec capture2pcap -v {how} out/ 2> /dev/full");
        scratch.shell(&script).run().exits(code);
    }
    assert!(scratch.path("out/small.pcap").exists());
}

/// The end of a pcapng is written last, and its interfaces before the packets.
#[test]
fn a_full_disk_leaves_no_part_of_a_pcapng() {
    let scratch = Scratch::new();
    write_large(&scratch);
    let script = "
        mkdir full
        mount -t tmpfs -o size=1m none full
        code=0; capture2pcap large.pb full/out.pcapng || code=$?
        ls -A full; echo $code";
    let Some(outcome) = with_mounts(&scratch, script) else {
        return;
    };
    let message = "capture2pcap: full/out.pcapng: cannot write: No space left on device";
    let outcome = outcome.exits(0).says([message]);
    assert_eq!(outcome.stdout, b"1\n", "{}", outcome.explain());
}

/// Before the first byte, in the middle, and just before the end.
#[test]
fn a_reader_may_go_away_at_any_time() {
    let scratch = Scratch::new();
    write_large(&scratch);
    write_trace(&scratch, "small.pb", 0);
    scratch.shell("mkfifo gone").run().exits(0);
    // The reader has certainly ended, because the script waits for it.
    let gone = "true < gone & exec 3> gone; wait $!";
    for how in [
        "large.pb -",
        "-F pcapng large.pb -",
        "-m large.pb small.pb -",
        "--strict small.pb -",
        "--info small.pb",
        "--info --json small.pb",
        "--generate man",
        "--generate zsh",
        "--help",
    ] {
        let script = format!("{gone}; exec capture2pcap {how} >&3");
        scratch.shell(&script).run().exits(0).says_nothing();
    }
    // The conversion does not depend on a reader of the messages either.
    let script = format!("{gone}; exec capture2pcap -v small.pb large.pb out/ 2>&3");
    scratch.shell(&script).run().exits(0);
    assert!(
        fs::read(scratch.path("out/small.pcap")).ok() == Some(alone(&scratch.path("small.pb")))
    );

    let whole = fs::read(scratch.path("out/large.pcap")).expect("a capture");
    for length in [1, 1 << 20, whole.len() - 1] {
        let script = format!(
            "{{ capture2pcap large.pb -; echo $? >&2; }} | head -c {length} > head; cat head"
        );
        let outcome = scratch.shell(&script).run().exits(0);
        assert_eq!(outcome.stderr, "0\n", "{length}");
        assert!(outcome.stdout == whole[..length], "{length}: other bytes");
    }
}

/// Runs a script without root's privileges.
fn bound(scratch: &Scratch, script: &str) -> Option<Outcome> {
    // Without the capability to override permissions, root has only those of the owner.
    let capabilities = "-dac_override,-dac_read_search";
    let setpriv = format!("setpriv --bounding-set={capabilities} --inh-caps={capabilities} ");
    let probe = scratch.write("probe", b"");
    fs::set_permissions(probe, Permissions::from_mode(0o000)).expect("rights");
    let ways = [String::new(), setpriv];
    let way = ways.iter().find(|way| {
        let probe = format!("{way}sh -c 'cat probe' 2> /dev/null && exit 1; {way}true");
        scratch.shell(&probe).run().status.success()
    });
    fs::remove_file(scratch.path("probe")).expect("a probe");
    let Some(way) = way else {
        not_tested("rights do not bind root, and setpriv cannot change that here");
        return None;
    };
    Some(scratch.shell(&format!("exec {way}sh -c '{script}'")).run())
}

#[test]
fn missing_permissions_are_reported() {
    let scratch = Scratch::new();
    for (number, name) in (0..).zip(["in/good.pb", "in/secret.pb", "in/closed/lost.pb"]) {
        write_trace(&scratch, name, number);
    }
    scratch.write("list", b"in/good.pb\n");
    fs::create_dir(scratch.path("shut")).expect("a folder");
    scratch.write("shut/out.pcap", b"kept");
    scratch.shell("mkfifo fifo").run().exits(0);
    let rights = |modes: &[(&str, u32)]| {
        for (name, mode) in modes {
            let set = fs::set_permissions(scratch.path(name), Permissions::from_mode(*mode));
            set.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    };
    rights(&[
        ("in/secret.pb", 0),
        ("in/closed", 0),
        ("list", 0),
        ("fifo", 0),
        ("shut", 0o555),
    ]);
    let script = "
        capture2pcap in/secret.pb secret.pcap; echo $?
        capture2pcap in out; echo $?
        capture2pcap -m in all.pcap; echo $?
        capture2pcap --info --json in > info; echo $?
        capture2pcap --files-from list listed/; echo $?
        capture2pcap in/good.pb fifo; echo $?
        capture2pcap in/good.pb shut/out.pcap; echo $?
        capture2pcap in/good.pb shut/new/; echo $?
        capture2pcap in/good.pb in/closed/out.pcap; echo $?";
    let outcome = bound(&scratch, script);
    rights(&[("in/closed", 0o755), ("shut", 0o755)]);
    let Some(outcome) = outcome else { return };
    let messages = [
        "in/secret.pb: cannot open",
        "in/closed: cannot read",
        "list: cannot read",
        "fifo: cannot write",
        "shut/out.pcap: cannot write: no file can be made in shut",
        "shut/new/good.pcap: cannot make the folder shut/new",
        "in/closed/out.pcap: cannot write",
    ];
    // The C library decides whether the text begins with a capital.
    for message in messages {
        let line = format!("capture2pcap: {message}: ");
        let why = outcome
            .stderr
            .lines()
            .find_map(|said| said.strip_prefix(&line));
        assert!(
            why.is_some_and(|why| why.eq_ignore_ascii_case("permission denied")),
            "{message}{}",
            outcome.explain()
        );
    }
    // The folder that could not be searched is a failure, but not among the traces.
    let counts = " of 2 traces, 1 connection, 2 events (19 bytes received, 27 sent), 2 failures, ";
    assert_eq!(
        outcome
            .stderr
            .matches(&format!("1 capture{counts}"))
            .count(),
        2
    );
    let outcome = outcome.exits(0);
    assert_eq!(outcome.stdout, b"1\n".repeat(9), "{}", outcome.explain());
    let expected = ["all.pcap", "fifo", "in", "info", "list", "out", "shut"];
    assert_left_over(&scratch, &expected);
    assert_eq!(
        fs::read(scratch.path("shut/out.pcap")).expect("a capture"),
        b"kept"
    );
    let found: Vec<_> = files(&scratch.path("out")).into_keys().collect();
    assert_eq!(found, [Path::new("good.pcap")]);
    assert_eq!(Capture::read(&scratch.path("all.pcap")).streams().len(), 2);
    let info = fs::read_to_string(scratch.path("info")).expect("info");
    assert_eq!(info.lines().count(), 3, "{info}");
    assert_eq!(info.matches("\"error\":null").count(), 1, "{info}");
}

/// With few open files, and in any order of the folder's entries.
#[test]
fn a_folder_may_hold_very_many_traces() {
    let count = std::env::var(FILES_VARIABLE).map_or(FILES, |n| n.parse().expect("a number"));
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for i in 0..count {
        let mut event = Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n");
        event.time.0 = START + i;
        let bytes = Made::v4(vec![event]).encode(Form::Binary).bytes;
        scratch.write(&format!("in/path_{i}.pb"), &bytes);
    }
    let shown = grouped(count as u64);
    let counts = format!("of {shown} traces, {shown} connections, {shown} events ");
    let limited = |how: &str| {
        let script = format!("ulimit -n 64; exec capture2pcap {how}");
        scratch.shell(&script).run().exits(0)
    };
    limited("in out").says([format!("capture2pcap: {shown} captures {counts}")]);
    let made = fs::read_dir(scratch.path("out")).expect("a folder").count();
    assert_eq!(made as i64, count);
    limited("-m in all.pcap").says([format!("capture2pcap: 1 capture {counts}")]);
    let outcome = limited("--info --json in").says_nothing();
    let lines = outcome.stdout.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines as i64, count);
}

/// In a folder, they are skipped (see `batch.rs`). Given by name, they are read, and the program ends.
#[test]
fn loops_fifos_and_devices_do_not_block() {
    let scratch = Scratch::new();
    write_trace(&scratch, "in/path_0.pb", 0);
    let link = |to: &str, name: &str| symlink(to, scratch.path(name)).expect("a link");
    link("..", "in/up");
    link("self", "self");
    link("two", "one");
    link("one", "two");
    link("in/up/in/up/in", "deep");
    link("/dev/zero", "in/zero.pb");
    scratch.shell("mkfifo in/x.json fifo.pb").run().exits(0);
    let outcome = scratch
        .capture2pcap()
        .args(["--info", "--json", "in", "deep"])
        .run();
    let outcome = outcome.exits(0).says_nothing();
    let lines = outcome.stdout.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines, 2, "{}", outcome.explain());

    let run = scratch.capture2pcap().args(["self", "one", "deep", "out"]);
    let why = "cannot open: Too many levels of symbolic links";
    let outcome = run.run().exits(1);
    outcome.says(["self", "one"].map(|name| format!("capture2pcap: {name}: {why}")));
    let found: Vec<_> = files(&scratch.path("out")).into_keys().collect();
    assert_eq!(found, [Path::new("path_0.pcap")]);

    let inputs = ["/dev/null", "/dev/zero", "in/path_0.pb"];
    let run = scratch.capture2pcap().args(inputs).arg("devices");
    run.run().exits(1).says([
        "capture2pcap: /dev/null: the input is empty",
        "capture2pcap: /dev/zero: not recognized at offset 0",
    ]);
    let found: Vec<_> = files(&scratch.path("devices")).into_keys().collect();
    assert_eq!(found, ["null.pcap", "path_0.pcap"].map(Path::new));
    // Files that users may mistake for a trace.
    scratch.write(
        "packed.pb",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00",
    );
    let run = scratch
        .capture2pcap()
        .args(["devices/path_0.pcap", "packed.pb", "wrong"]);
    run.run().exits(1).says([
        "capture2pcap: devices/path_0.pcap: not recognized at offset 0: \
         not an Envoy tap trace in any encoding: it is a capture already (pcap)",
        "capture2pcap: packed.pb: cut at offset 0 of the unpacked trace: the gzip data ends early",
    ]);
    // A merge reads each trace twice, so it checks the type of each file before it opens it.
    let run = scratch.capture2pcap();
    let run = run.args(["-m", "fifo.pb", "/dev/zero", "in/path_0.pb", "all.pcap"]);
    let why = "cannot open: it is not a regular file, and a merge reads each trace twice";
    let outcome = run.run().exits(1);
    outcome.says(["fifo.pb", "/dev/zero"].map(|name| format!("capture2pcap: {name}: {why}")));
    assert_eq!(Capture::read(&scratch.path("all.pcap")).streams().len(), 2);
}
