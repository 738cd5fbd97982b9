//! Ethernet, IP, TCP and UDP headers around a payload that is never copied.

mod template;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayVec;
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};

use crate::model::event::Direction;

use super::frame::Endpoints;
use super::tcp::{ACK, FIN, Flags, PSH, SYN, Segment, SeqNumber};

pub(super) use template::TcpHeaders;

/// The largest IP packet, limited by its 16-bit length field (RFC 791, section 3.1), in bytes. IPv6's length
/// field does not include its header (RFC 8200, section 3).
const MAX_IP_LEN: usize = u16::MAX as usize;
/// A TCP header without options, in bytes (RFC 9293, section 3.1).
const TCP_HEADER_LEN: usize = 20;
/// A UDP header, in bytes (RFC 768).
const UDP_HEADER_LEN: usize = 8;
/// An IPv4 header without options, in bytes (RFC 791, section 3.1).
const IPV4_HEADER_LEN: usize = 20;
/// The options of a SYN, in bytes.
const SYN_OPTIONS_LEN: usize = 8;
/// The maximum length of all headers before a payload: Ethernet, IPv6, TCP of a SYN.
const MAX_HEADERS: usize =
    Ethernet2Header::LEN + Ipv6Header::LEN + TCP_HEADER_LEN + SYN_OPTIONS_LEN;
/// The TTL or hop limit, which routers decrement; 64 is Linux's default.
const HOP_LIMIT: u8 = 64;
/// The receive window that every segment offers: the largest without scaling.
const WINDOW: u16 = u16::MAX;

/// The headers of a packet.
pub(super) type Headers = ArrayVec<u8, MAX_HEADERS>;

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

/// The maximum TCP payload of one IP packet between these endpoints, in bytes.
pub(super) const fn max_tcp_payload(endpoints: &Endpoints) -> usize {
    match endpoints.local {
        SocketAddr::V4(_) => MAX_IP_LEN - IPV4_HEADER_LEN - TCP_HEADER_LEN,
        SocketAddr::V6(_) => MAX_IP_LEN - TCP_HEADER_LEN,
    }
}

/// The maximum UDP payload of one IP packet between these endpoints, in bytes.
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

/// The headers of a segment.
pub(super) fn tcp(endpoints: &Endpoints, segment: &Segment<'_>) -> Headers {
    let &Segment {
        seq,
        ack,
        flags,
        payload,
        original_len,
        ..
    } = segment;
    let ends = endpoints.ends(segment.direction);
    build(ends, (seq, ack), flags, payload, original_len)
}

/// The headers of a segment with `payload`, the beginning of `original_len` bytes.
fn build(
    (source, destination): (SocketAddr, SocketAddr),
    (seq, ack): (SeqNumber, SeqNumber),
    flags: Flags,
    payload: &[u8],
    original_len: usize,
) -> Headers {
    let mut tcp = TcpHeader::new(source.port(), destination.port(), seq.0, WINDOW);
    tcp.syn = flags.has(SYN);
    tcp.fin = flags.has(FIN);
    tcp.psh = flags.has(PSH);
    tcp.ack = flags.has(ACK);
    tcp.acknowledgment_number = ack.0;
    if tcp.syn {
        // Three options of 3, 4 and 1 bytes always fit into 40.
        let fits = tcp.set_options(&SYN_OPTIONS);
        debug_assert!(fits.is_ok());
    }
    let known = payload.len() == original_len;
    let len = tcp.header_len() + original_len;
    let mut headers = Headers::new();
    match pair(source.ip(), destination.ip()) {
        Pair::V4(from, to) => {
            let ip = ipv4(&mut headers, from, to, IpNumber::TCP, len);
            if known {
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).unwrap_or(0);
            }
        }
        Pair::V6(from, to) => {
            let ip = ipv6(&mut headers, from, to, IpNumber::TCP, len);
            if known {
                tcp.checksum = tcp.calc_checksum_ipv6(&ip, payload).unwrap_or(0);
            }
        }
    }
    put(&mut headers, &tcp.to_bytes());
    headers
}

/// The options of both sides in a synthesized handshake: the largest segment size that the option can hold, and
/// the largest window scale (RFC 7323, section 2.2), so that Wireshark does not report a full window.
const SYN_OPTIONS: [etherparse::TcpOptionElement; 3] = [
    etherparse::TcpOptionElement::MaximumSegmentSize(u16::MAX),
    etherparse::TcpOptionElement::WindowScale(14),
    etherparse::TcpOptionElement::Noop,
];

/// The headers of a datagram with `payload`, the beginning of `original_len` bytes.
pub(super) fn udp(
    endpoints: &Endpoints,
    direction: Direction,
    payload: &[u8],
    original_len: usize,
) -> Headers {
    let (source, destination) = endpoints.ends(direction);
    let len = UDP_HEADER_LEN + original_len;
    let mut udp = UdpHeader {
        source_port: source.port(),
        destination_port: destination.port(),
        length: clamp_u16(len),
        // No checksum (RFC 768): it cannot be computed over unknown bytes.
        checksum: 0,
    };
    let known = payload.len() == original_len;
    let mut headers = Headers::new();
    match pair(source.ip(), destination.ip()) {
        Pair::V4(from, to) => {
            let ip = ipv4(&mut headers, from, to, IpNumber::UDP, len);
            if known {
                udp.checksum = udp.calc_checksum_ipv4(&ip, payload).unwrap_or(0);
            }
        }
        Pair::V6(from, to) => {
            let ip = ipv6(&mut headers, from, to, IpNumber::UDP, len);
            if known {
                udp.checksum = udp.calc_checksum_ipv6(&ip, payload).unwrap_or(0);
            }
        }
    }
    put(&mut headers, &udp.to_bytes());
    headers
}

fn ethernet(headers: &mut Headers, from: IpAddr, to: IpAddr, kind: EtherType) {
    let ethernet = Ethernet2Header {
        source: mac(from),
        destination: mac(to),
        ether_type: kind,
    };
    put(headers, &ethernet.to_bytes());
}

fn ipv4(
    headers: &mut Headers,
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
    headers: &mut Headers,
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

/// Clamps a length to a 16-bit field. Payloads are split so that they fit; this only prevents a panic if that has
/// a bug.
fn clamp_u16(len: usize) -> u16 {
    debug_assert!(
        len <= MAX_IP_LEN,
        "{len} bytes do not fit into an IP packet"
    );
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn put(headers: &mut Headers, bytes: &[u8]) {
    // MAX_HEADERS is the maximum total length of the headers.
    let fits = headers.try_extend_from_slice(bytes);
    debug_assert!(fits.is_ok());
}
