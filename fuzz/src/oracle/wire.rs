//! A connection with packets: its addresses and sequence numbers.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::pcap::{ACK, FIN, SYN};

use super::Frame;

/// A connection with packets.
pub(super) struct Wire {
    /// Its ends, the lower one first.
    pub(super) ends: (SocketAddr, SocketAddr),
    pub(super) is_udp: bool,
    pub(super) has_handshake: bool,
    /// The source of bytes that Envoy received, if known.
    pub(super) remote: Option<SocketAddr>,
    /// The next sequence number of each end, if known.
    pub(super) next: HashMap<SocketAddr, u32>,
}

impl Wire {
    /// Takes a frame without bytes.
    pub(super) fn control(&mut self, frame: &Frame<'_>, flags: u8) {
        let shown = frame.tcp.as_ref().map(|tcp| tcp.flags);
        assert_eq!((shown, frame.length), (Some(flags), 0), "{frame:?}");
        self.take(frame);
    }

    /// Whether the addresses and numbers of a frame are those of the next one.
    pub(super) fn fits(&self, frame: &Frame<'_>) -> bool {
        let next = |end, number| self.next.get(&end).is_none_or(|next| *next == number);
        self.ends == frame.ends()
            && self.is_udp == frame.tcp.is_none()
            && frame.tcp.as_ref().is_none_or(|tcp| {
                // If both ends are the same, they share their sequence numbers.
                frame.source == frame.destination
                    || next(frame.source, tcp.sequence)
                        && (tcp.flags & ACK == 0 || next(frame.destination, tcp.acknowledgement))
            })
    }

    /// Takes a frame, and verifies its addresses and sequence numbers.
    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        assert!(
            self.fits(frame),
            "not where it was: {frame:?}, {:?}",
            self.next
        );
        if let Some(tcp) = &frame.tcp {
            let control = u32::from(tcp.flags & SYN != 0) + u32::from(tcp.flags & FIN != 0);
            let next = tcp.sequence.wrapping_add(frame.length as u32);
            self.next.insert(frame.source, next.wrapping_add(control));
            if tcp.flags & ACK != 0 {
                self.next.insert(frame.destination, tcp.acknowledgement);
            }
        }
        if let Some(inbound) = frame.inbound {
            self.side(frame, inbound);
        }
    }

    /// Verifies that a frame has the same source as the others of its direction.
    pub(super) fn side(&mut self, frame: &Frame<'_>, inbound: bool) {
        let remote = if inbound {
            frame.source
        } else {
            frame.destination
        };
        let known = *self.remote.get_or_insert(remote);
        let same = known == remote || frame.source == frame.destination;
        assert!(same, "from the wrong side: {frame:?}");
    }
}
