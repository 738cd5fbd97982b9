//! The Lua plugin: it shows HTTP on any port as `-d` does, and changes nothing else.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fixtures::{self, testdata};
use crate::harness::{Scratch, each, tshark};
use crate::make::noise;

/// The plugin, from the program.
fn plugin(scratch: &Scratch) -> PathBuf {
    let printed = scratch
        .capture2pcap()
        .args(["--generate", "wireshark"])
        .run()
        .exits(0)
        .says_nothing();
    scratch.write("plugin.lua", &printed.stdout)
}

/// The plugin's protocols.
const OURS: [&str; 3] = ["http2_any_port", "http1_any_port", "http_owned_port"];

/// tshark's view of a capture, as a string for each packet.
fn shown(capture: &Path, options: &[OsString]) -> Vec<String> {
    let mut args: Vec<OsString> = vec!["-V".into(), "-r".into(), capture.into()];
    args.extend_from_slice(options);
    let text = tshark(args);
    let mut packets: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Frame ") && line.contains(" on wire ") {
            packets.push(String::new());
        }
        // The plugin's protocols are only in the list of a packet's protocols.
        let line = OURS.iter().fold(line.to_owned(), |line, proto| {
            line.replace(&format!(":{proto}"), "")
        });
        let packet = packets.last_mut().expect("a packet's first line");
        packet.push_str(&line);
        packet.push('\n');
    }
    packets
}

fn with(plugin: &Path) -> Vec<OsString> {
    let mut script = OsString::from("lua_script:");
    script.push(plugin);
    vec!["-X".into(), script]
}

fn decode_as(ports: impl IntoIterator<Item = u16>) -> Vec<OsString> {
    let option = |port: u16| {
        [
            "-d".into(),
            OsString::from(format!("tcp.port=={port},http2")),
        ]
    };
    ports.into_iter().flat_map(option).collect()
}

/// The TCP streams that begin with a preface, and the ports of their servers.
fn http2_streams(capture: &Path) -> HashMap<String, u16> {
    let fields = [
        "-T",
        "fields",
        "-e",
        "tcp.stream",
        "-e",
        "tcp.dstport",
        "-Y",
    ];
    let mut args: Vec<OsString> = vec!["-r".into(), capture.into()];
    args.extend(fields.map(OsString::from));
    args.push("tcp.payload[0:14] == \"PRI * HTTP/2.0\"".into());
    let lines = tshark(args);
    let pair = |line: &str| {
        let (stream, port) = line.split_once('\t').expect("two fields");
        (stream.to_owned(), port.parse().expect("a port"))
    };
    lines.lines().map(pair).collect()
}

/// Fails if the plugin shows HTTP in another way than `-d`, or anything else in another way than tshark without options.
#[track_caller]
fn compare(capture: &Path, plugin: &Path, more: &[&str]) -> usize {
    let more: Vec<OsString> = more.iter().map(OsString::from).collect();
    let streams = http2_streams(capture);
    let ports: BTreeSet<u16> = streams.values().copied().collect();
    let ours = shown(capture, &[with(plugin), more.clone()].concat());
    let by_option = shown(capture, &[decode_as(ports), more.clone()].concat());
    let plain = shown(capture, &more);
    assert_eq!((ours.len(), by_option.len()), (plain.len(), plain.len()));
    let mut http2 = 0;
    for (i, packet) in ours.iter().enumerate() {
        let stream = packet
            .lines()
            .find_map(|line| line.trim().strip_prefix("[Stream index: "));
        let stream = stream.map(|index| index.trim_end_matches(']'));
        let is_http2 = stream.is_some_and(|stream| streams.contains_key(stream));
        // On HTTP's own ports, such as 80, tshark finds a preface by itself, without the plugin.
        let is_found = plain[i].contains("HyperText Transfer Protocol 2");
        let expected = match is_http2 && !is_found {
            true => &by_option[i],
            false => &plain[i],
        };
        http2 += usize::from(is_http2);
        assert!(
            packet == expected,
            "{}: packet {}, HTTP/2: {is_http2}:\n{packet}\nrather than\n{expected}",
            capture.display(),
            i + 1
        );
    }
    http2
}

/// All recordings in one capture: HTTP/1 and HTTP/2, also on one port, gRPC, truncated bodies.
fn merged(scratch: &Scratch, options: &[&str]) -> PathBuf {
    let path = scratch.path("all.pcap");
    let traces = fixtures::socket_traces();
    let run = scratch
        .capture2pcap()
        .args(options)
        .arg("-qm")
        .args(traces.iter().map(|trace| &trace.path));
    run.args(fixtures::http_traces()).arg(&path).run().exits(1);
    path
}

#[test]
fn the_plugin_shows_every_recording_as_decode_as_does() {
    let options: [&[&str]; 2] = [&[], &["--mss=1460"]];
    each(
        &options,
        |options| format!("{options:?}"),
        |options| {
            let scratch = Scratch::new();
            let http2 = compare(&merged(&scratch, options), &plugin(&scratch), &[]);
            assert!(http2 > 1000, "{http2} packets of HTTP/2");
        },
    );
}

/// Wireshark dissects a packet again when it is selected.
#[test]
fn a_second_look_shows_the_same() {
    let scratch = Scratch::new();
    compare(
        &merged(&scratch, &["--mss=1460"]),
        &plugin(&scratch),
        &["-2"],
    );
}

/// A capture with `port` in place of another one, without its first `skip` packets.
fn moved(scratch: &Scratch, capture: &Path, from: u16, port: u16, skip: usize) -> PathBuf {
    let bytes = std::fs::read(capture).unwrap();
    let (header, mut rest) = bytes.split_at(24);
    let mut out = header.to_vec();
    let mut index = 0;
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (record, after) = rest.split_at(16 + length);
        let mut record = record.to_vec();
        // After the headers of the record, Ethernet and IPv4.
        for at in [50, 52] {
            if record[at..at + 2] == from.to_be_bytes() {
                record[at..at + 2].copy_from_slice(&port.to_be_bytes());
            }
        }
        if index >= skip {
            out.extend(record);
        }
        (rest, index) = (after, index + 1);
    }
    scratch.write("moved.pcap", &out)
}

/// The README's trace on another port.
fn moved_http2(scratch: &Scratch, port: u16, skip: usize) -> PathBuf {
    let capture = scratch.path("whole.pcap");
    let convert = scratch.capture2pcap().arg("--mss=1460");
    let trace = testdata().join("path_0.pb");
    convert.arg(trace).arg(&capture).run().exits(0);
    moved(scratch, &capture, 10_000, port, skip)
}

/// Port 8085 belongs to World of Warcraft, 7000 to Gryphon, 9092 to Kafka, 5432 to PostgreSQL.
const OWNED: [u16; 4] = [8085, 7000, 9092, 5432];

#[test]
fn http2_on_ports_of_other_protocols_and_on_free_ports() {
    let ports = [&[10_000, 443, 50_051], &OWNED[..]].concat();
    each(&ports, u16::to_string, |&port| {
        let scratch = Scratch::new();
        let capture = moved_http2(&scratch, port, 0);
        let http2 = compare(&capture, &plugin(&scratch), &[]);
        assert!(http2 > 30, "{http2} packets");
    });
}

#[test]
fn http1_on_ports_of_other_protocols() {
    each(&OWNED, u16::to_string, |&port| {
        let scratch = Scratch::new();
        let capture = scratch.path("whole.pcap");
        let convert = scratch.capture2pcap().args(["--mss=100", "-q"]);
        let trace = testdata().join("field/http1-ports/h1_7000.pb");
        convert.arg(trace).arg(&capture).run().exits(0);
        let capture = moved(&scratch, &capture, 7000, port, 0);
        let http = OsString::from(format!("tcp.port=={port},http"));
        let expected = shown(&capture, &["-d".into(), http]);
        let is_http = |packet: &String| packet.contains("Hypertext Transfer Protocol");
        assert!(expected.iter().any(is_http));
        assert!(!shown(&capture, &[]).iter().any(is_http));
        assert_eq!(shown(&capture, &with(&plugin(&scratch))), expected);
    });
}

/// The client's first packets are missing, so the structure of the frames decides.
#[test]
fn a_connection_that_was_joined_late_is_recognised() {
    let first: [&[&str]; 2] = [&[], &["-o", "tcp.try_heuristic_first:TRUE"]];
    let mut ports = vec![(50_051, first[0]), (10_000, first[1]), (443, first[1])];
    ports.extend(OWNED.map(|port| (port, first[0])));
    each(
        &ports,
        |(port, _)| port.to_string(),
        |&(port, options)| {
            let scratch = Scratch::new();
            let (capture, plugin) = (moved_http2(&scratch, port, 1), plugin(&scratch));
            assert!(http2_streams(&capture).is_empty(), "no preface");
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            let ours = shown(&capture, &[with(&plugin), options].concat());
            assert_eq!(ours, shown(&capture, &decode_as([port])));
            assert!(
                ours.iter()
                    .any(|packet| packet.contains("HyperText Transfer Protocol 2"))
            );
        },
    );
}

/// A capture of segments with these payloads, 100 to a connection.
fn segments(scratch: &Scratch, payloads: impl Iterator<Item = Vec<u8>>) -> PathBuf {
    let mut out = Vec::new();
    for number in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.extend(number.to_le_bytes());
    }
    let mut next = 1_u32;
    for (i, payload) in (0_u32..).zip(payloads) {
        let length = (54 + payload.len()) as u32;
        for number in [1_700_000_000, i, length, length] {
            out.extend(number.to_le_bytes());
        }
        out.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        out.extend((length as u16 - 14).to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let client = 20_000 + (i / 100) as u16;
        next = if i % 100 == 0 { 1 } else { next };
        out.extend(client.to_be_bytes());
        out.extend((50_000 + (i / 100 % 50) as u16).to_be_bytes());
        out.extend(next.to_be_bytes());
        out.extend([0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend(&payload);
        next += payload.len() as u32;
    }
    scratch.write("segments.pcap", &out)
}

#[test]
fn no_random_segment_is_claimed() {
    let scratch = Scratch::new();
    let lengths = [9, 10, 13, 17, 18, 26, 31, 64, 200, 1460];
    let mut bytes = noise(16);
    let random = lengths
        .iter()
        .cycle()
        .map(|&length| bytes.by_ref().take(length).collect());
    let capture = segments(&scratch, random.take(100_000));
    let records = crate::harness::capinfos(["-Mc".as_ref(), capture.as_os_str()]);
    assert!(records.contains("100000"), "{records}");
    let mut args = with(&plugin(&scratch));
    args.extend(["-r".into(), capture.into()]);
    args.extend(
        [
            "-Y",
            "http || http2 || http2_any_port || http1_any_port || http_owned_port",
        ]
        .map(OsString::from),
    );
    assert_eq!(tshark(args), "");
}

/// Bytes that resemble frames.
#[test]
fn bytes_that_resemble_frames_are_not_claimed() {
    let scratch = Scratch::new();
    let frame = |size: u32, kind: u8, flags: u8, stream: u32, length: usize| {
        let mut frame = size.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.resize(9 + length, 0);
        frame
    };
    let misses = [
        vec![0; 9],
        vec![0; 1460],
        frame(5, 0, 0, 0, 5),
        frame(5, 0, 0, 2, 5),
        frame(5, 0, 0, 0x8000_0001, 5),
        frame(5, 0, 2, 1, 5),
        frame(0, 0, 0, 1, 0),
        frame(7, 4, 0, 0, 7),
        frame(6, 4, 1, 0, 6),
        frame(7, 6, 0, 0, 7),
        frame(4, 8, 1, 0, 4),
        frame(5, 11, 0, 0, 5),
        // One frame that continues after the segment is not enough evidence.
        frame(16_384, 0, 0, 1, 1000),
        b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n".to_vec(),
        // Kafka and PostgreSQL begin with a length of four bytes.
        b"\0\0\0\x05\0\0\0\x2a\0\0\0\0\0\0".to_vec(),
        b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(),
    ];
    let count = misses.len();
    let capture = segments(
        &scratch,
        misses
            .into_iter()
            .flat_map(|miss| std::iter::repeat_n(miss, 100)),
    );
    let mut args = with(&plugin(&scratch));
    args.extend([
        "-r".into(),
        capture.into(),
        "-Y".into(),
        "http2_any_port || http1_any_port".into(),
    ]);
    assert_eq!(tshark(args), "", "{count} kinds");
}

#[test]
fn real_tls_redis_and_postgresql_are_left_alone() {
    // On their own ports, on the recorded port, and on ports of other protocols.
    let cases = [
        ("tls", 14_433, &[443, 8085, 10_000][..]),
        ("redis", 16_379, &[6379, 9092]),
        ("pgsql", 15_432, &[5432, 443]),
    ];
    each(
        &cases,
        |(name, ..)| (*name).to_owned(),
        |(name, recorded, ports)| {
            let scratch = Scratch::new();
            let plugin = plugin(&scratch);
            let capture = testdata().join("wireshark").join(format!("{name}.pcap"));
            for &port in [&[*recorded], *ports].concat().iter() {
                let capture = moved(&scratch, &capture, *recorded, port, 0);
                let plain = shown(&capture, &[]);
                assert!(plain.len() > 30, "{} packets", plain.len());
                assert_eq!(shown(&capture, &with(&plugin)), plain, "{port}");
            }
        },
    );
}
