//! Packets in captures of either format have the checksums that etherparse computes.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use super::*;
use crate::model::event::{Connection, Direction, Endpoint, Event, Timestamp, What};
use crate::model::warning::Warnings;
use crate::synth::{SynthOptions, Synthesizer};

/// Sizes of payloads around those from which a checksum is left to the writer, of a packet, of a write and of a buffer.
const SIZES: [usize; 14] = [
    0, 1, 256, 257, 4_095, 4_096, 4_097, 16_384, 65_475, 65_495, 65_496, 262_144, 1_048_576, 70_001,
];

/// A capture of events with payloads of these sizes, four of each, between addresses of one family.
fn capture(is_v6: bool, is_fast: bool, options: CaptureOptions) -> Vec<u8> {
    capture_by(Vec::new(), is_v6, is_fast, options)
}

/// The same, as `writer` has it after the last byte.
fn capture_by<W: Write + Send + 'static>(
    writer: W,
    is_v6: bool,
    is_fast: bool,
    options: CaptureOptions,
) -> W {
    let mut capture = Capture::new(writer, options, &[]).unwrap();
    let mut synth = Synthesizer::new(SynthOptions::default());
    let mut warnings = Warnings::default();
    let ip = match is_v6 {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let connection = Connection {
        local: Some(Endpoint::Ip(ip, 80)),
        remote: Some(Endpoint::Ip(ip, 50_000)),
        ..Connection::default()
    };
    let data = |i: usize| What::Data {
        direction: Direction::Read,
        payload: (0..SIZES[i % SIZES.len()])
            .map(|k| (k.wrapping_mul(k + i) >> 4) as u8)
            .collect(),
        truncated: false,
        as_string: false,
        end_stream: false,
    };
    let mut out = |frame: &Frame<'_>| capture.frame(frame);
    let opening = std::iter::once(What::Connection(Box::new(connection)));
    for what in opening.chain((0..4 * SIZES.len()).map(data)) {
        let event = Event {
            time: Some(Timestamp::from_nanos(1)),
            what,
            ..Event::default()
        };
        let done = match is_fast {
            true => synth.event(&event, &mut warnings, &mut out),
            false => synth.any_event(&event, &mut warnings, &mut out),
        };
        done.unwrap();
    }
    capture.finish().unwrap()
}

/// The packets of a capture.
fn packets(capture: &[u8], format: Format) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    match format {
        Format::Pcap => {
            let mut reader = PcapReader::new(capture).unwrap();
            while let Some(packet) = reader.next_packet() {
                packets.push(packet.unwrap().data().to_vec());
            }
        }
        Format::Pcapng => {
            let mut reader = PcapNgReader::new(capture).unwrap();
            while let Some(block) = reader.next_block() {
                if let (Block::EnhancedPacket(packet), _) = block.unwrap() {
                    packets.push(packet.data.into_owned());
                }
            }
        }
    }
    packets
}

/// Checks the TCP checksum of a whole packet. Returns the length of its payload.
fn check(packet: &[u8]) -> usize {
    let sliced = SlicedPacket::from_ethernet(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
        panic!("{packet:?}");
    };
    let expected = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv4(from, to)
        }
        NetSlice::Ipv6(ip) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv6(from, to)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(tcp.checksum(), expected.unwrap(), "{}", tcp.payload().len());
    tcp.payload().len()
}

#[test]
fn checksums_of_packets_of_every_size_are_right() {
    for format in [Format::Pcap, Format::Pcapng] {
        for (is_v6, is_fast) in [(false, false), (false, true), (true, false), (true, true)] {
            let options = CaptureOptions {
                format,
                ..CaptureOptions::default()
            };
            let capture = capture(is_v6, is_fast, options);
            let packets = packets(&capture, format);
            let bytes: usize = packets.iter().map(|packet| check(packet)).sum();
            assert_eq!(bytes, 4 * SIZES.iter().sum::<usize>());
        }
    }
}

/// A writer that is slower than the conversion, which then completes the checksums itself.
struct Slow(Vec<u8>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(10));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_writer_gets_the_same_bytes() {
    for is_v6 in [false, true] {
        let options = CaptureOptions::default();
        let slow = capture_by(Slow(Vec::new()), is_v6, true, options);
        assert!(slow.0 == capture(is_v6, true, options));
        let packets = packets(&slow.0, Format::Pcap);
        let bytes: usize = packets.iter().map(|packet| check(packet)).sum();
        assert_eq!(bytes, 4 * SIZES.iter().sum::<usize>());
    }
}

#[test]
fn a_snaplen_cuts_packets_and_changes_nothing_else() {
    for format in [Format::Pcap, Format::Pcapng] {
        let options = CaptureOptions {
            format,
            ..CaptureOptions::default()
        };
        for is_v6 in [false, true] {
            let whole = packets(&capture(is_v6, true, options), format);
            for snaplen in [40, 51, 53, 60, 4_149, 4_150, 4_151, 20_000, 65_549] {
                let options = CaptureOptions { snaplen, ..options };
                let cut = packets(&capture(is_v6, true, options), format);
                assert_eq!(cut.len(), whole.len());
                for (cut, whole) in cut.iter().zip(&whole) {
                    let len = whole.len().min(snaplen as usize);
                    assert!(cut[..] == whole[..len], "{snaplen} {}", whole.len());
                }
            }
        }
    }
}
