//! The names of outputs: those that are refused, and that no file is lost through another one.

use super::*;

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
