//! The headers of one direction of a TCP connection, which are built once. Then only the fields that change are
//! written.

use std::net::SocketAddr;

use etherparse::{Ethernet2Header, IpNumber, Ipv6Header};

use crate::synth::checksum::{Sum, offload};
use crate::synth::frame::Frame;
use crate::synth::tcp::{Flags, SYN, Segment, SeqNumber};

use super::{Headers, IPV4_HEADER_LEN, TCP_HEADER_LEN, build, clamp_u16};

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

/// The headers of one direction of a TCP connection, in which only lengths, numbers, flags and checksums change.
/// A SYN has other headers, with options.
#[derive(Debug)]
pub(in crate::synth) struct TcpHeaders {
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
    pub(in crate::synth) fn new(source: SocketAddr, destination: SocketAddr) -> Self {
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

    /// Makes a frame of `segment`, which is not a SYN. The checksum of a large payload is left to its writer.
    #[inline(always)]
    pub(in crate::synth) fn frame<'a>(&'a mut self, segment: &Segment<'a>) -> Frame<'a> {
        let payload = segment.payload;
        let is_whole = payload.len() == segment.original_len;
        let is_partial = is_whole && payload.len() >= offload::FROM;
        let sum = match is_whole {
            true if is_partial => Some(Sum::default()),
            true => Some(Sum::default().bytes(payload)),
            // Unknown bytes have no checksum.
            false => None,
        };
        Frame {
            is_partial,
            ..self.frame_with_sum(segment, sum)
        }
    }

    /// Makes a frame of a segment of a few bytes that are all recorded.
    #[inline(always)]
    pub(in crate::synth) fn small_frame<'a>(&'a mut self, segment: &Segment<'a>) -> Frame<'a> {
        debug_assert_eq!(segment.payload.len(), segment.original_len);
        self.frame_with_sum(segment, Some(Sum::of_few(segment.payload)))
    }

    /// Makes a frame, given the sum of its payload.
    #[inline(always)]
    fn frame_with_sum<'a>(&'a mut self, segment: &Segment<'a>, sum: Option<Sum>) -> Frame<'a> {
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
        self.patch((seq, ack), flags, sum, original_len);
        Frame::new(time, direction, &self.headers, payload, original_len)
    }

    #[inline(always)]
    fn patch(
        &mut self,
        numbers: (SeqNumber, SeqNumber),
        flags: Flags,
        payload_sum: Option<Sum>,
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
            patch_tcp(tcp, self.tcp_sum, numbers, flags, payload_sum, original_len);
        } else if let Some(headers) = self
            .headers
            .first_chunk_mut::<{ IPV6_TCP_AT + TCP_HEADER_LEN }>()
        {
            headers[IPV6_LENGTH_AT..][..2].copy_from_slice(&clamp_u16(len).to_be_bytes());
            let tcp = &mut headers[IPV6_TCP_AT..];
            patch_tcp(tcp, self.tcp_sum, numbers, flags, payload_sum, original_len);
        }
    }
}

/// Updates a TCP header; `sum` is the checksum of its constant fields. Without a sum of the payload, it has no
/// checksum.
#[inline(always)]
fn patch_tcp(
    tcp: &mut [u8],
    sum: Sum,
    (seq, ack): (SeqNumber, SeqNumber),
    flags: Flags,
    payload_sum: Option<Sum>,
    original_len: usize,
) {
    tcp[SEQ_AT..][..4].copy_from_slice(&seq.0.to_be_bytes());
    tcp[ACK_AT..][..4].copy_from_slice(&ack.0.to_be_bytes());
    tcp[FLAGS_AT] = flags.0;
    let mut checksum = [0; 2];
    if let Some(payload_sum) = payload_sum {
        let len = (TCP_HEADER_LEN + original_len) as u32;
        let sum = sum.number(len).number(seq.0).number(ack.0);
        checksum = sum.number(flags.0.into()).plus(payload_sum).finish();
    }
    tcp[TCP_CHECKSUM_AT..][..2].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use crate::model::event::{Direction, Timestamp};
    use crate::synth::tcp::{ACK, FIN, PSH};

    use super::*;

    #[test]
    fn patched_headers_equal_those_of_etherparse() {
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
                    assert_eq!(frame.complete_headers()[..], built[..], "{segment:?}");
                    assert_eq!(frame.original_len as usize, built.len() + original_len);
                }
            }
        }
    }
}
