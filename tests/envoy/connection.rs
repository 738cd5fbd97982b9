//! Connections by tshark, on the wire and in a converted capture.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use crate::harness::tshark;
use crate::judge::FAULTS;
use crate::pdml::unhex;

/// The fields of HTTP/1, HTTP/2 and gRPC that are compared. Each has a list of values for each direction.
const DISSECTED: [&str; 10] = [
    "http.request.method",
    "http.request.uri",
    "http.response.code",
    "http.content_length",
    "http2.type",
    "http2.streamid",
    "http2.length",
    "http2.header.name",
    "http2.header.value",
    "grpc.message_length",
];

const FIELDS: [&str; 13] = [
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tcp.seq",
    "tcp.payload",
    "frame.time_epoch",
    "frame.number",
    "_ws.expert.severity",
    "_ws.expert.message",
];

/// tshark's severity of a warning. Errors have a higher one.
const WARNING: u64 = 0x0060_0000;

/// tshark's status of a wrong checksum.
const BAD: &str = "0";

/// The separator between the values of a field, which may contain commas.
const UNIT: char = '\x1f';

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) bytes: Vec<u8>,
    /// The end of each piece in `bytes`, and its time, in nanoseconds since 1970.
    pub(crate) pieces: Vec<(usize, u64)>,
    /// The values of each of [`DISSECTED`], with their times.
    pub(crate) items: BTreeMap<&'static str, Vec<(String, u64)>>,
}

impl Flow {
    /// Appends bytes with their time.
    pub(crate) fn push(&mut self, bytes: &[u8], time: u64) {
        self.bytes.extend(bytes);
        self.pieces.push((self.bytes.len(), time));
    }

    /// The time of the byte at `offset`.
    pub(crate) fn time_of(&self, offset: usize) -> u64 {
        let at = self.pieces.partition_point(|&(end, _)| end <= offset);
        self.pieces[at].1
    }

    pub(crate) fn is_text(&self) -> bool {
        std::str::from_utf8(&self.bytes).is_ok()
    }
}

/// A TCP connection, or one on a Unix socket.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// tshark's number of the stream.
    pub(crate) stream: u64,
    /// The client's and the server's address.
    pub(crate) ends: [SocketAddr; 2],
    /// The bytes from the client, and those from the server.
    pub(crate) flows: [Flow; 2],
    /// The faults and warnings that tshark reports.
    pub(crate) remarks: Vec<String>,
}

impl Connection {
    /// Whether it is HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.flows[0].bytes.starts_with(b"PRI * HTTP/2.0")
    }

    /// Whether it is HTTP/1.
    pub(crate) fn is_http1(&self) -> bool {
        let line = self.flows[0].bytes.split(|&byte| byte == b'\r').next();
        line.is_some_and(|line| line.ends_with(b" HTTP/1.1"))
    }

    pub(crate) fn is_text(&self) -> bool {
        self.flows.iter().all(Flow::is_text)
    }
}

fn address(v4: &str, v6: &str, port: &str) -> SocketAddr {
    let ip: IpAddr = if v4.is_empty() { v6 } else { v4 }
        .parse()
        .expect("an address");
    SocketAddr::new(ip, port.parse().expect("a port"))
}

/// Nanoseconds, from seconds with nine decimals.
fn nanos(time: &str) -> u64 {
    let (seconds, fraction) = time.split_once('.').expect("a point");
    assert_eq!(fraction.len(), 9, "{time}");
    format!("{seconds}{fraction}").parse().expect("a number")
}

/// The connections of a capture that tshark reads with `args`, with HTTP of either version on each of `ports`, in the
/// packets that pass `filter`.
///
/// `is_server` decides which end is the server. If it accepts neither, the server is the end that did not send first.
pub(crate) fn read(
    args: &[OsString],
    filter: &str,
    ports: &[u16],
    is_server: impl Fn(SocketAddr) -> bool,
) -> Vec<Connection> {
    let pass = |protocol: &str| {
        let decode = |port| ["-d".into(), format!("tcp.port=={port},{protocol}").into()];
        let decode = ports.iter().flat_map(decode);
        one_pass(args.iter().cloned().chain(decode), filter, &is_server)
    };
    // The dissector of HTTP/1 accepts HTTP/2, too, but loses track if a packet ends within a frame.
    let mut connections = pass("http2");
    if connections.iter().all(Connection::is_http2) {
        return connections;
    }
    for (connection, other) in connections.iter_mut().zip(pass("http")) {
        assert_eq!(connection.stream, other.stream, "another connection");
        if !connection.is_http2() {
            *connection = other;
        }
    }
    connections
}

fn one_pass(
    args: impl Iterator<Item = OsString>,
    filter: &str,
    is_server: impl Fn(SocketAddr) -> bool,
) -> Vec<Connection> {
    let faults: Vec<&str> = FAULTS
        .split_whitespace()
        .filter(|word| word.contains('.'))
        .collect();
    let mut args: Vec<OsString> = args.collect();
    args.extend(
        [
            "-Y",
            filter,
            "-T",
            "fields",
            "-E",
            "separator=/t",
            "-E",
            "occurrence=a",
        ]
        .map(Into::into),
    );
    args.extend(["-E".into(), format!("aggregator={UNIT}").into()]);
    let fields = FIELDS.iter().chain(&faults).chain(&DISSECTED);
    args.extend(fields.flat_map(|field| ["-e".into(), field.into()]));

    let mut connections: Vec<Connection> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    let mut remarks: HashMap<u64, Vec<String>> = HashMap::new();
    for line in tshark(args).lines() {
        let values: Vec<_> = line.split('\t').collect();
        assert_eq!(
            values.len(),
            FIELDS.len() + faults.len() + DISSECTED.len(),
            "{line:?}"
        );
        let (values, dissected) = values.split_at(values.len() - DISSECTED.len());
        let (values, found) = values.split_at(FIELDS.len());
        let [
            stream,
            v4,
            v6,
            port,
            v4_to,
            v6_to,
            port_to,
            seq,
            payload,
            time,
            frame,
            severity,
            message,
        ] = values[..]
        else {
            unreachable!("as many as FIELDS");
        };
        let stream = stream.parse().expect("a number");
        let worst = severity
            .split(UNIT)
            .filter_map(|n| n.parse::<u64>().ok())
            .max();
        if worst.is_some_and(|worst| worst >= WARNING) {
            remarks
                .entry(stream)
                .or_default()
                .push(format!("frame {frame}: {message}"));
        }
        for (fault, value) in faults.iter().zip(found) {
            let bad = if fault.ends_with(".checksum.status") {
                *value == BAD
            } else {
                !value.is_empty()
            };
            if bad {
                remarks
                    .entry(stream)
                    .or_default()
                    .push(format!("frame {frame}: {fault}"));
            }
        }
        if payload.is_empty() {
            continue;
        }
        let (from, to) = (address(v4, v6, port), address(v4_to, v6_to, port_to));
        let at = *known.entry(stream).or_insert_with(|| {
            let ends = if is_server(from) {
                [to, from]
            } else {
                [from, to]
            };
            connections.push(Connection {
                stream,
                ends,
                flows: Default::default(),
                remarks: Vec::new(),
            });
            connections.len() - 1
        });
        let side = usize::from(from != connections[at].ends[0]);
        let flow = &mut connections[at].flows[side];
        // tshark numbers the bytes of a direction from 1. Retransmitted bytes are there already.
        let start = seq.parse::<usize>().expect("a number") - 1;
        let payload = unhex(payload);
        let have = flow.bytes.len();
        assert!(
            start <= have,
            "frame {frame}: {} bytes are missing before it",
            start - have
        );
        let time = nanos(time);
        if let Some(new) = payload.get(have - start..).filter(|new| !new.is_empty()) {
            flow.push(new, time);
        }
        for (field, values) in DISSECTED.into_iter().zip(dissected) {
            if !values.is_empty() {
                let values = values.split(UNIT).map(|value| (value.to_owned(), time));
                flow.items.entry(field).or_default().extend(values);
            }
        }
    }
    for connection in &mut connections {
        connection.remarks = remarks.remove(&connection.stream).unwrap_or_default();
    }
    connections
}
