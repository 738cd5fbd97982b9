//! `--open` and `--proto-path`: the arguments of the viewer, with a fake viewer that records them, and a real tshark.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::fixtures::testdata;
use crate::harness::{Outcome, Run, SIGINT, Scratch, wait_until};

/// A folder with a fake viewer that records its arguments and copies the capture.
fn viewer(scratch: &Scratch, name: &str, more: &str) -> PathBuf {
    let folder = scratch.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let script =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > noted\ncp \"$2\" opened.pcapng\n{more}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn run(scratch: &Scratch, folder: &Path) -> Run {
    let path = format!("{}:/usr/bin:/bin", folder.display());
    scratch.capture2pcap().env("PATH", &path)
}

/// The arguments that the viewer was started with.
fn noted(scratch: &Scratch) -> Vec<String> {
    let text = fs::read_to_string(scratch.path("noted")).expect("the viewer ran");
    text.lines().map(str::to_owned).collect()
}

fn path_0() -> PathBuf {
    testdata().join("path_0.pb")
}

#[test]
fn wireshark_is_started_on_a_temporary_pcapng_that_is_removed() {
    let scratch = Scratch::new();
    let folder = viewer(&scratch, "wireshark", "");
    run(&scratch, &folder)
        .arg("--open")
        .arg(path_0())
        .run()
        .exits(0)
        .says_nothing();
    let args = noted(&scratch);
    assert_eq!(args[0], "-r");
    assert!(args[1].ends_with("/path_0.pcapng"), "{args:?}");
    assert_eq!(args[2..], ["-N", "n", "-d", "tcp.port==10000,http2"]);
    assert!(!Path::new(&args[1]).exists() && !Path::new(&args[1]).parent().unwrap().exists());
    assert!(
        fs::read(scratch.path("opened.pcapng"))
            .unwrap()
            .starts_with(b"\x0a\x0d\x0d\x0a")
    );
}

#[test]
fn with_the_plugin_no_option_is_needed_but_for_a_missing_preface() {
    let scratch = Scratch::new();
    let folder = viewer(&scratch, "wireshark", "");
    let home = scratch.path("home");
    let home = home.to_str().unwrap();
    scratch
        .capture2pcap()
        .env("HOME", home)
        .arg("--install-wireshark")
        .run()
        .exits(0);
    let open = |trace: &Path| {
        run(&scratch, &folder)
            .env("HOME", home)
            .arg("--open")
            .arg(trace)
            .run()
            .exits(0);
        noted(&scratch)
    };
    assert_eq!(open(&path_0())[2..], ["-N", "n"]);
    let opened = |port: u16, what, bytes: &[u8]| {
        let local = ([10, 0, 0, 1], port).into();
        let remote = ([10, 0, 0, 2], 50_000).into();
        let events = vec![crate::make::Ev::new(what, 0, bytes)];
        let made = crate::make::Made::new(local, remote, events);
        let trace = scratch.write("made.pb", &made.encode(crate::make::Form::Binary).bytes);
        open(&trace)[2..].to_vec()
    };
    let (request, response) = (crate::make::What::Read, crate::make::What::Write);
    // This is the port of World of Warcraft, whose dissector accepts any bytes.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(opened(8085, request, preface), ["-N", "n"]);
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(opened(8085, request, get), ["-N", "n"]);
    // This is the port of TLS, whose dissector claims frames without a preface.
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff";
    let expected = ["-N", "n", "-d", "tcp.port==443,http2"];
    assert_eq!(opened(443, response, settings), expected);
}

#[test]
fn several_traces_are_opened_as_one() {
    let scratch = Scratch::new();
    let folder = viewer(&scratch, "tshark", "");
    let traces = testdata().join("envoy-1.10");
    run(&scratch, &folder)
        .args(["-q", "--open=tshark"])
        .arg(&traces)
        .run()
        .exits(0);
    let args = noted(&scratch);
    assert!(args[1].ends_with("/capture.pcapng"), "{args:?}");
    assert_eq!(args.iter().filter(|&arg| arg == "-d").count(), 3);
}

#[test]
fn a_viewer_that_is_not_there_is_named_with_its_package() {
    for (option, package) in [("--open", "wireshark"), ("--open=tshark", "wireshark-cli")] {
        let scratch = Scratch::new();
        let run = scratch
            .capture2pcap()
            .env("PATH", scratch.dir().to_str().unwrap());
        run.arg(option)
            .arg(path_0())
            .run()
            .exits(1)
            .says(["not installed", package]);
    }
}

#[test]
fn a_viewer_that_fails_and_a_trace_that_fails_are_failures() {
    let scratch = Scratch::new();
    let folder = viewer(&scratch, "wireshark", "exit 3");
    run(&scratch, &folder)
        .arg("--open")
        .arg(path_0())
        .run()
        .exits(1)
        .says(["wireshark: ", "3"]);
    fs::remove_file(scratch.path("noted")).unwrap();
    let trace = scratch.write("no.pb", b"no trace");
    run(&scratch, &folder)
        .arg("--open")
        .arg(trace)
        .run()
        .exits(1);
    assert!(!scratch.path("noted").exists(), "nothing to show");
}

/// Ctrl-C on a terminal reaches both processes.
#[test]
fn the_temporary_file_is_removed_after_a_signal_too() {
    let scratch = Scratch::new();
    let folder = viewer(
        &scratch,
        "wireshark",
        "touch ready\nwhile [ ! -e end ]; do sleep 0.05; done",
    );
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let running = scratch
        .interruptible()
        .env("PATH", &path)
        .arg("--open")
        .arg(path_0())
        .start();
    wait_until("the viewer", || scratch.path("ready").exists());
    running.signal(SIGINT);
    scratch.write("end", b"");
    running.finish().exits(130);
    assert!(!Path::new(&noted(&scratch)[1]).exists());
}

#[test]
fn open_accepts_no_output() {
    let cases: [&[&str]; 4] = [
        &["--open", "--info", "a"],
        &["--open", "--tap", "http://h:1"],
        &["--open=emacs", "a"],
        &["--open"],
    ];
    for args in cases {
        Scratch::new().capture2pcap().args(args).run().exits(2);
    }
}

fn grpc() -> PathBuf {
    testdata().join("grpc")
}

/// Opens the recorded calls with a real tshark.
fn opened(scratch: &Scratch, more: &[&str]) -> Outcome {
    // From another folder than the one to which the path is relative.
    let run = scratch.capture2pcap().arg("--open=tshark").args(more);
    run.arg(grpc().join("orders_0.pb")).run().exits(0)
}

#[test]
fn a_proto_path_is_made_absolute_in_the_printed_command() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("my protos")).unwrap();
    let run = scratch
        .capture2pcap()
        .args(["-v", "--proto-path", "./my protos"])
        .arg(grpc().join("orders_0.pb"));
    let folder = scratch.path("my protos").canonicalize().unwrap();
    let option = format!(
        "-o 'uat:protobuf_search_paths:\"{}\",\"TRUE\"'",
        folder.display()
    );
    run.arg("x.pcap").run().exits(0).says([
        option.as_str(),
        "-o protobuf.preload_protos:TRUE",
        "-o protobuf.pbf_as_hf:TRUE",
    ]);
}

/// Nested types, a map, and a call with streamed responses. The printed command is run without changes.
#[test]
fn the_printed_command_shows_the_fields_of_a_grpc_recording() {
    let scratch = Scratch::new();
    let run = scratch
        .capture2pcap()
        .arg("-v")
        .arg("--proto-path")
        .arg(grpc())
        .arg(grpc().join("orders_0.pb"));
    let outcome = run.arg("x.pcap").run().exits(0);
    let (_, command) = outcome
        .stderr
        .split_once("open it with: ")
        .expect("a command");
    let fields = " -Y pbf.shop.v1.Money.currency==EUR -T fields -e pbf.shop.v1.Order.number -e pbf.shop.v1.Order.Line.article -e pbf.shop.v1.Money.cents";
    let shown = scratch
        .shell(&format!("{}{fields}", command.trim_end()))
        .run()
        .exits(0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(
        shown,
        "A-9\tlamp\t1999\nA-9\tlamp\t1999\nA-1\tlamp\t1991\nA-2\tlamp\t1992\nA-3\tlamp\t1993\n"
    );
}

#[test]
fn open_shows_grpc_by_the_proto_files() {
    let scratch = Scratch::new();
    let folder = viewer(&scratch, "wireshark", "");
    run(&scratch, &folder)
        .arg("--open")
        .arg("--proto-path")
        .arg(grpc())
        .arg(path_0())
        .run()
        .exits(0);
    let option = format!(
        "uat:protobuf_search_paths:\"{}\",\"TRUE\"",
        grpc().display()
    );
    assert!(noted(&scratch).contains(&option));
    let outcome = opened(&scratch, &["--proto-path", grpc().to_str().unwrap()]);
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(text.contains("GRPC") || text.contains("PROTOBUF"), "{text}");
}

#[test]
fn a_proto_path_that_is_no_folder_is_refused() {
    let scratch = Scratch::new();
    scratch.write("file", b"");
    scratch.write("x\"y", b"");
    for (path, why) in [("missing", "No such file"), ("file", "not a folder")] {
        let run = scratch
            .capture2pcap()
            .args(["--proto-path", path])
            .arg(path_0())
            .arg("x.pcap");
        run.run().exits(2).says([why]);
    }
}

#[test]
fn grpc_without_proto_files_gets_a_hint() {
    let scratch = Scratch::new();
    let convert = |more: &[&str], trace: &Path| {
        let run = scratch.capture2pcap().arg("-v").args(more).arg(trace);
        run.arg("x.pcap").run().exits(0).stderr
    };
    let hint = "hint: --proto-path";
    let trace = grpc().join("orders_0.pb");
    assert!(convert(&[], &trace).contains(hint));
    assert!(!convert(&["--proto-path", grpc().to_str().unwrap()], &trace).contains(hint));
    assert!(!convert(&[], &path_0()).contains(hint));
}

/// Traces of redis-cli, psql and others, recorded by taps of a TCP proxy.
#[test]
fn other_protocols_on_other_ports_open_with_their_dissectors() {
    let cases = [
        ("redis_0.pb", "Redis", "tcp.port==26400,resp", "resp"),
        ("pgsql_4.pb", "PostgreSQL", "tcp.port==26401,pgsql", "pgsql"),
        ("pgsql_6.pb", "PostgreSQL", "tcp.port==26401,pgsql", "pgsql"),
        ("mysql_10.pb", "MySQL", "tcp.port==26402,mysql", "mysql"),
        ("mysql_16.pb", "MySQL", "tcp.port==26402,mysql", "mysql"),
        ("smtp_0.pb", "SMTP", "tcp.port==26403,smtp", "smtp"),
        ("mongo_4.pb", "MongoDB", "tcp.port==26404,mongo", "mongo"),
        ("kafka_18.pb", "Kafka", "tcp.port==26405,kafka", "kafka"),
        ("kafka_20.pb", "Kafka", "tcp.port==26405,kafka", "kafka"),
        ("thrift_12.pb", "Thrift", "tcp.port==26406,thrift", "thrift"),
        ("thrift_14.pb", "Thrift", "tcp.port==26407,thrift", "thrift"),
    ];
    for (name, protocol, option, dissector) in cases {
        let scratch = Scratch::new();
        let trace = testdata().join("proxy").join(name);
        let info = scratch
            .capture2pcap()
            .arg("--info")
            .arg(&trace)
            .run()
            .exits(0);
        let info = String::from_utf8(info.stdout).unwrap();
        assert!(
            info.contains(protocol) && info.contains(&format!("-d {option}\n")),
            "{info}"
        );
        let run = scratch.capture2pcap().arg("-v").arg(&trace).arg("x.pcap");
        run.run().exits(0).says([format!("-d {option}\n")]);
        let protocols = |more: &[&str]| {
            let args = ["-r", "x.pcap", "-T", "fields", "-e", "frame.protocols"];
            let shown = Run::new("tshark")
                .args(args)
                .args(more)
                .dir(scratch.dir())
                .run()
                .exits(0);
            String::from_utf8(shown.stdout).unwrap()
        };
        let shown = protocols(&["-d", option]);
        // A server refuses TLS with one byte, which is not a message.
        let layer = format!(":tcp:{dissector}");
        let other = shown.lines().filter(|line| !line.ends_with(&layer));
        assert!(other.count() <= 1 && shown.contains(&layer), "{shown}");
        // tshark has a heuristic for Thrift.
        let is_found = protocols(&[]).contains(dissector);
        assert_eq!(is_found, dissector == "thrift", "{dissector}");
    }
}

/// In Wireshark, 8085 and 7000 belong to other protocols, and HTTP/1 is not shown there. On 10000 it is, and the option
/// is harmless.
#[test]
fn http1_on_a_port_of_another_protocol_is_shown() {
    for (port, expected) in [(8085, true), (7000, true), (10_000, true), (80, false)] {
        let scratch = Scratch::new();
        let made = crate::make::Made::new(
            ([10, 0, 0, 1], port).into(),
            ([10, 0, 0, 2], 50_000).into(),
            vec![crate::make::Ev::new(
                crate::make::What::Read,
                0,
                *b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            )],
        );
        let trace = scratch.write("x.pb", &made.encode(crate::make::Form::Binary).bytes);
        let outcome = scratch
            .capture2pcap()
            .arg("-v")
            .arg(trace)
            .arg("x.pcap")
            .run()
            .exits(0);
        let (_, command) = outcome
            .stderr
            .split_once("open it with: ")
            .expect("a command");
        assert_eq!(
            command.contains(&format!("-d tcp.port=={port},http\n")),
            expected,
            "{command}"
        );
        let shown = scratch.shell(command).run().exits(0);
        assert!(
            String::from_utf8_lossy(&shown.stdout).contains("GET / HTTP/1.1"),
            "{command}"
        );
    }
}
