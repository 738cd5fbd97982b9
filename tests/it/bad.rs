//! Broken input, and files that cannot be read or written: a clear message, never a panic.

use std::fs;
use std::path::Path;

use crate::fixtures;
use crate::harness::{Outcome, Scratch, each};
use crate::make::{Ev, Form, Made, What, field, noise, number};
use crate::pcap::{Capture, Record};

/// A small conversation, with one record for each event.
pub(crate) fn made() -> Made {
    let mut events: Vec<_> = (0..12)
        .map(|i: i32| {
            let what = if i % 3 == 0 { What::Read } else { What::Write };
            let data: Vec<u8> = noise(i as u64).take(20 + 37 * i as usize).collect();
            Ev::new(what, 1500 * i, data)
        })
        .collect();
    events[0]
        .data
        .splice(..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    Made::v4(events)
}

/// Converts `bytes`. Returns the outcome, and the records if there is a capture.
pub(crate) fn convert(
    scratch: &Scratch,
    bytes: &[u8],
    options: &[&str],
) -> (Outcome, Option<Vec<Record>>) {
    let input = scratch.write("input", bytes);
    let output = scratch.path("output.pcap");
    let _ = fs::remove_file(&output);
    let outcome = scratch
        .capture2pcap()
        .args(options)
        .arg(input)
        .arg(&output)
        .run();
    let records = output.exists().then(|| Capture::read(&output).records);
    (outcome, records)
}

/// Fails if the directory contains anything other than `names`, such as a temporary file.
#[track_caller]
pub(crate) fn assert_left_over(scratch: &Scratch, names: &[&str]) {
    let entries = fs::read_dir(scratch.dir()).expect("the scratch directory");
    let mut found: Vec<_> = entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn random_bytes_are_not_a_trace() {
    let seeds: Vec<u64> = (0..100).collect();
    each(
        &seeds,
        |seed| format!("seed {seed}"),
        |&seed| {
            let scratch = Scratch::new();
            let bytes: Vec<u8> = noise(seed).take(64 + 97 * seed as usize).collect();
            let (outcome, records) = convert(&scratch, &bytes, &[]);
            assert!(
                records.is_none_or(|records| records.is_empty()),
                "seed {seed}: packets{}",
                outcome.explain()
            );
            outcome.exits(1).says(["input", "offset"]);
            let (outcome, _) = convert(
                &scratch,
                &bytes,
                &[
                    "--input-format",
                    ["binary", "delimited", "text", "json"][seed as usize % 4],
                ],
            );
            outcome.exits(1).says(["input", "offset"]);
        },
    );
}

#[test]
fn messages_that_envoy_never_writes_give_no_capture() {
    let inputs: [&[u8]; 5] = [
        b"hello, world\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"[1, 2, 3]",
        b"{\"some\": {\"other\": \"json\"}}",
        b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00\x00",
    ];
    for input in inputs {
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, input, &[]);
        outcome.exits(1).says(["input", "offset"]);
        assert_eq!(records, None, "{input:?}: a capture");
        assert_left_over(&scratch, &["input"]);
    }
}

/// Recordings with some bytes changed: never a panic, and if there is a capture, it is readable.
#[test]
fn corrupt_recordings_never_panic() {
    let mut traces = fixtures::socket_traces();
    traces.retain(|fixture| fixture.bytes().len() < 5000);
    traces.truncate(30);
    each(
        &traces,
        |fixture| fixture.name.clone(),
        |fixture| {
            let scratch = Scratch::new();
            let bytes = fixture.bytes();
            for seed in 0..8 {
                let mut corrupt = bytes.clone();
                let mut random = noise(seed);
                for _ in 0..=seed {
                    let at = random
                        .by_ref()
                        .take(4)
                        .fold(0, |at, byte| at << 8 | usize::from(byte))
                        % corrupt.len();
                    corrupt[at] = random.next().expect("no end");
                }
                let (outcome, records) = convert(&scratch, &corrupt, &[]);
                let outcome = outcome.exits_one_of(&[0, 1]);
                if outcome.status.code() == Some(0) {
                    assert!(
                        records.is_some(),
                        "{} seed {seed}: no capture{}",
                        fixture.name,
                        outcome.explain()
                    );
                } else {
                    outcome.says(["input", "offset"]);
                }
            }
        },
    );
}

/// The same for HTTP taps, without comparing packets.
#[test]
fn http_traces_never_panic() {
    each(
        &fixtures::http_traces(),
        |path| path.display().to_string(),
        |path| {
            let scratch = Scratch::new();
            scratch
                .capture2pcap()
                .arg(path)
                .arg(scratch.path("out.pcap"))
                .run()
                .exits_one_of(&[0, 1]);
        },
    );
}

/// A message, at any depth, whose length exceeds the available bytes.
#[test]
fn lengths_beyond_the_end_are_reported() {
    let event = field(3, &field(2, &field(1, &field(1, b"hello"))));
    let trace = [number(1, 7), event].concat();
    let whole = field(3, &trace);
    let scratch = Scratch::new();

    // The outermost message: the file ends inside it.
    let mut bytes = whole.clone();
    bytes[1] += 10;
    convert(&scratch, &bytes, &[])
        .0
        .exits(1)
        .says(["input", "offset"]);
    // An inner message: its length exceeds the rest of the enclosing message.
    let mut depth = 0;
    for at in 2..whole.len() {
        // A byte whose value is the number of bytes up to the end.
        if whole.len() - at == usize::from(whole[at]) + 1 {
            depth += 1;
            let mut bytes = whole.clone();
            bytes[at] += 1;
            convert(&scratch, &bytes, &[])
                .0
                .exits(1)
                .says(["input", "offset"]);
        }
    }
    assert_eq!(depth, 4, "an event, its read, its body and their bytes");
    // A length larger than any memory is not trusted.
    let huge = [
        &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &*trace,
    ]
    .concat();
    convert(&scratch, &huge, &[])
        .0
        .exits(1)
        .says(["input", "offset"]);
    let huge = [
        &[
            0xff, 0xff, 0xff, 0xff, 0x07, 0x1a, 0xfa, 0xff, 0xff, 0xff, 0x07,
        ],
        &*trace,
    ]
    .concat();
    convert(&scratch, &huge, &["--input-format", "delimited"])
        .0
        .exits(1)
        .says(["input", "offset"]);
}

#[test]
fn cut_and_endless_varints_are_reported() {
    let scratch = Scratch::new();
    let inputs: [(&str, &[u8]); 4] = [
        ("a tag", &[0x9a]),
        ("a length", &[0x1a, 0xff]),
        ("a value", &[0x1a, 0x80, 0x01, 0x08, 0xff]),
        (
            "eleven bytes",
            &[
                0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
        ),
    ];
    for (what, input) in inputs {
        let (outcome, records) = convert(&scratch, input, &[]);
        assert!(
            records.is_none_or(|records| records.is_empty()),
            "{what}: packets{}",
            outcome.explain()
        );
        outcome.exits(1).says(["input", "offset"]);
    }
}

#[test]
fn a_host_name_gets_a_stand_in() {
    each(
        &Form::ALL,
        |form| format!("{form:?}"),
        |&form| {
            let mut made = made();
            made.local.0 = "envoy.example.com".to_owned();
            let scratch = Scratch::new();
            let (outcome, records) = convert(&scratch, &made.encode(form).bytes, &[]);
            outcome
                .exits(0)
                .says(["input", "stand-in", "envoy.example.com"]);
            let records = records.unwrap_or_default();
            assert_eq!(records.len(), made.events.len(), "{form:?}");
            let segment = records[0]
                .segment()
                .unwrap_or_else(|e| panic!("{form:?}: {e}"));
            assert_eq!(segment.source.to_string(), "10.0.0.2:50000", "{form:?}");
            assert_eq!(segment.destination.port(), 10000, "{form:?}");

            let (outcome, records) = convert(
                &scratch,
                &made.encode(form).bytes,
                &["--local", "192.0.2.77"],
            );
            outcome.exits(0);
            let records = records.unwrap_or_default();
            let segment = records[0]
                .segment()
                .unwrap_or_else(|e| panic!("{form:?}: {e}"));
            assert_eq!(
                segment.destination.to_string(),
                "192.0.2.77:10000",
                "{form:?} with --local"
            );
        },
    );
}

#[test]
fn unreadable_input_is_reported() {
    let scratch = Scratch::new();
    let output = scratch.path("out.pcap");
    let outcome = scratch
        .capture2pcap()
        .arg("no/such/trace.pb")
        .arg(&output)
        .run();
    outcome.exits(1).says(["capture2pcap: no/such/trace.pb: "]);
    fs::create_dir(scratch.path("folder")).expect("a folder");
    let run = scratch.capture2pcap().args(["folder", "new"]);
    let outcome = run.run();
    outcome.exits(1).says(["capture2pcap: folder: "]);
    assert_left_over(&scratch, &["folder"]);
}

#[test]
fn unwritable_output_is_reported() {
    let scratch = Scratch::new();
    let input = fixtures::testdata().join("path_0.pb");
    let outcome = scratch
        .capture2pcap()
        .arg(input)
        .arg("no/such/folder/out.pcap")
        .run();
    outcome.exits(1).says(["no/such/folder/out.pcap: "]);
}

#[test]
fn the_input_is_never_the_output() {
    let scratch = Scratch::new();
    let bytes = made().encode(Form::Binary).bytes;
    let input = scratch.write("trace.pb", &bytes);
    std::os::unix::fs::symlink("trace.pb", scratch.path("symbolic")).expect("a symbolic link");
    fs::hard_link(&input, scratch.path("hard")).expect("a hard link");
    let here = scratch.dir().join(".").join("trace.pb");
    for output in [
        Path::new("trace.pb"),
        &here,
        Path::new("symbolic"),
        Path::new("hard"),
    ] {
        let outcome = scratch.capture2pcap().arg("trace.pb").arg(output).run();
        outcome.exits(2).says([
            &*output.to_string_lossy(),
            "INPUT and OUTPUT are the same file",
        ]);
        assert_eq!(
            fs::read(&input).expect("trace.pb"),
            bytes,
            "{} as output",
            output.display()
        );
        // The same if the input is the link.
        let outcome = scratch.capture2pcap().arg(output).arg("trace.pb").run();
        outcome.exits(2);
        assert_eq!(
            fs::read(&input).expect("trace.pb"),
            bytes,
            "{} as input",
            output.display()
        );
    }
    assert_left_over(&scratch, &["hard", "symbolic", "trace.pb"]);
}

/// Envoy writes a trace when its connection ends. Until then, the file is empty.
#[test]
fn an_empty_trace_is_an_empty_capture() {
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, b"", &[]);
    outcome.exits(0).says(["input"]);
    assert_eq!(records, Some(Vec::new()));
    let outcome = scratch.capture2pcap().args(["-", "-"]).run().exits(0);
    assert!(
        !outcome.stderr.is_empty(),
        "no warning{}",
        outcome.explain()
    );
    let capture = Capture::parse(&outcome.stdout).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(capture.records, []);
}
