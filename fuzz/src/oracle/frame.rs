//! The parts of a frame that are checked.

use std::net::SocketAddr;

use crate::pcap::Record;
use crate::pcap::ng::PacketMetadata;

/// A frame, in either protocol.
#[allow(dead_code, reason = "messages show the number")]
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) number: usize,
    pub(super) time: u64,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) payload: &'a [u8],
    /// The original length of the payload.
    pub(super) length: usize,
    pub(super) tcp: Option<Tcp>,
    /// The direction in the flags of a pcapng.
    pub(super) inbound: Option<bool>,
}

#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) flags: u8,
}

impl Frame<'_> {
    /// Both ends, the lower one first.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (
            self.source.min(self.destination),
            self.source.max(self.destination),
        )
    }
}

/// Parses the frame of a record.
pub(super) fn frame<'a>(
    number: usize,
    record: &'a Record,
    metadata: Option<&PacketMetadata>,
) -> Frame<'a> {
    let inbound = metadata.map(|metadata| match metadata.direction {
        1 => true,
        2 => false,
        other => panic!("direction {other}"),
    });
    let time = record.time;
    if record.is_udp() {
        let datagram = record
            .datagram()
            .unwrap_or_else(|e| panic!("record {number}: {e}"));
        return Frame {
            number,
            time,
            source: datagram.source,
            destination: datagram.destination,
            payload: datagram.payload,
            length: datagram.length,
            tcp: None,
            inbound,
        };
    }
    let segment = record
        .segment()
        .unwrap_or_else(|e| panic!("record {number}: {e}"));
    Frame {
        number,
        time,
        source: segment.source,
        destination: segment.destination,
        payload: segment.payload,
        length: segment.length,
        tcp: Some(Tcp {
            sequence: segment.sequence,
            acknowledgement: segment.acknowledgement,
            flags: segment.flags,
        }),
        inbound,
    }
}
