//! Compressed traces: they give the captures of their contents, live from a stream, and up to the damage if they are cut.
//!
//! The programs gzip and zstd compress the traces, and show what can be unpacked. For features that they lack, such as
//! flushing at a certain position, the tests use the crates that the program itself uses.

mod damage;
mod memory;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use capture2pcap::{Converter, Trace};
use flate2::write::GzEncoder;

use crate::bad::{assert_left_over, convert, made};
use crate::fixtures;
use crate::harness::{Run, SIGINT, Scratch, each};
use crate::make::parts::{connection, segment, socket};
use crate::make::{Ev, Form, Made, What, field, noise};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// The output of a program for the input `bytes`.
#[track_caller]
fn through(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let outcome = Run::new(program).args(args).stdin(bytes).run();
    outcome.exits(0).stdout
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    through("gzip", &["-c"], bytes)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    through("zstd", &["-qc"], bytes)
}

/// A frame without data, as pzstd writes it.
const SKIPPABLE: &[u8] = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd";

/// `bytes` compressed in several ways, each with its extension.
fn ways(bytes: &[u8]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let empty = gzip(b"");
    vec![
        ("a member", "gz", gzip(bytes)),
        (
            "members",
            "gz",
            [empty.clone(), gzip(first), empty, gzip(second)].concat(),
        ),
        ("a frame", "zst", zstd(bytes)),
        (
            "frames",
            "zst",
            [SKIPPABLE, &zstd(first), SKIPPABLE, &zstd(second)].concat(),
        ),
        (
            "with a checksum and a name",
            "gz",
            [gzip(first), through("gzip", &["-9c"], second)].concat(),
        ),
        ("stored", "gz", {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::none());
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }),
    ]
}

/// A trace of 200 events, enough for several blocks.
fn several_blocks() -> Vec<u8> {
    let events = (0..200).map(|i| {
        let data: Vec<u8> = noise(i as u64).take(5000).collect();
        Ev::new(What::Read, i, data)
    });
    let made = Made::v4(events.collect());
    made.encode(Form::StreamedDelimited).bytes
}

#[test]
fn a_compressed_trace_gives_the_capture_of_what_it_holds() {
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let (scratch, code) = (Scratch::new(), fixture.code());
            let run = scratch.capture2pcap().arg(&fixture.path).arg("plain.pcap");
            run.run().exits(code);
            let plain = fs::read(scratch.path("plain.pcap")).expect("a capture");
            for (way, extension, bytes) in ways(&fixture.bytes()) {
                let place = format!("{}: {way} of {extension}", fixture.name);
                // The name does not show the compression.
                let input = scratch.write("input", &bytes);
                let run = scratch.capture2pcap().arg(&input).arg("packed.pcap");
                run.run().exits(code);
                let packed = fs::read(scratch.path("packed.pcap")).expect("a capture");
                assert!(packed == plain, "{place}: another capture from a file");
                let run = scratch.capture2pcap().args(["-", "-"]).stdin(bytes);
                let outcome = run.run().exits(code);
                assert!(outcome.stdout == plain, "{place}: another from a stream");
            }
        },
    );
}

#[test]
fn info_is_about_what_a_compressed_trace_holds() {
    let trace = made().encode(Form::Json).bytes;
    let scratch = Scratch::new();
    let info = |bytes: &[u8]| {
        scratch.write("trace.json", bytes);
        let run = scratch.capture2pcap().args(["--info", "--json"]);
        run.arg("trace.json").run().exits(0).says_nothing().stdout
    };
    let plain = info(&trace);
    for (way, extension, bytes) in ways(&trace) {
        assert_eq!(info(&bytes), plain, "{way} of {extension}");
    }
}

/// The traces of testdata that are named as Envoy names them, compressed, in `in`, and as they are in `plain`.
fn folder(scratch: &Scratch) -> Vec<PathBuf> {
    let (folder, plain) = (scratch.path("in"), scratch.path("plain"));
    fs::create_dir(&folder).expect("a folder");
    fs::create_dir(&plain).expect("a folder");
    let paths: Vec<_> = fixtures::socket_traces()
        .into_iter()
        .filter(|fixture| fixture.code() == 0)
        .map(|fixture| fixture.path)
        .filter(|path| path.starts_with(fixtures::testdata().join("envoy-1.40/taps")))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        let bytes = fs::read(path).expect("a trace");
        let (extension, packed) = match number % 3 {
            0 => (".gz", gzip(&bytes)),
            1 => (".zst", zstd(&bytes)),
            _ => ("", bytes.clone()),
        };
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        let name = format!("{name}{extension}");
        fs::write(folder.join(&name), packed).expect("room");
        // With the same names, so that they have the same order.
        fs::write(plain.join(&name), bytes).expect("room");
    }
    assert!(paths.len() > 6, "{paths:?}");
    paths
}

#[test]
fn folders_are_searched_for_compressed_traces() {
    let scratch = Scratch::new();
    let paths = folder(&scratch);
    fs::write(scratch.path("in/other.txt.gz"), gzip(b"no trace")).expect("room");
    scratch.capture2pcap().args(["in", "out/"]).run().exits(0);
    for path in &paths {
        let name = path.file_name().expect("a name");
        let capture = Path::new(name).with_extension("pcap");
        let run = scratch.capture2pcap().arg(path).arg("plain.pcap");
        run.run().exits(0);
        let packed = fs::read(scratch.path("out").join(&capture));
        let packed = packed.unwrap_or_else(|e| panic!("{}: {e}", capture.display()));
        let plain = fs::read(scratch.path("plain.pcap")).expect("a capture");
        assert!(packed == plain, "{}", path.display());
    }
    let captures = fs::read_dir(scratch.path("out")).expect("a folder").count();
    assert_eq!(captures, paths.len());

    // The same traces by name, and in a list.
    let trace = made().encode(Form::Binary).bytes;
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for (name, bytes) in [
        ("p_0.pb", trace.clone()),
        ("p_0.pb.gz", gzip(&trace)),
        ("p_1.pb.zst", zstd(&trace)),
    ] {
        scratch.write(&format!("in/{name}"), &bytes);
    }
    let list = "in/p_0.pb\nin/p_0.pb.gz\nin/p_1.pb.zst\n";
    let run = scratch.capture2pcap().args(["--files-from", "-", "out/"]);
    run.stdin(list).run().exits(0);
    let mut found: Vec<_> = fs::read_dir(scratch.path("out"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    found.sort();
    assert_eq!(found, ["p_0.pb.gz.pcap", "p_0.pb.pcap", "p_1.pcap"]);
}

#[test]
fn a_merge_takes_compressed_traces() {
    let scratch = Scratch::new();
    folder(&scratch);
    let run = scratch.capture2pcap().args(["--merge", "plain"]);
    let plain = run.arg("plain.pcap").run().exits(0);
    let run = scratch.capture2pcap().args(["--merge", "in", "all.pcap"]);
    let packed = run.run().exits(0);
    let read = |name: &str| fs::read(scratch.path(name)).expect("a capture");
    assert!(
        read("all.pcap") == read("plain.pcap"),
        "another capture: {} {}",
        plain.stderr,
        packed.stderr
    );
    assert_left_over(&scratch, &["all.pcap", "in", "plain", "plain.pcap"]);
}

/// A packet is written as soon as the compressor has flushed its event.
#[test]
fn packets_come_out_as_they_are_flushed() {
    let events = (0..5).map(|i| Ev::new(What::Read, i, format!("GET /{i} HTTP/1.1\r\n\r\n")));
    let made = Made::v4(events.collect());
    for form in [
        Form::Binary,
        Form::StreamedDelimited,
        Form::Json,
        Form::Text,
    ] {
        let encoded = made.encode(form);
        for by_gzip in [true, false] {
            let place = format!("{form:?}, gzip: {by_gzip}");
            let scratch = Scratch::new();
            let mut running = scratch.interruptible().args(["-", "-"]).start();
            let stdin = running.stdin.take().expect("a pipe");
            let mut encoder: Box<dyn Write> = match by_gzip {
                true => Box::new(GzEncoder::new(stdin, flate2::Compression::default())),
                false => Box::new(zstd::Encoder::new(stdin, 3).expect("memory")),
            };
            let mut written = 0;
            for (i, (event, &(_, end))) in made.events.iter().zip(&encoded.events).enumerate() {
                let bytes = &encoded.bytes[written..end];
                encoder.write_all(bytes).expect("a reader");
                encoder.flush().expect("a reader");
                written = end;
                if i == 0 {
                    let stdout = running.stdout.as_mut().expect("a pipe");
                    stdout
                        .read(24, PATIENCE)
                        .unwrap_or_else(|e| panic!("{place}: {e}"));
                }
                let record = next_record(&mut running, &place);
                assert!(record.ends_with(&event.data), "{place} holds other bytes");
            }
            // A signal ends the wait for more bytes.
            running.signal(SIGINT);
            running.finish().exits(130);
        }
    }
}

/// The wait ends even if no more bytes arrive.
#[test]
fn a_reader_that_goes_away_ends_the_wait() {
    let made = Made::v4(vec![Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n")]);
    let scratch = Scratch::new();
    scratch.write("trace", &gzip(&made.encode(Form::StreamedDelimited).bytes));
    // The shell holds the FIFO open, so that its end never comes.
    for (before, reader) in [
        ("cat trace >&3;", "head -c 24"),
        ("printf '\\037' >&3;", "true"),
    ] {
        let script = format!(
            "rm -f in; mkfifo in; exec 3<>in; {before} \
             {{ capture2pcap in -; echo $? >status; }} | {reader} >read"
        );
        let outcome = scratch.shell(&script).run().exits(0).says_nothing();
        let status = fs::read_to_string(scratch.path("status")).expect("a status");
        assert_eq!(status, "0\n", "{before}{}", outcome.explain());
    }
}

/// A message whose connection follows more events than are buffered: the file is unpacked a second time for it.
#[test]
fn a_connection_may_come_after_the_events_of_a_compressed_file() {
    let events = (0..12).map(|i| Ev::new(What::Read, i, vec![b'x'; 1 << 20]));
    let events: Vec<_> = events.map(|event| field(3, &event.message())).collect();
    let (local, remote) = (socket("10.0.0.1", 80), socket("10.0.0.2", 1234));
    let connection = connection(Some(&local), Some(&remote));
    let trace = field(3, &[events.concat(), field(2, &connection)].concat());
    let scratch = Scratch::new();
    let (outcome, plain) = convert(&scratch, &trace, &[]);
    outcome.exits(0).says_nothing();
    for bytes in [gzip(&trace), zstd(&trace)] {
        let (outcome, records) = convert(&scratch, &bytes, &[]);
        outcome.exits(0).says_nothing();
        assert_eq!(records, plain);
        let run = scratch
            .capture2pcap()
            .args(["-", "s.pcap"])
            .stdin(&bytes[..]);
        run.run()
            .exits(0)
            .says(["addresses were recorded too late"]);
        // The same in memory.
        let trace = Trace::new("input", bytes);
        let converted = Converter::new().convert(&trace, Vec::new());
        let converted = converted.expect("a capture");
        assert_eq!(converted.warnings.tallies().count(), 0);
        let capture = scratch.write("memory.pcap", &converted.capture);
        assert_eq!(Some(Capture::read(&capture).records), plain);
    }
}

/// The peak memory of converting a compressed stream, in bytes.
fn peak(bytes: &[u8], packets: usize) -> u64 {
    let scratch = Scratch::new();
    let mut running = scratch.capture2pcap().args(["-", "-"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    let stdout = running.stdout.take().expect("a pipe");
    // The output is read as it is written, up to the last packet that is certain to be written.
    let (bytes, mut stdout) = (bytes.to_vec(), stdout);
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).map(|()| stdin));
    stdout.read(24 + packets, PATIENCE).expect("packets");
    let peak = running.peak();
    drop(stdout);
    drop(writer.join());
    running.finish();
    peak
}

/// Neither the contents of a decompression bomb nor the window that a frame declares is kept in memory.
#[test]
fn a_bomb_takes_no_memory() {
    let event = Ev::new(What::Read, 0, vec![b'x'; 1000]);
    let one = segment(9, &event.message());
    let trace = one.repeat((256 << 20) / one.len());
    for bytes in [gzip(&trace), zstd(&trace)] {
        assert!(bytes.len() < 2 << 20, "{} bytes", bytes.len());
        let peak = peak(&bytes, 128 << 20);
        assert!(peak < 40 << 20, "{} MiB", peak >> 20);
    }
    // A window above the limit, and one at the limit.
    let scratch = Scratch::new();
    let far = through("zstd", &["-qc", "--ultra", "--long=28"], &one);
    let (outcome, records) = convert(&scratch, &far, &[]);
    let why = "the zstd data needs a window of more than 128 MiB to be unpacked";
    outcome.exits(1).says([why]);
    assert_eq!(records, None);
    let allowed = through("zstd", &["-qc", "--ultra", "--long=27"], &one);
    convert(&scratch, &allowed, &[]).0.exits(0);
    // A very large number of members and frames.
    for empty in [gzip(b""), zstd(b"")] {
        let many = [&empty.repeat(50_000), &gzip(&one)[..]].concat();
        let (outcome, records) = convert(&scratch, &many, &[]);
        outcome.exits(0);
        assert_eq!(records.map(|records| records.len()), Some(1));
    }
}

#[test]
fn other_compressions_are_named() {
    let trace = made().encode(Form::Binary).bytes;
    let scratch = Scratch::new();
    let twice = gzip(&gzip(&trace));
    let (outcome, records) = convert(&scratch, &twice, &[]);
    outcome
        .exits(1)
        .says(["it is compressed, and has to be unpacked first", "(gzip)"]);
    assert_eq!(records, None);
    scratch.write("path_0.pb", &trace);
    let run = scratch.shell("tar czf a.tar.gz path_0.pb && capture2pcap a.tar.gz out.pcap");
    run.run().exits(1).says(["it is an archive", "(tar)"]);
    let (outcome, _) = convert(&scratch, &gzip(b"<html></html>"), &[]);
    outcome.exits(1).says(["an HTML page"]);
    // A file that is still empty.
    for empty in [gzip(b""), zstd(b"")] {
        let (outcome, records) = convert(&scratch, &empty, &[]);
        outcome.exits(0).says(["the input is empty"]);
        assert_eq!(records, Some(Vec::new()));
    }
}
