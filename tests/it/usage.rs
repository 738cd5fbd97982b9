//! Command lines that are invalid or probably mistaken: their messages, and that no file is made.
//!
//! Snapshots of the messages; `SNAPSHOTS=overwrite cargo test --test it usage::` updates them.

mod outputs;

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
            &["--tap=https://envoy:9901", "x"],
            &["--proto-path=nowhere", "a.pb", "x"],
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
capture2pcap: --snaplen: 'x': not a number of bytes from 0 to 262144
= 2
$ capture2pcap --mss 0 a.pb x
capture2pcap: --mss: '0': not a number of bytes from 1 to 65535
= 2
$ capture2pcap --jobs=2000 a.pb x/
capture2pcap: --jobs: '2000': not a number from 1 to 1024
= 2
$ capture2pcap --local nowhere a.pb x
capture2pcap: --local: 'nowhere': not an IP address with or without a port, e.g. 10.0.0.1:443 or [::1]:443
= 2
$ capture2pcap --start=yesterday a.pb x
capture2pcap: --start: 'yesterday': not a time like 2024-05-01T12:00:00Z, 1714564800.5 or now
= 2
$ capture2pcap --start=1960-01-01T00:00:00Z a.pb x
capture2pcap: --start: '1960-01-01T00:00:00Z': before 1970 or after 2554
= 2
$ capture2pcap --tap=https://envoy:9901 x
capture2pcap: --tap: 'https://envoy:9901': an https URL, which is not supported: Envoy's admin interface speaks plain HTTP
= 2
$ capture2pcap --proto-path=nowhere a.pb x
capture2pcap: --proto-path: 'nowhere': No such file or directory
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
