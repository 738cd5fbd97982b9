//! Reads captures and packets, independently of the code under test.
//!
//! Written from the specifications (draft-ietf-opsawg-pcap, RFC 791, 8200, 9293, 1071), for simplicity rather than
//! speed. It supports only what the program writes: Ethernet, IP without options, TCP, UDP.

pub mod ng;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

const ETHERNET: usize = 14;

/// A classic pcap file.
#[derive(Debug)]
pub struct Capture {
    pub snaplen: u32,
    pub records: Vec<Record>,
}

/// A packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The original length of the packet, in bytes.
    pub original: usize,
    pub data: Vec<u8>,
}

/// The fields of an Ethernet frame with UDP.
#[derive(Debug)]
pub struct Datagram<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub checksum: u16,
    pub payload: &'a [u8],
    /// The original length of the payload, in bytes.
    pub length: usize,
}

/// An IP packet in an Ethernet frame.
struct Network<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// The recorded bytes after the IP header.
    inner: &'a [u8],
    /// Their original length.
    length: usize,
    /// Both addresses, for the checksum of the pseudo-header.
    addresses: &'a [u8],
}

/// The protocol numbers of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The fields of an Ethernet frame with TCP.
pub struct Segment<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub checksum: u16,
    pub payload: &'a [u8],
    /// The original length of the payload, in bytes.
    pub length: usize,
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            sequence,
            acknowledgement,
            flags,
            length,
            ..
        } = self;
        write!(
            f,
            "{source} > {destination} seq {sequence} ack {acknowledgement} flags {flags:#04x} length {length}"
        )
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The Internet checksum over the concatenated `parts`; 0 if they include a correct checksum.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    let mut high = true;
    for &byte in parts.iter().copied().flatten() {
        sum += u64::from(byte) << if high { 8 } else { 0 };
        high = !high;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl Capture {
    /// Reads a whole file. Bytes after the last record are an error.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let header = file
            .get(..24)
            .ok_or_else(|| format!("{} bytes are no pcap header", file.len()))?;
        let to_nanos = match le32(header, 0) {
            Some(0xa1b2_c3d4) => 1000,
            Some(0xa1b2_3c4d) => 1,
            magic => return Err(format!("magic {magic:x?}")),
        };
        if header[4..16] != [2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0] || le32(header, 20) != Some(1) {
            return Err(format!(
                "header {header:02x?}: not version 2.4 with Ethernet"
            ));
        }
        let snaplen = le32(header, 16).expect("24 bytes");
        let mut records = Vec::new();
        let mut at = 24;
        while at < file.len() {
            let fail = |what: &str| Err(format!("record {} at {at}: {what}", records.len() + 1));
            let field = |i: usize| le32(file, at + 4 * i).map(|n| n as usize);
            let (Some(seconds), Some(fraction), Some(captured), Some(original)) =
                (field(0), field(1), field(2), field(3))
            else {
                return fail("cut header");
            };
            if fraction * to_nanos >= 1_000_000_000 {
                return fail("a second or more in the fraction");
            }
            if captured > original || captured > snaplen as usize {
                return fail("captured length above the original or the snaplen");
            }
            let Some(data) = file.get(at + 16..at + 16 + captured) else {
                return fail("cut data");
            };
            let time = seconds as u64 * 1_000_000_000 + (fraction * to_nanos) as u64;
            records.push(Record {
                time,
                original,
                data: data.to_vec(),
            });
            at += 16 + captured;
        }
        Ok(Self { snaplen, records })
    }

    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The segments of all records.
    #[track_caller]
    pub fn segments(&self) -> Vec<Segment<'_>> {
        let segments = self.records.iter().enumerate().map(|(i, record)| {
            record
                .segment()
                .unwrap_or_else(|e| panic!("record {}: {e}", i + 1))
        });
        segments.collect()
    }

    /// The bytes of each direction, in the order in which the directions first appear.
    ///
    /// Checks that times in a conversation do not go back, that the sequence numbers of a direction have neither gaps
    /// nor overlaps, and that each acknowledgement is for exactly the bytes that the other side has sent. Bytes that are
    /// not recorded are zeros.
    #[track_caller]
    pub fn streams(&self) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        self.streams_where(|before, now| before <= now)
    }

    /// The same for a capture of HTTP exchanges, in which times may go back.
    ///
    /// An exchange is recorded when it ends. If two overlap on one connection, the one recorded later can have earlier
    /// times. The other checks apply.
    #[track_caller]
    pub fn http_streams(&self) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        self.streams_where(|_, _| true)
    }

    #[track_caller]
    fn streams_where(
        &self,
        may_follow: impl Fn(u64, u64) -> bool,
    ) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut streams: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = Vec::new();
        let mut next: HashMap<(SocketAddr, SocketAddr), u32> = HashMap::new();
        // A synthesized FIN has the time of the last event of its conversation, but is written at the end of the
        // capture. So times may go back between conversations.
        let mut last: HashMap<(SocketAddr, SocketAddr), u64> = HashMap::new();
        for (i, segment) in self.segments().iter().enumerate() {
            let fail = |what: String| -> ! { panic!("record {}: {what}: {segment:?}", i + 1) };
            let there = (segment.source, segment.destination);
            let back = (segment.destination, segment.source);
            let now = self.records[i].time;
            if segment.flags & (SYN | ACK) == SYN {
                // A SYN begins another conversation, which may be earlier.
                last.remove(&there.min(back));
            }
            let before = last.insert(there.min(back), now).unwrap_or(0);
            if !may_follow(before, now) {
                fail(format!("{} ns before the one before it", before - now));
            }
            if segment.flags & SYN != 0 {
                next.remove(&there);
            }
            let expected = next.get(&there).copied().unwrap_or(segment.sequence);
            if segment.sequence != expected {
                fail(format!(
                    "sequence number {}, not {expected}",
                    segment.sequence
                ));
            }
            if segment.flags & ACK != 0 {
                let expected = *next.entry(back).or_insert(segment.acknowledgement);
                if segment.acknowledgement != expected {
                    fail(format!(
                        "acknowledgement {}, not {expected}",
                        segment.acknowledgement
                    ));
                }
            }
            let control = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
            next.insert(
                there,
                segment
                    .sequence
                    .wrapping_add(segment.length as u32)
                    .wrapping_add(control),
            );
            if segment.length == 0 {
                continue;
            }
            let known = streams
                .iter()
                .position(|&(from, to, _)| (from, to) == there);
            let known = known.unwrap_or_else(|| {
                streams.push((there.0, there.1, Vec::new()));
                streams.len() - 1
            });
            let stream = &mut streams[known].2;
            stream.extend(segment.payload);
            stream.resize(stream.len() + segment.length - segment.payload.len(), 0);
        }
        streams
    }
}

impl Record {
    /// Reads Ethernet and IP, and verifies every length and IPv4's checksum.
    fn network(&self) -> Result<Network<'_>, String> {
        let frame = &*self.data;
        if frame.len() < ETHERNET + 20 {
            return Err(format!("{} bytes captured", frame.len()));
        }
        let ip = &frame[ETHERNET..];
        let (header, length, protocol, addresses): (usize, usize, u8, &[u8]) = match be16(frame, 12)
        {
            0x0800 => {
                if ip[0] != 0x45 || be16(ip, 6) & 0x3fff != 0 {
                    return Err(format!("IPv4 header {:02x?}", &ip[..20]));
                }
                if checksum(&[&ip[..20]]) != 0 {
                    return Err("IPv4 checksum".to_owned());
                }
                (20, usize::from(be16(ip, 2)), ip[9], &ip[12..20])
            }
            0x86dd => {
                if ip.len() < 40 || ip[0] >> 4 != 6 {
                    return Err(format!("IPv6 header {:02x?}", &ip[..20]));
                }
                (40, 40 + usize::from(be16(ip, 4)), ip[6], &ip[8..40])
            }
            other => return Err(format!("EtherType {other:#06x}")),
        };
        if length + ETHERNET != self.original {
            return Err(format!(
                "an IP packet of {length} bytes in a frame of {}",
                self.original
            ));
        }
        if length < header {
            return Err(format!("an IP packet of {length} bytes"));
        }
        let address = |octets: &[u8]| match octets.len() {
            4 => IpAddr::from(Ipv4Addr::from(be32(octets, 0))),
            _ => IpAddr::from(Ipv6Addr::from(
                <[u8; 16]>::try_from(octets).expect("16 bytes"),
            )),
        };
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        Ok(Network {
            source: address(source),
            destination: address(destination),
            protocol,
            inner: &ip[header..],
            length: length - header,
            addresses,
        })
    }

    /// Reads Ethernet, IP and TCP. Verifies all lengths, and all checksums if the record is complete.
    pub fn segment(&self) -> Result<Segment<'_>, String> {
        let network = self.network()?;
        let tcp = network.inner;
        if network.protocol != TCP {
            return Err(format!("IP protocol {}, not TCP", network.protocol));
        }
        if tcp.len() < 20 {
            return Err(format!("{} bytes of TCP captured", tcp.len()));
        }
        let offset = usize::from(tcp[12] >> 4) * 4;
        if offset < 20 || offset > tcp.len() {
            return Err(format!("TCP data offset {offset}"));
        }
        if self.data.len() == self.original && network.checksum() != 0 {
            return Err("TCP checksum".to_owned());
        }
        Ok(Segment {
            source: SocketAddr::new(network.source, be16(tcp, 0)),
            destination: SocketAddr::new(network.destination, be16(tcp, 2)),
            sequence: be32(tcp, 4),
            acknowledgement: be32(tcp, 8),
            flags: tcp[13],
            checksum: be16(tcp, 16),
            payload: &tcp[offset..],
            length: network.length - offset,
        })
    }

    /// Reads Ethernet, IP and UDP. Verifies all lengths, and all checksums if the record is complete. Otherwise there must
    /// be no checksum.
    pub fn datagram(&self) -> Result<Datagram<'_>, String> {
        let network = self.network()?;
        let udp = network.inner;
        if network.protocol != UDP {
            return Err(format!("IP protocol {}, not UDP", network.protocol));
        }
        if udp.len() < 8 {
            return Err(format!("{} bytes of UDP captured", udp.len()));
        }
        if usize::from(be16(udp, 4)) != network.length {
            return Err(format!("UDP length {}", be16(udp, 4)));
        }
        let sum = be16(udp, 6);
        let whole = self.data.len() == self.original;
        // A checksum of 0 is sent as all ones (RFC 768), and 0 means that there is none.
        if whole && (sum == 0 || network.checksum() != 0) {
            return Err(format!("UDP checksum {sum:#06x}"));
        }
        Ok(Datagram {
            source: SocketAddr::new(network.source, be16(udp, 0)),
            destination: SocketAddr::new(network.destination, be16(udp, 2)),
            checksum: sum,
            payload: &udp[8..],
            length: network.length - 8,
        })
    }

    /// Whether it contains UDP. Nothing is verified.
    pub fn is_udp(&self) -> bool {
        self.network().is_ok_and(|network| network.protocol == UDP)
    }
}

impl Network<'_> {
    /// The checksum over the segment or datagram and the pseudo-header; 0 if the contained checksum is correct.
    fn checksum(&self) -> u16 {
        let length = u32::try_from(self.inner.len()).expect("at most 65,535");
        // The zeros of the IPv6 pseudo-header do not affect the sum.
        checksum(&[
            self.addresses,
            &length.to_be_bytes(),
            &[0, self.protocol],
            self.inner,
        ])
    }
}
