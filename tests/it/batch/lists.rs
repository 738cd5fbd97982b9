//! Lists of traces, from a file or standard input.

use super::*;

/// Converts the traces of a list, and returns the names of the captures.
#[track_caller]
fn listed(scratch: &Scratch, arguments: &[&str], stdin: &[u8]) -> (Outcome, Vec<OsString>) {
    let _ = fs::remove_dir_all(scratch.path("out"));
    let run = scratch.capture2pcap().args(arguments).arg("out/");
    let outcome = run.stdin(stdin).run();
    let found = files(&scratch.path("out"));
    (
        outcome,
        found.into_keys().map(PathBuf::into_os_string).collect(),
    )
}

#[test]
fn a_list_names_the_traces() {
    let scratch = Scratch::new();
    let odd = [
        &b"with space.pb"[..],
        b"-q.pb",
        b"\xff\xfe not UTF-8.pb",
        b"dir/quote'\"$x.pb",
    ];
    for (number, name) in (0..).zip(odd) {
        write_trace(&scratch, OsStr::from_bytes(name), number);
    }
    let captures = |names: &[&[u8]]| {
        let mut names: Vec<_> = names
            .iter()
            .map(|name| OsString::from_vec([name, &b".pcap"[..]].concat()))
            .collect();
        names.sort();
        names
    };
    let expected = captures(&[b"with space", b"-q", b"\xff\xfe not UTF-8", b"quote'\"$x"]);
    // The last line may lack its line end; empty lines are ignored.
    for list in [
        odd.join(&b'\n'),
        [&b"\n"[..], &odd.join(&b"\n\n"[..]), b"\n"].concat(),
    ] {
        let path = scratch.write("list", &list);
        let from = format!("--files-from={}", path.display());
        let (outcome, found) = listed(&scratch, &[&from], b"");
        outcome.exits(0);
        assert_eq!(found, expected);
        let (outcome, found) = listed(&scratch, &["--files-from", "-"], &list);
        outcome.exits(0);
        assert_eq!(found, expected);
    }

    write_trace(&scratch, "new\nline.pb", 9);
    let odd = [&odd[..], &[b"new\nline.pb"]].concat();
    let expected = captures(&[
        b"with space",
        b"-q",
        b"\xff\xfe not UTF-8",
        b"quote'\"$x",
        b"new\nline",
    ]);
    let list = [odd.join(&0), vec![0]].concat();
    scratch.write("list", &list);
    let (outcome, found) = listed(&scratch, &["-0", "--files-from=list"], b"");
    outcome.exits(0);
    assert_eq!(found, expected);
    let (outcome, found) = listed(&scratch, &["-0", "--files-from=-"], &list);
    outcome.exits(0);
    assert_eq!(found, expected);
}

#[test]
fn a_list_adds_to_the_command_line_and_may_be_wrong() {
    let scratch = Scratch::new();
    write_trace(&scratch, "a.pb", 0);
    write_trace(&scratch, "in/b.pb", 1);
    write_trace(&scratch, "c.pb", 2);
    let (outcome, found) = listed(&scratch, &["a.pb", "--files-from=-"], b"in\nc.pb\n");
    outcome.exits(0);
    assert_eq!(found, ["a.pcap", "b.pcap", "c.pcap"]);

    let (outcome, found) = listed(&scratch, &["--files-from=-"], b"a.pb\nnone.pb\n");
    outcome
        .exits(1)
        .says(["capture2pcap: none.pb: cannot open: "]);
    assert_eq!(found, ["a.pcap"]);

    let run = scratch.capture2pcap().args(["--files-from=none", "new/"]);
    run.run()
        .exits(1)
        .says(["capture2pcap: none: cannot read: "]);
    let run = scratch.capture2pcap().args(["-0", "a.pb", "new/"]);
    run.run().exits(2);
    // A shard of a list may be empty.
    let run = scratch.capture2pcap().args(["--files-from=-", "new/"]);
    run.run().exits(0).says(["the list of traces is empty"]);
    std::fs::create_dir(scratch.path("empty")).expect("a folder");
    let run = scratch.capture2pcap().args(["empty", "new/"]);
    run.run().exits(1).says(["capture2pcap: empty: no traces"]);
    assert!(!scratch.path("new").exists());
}
