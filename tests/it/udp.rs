//! UDP: one datagram for each event, and none of TCP's packets.

use std::path::Path;

use crate::bad::convert;
use crate::harness::{Outcome, Scratch, tshark};
use crate::judge::critically;
use crate::make::parts::{begin, connection, segment, socket, udp_socket};
use crate::make::{Ev, What, noise};

/// The largest payloads of a datagram: 65,535 bytes minus the headers that the length includes.
const V4_MAX: usize = 65_507;
const V6_MAX: usize = 65_527;

/// tshark's status of a correct checksum, and of a missing one.
const GOOD: &str = "1";
const NOT_PRESENT: &str = "3";

const V4: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const V6: [&str; 2] = ["fd00::1", "fd00::2"];

/// A trace of these events, with a connection of UDP.
fn trace(ips: [&str; 2], events: &[Ev]) -> Vec<u8> {
    let (local, remote) = (udp_socket(ips[0], 10000), udp_socket(ips[1], 50000));
    let mut trace = begin(7, &connection(Some(&local), Some(&remote)));
    for event in events {
        trace.extend(segment(7, &event.message()));
    }
    trace
}

/// Each frame: addresses, ports, UDP's length, its checksum's status, and the payload in hexadecimal.
fn datagrams(path: &Path) -> Vec<[String; 8]> {
    let mut args = critically(path, None);
    args.extend(["-T", "fields", "-E", "separator=|"].map(Into::into));
    for field in [
        "ip.src",
        "ipv6.src",
        "udp.srcport",
        "udp.dstport",
        "udp.length",
        "udp.checksum.status",
        "udp.payload",
        "frame.protocols",
    ] {
        args.extend(["-e".into(), field.into()]);
    }
    let lines = tshark(args);
    let datagrams = lines.lines().map(|line| {
        let fields: Vec<_> = line.split('|').map(str::to_owned).collect();
        fields.try_into().unwrap_or_else(|_| panic!("{line:?}"))
    });
    datagrams.collect()
}

/// Converts a trace. Returns the outcome and the datagrams.
#[track_caller]
fn shown(ips: [&str; 2], events: &[Ev], options: &[&str]) -> (Outcome, Vec<[String; 8]>) {
    let scratch = Scratch::new();
    let (outcome, _) = convert(&scratch, &trace(ips, events), options);
    let outcome = outcome.exits(0);
    let datagrams = datagrams(&scratch.path("output.pcap"));
    for [.., protocols] in &datagrams {
        assert!(protocols.contains(":udp"), "{protocols}");
        assert!(!protocols.contains("tcp"), "{protocols}");
    }
    (outcome, datagrams)
}

#[test]
fn each_event_is_a_datagram() {
    for (ips, max) in [(V4, V4_MAX), (V6, V6_MAX)] {
        let sizes = [0, 1, 1200, max - 1, max];
        let mut events: Vec<_> = (0..)
            .zip(sizes)
            .map(|(i, size)| {
                let what = if i % 2 == 0 { What::Read } else { What::Write };
                let data: Vec<u8> = noise(size as u64).take(size).collect();
                Ev::new(what, 1000 * i, data)
            })
            .collect();
        events.push(Ev::new(What::Closed, 9000, ""));
        // No handshake and no FIN, even with --handshake.
        for options in [&[][..], &["--handshake=always", "--mss=100"]] {
            let (outcome, datagrams) = shown(ips, &events, options);
            outcome.says_nothing();
            assert_eq!(datagrams.len(), sizes.len(), "{ips:?} {options:?}");
            for (event, shown) in events.iter().zip(&datagrams) {
                let [v4, v6, source, destination, length, status, payload, _] = shown;
                let size = event.data.len();
                let (from, ports) = match event.what {
                    What::Read => (ips[1], ["50000", "10000"]),
                    _ => (ips[0], ["10000", "50000"]),
                };
                assert_eq!(format!("{v4}{v6}"), from, "{size} bytes");
                assert_eq!([source, destination], ports, "{size} bytes");
                assert_eq!(*length, (size + 8).to_string());
                assert_eq!(status, GOOD, "{size} bytes: checksum");
                let hex: String = event
                    .data
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert!(*payload == hex, "{ips:?}: {size} other bytes");
            }
        }
    }
}

/// A datagram has a maximum size, so a larger event becomes several datagrams.
#[test]
fn an_event_larger_than_a_datagram_becomes_several() {
    for (ips, max) in [(V4, V4_MAX), (V6, V6_MAX)] {
        let data: Vec<u8> = noise(5).take(2 * max + 10).collect();
        let events = [
            Ev::new(What::Read, 0, data[..=max].to_vec()),
            Ev::new(What::Write, 1, data.clone()),
        ];
        let (outcome, datagrams) = shown(ips, &events, &[]);
        outcome.says(["2 datagrams larger than an IP packet"]);
        let lengths: Vec<usize> = datagrams
            .iter()
            .map(|shown| shown[4].parse::<usize>().expect("a length") - 8)
            .collect();
        assert_eq!(lengths, [max, 1, max, max, 10]);
        assert!(datagrams.iter().all(|shown| shown[5] == GOOD));
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let written: String = datagrams[2..]
            .iter()
            .map(|shown| shown[6].as_str())
            .collect();
        assert!(written == hex, "{ips:?}: other bytes");
    }
}

/// Events without bytes do not change the count. Two that are equal in everything cannot be distinguished from one
/// that a collector received twice, so the second is dropped, and reported.
#[test]
fn an_empty_datagram_is_dropped_only_if_it_is_reported_as_repeated() {
    let empty = |what, micros, seq_num| Ev {
        seq_num,
        ..Ev::new(what, micros, "")
    };
    let mut events = vec![
        empty(What::Read, 0, 1),
        empty(What::Write, 0, 1),
        empty(What::Write, 1, 1),
        Ev {
            data: b"x".to_vec(),
            ..empty(What::Read, 1, 1)
        },
        empty(What::Write, 1, 2),
    ];
    let (outcome, datagrams) = shown(V4, &events, &[]);
    outcome.says_nothing();
    assert_eq!(datagrams.len(), events.len());
    events.insert(3, events[2].clone());
    let (outcome, datagrams) = shown(V4, &events, &[]);
    outcome.says(["1 repeated event: dropped"]);
    assert_eq!(datagrams.len(), events.len() - 1);
    // Without counts, nothing shows a repetition.
    for event in &mut events {
        event.seq_num = 0;
    }
    let (outcome, datagrams) = shown(V4, &events, &[]);
    outcome.says_nothing();
    assert_eq!(datagrams.len(), events.len());
}

/// A truncated datagram with a known size keeps its length, and has no checksum.
#[test]
fn a_truncated_datagram_keeps_its_length() {
    let mut events = [
        Ev::new(What::Read, 0, [b'a'; 100]),
        Ev::new(What::Read, 1, "next"),
    ];
    events[0].truncated = true;
    (events[0].seq_num, events[1].seq_num) = (1, 1001);
    let (outcome, datagrams) = shown(V4, &events, &[]);
    outcome.says(["1 truncated event: 900 bytes"]);
    assert_eq!(datagrams.len(), 2);
    let [_, _, _, _, length, status, payload, _] = &datagrams[0];
    assert_eq!((&length[..], &status[..]), ("1008", NOT_PRESENT));
    assert_eq!(payload.len(), 2 * 100);
}

/// It is enough if one end is recorded as UDP.
#[test]
fn the_protocol_is_that_of_either_end() {
    let udp = V4.map(|ip| udp_socket(ip, 53));
    let tcp = V4.map(|ip| socket(ip, 53));
    for (local, remote, is_udp) in [
        (&udp[0], &tcp[1], true),
        (&tcp[0], &udp[1], true),
        (&tcp[0], &tcp[1], false),
    ] {
        let query = Ev::new(What::Read, 0, "query").message();
        let begin = begin(7, &connection(Some(local), Some(remote)));
        let scratch = Scratch::new();
        let (outcome, _) = convert(&scratch, &[begin, segment(7, &query)].concat(), &[]);
        outcome.exits(0).says_nothing();
        let shown = datagrams(&scratch.path("output.pcap"));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0][7].contains(":udp"), is_udp);
    }
}
