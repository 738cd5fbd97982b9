//! Ethernet, IP, TCP and UDP headers around a payload that is never copied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayVec;
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};

use crate::model::event::{Direction, Timestamp};

use super::checksum::Sum;
use super::tcp::{ACK, FIN, Flags, PSH, SYN, Segment, SeqNumber};

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
/// The offsets of the fields that change in a packet (RFC 791, section 3.1; RFC 8200, section 3).
const IPV4_LENGTH_AT: usize = Ethernet2Header::LEN + 2;
const IPV4_CHECKSUM_AT: usize = Ethernet2Header::LEN + 10;
const IPV4_ADDRESSES_AT: usize = Ethernet2Header::LEN + 12;
const IPV6_LENGTH_AT: usize = Ethernet2Header::LEN + 4;
const IPV6_ADDRESSES_AT: usize = Ethernet2Header::LEN + 8;
/// The offset of the TCP header after an IPv4 header, and after an IPv6 header.
const IPV4_TCP_AT: usize = Ethernet2Header::LEN + IPV4_HEADER_LEN;
const IPV6_TCP_AT: usize = Ethernet2Header::LEN + Ipv6Header::LEN;
/// The offsets of the fields that change in a TCP header, and its flags (RFC 9293, section 3.1).
const SEQ_AT: usize = 4;
const ACK_AT: usize = 8;
const FLAGS_AT: usize = 13;
const TCP_CHECKSUM_AT: usize = 16;
/// The receive window that every segment offers: the largest without scaling.
const WINDOW: u16 = u16::MAX;

/// The headers of a packet.
pub(super) type Headers = ArrayVec<u8, MAX_HEADERS>;

/// A packet as it would have been captured.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// Everything before the payload.
    pub headers: &'a [u8],
    /// The payload, as far as it is recorded.
    pub payload: &'a [u8],
    /// The length of the frame on the wire in bytes, including the unknown part of the payload.
    pub original_len: u32,
    /// The direction of its bytes.
    pub direction: Direction,
    /// The connection that it belongs to, if labels are requested.
    pub label: Option<&'a Label>,
    /// Comments on it, if labels are requested.
    pub comments: &'a [String],
}

impl<'a> Frame<'a> {
    /// Creates a frame with `headers` and the beginning of a payload of `original_len` bytes.
    pub(super) fn new(
        time: Timestamp,
        direction: Direction,
        headers: &'a [u8],
        payload: &'a [u8],
        original_len: usize,
    ) -> Self {
        Self {
            time,
            headers,
            payload,
            original_len: u32::try_from(headers.len() + original_len).unwrap_or(u32::MAX),
            direction,
            label: None,
            comments: &[],
        }
    }
}

/// The label of a connection in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its number within the capture, from 0.
    pub number: u64,
    /// A short name.
    pub name: String,
    /// The trace and the id that it comes from.
    pub description: String,
    /// The names of stand-in addresses.
    pub names: Vec<(IpAddr, String)>,
}

/// The endpoints of a conversation, as in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Envoy's end.
    pub local: SocketAddr,
    /// The peer's end, of the same family.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Both endpoints, the lesser first: the same for both directions and for a tap on either side.
    pub(super) fn in_order(&self) -> (SocketAddr, SocketAddr) {
        (self.local.min(self.remote), self.local.max(self.remote))
    }

    /// The source and the destination of bytes in this direction.
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

/// The headers of one direction of a TCP connection, in which only lengths, numbers, flags and checksums change.
/// A SYN has other headers, with options.
#[derive(Debug)]
pub(super) struct TcpHeaders {
    /// The headers of the last segment.
    headers: Headers,
    /// The offset of the TCP header.
    tcp_at: usize,
    /// The checksum of the constant fields of the IPv4 header.
    ip_sum: Sum,
    /// The checksum of the constant fields of the TCP header and its pseudo-header.
    tcp_sum: Sum,
}

impl TcpHeaders {
    pub(super) fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let zero = SeqNumber(0);
        let mut headers = build(
            (source, destination),
            (zero, zero),
            Flags::default(),
            &[],
            0,
        );
        let tcp_at = headers.len() - TCP_HEADER_LEN;
        headers[tcp_at + TCP_CHECKSUM_AT..][..2].fill(0);
        let (length_at, addresses_at) = match source {
            SocketAddr::V4(_) => {
                headers[IPV4_CHECKSUM_AT..][..2].fill(0);
                (IPV4_LENGTH_AT, IPV4_ADDRESSES_AT)
            }
            SocketAddr::V6(_) => (IPV6_LENGTH_AT, IPV6_ADDRESSES_AT),
        };
        headers[length_at..][..2].fill(0);
        Self {
            tcp_at,
            ip_sum: Sum::default().bytes(&headers[Ethernet2Header::LEN..tcp_at]),
            tcp_sum: Sum::default()
                .bytes(&headers[addresses_at..])
                .number(IpNumber::TCP.0.into()),
            headers,
        }
    }

    /// Makes a frame of `segment`, which is not a SYN.
    #[inline(always)]
    pub(super) fn frame<'a>(&'a mut self, segment: &Segment<'a>) -> Frame<'a> {
        let Segment {
            time,
            direction,
            seq,
            ack,
            flags,
            payload,
            original_len,
        } = *segment;
        debug_assert!(!flags.has(SYN));
        self.patch((seq, ack), flags, payload, original_len);
        Frame::new(time, direction, &self.headers, payload, original_len)
    }

    #[inline(always)]
    fn patch(
        &mut self,
        numbers: (SeqNumber, SeqNumber),
        flags: Flags,
        payload: &[u8],
        original_len: usize,
    ) {
        let len = TCP_HEADER_LEN + original_len;
        // With a constant length, the compiler omits the bounds checks.
        if self.tcp_at == IPV4_TCP_AT
            && let Some(headers) = self
                .headers
                .first_chunk_mut::<{ IPV4_TCP_AT + TCP_HEADER_LEN }>()
        {
            let total = clamp_u16(IPV4_HEADER_LEN + len);
            headers[IPV4_LENGTH_AT..][..2].copy_from_slice(&total.to_be_bytes());
            let checksum = self.ip_sum.number(total.into()).finish();
            headers[IPV4_CHECKSUM_AT..][..2].copy_from_slice(&checksum);
            let tcp = &mut headers[IPV4_TCP_AT..];
            patch_tcp(tcp, self.tcp_sum, numbers, flags, payload, original_len);
        } else if let Some(headers) = self
            .headers
            .first_chunk_mut::<{ IPV6_TCP_AT + TCP_HEADER_LEN }>()
        {
            headers[IPV6_LENGTH_AT..][..2].copy_from_slice(&clamp_u16(len).to_be_bytes());
            let tcp = &mut headers[IPV6_TCP_AT..];
            patch_tcp(tcp, self.tcp_sum, numbers, flags, payload, original_len);
        }
    }
}

/// Updates a TCP header; `sum` is the checksum of its constant fields.
#[inline(always)]
fn patch_tcp(
    tcp: &mut [u8],
    sum: Sum,
    (seq, ack): (SeqNumber, SeqNumber),
    flags: Flags,
    payload: &[u8],
    original_len: usize,
) {
    tcp[SEQ_AT..][..4].copy_from_slice(&seq.0.to_be_bytes());
    tcp[ACK_AT..][..4].copy_from_slice(&ack.0.to_be_bytes());
    tcp[FLAGS_AT] = flags.0;
    // Unknown bytes have no checksum.
    let mut checksum = [0; 2];
    if payload.len() == original_len {
        let len = (TCP_HEADER_LEN + original_len) as u32;
        let sum = sum.number(len).number(seq.0).number(ack.0);
        checksum = sum.number(flags.0.into()).bytes(payload).finish();
    }
    tcp[TCP_CHECKSUM_AT..][..2].copy_from_slice(&checksum);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patched_headers_are_what_etherparse_builds() {
        let bytes: Vec<u8> = (0..65_495_u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        let ends = [
            ("127.0.0.1:1", "10.0.0.255:65535"),
            ("[::1]:80", "[fe80::1:2]:9"),
        ];
        for (source, destination) in ends {
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            let mut headers = TcpHeaders::new(ends.0, ends.1);
            let numbers = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX];
            for (i, len) in [0, 1, 2, 100, 1460, 65_495, 3].into_iter().enumerate() {
                for unknown in [0, 1, 70] {
                    let original_len = (len + unknown).min(65_495);
                    let segment = Segment {
                        time: Timestamp::default(),
                        direction: Direction::Read,
                        seq: SeqNumber(numbers[i % 5]),
                        ack: SeqNumber(numbers[(i + 2) % 5]),
                        flags: [ACK, ACK.and(FIN), ACK.and(PSH), ACK.and(FIN).and(PSH)][i % 4],
                        payload: &bytes[..len],
                        original_len,
                    };
                    let frame = headers.frame(&segment);
                    let (numbers, flags) = ((segment.seq, segment.ack), segment.flags);
                    let built = build(ends, numbers, flags, &bytes[..len], original_len);
                    assert_eq!(frame.headers, &built[..], "{segment:?}");
                    assert_eq!(frame.original_len as usize, built.len() + original_len);
                }
            }
        }
    }
}
