//! Addresses that are missing, or that a packet cannot carry: stand-ins take their place.

use std::collections::HashSet;
use std::fs;

use crate::bad::convert;
use crate::fixtures;
use crate::harness::{Outcome, Scratch};
use crate::losses::captured;
use crate::make::parts::{begin, connection, internal, pipe, segment, socket};
use crate::make::{Ev, What, field};
use crate::pcap::SYN;

/// A trace id; the stand-in port of a client with it is 49,152 + 7.
const ID: u64 = 16_384 * 3 + 7;

/// An HTTP request, which identifies the client.
fn asked(micros: i32) -> Ev {
    Ev::new(What::Read, micros, "GET / HTTP/1.1\r\n\r\n")
}

/// A connection with one event.
fn one(id: u64, local: Option<&[u8]>, remote: Option<&[u8]>) -> Vec<u8> {
    let begin = begin(id, &connection(local, remote));
    [begin, segment(id, &asked(0).message())].concat()
}

/// Converts a trace. Returns the local and the remote end of each frame.
#[track_caller]
fn ends(bytes: &[u8], options: &[&str]) -> (Outcome, Vec<[String; 2]>) {
    let (outcome, capture) = captured(&Scratch::new(), bytes, options);
    let outcome = outcome.exits(0);
    let segments = capture.segments();
    let data = segments.iter().filter(|segment| segment.length > 0);
    let ends = data.map(|s| [s.destination.to_string(), s.source.to_string()]);
    (outcome, ends.collect())
}

#[test]
fn missing_addresses_get_stand_ins_and_recorded_ones_are_kept() {
    let known = socket("10.0.0.2", 50000);
    let known = || Some(known.clone());
    let both = |local: &str, remote: &str| [local.to_owned(), remote.to_owned()];
    let local = |local: &str| both(local, "10.0.0.2:50000");
    let named = field(1, &[field(2, b"10.0.0.1"), field(4, b"http")].concat());
    // The local end, the remote end, the addresses in the packets, and the warning.
    let cases = [
        (
            None,
            None,
            both("192.0.2.1:80", "192.0.2.2:49159"),
            vec![
                "192.0.2.1:80 for the local",
                "192.0.2.2:49159 for the remote",
            ],
        ),
        (
            None,
            known(),
            local("192.0.2.1:80"),
            vec!["192.0.2.1:80 for the local"],
        ),
        (
            known(),
            None,
            both("10.0.0.2:50000", "192.0.2.2:49159"),
            vec!["192.0.2.2:49159 for the remote"],
        ),
        (
            None,
            Some(socket("fd00::2", 443)),
            both("[2001:db8::1]:80", "[fd00::2]:443"),
            vec!["[2001:db8::1]:80 for the local"],
        ),
        (
            Some(pipe("/run/envoy.sock")),
            Some(pipe("/run/envoy.sock")),
            both("192.0.2.1:80", "192.0.2.2:49159"),
            vec![
                "for the local unix:/run/envoy.sock",
                "for the remote unix:/run/envoy.sock",
            ],
        ),
        (
            Some(pipe("@abstract")),
            known(),
            local("192.0.2.1:80"),
            vec!["192.0.2.1:80 for the local unix:@abstract"],
        ),
        (
            Some(internal("inner", "id")),
            known(),
            local("192.0.2.1:80"),
            vec!["for the local envoy://inner/id"],
        ),
        (
            Some(socket("db.example.com", 5432)),
            known(),
            local("192.0.2.1:5432"),
            vec!["192.0.2.1:5432 for the local db.example.com:5432"],
        ),
        (
            Some(socket("10.0.0.1", 0)),
            known(),
            local("10.0.0.1:80"),
            vec!["10.0.0.1:80 for the local 10.0.0.1:0"],
        ),
        // Addresses that a packet can carry are kept.
        (
            Some(socket("::ffff:10.0.0.1", 80)),
            Some(socket("::FFFF:10.0.0.2", 50000)),
            local("10.0.0.1:80"),
            vec![],
        ),
        (
            Some(socket("::ffff:10.0.0.1", 80)),
            known(),
            local("10.0.0.1:80"),
            vec![],
        ),
        (
            Some(socket("fd00::1", 80)),
            known(),
            both("[fd00::1]:80", "[::ffff:10.0.0.2]:50000"),
            vec![],
        ),
        (
            Some(socket("10.0.0.1", 80)),
            Some(socket("fd00::2", 443)),
            both("[::ffff:10.0.0.1]:80", "[fd00::2]:443"),
            vec![],
        ),
        (
            Some(socket("fe80::1%eth0", 80)),
            Some(socket("fe80::2%3", 443)),
            both("[fe80::1]:80", "[fe80::2]:443"),
            vec![],
        ),
        (
            Some(socket("10.0.0.2", 50000)),
            known(),
            local("10.0.0.2:50000"),
            vec![],
        ),
    ];
    // A port above 65,535 and a name cannot be used; then three ways of recording no address at all.
    let no_port = [socket("10.0.0.1", 70_000), named];
    let no_port = no_port.map(|end| (Some(end), known(), local("10.0.0.1:80"), vec!["local"]));
    let nothing = [socket("", 0), field(1, b""), Vec::new()];
    let nothing = nothing.map(|end| (Some(end), known(), local("192.0.2.1:80"), vec!["local"]));
    let cases = cases.into_iter().chain(no_port).chain(nothing);
    for (i, (from, to, expected, messages)) in cases.enumerate() {
        let trace = one(ID, from.as_deref(), to.as_deref());
        let (outcome, got) = ends(&trace, &[]);
        assert_eq!(
            got,
            std::slice::from_ref(&expected),
            "case {i}{}",
            outcome.explain()
        );
        if messages.is_empty() {
            outcome.says_nothing();
        } else {
            let outcome = outcome
                .says(messages.iter())
                .says(["1 connection with stand-in addresses: "]);
            assert_eq!(
                outcome.stderr.matches("for the ").count(),
                messages.len(),
                "{}",
                outcome.explain()
            );
            assert_eq!(
                outcome.stderr.lines().count(),
                2,
                "a warning and a hint{}",
                outcome.explain()
            );
        }
        // The result is the same for a later time.
        assert_eq!(ends(&trace, &[]).1, got, "case {i}");
    }
}

#[test]
fn given_addresses_replace_only_missing_ones() {
    let known = socket("10.0.0.2", 50000);
    let (none, host) = (None, socket("db.example.com", 5432));
    let (zero, socket_path) = (socket("10.0.0.1", 0), pipe("/run/envoy.sock"));
    let (six, host) = (socket("fd00::2", 443), Some(&host[..]));
    let (zero, socket_path) = (Some(&zero[..]), Some(&socket_path[..]));
    let options = ["--local=10.9.9.9:80", "--remote=10.8.8.8"];
    for (local, remote, expected) in [
        (none, Some(&known[..]), ["10.9.9.9:80", "10.0.0.2:50000"]),
        (none, none, ["10.9.9.9:80", "10.8.8.8:49159"]),
        (socket_path, socket_path, ["10.9.9.9:80", "10.8.8.8:49159"]),
        (host, Some(&known[..]), ["10.9.9.9:5432", "10.0.0.2:50000"]),
        (zero, Some(&known[..]), ["10.0.0.1:80", "10.0.0.2:50000"]),
        (
            none,
            Some(&six[..]),
            ["[::ffff:10.9.9.9]:80", "[fd00::2]:443"],
        ),
        (
            Some(&six[..]),
            Some(&known[..]),
            ["[fd00::2]:443", "[::ffff:10.0.0.2]:50000"],
        ),
    ] {
        let (outcome, got) = ends(&one(ID, local, remote), &options);
        outcome.says_nothing();
        assert_eq!(got, [expected.map(str::to_owned)]);
    }
    // Port 0 counts as missing.
    for given in ["[fd00::9]:99", "fd00::9", "[fd00::9]:0"] {
        let (outcome, got) = ends(&one(ID, none, Some(&six[..])), &["--local", given]);
        outcome.says_nothing();
        let port = if given == "[fd00::9]:99" { 99 } else { 80 };
        assert_eq!(got[0][0], format!("[fd00::9]:{port}"));
    }
    let scratch = Scratch::new();
    for bad in [
        "",
        "host",
        "10.0.0.1:",
        "10.0.0.1:99999",
        "[::1",
        "10.0.0.256",
    ] {
        let run = scratch.capture2pcap().args(["--remote", bad, "in", "out"]);
        run.run().exits(2).says(["--remote"]);
    }
}

/// Connections without addresses whose ids lead to the same stand-in port.
#[test]
fn stand_ins_are_unique_within_a_capture() {
    let known = socket("10.0.0.2", 443);
    let zero = socket("10.0.0.1", 0);
    for (local, remote) in [
        (None, None),
        (None, Some(&known[..])),
        (Some(&zero[..]), Some(&known[..])),
    ] {
        let traces = (0..300).map(|i| one(ID + 16_384 * i, local, remote));
        let trace: Vec<u8> = traces.flatten().collect();
        let (outcome, got) = ends(&trace, &["--handshake=never"]);
        outcome.says(["300 connections with stand-in addresses: "]);
        assert_eq!(got.len(), 300);
        let different: HashSet<_> = got.iter().collect();
        assert_eq!(different.len(), 300, "pairs of ends");
        let is_stand_in = |end: &String| {
            let ranges = ["192.0.2.", "198.51.100.", "203.0.113."];
            ranges.iter().any(|range| end.starts_with(range))
        };
        for [local_end, remote_end] in &got {
            assert!(local.is_some() || is_stand_in(local_end), "{local_end}");
            match remote {
                Some(_) => assert_eq!(remote_end, "10.0.0.2:443"),
                None => assert!(is_stand_in(remote_end), "{remote_end}"),
            }
        }
        // The first connection has the stand-ins that it has alone.
        assert_eq!(ends(&one(ID, local, remote), &[]).1[0], got[0]);
    }
}

/// Any event may name the connection, again or for the first time. Packets that are already written keep their
/// addresses, and so do the later ones, since they belong to the same connection.
#[test]
fn an_address_recorded_after_packets_changes_none_of_them() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let whole = connection(Some(&local), Some(&remote));
    let lesser = connection(None, Some(&remote));
    let late = [
        begin(ID, &lesser),
        segment(ID, &asked(0).message()),
        segment(ID, &asked(1).with_connection(&whole)),
        segment(ID, &asked(2).message()),
    ];
    let (outcome, got) = ends(&late.concat(), &[]);
    outcome.says(["1 connection whose addresses were recorded too late"]);
    let expected = ["192.0.2.1:80"; 3];
    assert_eq!(
        got,
        expected.map(|local| [local.to_owned(), "10.0.0.2:50000".to_owned()])
    );

    // If no packet has been written before, the recorded address is used.
    let in_time = [
        begin(ID, &lesser),
        segment(ID, &asked(0).with_connection(&whole)),
        segment(ID, &asked(1).message()),
    ];
    let (outcome, got) = ends(&in_time.concat(), &[]);
    outcome.says_nothing();
    assert!(
        got.iter().all(|ends| ends[0] == "10.0.0.1:10000"),
        "{got:?}"
    );
}

#[test]
fn a_later_record_with_fewer_addresses_changes_nothing() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let whole = connection(Some(&local), Some(&remote));
    let nothing = [
        Vec::new(),
        connection(None, Some(&remote)),
        connection(Some(&local), None),
        connection(Some(b""), Some(&field(1, b""))),
        whole.clone(),
    ];
    let mut trace = begin(ID, &whole);
    for (i, less) in (0..).zip(&nothing) {
        trace.extend(segment(ID, &asked(2 * i).with_connection(less)));
        trace.extend(begin(ID, less));
        trace.extend(segment(ID, &asked(2 * i + 1).message()));
    }
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, &trace, &[]);
    outcome.exits(0).says_nothing();
    let records = records.unwrap_or_default();
    // It is not taken for another connection: a handshake would be visible.
    assert_eq!(records.len(), 10);
    for record in &records {
        let segment = record.segment().expect("a segment");
        assert_eq!(segment.destination.to_string(), "10.0.0.1:10000");
        assert_eq!(segment.source.to_string(), "10.0.0.2:50000");
        assert_eq!(segment.flags & SYN, 0);
    }
}

/// The recordings without an address: the recorded end, and the warning about the other one.
#[test]
fn recordings_without_addresses() {
    let missing = "which is not recorded";
    for (name, code, expected, messages) in [
        ("buf_uds_236.pb", 0, 2, "unix:"),
        ("up_str_146.pb_length_delimited", 1, 1, missing),
        ("up_str_json_150.json", 1, 1, missing),
        ("str_json_body_as_string_81.json", 0, 2, missing),
        ("str_json_body_as_string_85.json", 0, 2, missing),
        ("str_json_body_as_string_87.json", 0, 2, missing),
    ] {
        let path = fixtures::testdata().join("envoy-1.40/taps").join(name);
        let scratch = Scratch::new();
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (outcome, records) = convert(&scratch, &bytes, &[]);
        let outcome = outcome.exits(code).says([messages]);
        let lines = outcome.stderr.matches("with stand-in addresses").count();
        assert_eq!(lines, 1, "{name}{}", outcome.explain());
        let records = records.unwrap_or_else(|| panic!("{name}: no capture"));
        let id: u16 = name
            .split(['_', '.'])
            .find_map(|part| part.parse().ok())
            .expect("a number");
        for record in &records {
            let segment = record.segment().unwrap_or_else(|e| panic!("{name}: {e}"));
            let stand_ins = [segment.source, segment.destination].map(|end| {
                let text = end.to_string();
                text.starts_with("192.0.2.") && [80, 49_152 + id].contains(&end.port())
            });
            let found = stand_ins.iter().filter(|&&is| is).count();
            assert_eq!(found, expected, "{name}: {segment:?}");
        }
    }
}
