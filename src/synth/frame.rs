//! Ethernet, IP, TCP and UDP headers around a payload that is never copied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arrayvec::ArrayVec;
use bytes::Bytes;
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};

use crate::event::{Direction, Timestamp};

use super::tcp::Segment;

/// The largest IP packet, by its 16-bit length field (RFC 791, section 3.1), in bytes. An IPv6
/// header is not counted by its own (RFC 8200, section 3).
const MAX_IP_LEN: usize = u16::MAX as usize;
/// A TCP header without options, in bytes (RFC 9293, section 3.1).
const TCP_HEADER_LEN: usize = 20;
/// A UDP header, in bytes (RFC 768).
const UDP_HEADER_LEN: usize = 8;
/// An IPv4 header without options, in bytes (RFC 791, section 3.1).
const IPV4_HEADER_LEN: usize = 20;
/// All headers in front of a payload at their longest: Ethernet, IPv6, TCP with options.
const MAX_HEADERS: usize = Ethernet2Header::LEN + Ipv6Header::LEN + TcpHeader::MAX_LEN;
/// What a router decrements; 64 is what Linux sends.
const HOP_LIMIT: u8 = 64;
/// The receive window that every segment offers: the largest without scaling.
const WINDOW: u16 = u16::MAX;

/// A packet as it would have been captured.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it was captured.
    pub time: Timestamp,
    /// Everything before the payload.
    pub headers: ArrayVec<u8, MAX_HEADERS>,
    /// The payload, as far as it is known.
    pub payload: Bytes,
    /// The length of the frame on the wire in bytes, the unknown part of the payload included.
    pub original_len: u32,
    /// Which way its bytes went.
    pub direction: Direction,
    /// The connection it belongs to, where labels are asked for.
    pub label: Option<Arc<Label>>,
    /// What there is to say about it, where labels are asked for.
    pub comments: Vec<String>,
}

/// What a person calls a connection of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its number within the capture, from 0.
    pub number: u64,
    /// A short name.
    pub name: String,
    /// Where it comes from.
    pub description: String,
    /// The names of the addresses that stand for something else.
    pub names: Vec<(IpAddr, String)>,
}

/// The two ends of a conversation, as they stand in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Envoy's end.
    pub local: SocketAddr,
    /// The peer's end, of the same family.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Both, the lesser first: the same for both directions and for a tap on either side.
    pub(super) fn in_order(&self) -> (SocketAddr, SocketAddr) {
        (self.local.min(self.remote), self.local.max(self.remote))
    }

    /// The source and the destination of bytes that go this way.
    pub(super) const fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        match direction {
            Direction::Read => (self.remote, self.local),
            Direction::Write => (self.local, self.remote),
        }
    }
}

/// A pair of addresses of one family.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn pair(source: IpAddr, destination: IpAddr) -> Pair {
    let v6 = |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Pair::V4(source, destination),
        _ => Pair::V6(v6(source), v6(destination)),
    }
}

/// The most TCP payload that one IP packet between these ends holds, in bytes.
pub(super) const fn max_tcp_payload(endpoints: &Endpoints) -> usize {
    match endpoints.local {
        SocketAddr::V4(_) => MAX_IP_LEN - IPV4_HEADER_LEN - TCP_HEADER_LEN,
        SocketAddr::V6(_) => MAX_IP_LEN - TCP_HEADER_LEN,
    }
}

/// The most UDP payload that one IP packet between these ends holds, in bytes.
pub(super) const fn max_udp_payload(endpoints: &Endpoints) -> usize {
    match endpoints.local {
        SocketAddr::V4(_) => MAX_IP_LEN - IPV4_HEADER_LEN - UDP_HEADER_LEN,
        SocketAddr::V6(_) => MAX_IP_LEN - UDP_HEADER_LEN,
    }
}

/// A locally administered MAC address, the same for the same IP address.
///
/// `02:00` and an IPv4 address, or `02:06` and a digest of an IPv6 address.
fn mac(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0x02, 0x00, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] =
                super::mix(ip.to_bits() as u64 ^ super::mix((ip.to_bits() >> 64) as u64))
                    .to_be_bytes();
            [0x02, 0x06, a, b, c, d]
        }
    }
}

/// Puts `segment` on its way.
pub(super) fn tcp(endpoints: &Endpoints, segment: Segment) -> Frame {
    let (source, destination) = endpoints.ends(segment.direction);
    let mut tcp = TcpHeader::new(source.port(), destination.port(), segment.seq.0, WINDOW);
    tcp.syn = segment.flags.syn;
    tcp.fin = segment.flags.fin;
    tcp.psh = segment.flags.psh;
    if let Some(ack) = segment.ack {
        tcp.ack = true;
        tcp.acknowledgment_number = ack.0;
    }
    if tcp.syn {
        // Three options of 3, 4 and 1 bytes always fit into 40.
        let fits = tcp.set_options(&SYN_OPTIONS);
        debug_assert!(fits.is_ok());
    }
    let known = segment.payload.len() == segment.original_len;
    let len = tcp.header_len() + segment.original_len;
    let mut headers = ArrayVec::new();
    match pair(source.ip(), destination.ip()) {
        Pair::V4(from, to) => {
            let ip = ipv4(&mut headers, from, to, IpNumber::TCP, len);
            if known {
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, &segment.payload).unwrap_or(0);
            }
        }
        Pair::V6(from, to) => {
            let ip = ipv6(&mut headers, from, to, IpNumber::TCP, len);
            if known {
                tcp.checksum = tcp.calc_checksum_ipv6(&ip, &segment.payload).unwrap_or(0);
            }
        }
    }
    put(&mut headers, &tcp.to_bytes());
    let when = (segment.time, segment.direction);
    frame(when, headers, segment.payload, segment.original_len)
}

/// What both sides of an invented handshake offer: the largest segment size that the option holds,
/// and the largest window scale (RFC 7323, section 2.2), lest a reader finds the window full.
const SYN_OPTIONS: [etherparse::TcpOptionElement; 3] = [
    etherparse::TcpOptionElement::MaximumSegmentSize(u16::MAX),
    etherparse::TcpOptionElement::WindowScale(14),
    etherparse::TcpOptionElement::Noop,
];

/// Puts a datagram of `original_len` bytes on its way.
pub(super) fn udp(
    endpoints: &Endpoints,
    direction: Direction,
    time: Timestamp,
    payload: Bytes,
    original_len: usize,
) -> Frame {
    let (source, destination) = endpoints.ends(direction);
    let len = UDP_HEADER_LEN + original_len;
    let mut udp = UdpHeader {
        source_port: source.port(),
        destination_port: destination.port(),
        length: clamp_u16(len),
        // No checksum (RFC 768), which is all that one over unknown bytes can be.
        checksum: 0,
    };
    let known = payload.len() == original_len;
    let mut headers = ArrayVec::new();
    match pair(source.ip(), destination.ip()) {
        Pair::V4(from, to) => {
            let ip = ipv4(&mut headers, from, to, IpNumber::UDP, len);
            if known {
                udp.checksum = udp.calc_checksum_ipv4(&ip, &payload).unwrap_or(0);
            }
        }
        Pair::V6(from, to) => {
            let ip = ipv6(&mut headers, from, to, IpNumber::UDP, len);
            if known {
                udp.checksum = udp.calc_checksum_ipv6(&ip, &payload).unwrap_or(0);
            }
        }
    }
    put(&mut headers, &udp.to_bytes());
    frame((time, direction), headers, payload, original_len)
}

fn ethernet(headers: &mut ArrayVec<u8, MAX_HEADERS>, from: IpAddr, to: IpAddr, kind: EtherType) {
    let ethernet = Ethernet2Header {
        source: mac(from),
        destination: mac(to),
        ether_type: kind,
    };
    put(headers, &ethernet.to_bytes());
}

fn ipv4(
    headers: &mut ArrayVec<u8, MAX_HEADERS>,
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpNumber,
    payload_len: usize,
) -> Ipv4Header {
    ethernet(headers, from.into(), to.into(), EtherType::IPV4);
    let mut ip = Ipv4Header {
        total_len: clamp_u16(IPV4_HEADER_LEN + payload_len),
        dont_fragment: true,
        time_to_live: HOP_LIMIT,
        protocol,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv4Header::default()
    };
    ip.header_checksum = ip.calc_header_checksum();
    put(headers, &ip.to_bytes());
    ip
}

fn ipv6(
    headers: &mut ArrayVec<u8, MAX_HEADERS>,
    from: Ipv6Addr,
    to: Ipv6Addr,
    protocol: IpNumber,
    payload_len: usize,
) -> Ipv6Header {
    ethernet(headers, from.into(), to.into(), EtherType::IPV6);
    let ip = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: clamp_u16(payload_len),
        next_header: protocol,
        hop_limit: HOP_LIMIT,
        source: from.octets(),
        destination: to.octets(),
    };
    put(headers, &ip.to_bytes());
    ip
}

fn frame(
    (time, direction): (Timestamp, Direction),
    headers: ArrayVec<u8, MAX_HEADERS>,
    payload: Bytes,
    original_payload_len: usize,
) -> Frame {
    let original_len = u32::try_from(headers.len() + original_payload_len).unwrap_or(u32::MAX);
    let (label, comments) = (None, Vec::new());
    Frame {
        time,
        headers,
        payload,
        original_len,
        direction,
        label,
        comments,
    }
}

/// A length for a 16-bit field. Payloads are split so that they fit; this only keeps a mistake in
/// that from becoming a panic on somebody's data.
fn clamp_u16(len: usize) -> u16 {
    debug_assert!(
        len <= MAX_IP_LEN,
        "{len} bytes do not fit into an IP packet"
    );
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn put(headers: &mut ArrayVec<u8, MAX_HEADERS>, bytes: &[u8]) {
    // MAX_HEADERS is the sum of what the headers take at most.
    let fits = headers.try_extend_from_slice(bytes);
    debug_assert!(fits.is_ok());
}
