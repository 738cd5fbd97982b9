//! Checks that a capture agrees with its events: all bytes, times and sequence numbers.
//!
//! It is written from the requirements of a capture, not from the implementation. It relies on one property: all packets of
//! an event are written when that event is converted. [`delivered`](crate::delivered) checks the connections of events,
//! their order and the gaps between them.

mod frame;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use capture2pcap::capture::{Format, Precision};
use capture2pcap::convert::Options;
use capture2pcap::model::event::{
    Connection, Direction, Event, Gap, GapKind, Timestamp, TraceId, Transport, What,
};
use capture2pcap::model::warning::WarningKind;
use capture2pcap::synth::Handshake;

use crate::convert::{Kept, MAX_ESTIMATE};
use crate::delivered::Brief;
use crate::pcap::ng::PacketMetadata;
use crate::pcap::{ACK, FIN, Record, SYN};
use crate::places;

use frame::{Frame, frame};
use wire::Wire;

/// The state of a connection.
#[derive(Default)]
struct Followed {
    connection: Connection,
    is_buffered: bool,
    /// The size of the gap for the last event of unknown size, in bytes.
    estimated: u64,
    wire: Option<Wire>,
}

/// The state that all connections of a capture share.
struct Shared<'a> {
    options: &'a Options,
    /// Whether a connection has packets already.
    is_first: bool,
    /// The connection that certainly has a pair of ends.
    owners: HashMap<(SocketAddr, SocketAddr), TraceId>,
    /// Whether a warning reported that a connection has other ends than recorded.
    may_move: bool,
}

/// Checks `records` against the events with which they were written.
pub(crate) fn check(
    kept: &Kept,
    records: &[Record],
    metadata: Option<&[PacketMetadata]>,
    options: &Options,
) {
    let frames: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(i, record)| frame(i, record, metadata.map(|metadata| &metadata[i])))
        .collect();
    let mut shared = Shared {
        options,
        is_first: true,
        owners: HashMap::new(),
        may_move: kept.warnings.count(WarningKind::PortTaken) > 0,
    };
    let mut followed: HashMap<TraceId, Followed> = HashMap::new();
    let mut end = 0;
    for (event, range) in &kept.delivered {
        assert_eq!(range.start, end, "frames between events");
        end = range.end;
        let own = Own::new(&frames, range);
        if let What::Http(_) = event.what {
            // The bytes of an HTTP exchange are synthesized, not recorded.
            shared.is_first &= range.is_empty();
            continue;
        }
        let connection = followed.entry(event.trace).or_default();
        if connection.take(event, own, &mut shared) {
            if let Some(wire) = &connection.wire
                && shared.owners.get(&wire.ends) == Some(&event.trace)
            {
                shared.owners.remove(&wire.ends);
            }
            followed.remove(&event.trace);
        }
    }
    let http = |(event, _): &(Event, _)| matches!(event.what, What::Http(_));
    if kept.delivered.iter().any(http) {
        return;
    }
    // The remaining frames are the ends of connections without a recorded end.
    let mut rest: Vec<_> = followed.into_values().filter_map(|one| one.wire).collect();
    for frame in &frames[end..] {
        assert_eq!(frame.length, 0, "bytes of no event: {frame:?}");
        let found = rest.iter_mut().find(|wire| wire.fits(frame));
        let found = found.unwrap_or_else(|| panic!("of no connection: {frame:?}"));
        found.take(frame);
    }
}

/// The time in the capture for a recorded time.
pub(crate) fn shown(time: Timestamp, options: &Options) -> u64 {
    let nanos = time.min(options.capture.format.last_time()).nanos();
    match (options.capture.format, options.capture.precision) {
        (Format::Pcap, Precision::Micro) => (nanos + 500) / 1000 * 1000,
        _ => nanos,
    }
}

/// The frames of an event, in order.
struct Own<'a, 'f> {
    rest: std::slice::Iter<'a, Frame<'f>>,
}

impl<'a, 'f> Own<'a, 'f> {
    fn new(frames: &'a [Frame<'f>], range: &Range<usize>) -> Self {
        Self {
            rest: frames[range.clone()].iter(),
        }
    }

    fn first(&self) -> Option<&'a Frame<'f>> {
        self.rest.as_slice().first()
    }

    /// The next frame, which has to exist.
    fn next(&mut self, event: &Event) -> &'a Frame<'f> {
        let next = self.rest.next();
        next.unwrap_or_else(|| panic!("a frame is missing: {:?}", Brief(event)))
    }
}

impl Followed {
    /// Takes an event of this connection and its frames. Returns whether it is the last.
    fn take(&mut self, event: &Event, mut own: Own<'_, '_>, shared: &mut Shared<'_>) -> bool {
        for frame in own.rest.as_slice() {
            let time = event.time.map(|time| shown(time, shared.options));
            assert!(time.is_none_or(|time| time == frame.time) || event.what == What::Over);
        }
        if let (None, Some(first)) = (&self.wire, own.first()) {
            self.place(event, first, &own, shared);
            self.handshake(event, &mut own);
        }
        match &event.what {
            What::Data {
                direction,
                payload,
                truncated,
                ..
            } => {
                self.gap(event, &mut own);
                let missing = match (truncated, event.missing) {
                    (false, _) => 0..=0,
                    (true, Some(missing)) => missing..=missing,
                    (true, None) => u64::from(event.seq_num.is_none())..=MAX_ESTIMATE,
                };
                let lost = self.data(event, *direction, payload, missing, &mut own, shared);
                if *truncated && event.missing.is_none() {
                    self.estimated = lost;
                }
            }
            What::Closed => {
                self.gap(event, &mut own);
                let is_udp = self
                    .wire
                    .as_ref()
                    .map_or(self.connection.transport == Transport::Udp, |wire| {
                        wire.is_udp
                    });
                if !is_udp {
                    self.end(event, true, &mut own);
                }
            }
            What::Over => self.end(event, false, &mut own),
            What::Begin => self.is_buffered = true,
            What::Connection(named) => {
                let known = &mut self.connection;
                known.transport = named.transport;
                known.local = named.local.clone().or(known.local.take());
                known.remote = named.remote.clone().or(known.remote.take());
            }
            What::Truncated(_)
            | What::Late
            | What::Failed
            | What::Skipped(_)
            | What::SampleRate(_)
            | What::Nothing
            | What::Http(_) => {}
        }
        assert!(
            own.first().is_none(),
            "{:?}, of {:?}",
            Brief(event),
            own.first()
        );
        matches!(event.what, What::Closed | What::Over)
    }

    /// Sets the ends of the connection from its first frame.
    fn place(
        &mut self,
        event: &Event,
        first: &Frame<'_>,
        own: &Own<'_, '_>,
        shared: &mut Shared<'_>,
    ) {
        let is_udp = first.tcp.is_none();
        assert_eq!(is_udp, self.connection.transport == Transport::Udp);
        let ends = first.ends();
        let owner = shared.owners.get(&ends);
        assert_eq!(owner, None, "two connections at once: {first:?}");
        if !self.is_buffered {
            shared.owners.insert(ends, event.trace);
        }
        // The first bytes or the flags show which end is which.
        let hole = self.hole(event).map(|(direction, _)| direction);
        let went = hole.or(event.payload().map(|(direction, _)| direction));
        let with_bytes = own.rest.as_slice().iter();
        let with_bytes = with_bytes
            .clone()
            .find(|one| one.tcp.is_none() || one.length > 0);
        let inbound = match (first.inbound, with_bytes, went) {
            (Some(inbound), ..) => Some((first, inbound)),
            (None, Some(frame), Some(went)) => Some((frame, went == Direction::Read)),
            _ => None,
        };
        if let Some((frame, inbound)) = inbound.filter(|_| !shared.may_move) {
            let (local, remote) = match inbound {
                true => (frame.destination, frame.source),
                false => (frame.source, frame.destination),
            };
            places::check(&self.connection, local, remote, &shared.options.synth);
        }
        let has_handshake = match shared.options.synth.handshake {
            Handshake::Always => true,
            Handshake::Never => false,
            Handshake::Auto => !shared.is_first,
        };
        shared.is_first = false;
        self.wire = Some(Wire {
            ends,
            is_udp,
            has_handshake: has_handshake && !is_udp,
            remote: None,
            next: HashMap::new(),
        });
    }

    /// Takes the frames of the handshake, if there has to be one.
    fn handshake(&mut self, event: &Event, own: &mut Own<'_, '_>) {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.has_handshake) else {
            return;
        };
        for flags in [SYN, SYN | ACK, ACK] {
            wire.control(own.next(event), flags);
        }
    }

    /// The number of bytes missing before an event, if the capture has a gap for them.
    fn hole(&self, event: &Event) -> Option<(Direction, u64)> {
        let &Gap {
            bytes,
            direction,
            kind,
        } = event.gap.as_deref()?;
        let bytes = match kind {
            GapKind::Lost => bytes,
            GapKind::Cut => bytes.saturating_sub(self.estimated),
            GapKind::ProxyHeader => 0,
        };
        Some((direction?, bytes)).filter(|(_, bytes)| *bytes > 0)
    }

    /// Takes the frames of the gap before an event.
    fn gap(&mut self, event: &Event, own: &mut Own<'_, '_>) {
        let Some((direction, mut left)) = self.hole(event) else {
            return;
        };
        while left > 0 {
            let frame = own.next(event);
            assert!(frame.payload.is_empty() && frame.length > 0, "{frame:?}");
            assert!(
                frame.length as u64 <= left,
                "too much is missing: {frame:?}"
            );
            left -= frame.length as u64;
            self.bytes(frame, direction);
        }
    }

    /// Takes the frames of bytes. Returns the number of missing bytes after the recorded ones.
    fn data(
        &mut self,
        event: &Event,
        direction: Direction,
        payload: &[u8],
        missing: std::ops::RangeInclusive<u64>,
        own: &mut Own<'_, '_>,
        shared: &Shared<'_>,
    ) -> u64 {
        let mut rest = payload;
        let mut lost = 0;
        let is_udp = self.wire.as_ref().is_some_and(|wire| wire.is_udp);
        let is_datagram = is_udp && payload.is_empty() && *missing.end() == 0;
        let most = shared.options.synth.mss.filter(|_| !is_udp);
        while !rest.is_empty() || own.first().is_some() {
            let frame = own.next(event);
            let known = rest.len().min(frame.length);
            assert!(frame.length > 0 || is_datagram, "{frame:?}");
            assert!(frame.payload == &rest[..known], "other bytes: {frame:?}");
            assert!(most.is_none_or(|most| known <= most), "{frame:?}");
            rest = &rest[known..];
            lost += (frame.length - known) as u64;
            assert!(lost == 0 || rest.is_empty(), "missing too early: {frame:?}");
            self.bytes(frame, direction);
        }
        if self.wire.is_none() {
            // An event without bytes has no segment.
            assert!(
                payload.is_empty() && *missing.start() == 0,
                "{:?}",
                Brief(event)
            );
        }
        assert!(
            missing.contains(&lost),
            "{lost} bytes are missing: {:?}",
            Brief(event)
        );
        lost
    }

    /// Takes the frames of an end.
    fn end(&mut self, event: &Event, is_recorded: bool, own: &mut Own<'_, '_>) {
        let Some(wire) = &mut self.wire else {
            assert!(!is_recorded, "no packet shows the end: {:?}", Brief(event));
            return;
        };
        let flags: &[u8] = match (wire.has_handshake, is_recorded) {
            (true, _) => &[FIN | ACK, FIN | ACK, ACK],
            (false, true) => &[FIN | ACK],
            (false, false) => &[],
        };
        for flags in flags {
            wire.control(own.next(event), *flags);
        }
    }

    /// Takes a frame with bytes of one direction.
    fn bytes(&mut self, frame: &Frame<'_>, direction: Direction) {
        let inbound = direction == Direction::Read;
        assert!(
            frame.inbound.is_none_or(|flag| flag == inbound),
            "{frame:?}"
        );
        if let Some(wire) = &mut self.wire {
            wire.take(frame);
            wire.side(frame, inbound);
        }
    }
}
