//! Every recording, compared with the packets on the wire.
//!
//! tcpdump recorded the same connections at the same time, into wire.pcap. Each connection of a capture is in it, begins
//! at the same time, has the same bytes at the same positions of each direction, and dissects into the same HTTP/2
//! frames. [`fixtures`](crate::fixtures) lists the exceptions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use crate::fixtures::{self, Expect, Fixture};
use crate::harness::{Scratch, each, http2_on, tshark};
use crate::pdml::unhex;

/// The ports of all listeners.
const LISTENERS: std::ops::Range<u16> = 10000..10034;

/// The largest difference between the times of a tap and of tcpdump, in seconds.
const TOLERANCE: f64 = 0.25;

type Endpoint = (String, u16);

/// One direction of a connection, by tshark.
#[derive(Debug, Default)]
struct Flow {
    /// The bytes; those that were not captured are zeros.
    bytes: Vec<u8>,
    /// Whether each byte was captured.
    present: Vec<bool>,
    /// The type, stream and length of each HTTP/2 frame.
    frames: Vec<[String; 3]>,
}

impl Flow {
    fn missing(&self) -> usize {
        self.present.iter().filter(|&&present| !present).count()
    }
}

/// A connection, by tshark.
#[derive(Debug)]
struct Connection {
    /// The time of its first byte, in seconds since 1970.
    first: f64,
    /// The directions, by their sender.
    flows: BTreeMap<Endpoint, Flow>,
}

type Connections = BTreeMap<[Endpoint; 2], Connection>;

const FIELDS: [&str; 13] = [
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tcp.seq",
    "tcp.len",
    "tcp.payload",
    "frame.time_epoch",
    "http2.type",
    "http2.streamid",
    "http2.length",
];

/// The connections of a capture.
fn connections(path: &Path) -> Connections {
    let mut args = http2_on(path, LISTENERS);
    args.extend(
        [
            "-Y",
            "tcp.len > 0",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-E",
            "occurrence=a",
        ]
        .map(Into::into),
    );
    args.extend(FIELDS.iter().flat_map(|field| ["-e".into(), field.into()]));
    let mut connections = Connections::new();
    for line in tshark(args).lines() {
        let fields: Vec<_> = line.split('|').collect();
        let [
            v4,
            v6,
            port,
            v4_to,
            v6_to,
            port_to,
            seq,
            len,
            payload,
            time,
            kind,
            stream,
            length,
        ] = fields[..]
        else {
            panic!("{}: {line:?}", path.display());
        };
        let from = endpoint(v4, v6, port);
        let to = endpoint(v4_to, v6_to, port_to);
        let mut key = [from.clone(), to];
        key.sort();
        let time = time.parse().expect("a time");
        let new = || Connection {
            first: time,
            flows: BTreeMap::new(),
        };
        let flow = connections
            .entry(key)
            .or_insert_with(new)
            .flows
            .entry(from)
            .or_default();

        // tshark numbers the bytes of a direction from 1.
        let start = seq.parse::<usize>().expect("a number") - 1;
        let end = start + len.parse::<usize>().expect("a number");
        if end > flow.bytes.len() {
            flow.bytes.resize(end, 0);
            flow.present.resize(end, false);
        }
        let payload = unhex(payload);
        flow.bytes[start..start + payload.len()].copy_from_slice(&payload);
        flow.present[start..start + payload.len()].fill(true);

        let (kinds, streams, lengths) = (kind.split(','), stream.split(','), length.split(','));
        let frames = kinds
            .zip(streams)
            .zip(lengths)
            .filter(|((kind, _), _)| !kind.is_empty());
        flow.frames.extend(
            frames.map(|((kind, stream), length)| [kind, stream, length].map(str::to_owned)),
        );
    }
    connections
}

/// An endpoint. An IPv4-mapped address is returned as the IPv4 address that is on the wire.
fn endpoint(v4: &str, v6: &str, port: &str) -> Endpoint {
    let ip = if v4.is_empty() { v6 } else { v4 };
    let ip = ip
        .strip_prefix("::ffff:")
        .filter(|rest| rest.contains('.'))
        .unwrap_or(ip);
    (ip.to_owned(), port.parse().expect("a port"))
}

/// The connections of wire.pcap.
fn wire() -> &'static Connections {
    static WIRE: OnceLock<Connections> = OnceLock::new();
    WIRE.get_or_init(|| connections(&fixtures::wire()))
}

/// Converts a fixture, and returns its connections.
fn convert(fixture: &Fixture) -> Connections {
    let scratch = Scratch::new();
    let capture = scratch.path("out.pcap");
    scratch
        .capture2pcap()
        .arg(&fixture.path)
        .arg(&capture)
        .run()
        .exits(fixture.code());
    let connections = connections(&capture);
    assert!(!connections.is_empty(), "{}: no TCP data", fixture.name);
    connections
}

/// Compares the capture of a fixture with the wire.
fn compare(fixture: &Fixture) {
    let name = &fixture.name;
    for (ends, ours) in &convert(fixture) {
        assert!(
            ends.iter().any(|(_, port)| *port == fixture.port),
            "{name}: {ends:?}: not port {}",
            fixture.port
        );
        let theirs = wire()
            .get(ends)
            .unwrap_or_else(|| panic!("{name}: {ends:?}: not on the wire"));
        let off = ours.first - theirs.first;
        assert!(
            off.abs() <= TOLERANCE,
            "{name}: {ends:?}: begins {off:+.3} s off the wire"
        );
        for (sender, flow) in &ours.flows {
            let place = format!("{name}: from {sender:?}");
            let wire = theirs
                .flows
                .get(sender)
                .unwrap_or_else(|| panic!("{place}: silent on the wire"));
            assert_eq!(wire.missing(), 0, "{place}: the wire has gaps");
            let (len, wire_len) = (flow.bytes.len(), wire.bytes.len());
            assert!(
                len <= wire_len,
                "{place}: {len} bytes, the wire had {wire_len}"
            );
            let differs = |&i: &usize| flow.present[i] && flow.bytes[i] != wire.bytes[i];
            if let Some(i) = (0..len).find(differs) {
                panic!(
                    "{place}: byte {i} is {:#04x}, on the wire {:#04x}",
                    flow.bytes[i], wire.bytes[i]
                );
            }
            if len == wire_len && flow.missing() == 0 {
                assert_eq!(
                    flow.frames, wire.frames,
                    "{place}: HTTP/2 frames (type, stream, length)"
                );
            }
            if flow.bytes.starts_with(b"PRI * HTTP/2") {
                assert!(flow.frames.len() > 1, "{place}: HTTP/2 without frames");
            }
        }
        if fixture.expect == Expect::Whole {
            for (sender, wire) in &theirs.flows {
                let got = ours
                    .flows
                    .get(sender)
                    .map_or(0, |flow| flow.bytes.len() - flow.missing());
                assert_eq!(got, wire.bytes.len(), "{name}: bytes from {sender:?}");
            }
        }
    }
}

fn traces(expect: &[Expect], count: usize) -> Vec<Fixture> {
    let mut traces = fixtures::socket_traces();
    traces.retain(|fixture| expect.contains(&fixture.expect));
    assert_eq!(traces.len(), count, "traces of {expect:?}");
    traces
}

#[test]
fn whole_traces_hold_every_byte_of_the_wire() {
    each(
        &traces(&[Expect::Whole], 58),
        |fixture| fixture.name.clone(),
        compare,
    );
}

#[test]
fn truncated_traces_have_their_bytes_at_the_positions_of_the_wire() {
    each(
        &traces(&[Expect::Part], 6),
        |fixture| fixture.name.clone(),
        compare,
    );
}

/// If Envoy counts truncated bytes, each direction has exactly the length of the wire.
#[test]
fn counted_traces_have_the_length_of_the_wire() {
    let mut traces = traces(&[Expect::Part], 6);
    traces.retain(|fixture| fixture.name.contains("str_trunc"));
    assert_eq!(traces.len(), 3);
    let mut missing = 0;
    for fixture in &traces {
        let name = &fixture.name;
        for (ends, ours) in &convert(fixture) {
            for (sender, wire) in &wire()[ends].flows {
                let flow = ours.flows.get(sender);
                let flow = flow.unwrap_or_else(|| panic!("{name}: {sender:?} is silent"));
                let (len, wire_len) = (flow.bytes.len(), wire.bytes.len());
                assert_eq!(len, wire_len, "{name}: bytes from {sender:?}");
                missing += flow.missing();
            }
        }
    }
    assert!(missing > 10_000, "{missing} bytes missing in all");
}

#[test]
fn traces_without_packets_on_the_wire_convert() {
    let traces = traces(&[Expect::Dissects, Expect::Damaged], 12);
    each(
        &traces,
        |fixture| fixture.name.clone(),
        |fixture| drop(convert(fixture)),
    );
}

/// If tshark read nothing from wire.pcap, the comparisons above would prove little.
#[test]
fn the_wire_capture_is_valid() {
    let wire = wire();
    let listeners = |ends: &&[Endpoint; 2]| ends.iter().any(|(_, port)| LISTENERS.contains(port));
    assert!(
        wire.keys().filter(listeners).count() >= 60,
        "{} connections",
        wire.len()
    );
    let frames: usize = wire
        .values()
        .flat_map(|c| c.flows.values())
        .map(|flow| flow.frames.len())
        .sum();
    assert!(frames >= 500, "{frames} HTTP/2 frames");
}

/// The README's example is the recording that testdata/README.md names.
#[test]
fn the_readmes_example_is_a_recording() {
    let read = |name: &str| std::fs::read(fixtures::testdata().join(name)).expect(name);
    assert!(
        read("path_0.pb") == read("envoy-1.40/taps/buf_proto_binary_0.pb"),
        "path_0.pb is another trace"
    );
}
