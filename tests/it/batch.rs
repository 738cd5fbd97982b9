//! Many traces, with one capture each. Every capture equals the one that its trace gives alone, and no other file is
//! left.

mod lists;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::bad::{assert_left_over, made};
use crate::fixtures::{self, Expect};
use crate::harness::{Outcome, SIGINT, Scratch};
use crate::make::{Ev, Form, Made, What, noise};
use crate::pcap::Capture;

/// The extensions of traces that a folder is searched for.
const EXTENSIONS: [&str; 4] = ["pb", "pb_length_delimited", "pb_text", "json"];

/// The contents of all files below a folder, by their relative paths.
#[track_caller]
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display()));
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("below the folder");
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            files.insert(name.to_owned(), bytes);
        }
    }
    files
}

/// The sorted names of all files below a folder of the scratch directory.
#[track_caller]
fn names(scratch: &Scratch, folder: &str) -> Vec<String> {
    let name = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    files(&scratch.path(folder)).keys().map(name).collect()
}

/// The capture that a trace gives alone.
#[track_caller]
pub(crate) fn alone(trace: &Path) -> Vec<u8> {
    let scratch = Scratch::new();
    scratch.capture2pcap().arg(trace).arg("out.pcap").run();
    fs::read(scratch.path("out.pcap")).unwrap_or_else(|e| panic!("{}: {e}", trace.display()))
}

/// Writes a small trace that is different for each number, and returns its path.
pub(crate) fn write_trace(scratch: &Scratch, name: impl AsRef<OsStr>, number: u16) -> PathBuf {
    let path = scratch.dir().join(name.as_ref());
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let form = match path.extension().and_then(OsStr::to_str) {
        Some("pb_length_delimited") => Form::StreamedDelimited,
        Some("pb_text") => Form::Text,
        Some("json") => Form::Json,
        _ => Form::Binary,
    };
    let mut made = Made::v4(vec![
        Ev::new(What::Read, 0, format!("GET /{number} HTTP/1.1\r\n\r\n")),
        Ev::new(What::Write, 1000, "HTTP/1.1 204 No Content\r\n\r\n"),
    ]);
    made.remote.1 = 50000 + number;
    fs::write(&path, made.encode(form).bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// Writes `traces`, converts `inputs`, and fails unless the result is exactly `captures`, in this order, each equal to
/// the capture that its trace gives alone.
#[track_caller]
fn assert_becomes(traces: &[&str], inputs: &[&str], captures: &[(&str, &str)]) {
    let scratch = Scratch::new();
    for (number, trace) in (0..).zip(traces) {
        write_trace(&scratch, trace, number);
    }
    let outcome = scratch.capture2pcap().args(inputs).arg("out").run();
    let outcome = outcome.exits(0);
    assert!(outcome.stdout.is_empty(), "{}", outcome.explain());
    let expected: BTreeMap<_, _> = captures
        .iter()
        .map(|(trace, capture)| (PathBuf::from(capture), alone(&scratch.path(trace))))
        .collect();
    let found = files(&scratch.path("out"));
    let keys = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&found), keys(&expected), "{}", outcome.explain());
    assert!(found == expected, "other bytes{}", outcome.explain());
}

/// 3,000 copies of recordings, and four files that are not traces or are cut.
#[test]
fn three_thousand_traces_and_some_bad_ones() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("in/bad")).expect("folders");
    // Each recording, links to it as copies, and its capture.
    let mut sources = Vec::new();
    for fixture in fixtures::socket_traces() {
        let extension = fixture.path.extension().and_then(OsStr::to_str);
        let extension = extension.filter(|known| EXTENSIONS.contains(known));
        let (Some(extension), true) = (extension, fixture.bytes().len() < 20_000) else {
            continue;
        };
        assert_ne!(fixture.expect, Expect::Damaged);
        let name = format!("source_{}", sources.len());
        let path = scratch.write(&name, &fixture.bytes());
        sources.push((path, extension.to_owned(), alone(&fixture.path)));
    }
    assert_eq!(sources.len(), 43, "small recordings");
    let mut expected: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for i in 0..3000 {
        let (source, extension, capture) = &sources[i % sources.len()];
        let folder = format!("{}/{}", i % 7, i % 300);
        fs::create_dir_all(scratch.path("in").join(&folder)).expect("folders");
        let trace = scratch.path(&format!("in/{folder}/path_{i}.{extension}"));
        fs::hard_link(source, &trace).unwrap_or_else(|e| panic!("{}: {e}", trace.display()));
        expected.insert(format!("{folder}/path_{i}.pcap").into(), capture.clone());
    }
    let whole = made().encode(Form::Streamed);
    let random: Vec<u8> = noise(4).take(5000).collect();
    scratch.write("in/bad/random.pb", &random);
    let empty = scratch.write("in/bad/empty.pb", b"");
    let cut = scratch.write("in/bad/cut.pb", &whole.bytes[..whole.events[7].1 - 3]);
    scratch.write("in/bad/notes.txt", b"Not all here is a trace.\n");
    expected.insert("bad/empty.pcap".into(), alone(&empty));
    expected.insert("bad/cut.pcap".into(), alone(&cut));
    assert_eq!(expected.len(), 3002);

    for jobs in ["1", "2"] {
        // Many traces need only few open files.
        let script = format!("ulimit -n 32; exec capture2pcap -j {jobs} in out{jobs}");
        let outcome = scratch.shell(&script).run().exits(1).says([
            "capture2pcap: in/bad/random.pb: ",
            "capture2pcap: in/bad/cut.pb: ",
            "capture2pcap: in/bad/empty.pb: the input is empty",
            "capture2pcap: 3,002 captures of 3,003 traces, 3,001 connections, ",
            " 1 damaged trace, 1 failure, ",
        ]);
        assert!(outcome.stdout.is_empty(), "{}", outcome.explain());
        assert!(
            !outcome.stderr.contains("notes.txt"),
            "{}",
            outcome.explain()
        );
        let found = files(&scratch.path(&format!("out{jobs}")));
        assert_eq!(found.len(), 3002, "-j {jobs}");
        for (name, bytes) in &expected {
            assert!(
                found.get(name) == Some(bytes),
                "-j {jobs}: {}",
                name.display()
            );
        }
    }
}

#[test]
fn the_tree_is_mirrored_and_collisions_keep_their_whole_names() {
    assert_becomes(
        &[
            "in/path_0.pb",
            "in/path_0.json",
            "in/path_1.pb",
            "in/a/path_0.pb",
            "in/a/deep/er/path_0.pb_text",
            "in/b/path_0.pb_length_delimited",
            "in/b/path_0.pb",
            "in/b/path_0.backup.pb",
            "in/no trace.pcap",
        ],
        &["in"],
        &[
            ("in/path_0.json", "path_0.json.pcap"),
            ("in/path_0.pb", "path_0.pb.pcap"),
            ("in/path_1.pb", "path_1.pcap"),
            ("in/a/path_0.pb", "a/path_0.pcap"),
            ("in/a/deep/er/path_0.pb_text", "a/deep/er/path_0.pcap"),
            (
                "in/b/path_0.pb_length_delimited",
                "b/path_0.pb_length_delimited.pcap",
            ),
            ("in/b/path_0.pb", "b/path_0.pb.pcap"),
            ("in/b/path_0.backup.pb", "b/path_0.backup.pcap"),
        ],
    );
}

/// Files given by name may have any extension; a trace that is given twice is converted once.
#[test]
fn files_and_folders_mix() {
    assert_becomes(
        &[
            "x.pb",
            "tap.out",
            "one/path_0.pb",
            "two/path_0.pb",
            "two/path_1.pb",
        ],
        &["x.pb", "two", "tap.out", "one", "x.pb", "two/path_1.pb"],
        &[
            ("x.pb", "x.pcap"),
            ("tap.out", "tap.pcap"),
            ("one/path_0.pb", "one/path_0.pcap"),
            ("two/path_0.pb", "two/path_0.pcap"),
            ("two/path_1.pb", "path_1.pcap"),
        ],
    );
}

/// The output folder: an existing one, a new one with a `/` at the end, and a new one for several traces.
#[test]
fn the_folder_is_made() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["a.pb", "new/folder/"], &["new/folder/a.pcap"]),
        (&["a.pb", "there"], &["there/a.pcap"]),
        (&["a.pb", "b.pb", "new"], &["new/a.pcap", "new/b.pcap"]),
        (&["in", "new"], &["new/c.pcap"]),
        (&["in", "in"], &["in/c.pcap"]),
    ];
    for (arguments, captures) in cases {
        let scratch = Scratch::new();
        let traces = ["a.pb", "b.pb", "in/c.pb"];
        for (number, trace) in (0..).zip(traces) {
            write_trace(&scratch, trace, number);
        }
        fs::create_dir(scratch.path("there")).expect("a folder");
        scratch.capture2pcap().args(arguments).run().exits(0);
        let mut found = names(&scratch, ".");
        found.retain(|name| !traces.contains(&&**name));
        assert_eq!(found, captures, "{arguments:?}");
    }
}

#[test]
fn a_file_cannot_be_the_output_folder() {
    let scratch = Scratch::new();
    write_trace(&scratch, "a.pb", 0);
    write_trace(&scratch, "b.pb", 1);
    scratch.write("file", b"kept");
    let run = scratch.capture2pcap().args(["a.pb", "b.pb", "file"]);
    run.run().exits(2).says(["capture2pcap: file: "]);
    assert_eq!(fs::read(scratch.path("file")).expect("file"), b"kept");
    assert_left_over(&scratch, &["a.pb", "b.pb", "file"]);
}

#[test]
fn a_tree_with_loops_and_special_files() {
    let scratch = Scratch::new();
    write_trace(&scratch, "in/a/path_0.pb", 0);
    let elsewhere = write_trace(&scratch, "elsewhere/tap.pb", 1);
    let link = |to: &Path, name: &str| symlink(to, scratch.path(name)).expect("a link");
    link(Path::new(".."), "in/a/up");
    link(Path::new("."), "in/a/here.pb");
    link(Path::new("self.pb"), "in/self.pb");
    link(Path::new("nowhere"), "in/dangling.pb");
    link(Path::new("/dev/zero"), "in/zero.pb");
    link(&elsewhere, "in/link.pb");
    scratch.shell("mkfifo in/x.pb in/a/y.json").run().exits(0);
    // A dangling link may stand for a trace, so it is reported. The other files are not traces.
    let nowhere = ["in/dangling.pb: cannot read: ", "in/self.pb: cannot read: "];
    let outcome = scratch.capture2pcap().args(["in", "out"]).run();
    outcome.exits(1).says(nowhere);
    assert_eq!(names(&scratch, "out"), ["a/path_0.pcap", "link.pcap"]);
    // A merge does not wait for them either.
    scratch
        .capture2pcap()
        .args(["-m", "in", "all.pcap"])
        .run()
        .exits(1)
        .says(nowhere);
    let capture = Capture::read(&scratch.path("all.pcap"));
    assert_eq!(capture.streams().len(), 4);
}

/// Four traces, two with warnings and one without a capture, and the line of counts for all.
#[test]
fn one_line_counts_what_was_done() {
    let scratch = Scratch::new();
    write_trace(&scratch, "in/a.pb", 0);
    scratch.write("in/empty.pb", b"");
    scratch.write("in/none.pb", b"hello, world\n");
    let events = vec![
        Ev::new(What::Read, 0, [b'r'; 100]),
        Ev::new(What::Write, 1000, [b'w'; 30]),
        Ev::new(What::Read, 2000, [b'r'; 7]),
    ];
    let cut = Made::v4(events).encode(Form::StreamedDelimited);
    scratch.write("in/cut.pb", &cut.bytes[..cut.bytes.len() - 1]);
    let request = "GET /0 HTTP/1.1\r\n\r\n".len();
    let response = "HTTP/1.1 204 No Content\r\n\r\n".len();
    let line = format!(
        "capture2pcap: 3 captures of 4 traces, 2 connections, 5 events ({} bytes received, {} sent), \
         2 warnings, 1 damaged trace, 1 failure, ",
        request + 106,
        response + 30
    );
    let outcome = scratch.capture2pcap().args(["in", "out"]).run().exits(1);
    let last = outcome.stderr.lines().last().unwrap_or_default();
    let time = last
        .strip_prefix(&line)
        .and_then(|rest| rest.strip_suffix(" s"));
    let time = time.unwrap_or_else(|| panic!("{line}{}", outcome.explain()));
    time.parse::<f64>()
        .unwrap_or_else(|e| panic!("{time}: {e}"));
    assert!(outcome.stdout.is_empty(), "{}", outcome.explain());

    // With --quiet, only errors are reported.
    let outcome = scratch.capture2pcap().args(["-q", "in", "out"]).run();
    let outcome = outcome.exits(1);
    let mut lines: Vec<_> = outcome.stderr.lines().collect();
    lines.sort_unstable();
    let starts = ["capture2pcap: in/cut.pb: ", "capture2pcap: in/none.pb: "];
    assert!(
        lines.len() == 2
            && lines
                .iter()
                .zip(starts)
                .all(|(line, start)| line.starts_with(start)),
        "{}",
        outcome.explain()
    );
    let outcome = scratch.capture2pcap().args(["-q", "in/a.pb", "out"]).run();
    outcome.exits(0).says_nothing();
}

#[test]
fn a_stream_is_refused_among_many() {
    let cases: [(&[&str], &str); 6] = [
        (&["-", "in", "out/"], "standard input"),
        (&["a.pb", "-", "out"], "standard input"),
        (&["-", "in"], "standard input"),
        (&["a.pb", "in/b.pb", "-"], "standard output"),
        (&["in", "-"], "standard output"),
        (&["a.pb", "--files-from=list", "-"], "standard output"),
    ];
    for (arguments, what) in cases {
        let scratch = Scratch::new();
        write_trace(&scratch, "a.pb", 0);
        let b = write_trace(&scratch, "in/b.pb", 1);
        scratch.write("list", b"in/b.pb\n");
        let bytes = fs::read(&b).expect("a trace");
        let run = scratch.capture2pcap().args(arguments).stdin(bytes);
        let outcome = run.run().exits(2).says(["capture2pcap: ", what]);
        assert!(outcome.stdout.is_empty(), "{}", outcome.explain());
        assert_left_over(&scratch, &["a.pb", "in", "list"]);
        assert_eq!(names(&scratch, "in"), ["b.pb"], "{arguments:?}");
    }
}

/// The capture that is in progress when the signal arrives is completed, and no other is begun.
#[test]
fn an_interrupt_ends_a_batch_with_whole_captures() {
    let scratch = Scratch::new();
    for number in 0..30 {
        write_trace(&scratch, format!("in/path_{number}.pb"), number);
    }
    scratch.shell("mkfifo slow_1.pb slow_2.pb").run().exits(0);
    // The only thread reaches the FIFOs last, as they have no size, and waits for the first one.
    let run = scratch.interruptible();
    let running = run
        .args(["-j1", "slow_1.pb", "in", "slow_2.pb", "out"])
        .start();
    let mut slow = OpenOptions::new();
    let mut slow = slow
        .write(true)
        .open(scratch.path("slow_1.pb"))
        .expect("the FIFO");
    let encoded = made().encode(Form::Streamed);
    slow.write_all(&encoded.bytes[..encoded.events[4].1])
        .expect("half a trace");
    running.signal(SIGINT);
    let outcome = running.finish();
    let outcome = outcome.exits(130);
    drop(slow);
    let mut found = files(&scratch.path("out"));
    let explain = outcome.explain();
    // Whether the first half was read before the signal depends on the system.
    if let Some(partial) = found.remove(Path::new("slow_1.pcap")) {
        let capture = Capture::parse(&partial).unwrap_or_else(|e| panic!("{e}{explain}"));
        assert!(capture.records.len() <= 5, "{explain}");
    }
    assert_eq!(found.len(), 30, "{explain}");
    for (name, bytes) in &found {
        let trace = scratch.path("in").join(name).with_extension("pb");
        assert!(*bytes == alone(&trace), "{}", name.display());
    }
}
