//! Whether a capture says what the events say: each byte at its place, each time, each number.
//!
//! Written from what a capture is to be, not from how it is made. It goes by what came with each event:
//! a connection's events come in their order, and none of their frames before them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;

use capture2pcap::capture::{Format, Precision};
use capture2pcap::convert::Options;
use capture2pcap::event::{Direction, Event, Timestamp, TraceId, What};
use capture2pcap::slice::Slice;
use capture2pcap::synth::{Handshake, MAX_EVENT_LOSS};

use crate::pcap::ng::Beside;
use crate::pcap::{ACK, FIN, Record, SYN};

/// So many connections are followed; of more, the oldest are ended before their time.
const FOLLOWED: usize = 4_000;

/// A frame, in either protocol.
#[derive(Debug)]
struct Frame<'a> {
    number: usize,
    time: u64,
    source: SocketAddr,
    destination: SocketAddr,
    payload: &'a [u8],
    /// The payload's length on the wire.
    length: usize,
    tcp: Option<Tcp>,
    /// The direction in pcapng's flags.
    inbound: Option<bool>,
}

#[derive(Debug)]
struct Tcp {
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

/// The bytes of an event, and how far they have come.
struct Chunk {
    bytes: Slice,
    at: usize,
    direction: Direction,
    time: Option<Timestamp>,
    /// Whether Envoy cut them, and counts how much there was.
    open: bool,
    missing: u64,
}

/// What is followed of a connection.
#[derive(Default)]
struct Followed {
    chunks: VecDeque<Chunk>,
    /// The next number of each end, as far as known.
    next: HashMap<SocketAddr, u32>,
    /// The ends between which it goes; where bytes that Envoy read come from.
    ends: Option<(SocketAddr, SocketAddr)>,
    remote: Option<SocketAddr>,
    /// Whether something was told that can begin another conversation.
    may_restart: bool,
}

/// Checks `records` against the events that they came with.
///
/// Exchanges of HTTP taps have no bytes of their own, so where there are any, only the frames themselves
/// are checked.
pub(crate) fn check(
    events: &[(Event, Range<usize>)],
    records: &[Record],
    beside: Option<&[Beside]>,
    options: &Options,
) {
    let frames: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(i, record)| frame(i, record, beside.map(|beside| &beside[i])))
        .collect();
    let ids: HashSet<_> = events.iter().map(|(event, _)| event.trace).collect();
    let http = |(event, _): &(Event, _)| matches!(event.what, What::Http(_));
    if events.iter().any(http) || ids.len() > FOLLOWED {
        return;
    }
    let mut followed: HashMap<TraceId, Followed> = HashMap::new();
    let mut end = 0;
    for (event, range) in events {
        let connection = followed.entry(event.trace).or_default();
        match &event.what {
            What::Data {
                direction,
                payload,
                truncated,
                ..
            } => connection.chunks.push_back(Chunk {
                bytes: payload.clone(),
                at: 0,
                direction: *direction,
                time: event.time,
                open: *truncated && (event.seq_num.is_some() || event.missing.is_some()),
                missing: 0,
            }),
            What::Begin | What::Connection(_) | What::Closed => connection.may_restart = true,
            What::Truncated(_)
            | What::Late
            | What::Failed
            | What::Skipped(_)
            | What::SampleRate(_)
            | What::Nothing
            | What::Http(_) => {}
        }
        assert_eq!(range.start, end, "frames between events");
        end = range.end;
        for frame in &frames[range.clone()] {
            connection.take(frame, options);
        }
        if matches!(event.what, What::Data { .. }) && !range.is_empty() {
            connection.may_restart = false;
        }
    }
    // At the end of the trace, every connection may have one event left, which Envoy cut.
    let mut rest: Vec<_> = followed.into_values().collect();
    let mut last = 0;
    for frame in &frames[end..] {
        if let [connection] = &mut rest[..] {
            connection.take(frame, options);
        } else if frame.length > 0 {
            let fits = |connection: &Followed| connection.fits(frame, options);
            if !rest.get(last).is_some_and(fits) {
                let found = rest.iter().position(fits);
                last = found.unwrap_or_else(|| panic!("bytes of no event: {frame:?}"));
            }
            rest[last].bytes(frame, options);
        }
    }
    for chunk in rest.iter().flat_map(|connection| &connection.chunks) {
        assert_eq!(chunk.at, chunk.bytes.len(), "bytes of an event are missing");
    }
    handshakes(&frames, options);
}

fn frame<'a>(number: usize, record: &'a Record, beside: Option<&Beside>) -> Frame<'a> {
    let inbound = beside.map(|beside| match beside.direction {
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

/// The time that a record has for a recorded one.
fn shown(time: Timestamp, options: &Options) -> u64 {
    let nanos = time.min(options.capture.format.last_time()).nanos();
    match (options.capture.format, options.capture.precision) {
        (Format::Pcap, Precision::Micro) => (nanos + 500) / 1000 * 1000,
        _ => nanos,
    }
}

impl Followed {
    /// Takes a frame of this connection.
    fn take(&mut self, frame: &Frame<'_>, options: &Options) {
        let ends = (
            frame.source.min(frame.destination),
            frame.source.max(frame.destination),
        );
        if frame.source != frame.destination {
            self.number(frame, ends);
        }
        if frame.length > 0 {
            self.bytes(frame, options);
        }
    }

    /// Verifies its sequence and acknowledgement numbers.
    fn number(&mut self, frame: &Frame<'_>, ends: (SocketAddr, SocketAddr)) {
        let opens = frame
            .tcp
            .as_ref()
            .is_some_and(|tcp| tcp.flags & (SYN | ACK) == SYN);
        let fits = self.ends.is_none_or(|known| known == ends)
            && frame.tcp.as_ref().is_none_or(|tcp| {
                let next = |end, number| self.next.get(&end).is_none_or(|next| *next == number);
                next(frame.source, tcp.sequence)
                    && (tcp.flags & ACK == 0 || next(frame.destination, tcp.acknowledgement))
            });
        if opens || !fits {
            let may = self.may_restart || self.ends.is_none();
            assert!(
                may,
                "not where the connection was: {frame:?}, {:?}",
                self.next
            );
            self.next.clear();
            self.remote = None;
        }
        self.ends = Some(ends);
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

    /// Verifies that a frame comes from where the others of its direction came from.
    fn side(&mut self, frame: &Frame<'_>, inbound: bool) {
        let remote = if inbound {
            frame.source
        } else {
            frame.destination
        };
        let known = *self.remote.get_or_insert(remote);
        let same = known == remote || frame.source == frame.destination;
        assert!(same, "from the wrong side: {frame:?}");
    }

    /// Whether the bytes of `frame` are the next.
    fn fits(&self, frame: &Frame<'_>, options: &Options) -> bool {
        let chunk = self
            .chunks
            .iter()
            .find(|chunk| chunk.at < chunk.bytes.len() || (chunk.open && frame.payload.is_empty()));
        chunk.is_some_and(|chunk| chunk.fits(frame, options))
    }

    /// Takes the bytes of `frame`, which have to be the next.
    fn bytes(&mut self, frame: &Frame<'_>, options: &Options) {
        while let Some(chunk) = self.chunks.front_mut() {
            let missing = chunk.open && frame.payload.is_empty();
            if chunk.at == chunk.bytes.len() && !missing {
                self.chunks.pop_front();
                continue;
            }
            assert!(chunk.fits(frame, options), "not the event's: {frame:?}");
            chunk.at += frame.payload.len();
            chunk.missing += (frame.length - frame.payload.len()) as u64;
            assert!(chunk.missing <= MAX_EVENT_LOSS, "too much is missing");
            let inbound = chunk.direction == Direction::Read;
            self.side(frame, inbound);
            assert!(
                frame.inbound.is_none_or(|told| told == inbound),
                "{frame:?}"
            );
            return;
        }
        panic!("bytes of no event: {frame:?}");
    }
}

impl Chunk {
    fn fits(&self, frame: &Frame<'_>, options: &Options) -> bool {
        let rest = &self.bytes[self.at..];
        let known = rest.len().min(frame.length);
        let time = self.time.map(|time| shown(time, options));
        frame.payload == &rest[..known]
            && (frame.length == known || self.open)
            && time.is_none_or(|time| time == frame.time)
    }
}

/// Verifies that handshakes are there where they are asked for, and only there.
fn handshakes(frames: &[Frame<'_>], options: &Options) {
    let syn = |frame: &&Frame<'_>| frame.tcp.as_ref().is_some_and(|tcp| tcp.flags & SYN != 0);
    let tcp = frames.iter().find(|frame| frame.tcp.is_some());
    match options.synth.handshake {
        Handshake::Never => assert_eq!(frames.iter().filter(syn).count(), 0),
        Handshake::Always => assert!(tcp.is_none_or(|first| syn(&first))),
        Handshake::Auto => {
            if let Some(first) = frames.first().filter(|frame| frame.tcp.is_some()) {
                assert!(!syn(&first), "the first connection: frame {}", first.number);
            }
        }
    }
}
