//! Command lines that are invalid or probably mistaken: their messages, and that no file is made.
//!
//! Snapshots of the messages; `SNAPSHOTS=overwrite cargo test --test it usage::` updates them.

use std::fs;
use std::os::unix::fs::symlink;

use snapbox::{assert_data_eq, str};

use crate::batch::{alone, files, write_trace};
use crate::harness::{Scratch, timeless};
use crate::make::{Ev, Form, Made, What};
use crate::pcap::Capture;

/// The output of several command lines, and their exit status.
fn said(scratch: &Scratch, command_lines: &[&[&str]]) -> String {
    let mut text = String::new();
    for arguments in command_lines {
        let outcome = scratch.capture2pcap().args(*arguments).run();
        let stdout = String::from_utf8_lossy(&outcome.stdout);
        let code = outcome.status.code().expect("no signal");
        text += &format!(
            "$ capture2pcap {}\n{stdout}{}= {code}\n",
            arguments.join(" "),
            timeless(&outcome.stderr)
        );
    }
    text
}

/// A scratch directory with two traces, and a folder with one.
fn with_traces() -> Scratch {
    let scratch = Scratch::new();
    write_trace(&scratch, "a.pb", 0);
    write_trace(&scratch, "b.pb", 1);
    write_trace(&scratch, "in/c.pb", 2);
    scratch
}

/// Fails if there are other files than those of [`with_traces`].
#[track_caller]
fn assert_nothing_made(scratch: &Scratch) {
    let found: Vec<_> = files(scratch.dir()).into_keys().collect();
    let found: Vec<_> = found
        .iter()
        .map(|path| path.to_str().expect("UTF-8"))
        .collect();
    assert_eq!(found, ["a.pb", "b.pb", "in/c.pb"]);
    let folders = fs::read_dir(scratch.dir()).expect("a folder").count();
    assert_eq!(folders, 3, "a folder was made");
}

#[test]
fn unknown_options_are_answered_with_what_to_do() {
    let scratch = with_traces();
    let said = said(
        &scratch,
        &[
            &[],
            &["a.pb"],
            &["-o", "x.pcap", "a.pb"],
            &["-r", "a.pb", "-w", "x.pcap"],
            &["--output=x.pcap", "a.pb"],
            &["--merg", "a.pb", "b.pb", "all.pcap"],
            &["-x", "a.pb", "x.pcap"],
            &["--generate=man", "a.pb"],
        ],
    );
    assert_data_eq!(
        said,
        str![[r#"
$ capture2pcap 
capture2pcap: INPUT and OUTPUT are missing
hint: capture2pcap INPUT OUTPUT; capture2pcap --help explains the rest
= 2
$ capture2pcap a.pb
capture2pcap: OUTPUT is missing
hint: capture2pcap INPUT OUTPUT; capture2pcap --help explains the rest
= 2
$ capture2pcap -o x.pcap a.pb
capture2pcap: unknown option '-o'
hint: the last argument is the output, the others are inputs: capture2pcap INPUT OUTPUT
= 2
$ capture2pcap -r a.pb -w x.pcap
capture2pcap: unknown option '-r'
hint: the last argument is the output, the others are inputs: capture2pcap INPUT OUTPUT
= 2
$ capture2pcap --output=x.pcap a.pb
capture2pcap: unknown option '--output'
hint: the last argument is the output, the others are inputs: capture2pcap INPUT OUTPUT
= 2
$ capture2pcap --merg a.pb b.pb all.pcap
capture2pcap: unknown option '--merg'
hint: did you mean --merge?
= 2
$ capture2pcap -x a.pb x.pcap
capture2pcap: unknown option '-x'
hint: capture2pcap --help explains every option; write ./-x for a file of that name
= 2
$ capture2pcap --generate=man a.pb
capture2pcap: --generate takes no other argument
= 2

"#]]
    );
    assert_nothing_made(&scratch);
}

#[test]
fn values_are_answered_with_what_an_option_takes() {
    let scratch = with_traces();
    let said = said(
        &scratch,
        &[
            &["--format=cap", "a.pb", "x"],
            &["--snaplen=x", "a.pb", "x"],
            &["--mss", "0", "a.pb", "x"],
            &["--jobs=2000", "a.pb", "x/"],
            &["--local", "nowhere", "a.pb", "x"],
            &["--start=yesterday", "a.pb", "x"],
            &["--start=1960-01-01T00:00:00Z", "a.pb", "x"],
            &["--handshake=maybe", "a.pb", "x"],
            &["--merge=yes", "a.pb", "x"],
            &["a.pb", "x", "--mss"],
            &["-0", "a.pb", "x"],
            &["-q", "-v", "a.pb", "x"],
            &["--info", "-m", "a.pb"],
            &["--json", "a.pb", "-"],
        ],
    );
    assert_data_eq!(
        said,
        str![[r#"
$ capture2pcap --format=cap a.pb x
capture2pcap: --format: unknown value 'cap'
hint: --format takes one of pcap, pcapng
= 2
$ capture2pcap --snaplen=x a.pb x
capture2pcap: --snaplen: 'x' is not a number of bytes from 0 to 262144
= 2
$ capture2pcap --mss 0 a.pb x
capture2pcap: --mss: '0' is not a number of bytes from 1 to 65535
= 2
$ capture2pcap --jobs=2000 a.pb x/
capture2pcap: --jobs: '2000' is not a number from 1 to 1024
= 2
$ capture2pcap --local nowhere a.pb x
capture2pcap: --local: 'nowhere' is not an IP address with or without a port, e.g. 10.0.0.1:443 or [::1]:443
= 2
$ capture2pcap --start=yesterday a.pb x
capture2pcap: --start: 'yesterday' is not a time like 2024-05-01T12:00:00Z, 1714564800.5 or now
= 2
$ capture2pcap --start=1960-01-01T00:00:00Z a.pb x
capture2pcap: --start: '1960-01-01T00:00:00Z' is before 1970 or after 2554
= 2
$ capture2pcap --handshake=maybe a.pb x
capture2pcap: --handshake: unknown value 'maybe'
hint: --handshake takes one of auto, always, never
= 2
$ capture2pcap --merge=yes a.pb x
capture2pcap: --merge takes no value, but got 'yes'
= 2
$ capture2pcap a.pb x --mss
capture2pcap: --mss <N>: the value is missing
= 2
$ capture2pcap -0 a.pb x
capture2pcap: --files-from <FILE> is missing
= 2
$ capture2pcap -q -v a.pb x
capture2pcap: --quiet cannot be used with --verbose
= 2
$ capture2pcap --info -m a.pb
capture2pcap: --info cannot be used with --merge
= 2
$ capture2pcap --json a.pb -
capture2pcap: --json and the capture cannot share standard output
hint: name a file as OUTPUT
= 2

"#]]
    );
    assert_nothing_made(&scratch);
}

/// Each of these once made an unwanted output, such as a folder `all.pcap`, or a file `x.pcap.gz` that is not compressed.
#[test]
fn probably_mistaken_outputs_are_refused() {
    let scratch = with_traces();
    let said = said(
        &scratch,
        &[
            &["a.pb", "b.pb", "all.pcap"],
            &["in", "all.pcapng"],
            &["a.pb", "b.pb", "c.pb"],
            &["a.pb", "b.pb", "all.pcap.gz"],
            &["a.pb", "x.pcap.gz"],
            &["-m", "a.pb", "b.pb", "x.pcapng.zst"],
            &["a.pb", ""],
            &["", "x.pcap"],
            &["-m", "a.pb", "b.pb", "in"],
            &["-m", "a.pb", "b.pb", "new/"],
            &["a.pb", "a.pb"],
            &["a.pb", "in/../a.pb"],
            &["-m", "a.pb", "b.pb", "b.pb"],
            &["a.pb", "b.pb"],
            &["a.pb", "in", "b.pb"],
            &["a.pb", "no/such/folder/x.pcap"],
        ],
    );
    assert_data_eq!(
        said,
        str![[r#"
$ capture2pcap a.pb b.pb all.pcap
capture2pcap: all.pcap: several captures need a folder, but this is the name of a file
hint: --merge writes one capture of several traces; a / at the end names a folder: all.pcap/
= 2
$ capture2pcap in all.pcapng
capture2pcap: all.pcapng: several captures need a folder, but this is the name of a file
hint: --merge writes one capture of several traces; a / at the end names a folder: all.pcapng/
= 2
$ capture2pcap a.pb b.pb c.pb
capture2pcap: c.pb: several captures need a folder, but this is the name of a trace
hint: the last argument is the output: capture2pcap INPUT... DIRECTORY
= 2
$ capture2pcap a.pb b.pb all.pcap.gz
capture2pcap: all.pcap.gz: compressed captures are not supported
hint: compress it with another program: capture2pcap INPUT - | gzip > capture.pcap.gz
= 2
$ capture2pcap a.pb x.pcap.gz
capture2pcap: x.pcap.gz: compressed captures are not supported
hint: compress it with another program: capture2pcap INPUT - | gzip > capture.pcap.gz
= 2
$ capture2pcap -m a.pb b.pb x.pcapng.zst
capture2pcap: x.pcapng.zst: compressed captures are not supported
hint: compress it with another program: capture2pcap INPUT - | gzip > capture.pcap.gz
= 2
$ capture2pcap a.pb 
capture2pcap: OUTPUT is an empty name
hint: a shell variable may be unset
= 2
$ capture2pcap  x.pcap
capture2pcap: INPUT is an empty name
hint: a shell variable may be unset
= 2
$ capture2pcap -m a.pb b.pb in
capture2pcap: in: a folder, but --merge writes one capture
hint: name a file as OUTPUT; without --merge, each trace gets its own capture
= 2
$ capture2pcap -m a.pb b.pb new/
capture2pcap: new/: a folder, but --merge writes one capture
hint: name a file as OUTPUT; without --merge, each trace gets its own capture
= 2
$ capture2pcap a.pb a.pb
capture2pcap: a.pb: INPUT and OUTPUT are the same file
= 2
$ capture2pcap a.pb in/../a.pb
capture2pcap: in/../a.pb: INPUT and OUTPUT are the same file
= 2
$ capture2pcap -m a.pb b.pb b.pb
capture2pcap: b.pb: INPUT and OUTPUT are the same file
= 2
$ capture2pcap a.pb b.pb
capture2pcap: b.pb: refusing to overwrite a trace
hint: the last argument is the output; if it is a folder, each trace gets a capture in it
= 2
$ capture2pcap a.pb in b.pb
capture2pcap: b.pb: refusing to overwrite a trace
hint: the last argument is the output; if it is a folder, each trace gets a capture in it
= 2
$ capture2pcap a.pb no/such/folder/x.pcap
capture2pcap: no/such/folder/x.pcap: cannot write: there is no folder no/such/folder
= 1

"#]]
    );
    assert_nothing_made(&scratch);
}

/// An existing folder may have any name, and so may a new one with a `/` at the end.
#[test]
fn a_folder_may_have_any_name() {
    let scratch = with_traces();
    fs::create_dir(scratch.path("there.pcap")).expect("a folder");
    for folder in ["there.pcap", "new.pcap/", "old.gz/"] {
        let run = scratch.capture2pcap().args(["a.pb", "b.pb", folder]);
        run.run().exits(0);
        assert_eq!(files(&scratch.path(folder)).len(), 2, "{folder}");
    }
}

#[test]
fn a_misleading_output_name_causes_a_warning() {
    let scratch = with_traces();
    let said = said(
        &scratch,
        &[
            &["-F", "pcapng", "a.pb", "x.pcap"],
            &["-F", "pcap", "-m", "a.pb", "b.pb", "x.pcapng"],
            &["-q", "-F", "pcapng", "a.pb", "x.pcap"],
            &["a.pb", "missing.pb"],
        ],
    );
    assert_data_eq!(
        said,
        str![[r#"
$ capture2pcap -F pcapng a.pb x.pcap
capture2pcap: x.pcap: writing pcapng, as --format says, although the name ends in .pcap
= 0
$ capture2pcap -F pcap -m a.pb b.pb x.pcapng
capture2pcap: x.pcapng: writing pcap, as --format says, although the name ends in .pcapng
capture2pcap: 1 capture of 2 traces, 2 connections, 4 events (38 bytes received, 54 sent), [time]
= 0
$ capture2pcap -q -F pcapng a.pb x.pcap
= 0
$ capture2pcap a.pb missing.pb
capture2pcap: missing.pb: writing a capture to a file that is named like a trace
= 0

"#]]
    );
}

/// `--handshake never out.pcap`, which every completion suggests, once made a folder of captures.
#[test]
fn a_value_of_handshake_may_follow_a_space() {
    let scratch = with_traces();
    let packets = |arguments: &[&str]| {
        let run = scratch.capture2pcap().args(arguments).arg("x.pcap");
        run.run().exits(0).says_nothing();
        Capture::read(&scratch.path("x.pcap")).records.len()
    };
    assert_eq!(packets(&["a.pb"]), 2);
    assert_eq!(packets(&["--handshake", "never", "a.pb"]), 2);
    assert_eq!(packets(&["a.pb", "--handshake", "always"]), 8);
    assert_eq!(packets(&["a.pb", "--handshake"]), 8);
    assert_eq!(packets(&["--handshake", "a.pb"]), 8);
    assert_eq!(packets(&["-qm", "a.pb", "b.pb", "--handshake", "auto"]), 16);
    // An input may have that name.
    fs::copy(scratch.path("a.pb"), scratch.path("never")).expect("a trace");
    assert_eq!(packets(&["--handshake", "./never"]), 8);
}

#[test]
fn options_may_be_repeated() {
    let scratch = with_traces();
    let run = scratch.capture2pcap().args(["-vv", "a.pb", "x.pcap"]);
    run.run()
        .exits(0)
        .says(["x.pcap: 2 packets of 1 connection"]);
    let run = scratch
        .capture2pcap()
        .args(["-q", "--quiet", "a.pb", "x.pcap"]);
    run.run().exits(0).says_nothing();
}

/// The forms of `editcap -A`, and `now`.
#[test]
fn a_start_may_have_any_form_that_editcap_takes() {
    let scratch = Scratch::new();
    let mut event = Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n");
    event.time = (0, 0);
    let made = Made::v4(vec![event]);
    let mut text = String::from_utf8(made.encode(Form::Json).bytes).expect("UTF-8");
    // An event without a time.
    while let Some(at) = text.find("\"timestamp\"") {
        text.replace_range(at..at + 11, "\"timestomp\"");
    }
    scratch.write("a.json", text.as_bytes());
    for start in [
        "2024-05-01T12:00:00Z",
        "2024-05-01 12:00:00Z",
        "2024-05-01T12:00:00",
        "2024-05-01 12:00:00.0",
        "2024-05-01T14:00:00+02:00",
        "1714564800",
        "1714564800.0",
    ] {
        let run = scratch
            .capture2pcap()
            .args(["--start", start, "a.json", "x.pcap"]);
        run.run().exits(0);
        let capture = Capture::read(&scratch.path("x.pcap"));
        assert_eq!(
            capture.records[0].time, 1_714_564_800_000_000_000,
            "{start}"
        );
    }
}

/// A trace was once overwritten through a link in the output folder: only single outputs were checked.
#[test]
fn a_batch_never_overwrites_a_trace() {
    let scratch = with_traces();
    let trace = |name: &str| fs::read(scratch.path(name)).expect("a trace");
    // A trace that is converted, one that is not, and one that Envoy has not written yet.
    write_trace(&scratch, "elsewhere/other", 3);
    scratch.write("elsewhere/empty.pb", b"");
    write_trace(&scratch, "in/d.pb", 4);
    write_trace(&scratch, "in/e.pb", 5);
    fs::create_dir(scratch.path("out")).expect("a folder");
    let links = [
        ("../in/c.pb", "out/d.pcap"),
        ("../elsewhere/other", "out/c.pcap"),
        ("../elsewhere/empty.pb", "out/e.pcap"),
    ];
    for (target, link) in links {
        symlink(target, scratch.path(link)).expect("a link");
    }
    let before = ["in/c.pb", "elsewhere/other", "elsewhere/empty.pb"].map(trace);
    for how in [
        &["in", "out"][..],
        &["a.pb", "in", "out"],
        &["in/d.pb", "out"],
    ] {
        let outcome = scratch.capture2pcap().args(how).run().exits(1);
        let outcome = outcome.says(["capture2pcap: out/d.pcap: refusing to overwrite a trace"]);
        let after = ["in/c.pb", "elsewhere/other", "elsewhere/empty.pb"].map(trace);
        assert!(after == before, "{}", outcome.explain());
    }
    // The other traces are converted, and links to captures are followed.
    assert!(trace("out/a.pcap") == alone(&scratch.path("a.pb")));
    fs::remove_file(scratch.path("out/c.pcap")).expect("a link");
    symlink("../c-elsewhere.pcap", scratch.path("out/c.pcap")).expect("a link");
    scratch
        .capture2pcap()
        .args(["in/c.pb", "out"])
        .run()
        .exits(0);
    assert!(trace("c-elsewhere.pcap") == alone(&scratch.path("in/c.pb")));
}

/// Through links in the output folder, two captures were once written to one file, so that one was lost.
#[test]
fn no_two_captures_of_a_batch_share_a_file() {
    let scratch = with_traces();
    write_trace(&scratch, "in/deep/d.pb", 3);
    write_trace(&scratch, "in/peed/d.pb", 4);
    fs::create_dir_all(scratch.path("out/deep")).expect("a folder");
    symlink("deep", scratch.path("out/peed")).expect("a link");
    symlink("c.pcap", scratch.path("out/b.pcap")).expect("a link");
    let run = scratch.capture2pcap().args(["a.pb", "b.pb", "in", "out"]);
    run.run().exits(1).says([
        "capture2pcap: out/c.pcap: it is the same file as out/b.pcap\n",
        "capture2pcap: out/peed/d.pcap: it is the same file as out/deep/d.pcap\n",
        "3 captures of 5 traces",
    ]);
    let captures = [
        ("a.pb", "out/a.pcap"),
        ("b.pb", "out/c.pcap"),
        ("in/deep/d.pb", "out/deep/d.pcap"),
    ];
    for (trace, capture) in captures {
        let found = fs::read(scratch.path(capture)).expect("a capture");
        assert!(found == alone(&scratch.path(trace)), "{capture}");
    }
}

/// The batch once ended at the first folder that could not be made.
#[test]
fn a_folder_that_cannot_be_made_fails_its_own_traces_only() {
    let scratch = Scratch::new();
    for (number, name) in (0..).zip(["in/a.pb", "in/no/b.pb", "in/no/c.pb", "in/yes/d.pb"]) {
        write_trace(&scratch, name, number);
    }
    fs::create_dir(scratch.path("out")).expect("a folder");
    scratch.write("out/no", b"a file");
    let outcome = scratch
        .capture2pcap()
        .args(["-j1", "in", "out"])
        .run()
        .exits(1);
    let text = timeless(&outcome.stderr);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_data_eq!(
        lines.join("\n"),
        str![[r#"
capture2pcap: 2 captures of 4 traces, 2 connections, 4 events (38 bytes received, 54 sent), 2 failures, [time]
capture2pcap: out/no/b.pcap: cannot make the folder out/no: a file has its name
capture2pcap: out/no/c.pcap: cannot make the folder out/no: a file has its name
"#]]
    );
    let found: Vec<_> = files(&scratch.path("out")).into_keys().collect();
    let found: Vec<_> = found
        .iter()
        .map(|path| path.to_str().expect("UTF-8"))
        .collect();
    assert_eq!(found, ["a.pcap", "no", "yes/d.pcap"]);
}

/// `x.pb` next to a folder `x.pcap` would need a file and a folder with the same name.
#[test]
fn a_capture_and_a_folder_of_one_name_get_different_names() {
    let scratch = Scratch::new();
    write_trace(&scratch, "in/x.pb", 0);
    write_trace(&scratch, "in/x.pcap/y.pb", 1);
    let run = scratch.capture2pcap().args(["in", "out"]);
    run.run().exits(0);
    let found: Vec<_> = files(&scratch.path("out")).into_keys().collect();
    let found: Vec<_> = found
        .iter()
        .map(|path| path.to_str().expect("UTF-8"))
        .collect();
    assert_eq!(found, ["x.pb.pcap", "x.pcap/y.pcap"]);
}
