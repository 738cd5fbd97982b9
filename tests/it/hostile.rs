//! Attacks by a hostile trace or a hostile name: injecting terminal controls, exhausting memory, writing to other files.
//! docs/security.md lists them; a test here checks that each of its entries has a test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::bad::{assert_left_over, made};
use crate::batch::write_trace;
use crate::harness::{Scratch, tshark};
use crate::make::parts::{
    Half, Piece, begin, connection, exchange, header, internal, piece, pipe, request, segment,
    socket,
};
use crate::make::{Ev, Form, What, field, number};
use crate::pcap::Capture;

/// Text that controls a terminal or is invisible: colours, a window title, line breaks, right-to-left marks, and bytes
/// that are not UTF-8.
const ODD: [&[u8]; 10] = [
    b"\x1b[35mcolour",
    b"\x1b]0;title\x07",
    b"new\nline",
    b"over\rwritten",
    b"deleted\x08\x7f",
    b"\xff\xfe\x9b35m",
    "\u{9b}35mC1".as_bytes(),
    "\u{202e}bp.txet\u{202c}".as_bytes(),
    "\u{2066}isolated\u{2069}\u{2028}line".as_bytes(),
    "in\u{200b}visible\u{feff}\u{e0041}".as_bytes(),
];

/// Fails if it contains terminal controls other than newlines and the program's own colours.
#[track_caller]
fn assert_plain(place: &str, output: &[u8]) {
    let mut text = String::from_utf8(output.to_vec()).unwrap_or_else(|e| panic!("{place}: {e}"));
    for own in ["0", "1", "2", "4", "31", "32", "33"] {
        text = text.replace(&format!("\x1b[{own}m"), "");
    }
    for line in text.lines() {
        let odd = line.chars().find(|&c| {
            c.is_control()
                || "\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{feff}".contains(c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2060}'..='\u{206f}').contains(&c)
                || ('\u{e0000}'..='\u{e007f}').contains(&c)
        });
        assert_eq!(odd, None, "{place}: {line:?}");
        assert!(
            !line.starts_with("line"),
            "{place}: a name went on in a new line"
        );
    }
}

/// Runs the program with colours, as on a terminal, and fails if it prints other terminal controls.
#[track_caller]
fn run_plain(scratch: &Scratch, code: i32, args: &[OsString]) {
    let run = scratch.capture2pcap().env("CLICOLOR_FORCE", "1");
    let outcome = run.args(args).run().exits(code);
    let place = format!("{args:?}");
    assert_plain(&place, outcome.stderr.as_bytes());
    assert_plain(&place, &outcome.stdout);
    assert!(
        outcome.stderr.len() + outcome.stdout.len() > 0,
        "{place} says nothing"
    );
}

#[test]
fn names_are_escaped() {
    let scratch = Scratch::new();
    let name = |odd: &[u8], end: &str| OsString::from_vec([odd, end.as_bytes()].concat());
    let bytes = made().encode(Form::Streamed);
    let args = |args: &[&OsStr]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let arg = OsStr::new;
    for odd in ODD {
        let [good, cut, none] = ["good.pb", "cut.pb", "none.pb"].map(|end| name(odd, end));
        write_trace(&scratch, Path::new("in").join(&good), 0);
        let write = |name: &OsStr, bytes: &[u8]| {
            fs::write(scratch.path("in").join(name), bytes).expect("a trace");
        };
        write(&cut, &bytes.bytes[..bytes.events[3].1 - 3]);
        write(&none, b"no trace\n");
        let [good, cut, none] = [good, cut, none].map(|name| PathBuf::from("in").join(name));
        let (missing, out) = (name(odd, "missing.pb"), name(odd, ".pcap"));
        let [list, option] =
            [&b"--files-from="[..], b"--"].map(|option| OsString::from_vec([option, odd].concat()));
        run_plain(&scratch, 0, &args(&[arg("-v"), good.as_ref(), &out]));
        run_plain(&scratch, 1, &args(&[cut.as_ref(), &out]));
        run_plain(&scratch, 1, &args(&[none.as_ref(), &out]));
        run_plain(&scratch, 1, &args(&[&missing, &out]));
        run_plain(
            &scratch,
            1,
            &args(&[good.as_ref(), &name(odd, "/no/folder")]),
        );
        run_plain(&scratch, 2, &args(&[good.as_ref(), cut.as_ref(), &out]));
        run_plain(&scratch, 1, &args(&[&list, arg("out/")]));
        run_plain(&scratch, 2, &args(&[&option, good.as_ref(), &out]));
        run_plain(
            &scratch,
            1,
            &args(&[arg("--info"), good.as_ref(), cut.as_ref(), none.as_ref()]),
        );
        let json = [arg("--info"), arg("--json"), good.as_ref(), cut.as_ref()];
        run_plain(&scratch, 1, &args(&json));
    }
    run_plain(&scratch, 1, &args(&[arg("-v"), arg("in"), arg("out/")]));
    run_plain(
        &scratch,
        1,
        &args(&[arg("-v"), arg("-m"), arg("in"), arg("all.pcap")]),
    );
}

/// A trace cannot affect files either: its addresses are only text.
#[test]
fn contents_are_escaped() {
    let scratch = Scratch::new();
    let run = |name: &str, trace: &[u8], code| {
        scratch.write(name, trace);
        let word = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        run_plain(&scratch, code, &word(&["-v", name, "out.pcap"]));
        run_plain(&scratch, code, &word(&["--info", name]));
        run_plain(&scratch, code, &word(&["--info", "--json", name]));
    };
    let event = Ev::new(What::Read, 0, "\x1b[35mGET\n").message();
    for odd in ODD {
        let odd = String::from_utf8_lossy(odd);
        let path = format!("../../{odd}");
        for local in [pipe(&path), internal(&odd, &odd), socket(&odd, 80)] {
            let connection = connection(Some(&local), Some(&pipe(&path)));
            run(
                "tap.pb",
                &[begin(7, &connection), segment(7, &event)].concat(),
                0,
            );
        }
        let headers = ["x", ":path"].map(|name| header(name, &odd)).to_vec();
        run("tap.pb", &piece(7, &Piece::RequestHeaders(headers)), 0);
        // An error message in place of a trace is quoted in the program's message.
        run("tap.pb", format!("{odd} is no trace\n").as_bytes(), 1);
        run("tap.pb", format!("{odd}: 1\n").as_bytes(), 1);
        run("tap.json", format!("{{\"{odd}\": 1}}").as_bytes(), 1);
    }
    assert_left_over(&scratch, &["out.pcap", "tap.json", "tap.pb"]);
}

/// The peak memory of converting a trace, in MiB.
fn peak(trace: &[u8]) -> u64 {
    let scratch = Scratch::new();
    let mut running = scratch.capture2pcap().args(["-", "out.pcap"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    stdin.write_all(trace).expect("a trace");
    let peak = running.peak();
    drop(stdin);
    running.finish().exits(0);
    peak >> 20
}

/// More buffered traces than are kept (MAX_RESUMABLE), each with its own connection.
#[test]
fn unended_connections_are_not_kept() {
    let local = socket("10.0.0.1", 10000);
    let event = Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n").message();
    let message = |i: u64| {
        let remote = socket(&format!("10.1.{}.{}", i >> 8 & 255, i & 255), 1 + (i >> 16));
        let connection = field(2, &connection(Some(&local), Some(&remote)));
        field(
            3,
            &[number(1, i + 1), connection, field(3, &event)].concat(),
        )
    };
    let trace: Vec<u8> = (0..60_000).flat_map(message).collect();
    let peak = peak(&trace);
    assert!(peak < 48, "{peak} MiB");
}

/// More streamed exchanges than are kept open (MAX_STREAMED).
#[test]
fn unended_exchanges_are_not_kept() {
    let message = |i: u64| piece(i + 1, &Piece::RequestHeaders(request("GET", &[])));
    let trace: Vec<u8> = (0..60_000).flat_map(message).collect();
    let peak = peak(&trace);
    assert!(peak < 96, "{peak} MiB");
}

/// The oldest of many connections (MAX_RESUMABLE) cannot be kept, and a warning reports if it continues.
#[test]
fn a_connection_that_continues_after_thousands_of_others_is_reported() {
    let local = socket("10.0.0.1", 10000);
    let message = |i: u64| {
        let event = Ev::new(What::Read, i as i32, "GET / HTTP/1.1\r\n\r\n").message();
        let client = i % 5000;
        let remote = socket(&format!("10.1.{}.{}", client >> 8, client & 255), 50_000);
        let connection = field(2, &connection(Some(&local), Some(&remote)));
        field(
            3,
            &[number(1, client + 1), connection, field(3, &event)].concat(),
        )
    };
    let trace: Vec<u8> = (0..5002).flat_map(message).collect();
    let scratch = Scratch::new();
    let input = scratch.write("trace.pb", &trace);
    let run = |options: &[&str]| {
        let run = scratch.capture2pcap().args(options);
        let outcome = run.arg(&input).arg(scratch.path("out.pcap")).run().exits(0);
        let streams = Capture::read(&scratch.path("out.pcap")).streams().len();
        (outcome, streams)
    };
    let (outcome, _) = run(&[]);
    outcome.says([
        "2 connections continued after thousands of others",
        "--merge",
    ]);
    let (outcome, streams) = run(&["--merge"]);
    outcome.says_nothing();
    assert_eq!(streams, 5000);
}

/// A call of gRPC that is open while more requests than can be kept open (MAX_STREAMED) come and go.
#[test]
fn a_long_exchange_outlives_thousands_of_others() {
    let body = |text: &[u8]| Piece::RequestBody(field(1, text));
    let trace = |long: &[u64]| -> Vec<u8> {
        let mut trace = piece(9, &Piece::RequestHeaders(request("POST", &[])));
        for i in 0..17_500 {
            trace.extend(piece(100 + i, &Piece::RequestHeaders(request("GET", &[]))));
            if long.contains(&i) {
                trace.extend(piece(9, &body(b"long")));
            }
        }
        trace
    };
    let scratch = Scratch::new();
    let run = |long: &[u64]| {
        let input = scratch.write("trace.pb", &trace(long));
        let run = scratch.capture2pcap().arg(input);
        run.arg(scratch.path("out.pcap")).run().exits(0).explain()
    };
    const SPLIT: &str = "1 connection continued after thousands of others";
    let said = run(&[8_000, 16_000, 17_000]);
    assert!(!said.contains(SPLIT), "{said}");
    let capture = Capture::read(&scratch.path("out.pcap"));
    let segments = capture.segments();
    let long = segments
        .iter()
        .filter(|segment| segment.payload.ends_with(b"long"));
    let clients: Vec<_> = long.map(|segment| segment.source).collect();
    assert_eq!(clients, [clients[0]; 3]);
    // It was silent for too long.
    let said = run(&[17_000]);
    assert!(said.contains(SPLIT), "{said}");
}

/// The length is two gigabytes (MAX_MESSAGE), but only a few bytes follow.
#[test]
fn a_claimed_length_allocates_no_memory() {
    let claim = |tag: u8, length: u8| [tag, length, 0xff, 0xff, 0xff, 0x07];
    let event = [claim(0x1a, 0xff), claim(0x1a, 0xf0), claim(0x12, 0xe0)].concat();
    let text = b"socket_buffered_trace { trace_id: 7 connection {".to_vec();
    for trace in [[event, vec![b'a'; 1000]].concat(), text] {
        let scratch = Scratch::new();
        let mut running = scratch.capture2pcap().args(["-", "out.pcap"]).start();
        let mut stdin = running.stdin.take().expect("a pipe");
        stdin.write_all(&trace).expect("a trace");
        drop(stdin);
        let script = "ulimit -v 1000000; exec capture2pcap trace out.pcap";
        scratch.write("trace", &trace);
        running.finish().exits(1).says([" offset "]);
        scratch.shell(script).run().exits(1).says([" offset "]);
    }
}

/// A comment is limited to the length that readers accept (MAX_TEXT).
#[test]
fn a_long_text_fits_its_option() {
    let path = "/".repeat(100_000);
    let ask = Half {
        headers: vec![header(":method", "GET"), header(":path", &path)],
        ..Half::default()
    };
    let local = pipe(&path);
    let connection = connection(Some(&local), Some(&local));
    let scratch = Scratch::new();
    let trace = exchange(Some(&ask), None, Some(&connection));
    let (outcome, _) = convert_to(&scratch, &trace, "out.pcapng");
    outcome.exits(0);
    let out = scratch.path("out.pcapng");
    let args = ["-T", "fields", "-e", "frame.comment", "-r"].map(OsStr::new);
    let shown = tshark(args.into_iter().chain([out.as_os_str()]));
    let longest = shown
        .split([',', '\n'])
        .map(|comment| comment.chars().count());
    assert_eq!(longest.max(), Some(16_384 + 1));
}

fn convert_to(scratch: &Scratch, trace: &[u8], output: &str) -> (crate::harness::Outcome, PathBuf) {
    let input = scratch.write("trace", trace);
    let run = scratch.capture2pcap().arg(&input).arg(output);
    (run.run(), scratch.path(output))
}

/// A merge searches for the first event with a time. If it started over at each event, the quadratic time would be
/// minutes.
#[test]
fn connections_without_events_take_linear_time() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let connection = connection(Some(&local), Some(&remote));
    let mut trace: Vec<u8> = (1..=150_000).flat_map(|i| begin(i, &connection)).collect();
    trace.extend(segment(1, &Ev::new(What::Read, 0, "x").message()));
    let scratch = Scratch::new();
    scratch.write("trace.pb", &trace);
    let run = scratch.capture2pcap().args(["-m", "trace.pb", "all.pcap"]);
    run.run().exits(0);
}

/// All source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else if path.extension() == Some(OsStr::new("rs")) {
            sources.push(path);
        }
    }
    sources
}

/// All tests and constants that docs/security.md names exist, and each row of its table names a test.
#[test]
fn the_threat_model_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/security.md")).expect("docs/security.md");
    let files: Vec<_> = ["src", "tests/it"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a source")))
        .collect();
    // A test is `module::name`, in the file of the module or in its `tests.rs`.
    let is_test = |words: &str| {
        let (module, name) = words.rsplit_once("::")?;
        let module = module.replace("::", "/");
        let files_of_module = [format!("{module}.rs"), format!("{module}/tests.rs")];
        let name = format!("fn {name}()");
        Some(files.iter().any(|(path, text)| {
            let before = text.find(&name).map(|at| &text[..at]);
            // Only further attributes may be between the attribute and the name.
            let attribute = before.and_then(|before| before.rsplit_once("#[test]"));
            let is_of_module = files_of_module.iter().any(|file| path.ends_with(file));
            is_of_module && attribute.is_some_and(|(_, between)| !between.contains('{'))
        }))
    };
    let is_constant = |word: &str| {
        let declared = format!("const {word}: ");
        files.iter().any(|(_, text)| text.contains(&declared))
    };
    let code = |line: &str| {
        let words = line.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for word in document.lines().flat_map(code) {
        if let Some(found) = is_test(&word) {
            assert!(found, "docs/security.md: there is no test {word}");
        } else if word.len() > 3 && word.bytes().all(|c| c.is_ascii_uppercase() || c == b'_') {
            assert!(is_constant(&word), "docs/security.md: there is no {word}");
        }
    }
    let rows: Vec<_> = document
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 10, "a table");
    for row in &rows[1..] {
        let tests = row.rsplit('|').nth(1).unwrap_or_default();
        assert!(
            code(tests).iter().any(|word| is_test(word) == Some(true)),
            "docs/security.md: no test: {row}"
        );
    }
}
