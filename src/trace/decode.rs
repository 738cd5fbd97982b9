//! Makes events of the parts of a trace.
//!
//! The events of socket taps are made in [`socket_events`], those of HTTP taps in [`http`]. Which events have to wait
//! for their connection is decided in [`hold`](super::hold). The generated protobuf types are used only here and
//! where addresses are decoded.
//!
//! Invariant: events are delivered in the order in which their parts were taken.

mod http;
mod socket_events;

use std::collections::VecDeque;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::model::event::{Event, Skip, Timestamp, TraceId, What};

use super::address::Numbering;
use super::detect::{Encoding, Generation};
use super::element::{Form, TracePart};
use super::error::{Damage, Fault};
use super::hold::{Hold, PendingMessage, Taken};
use super::locate::Location;
use crate::trace::binary::look_ahead::{FoundAhead, PartSink};

#[allow(
    clippy::all,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "generated from proto/"
)]
pub(super) mod proto {
    pub mod tap {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.tap.rs"));
    }
    pub mod capture {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.capture.rs"));
    }
}
use proto::tap;

/// How much memory is kept for the payload of the next event, in bytes.
const KEPT: usize = 1 << 20;

/// The position of a part in a trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The offset of its field.
    pub(super) offset: u64,
    /// The offset of the field's value.
    pub(super) value: u64,
    /// The length of the value, as it is encoded.
    pub(super) len: u64,
}

/// Makes events of the parts of a trace.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    pub(super) generation: Generation,
    /// The connection of the enclosing message.
    pub(super) trace: TraceId,
    pub(super) form: Form,
    /// Whether `Begin` has been delivered for this message. It waits for the trace id.
    pub(super) begun: bool,
    /// Whether the encoding is binary. Protobuf then defines how split and repeated fields are merged.
    pub(super) is_binary: bool,
    /// Which events of the message may be delivered as they arrive.
    pub(super) hold: Hold,
    pub(super) message: PendingMessage,
    /// The numbering of the last connection that showed one.
    pub(super) numbering: Option<Numbering>,
    /// The number of buffered HTTP exchanges so far.
    exchanges: u64,
    /// Whether anything was found that only a trace contains.
    pub(super) recognised: bool,
    /// The last decoded event. It is overwritten in place, so that it is never moved.
    pub(super) current: Event,
    /// Its location in the trace.
    pub(super) location: Location,
    /// Decoded events that follow the current one.
    pub(super) ready: VecDeque<(Event, Location)>,
}

impl Decoder {
    pub(super) fn new(encoding: Encoding, generation: Generation, source: u32) -> Self {
        Self {
            generation,
            is_binary: matches!(encoding, Encoding::Binary | Encoding::Delimited),
            // A bare trace has no enclosing message that would begin.
            hold: match generation {
                Generation::Capture => Hold::Open,
                Generation::Tap => Hold::Clean,
            },
            message: PendingMessage::default(),
            trace: TraceId {
                source,
                ..TraceId::default()
            },
            form: Form::Buffered,
            begun: false,
            numbering: None,
            exchanges: 0,
            recognised: false,
            current: Event::default(),
            location: Location::default(),
            ready: VecDeque::new(),
        }
    }

    /// Restarts at a message of which only the events matter.
    pub(super) fn restart(&mut self, encoding: Encoding, generation: Generation) {
        self.release();
        self.ready.clear();
        self.is_binary = matches!(encoding, Encoding::Binary | Encoding::Delimited);
        self.generation = generation;
        self.trace = TraceId::default();
        self.begun = true;
        self.hold = Hold::Clean;
        self.message = PendingMessage::default();
        self.exchanges = 0;
    }

    /// Whether the next event has yet to be decoded, in a message that has begun.
    #[inline]
    pub(super) fn has_nothing_ready(&self) -> bool {
        self.ready.is_empty() && self.begun
    }

    /// Advances to the next decoded event; returns false if there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        !self.ready.is_empty() && self.advance_ready()
    }

    #[cold]
    fn advance_ready(&mut self) -> bool {
        let next = self.ready.pop_front();
        let is_some = next.is_some();
        if let Some((event, location)) = next {
            self.current = event;
            self.location = location;
        }
        is_some
    }

    /// Releases the memory of the current event if it is large, since the next one seldom needs as much.
    pub(super) fn release(&mut self) {
        if let What::Data { payload, .. } = &mut self.current.what
            && payload.capacity() > KEPT
        {
            self.current.what = What::Nothing;
        }
    }

    /// Adds the event of a message that Envoy failed to write.
    pub(super) fn failed(&mut self, offset: u64) {
        self.recognised = true;
        self.current = self.make_event(offset, Time::default(), None, What::Failed);
        self.location = Location::default();
    }

    /// Adds the event that bytes were skipped from the offset `from` on.
    pub(super) fn skipped(&mut self, from: u64, skip: Skip) {
        let what = What::Skipped(Box::new(skip));
        let event = self.make_event(from, Time::default(), None, what);
        self.ready.push_back((event, Location::default()));
    }

    /// Takes a number; returns whether it produced an event.
    #[inline]
    pub(super) fn number(&mut self, part: TracePart, number: u64, offset: u64) -> bool {
        match part {
            TracePart::TraceId => self.take_id(number),
            TracePart::Truncated(direction) if number != 0 => {
                return self.take_truncated(direction, offset);
            }
            _ => {}
        }
        false
    }

    /// Whether an event may be delivered as it arrives; `is_last`: nothing follows it in its message.
    #[inline]
    pub(super) fn delivers_at_once(&self, is_last: bool) -> bool {
        self.hold == Hold::Direct || is_last && self.hold == Hold::Clean
    }

    /// Whether nothing is held.
    #[inline]
    pub(super) fn is_clean(&self) -> bool {
        self.hold == Hold::Clean
    }

    /// Delivers `Begin`, unless that has been done.
    fn begin_message(&mut self, offset: u64) {
        if !self.begun {
            self.begun = true;
            let begin = self.make_event(offset, Time::default(), None, What::Begin);
            self.ready.push_back((begin, Location::default()));
        }
    }

    pub(super) fn push(
        &mut self,
        offset: u64,
        time: Time,
        seq_num: Option<NonZeroU64>,
        what: What,
    ) {
        self.begin_message(offset);
        let event = self.make_event(offset, time, seq_num, what);
        self.ready.push_back((event, Location::default()));
    }

    const fn make_event(
        &self,
        offset: u64,
        time: Time,
        seq_num: Option<NonZeroU64>,
        what: What,
    ) -> Event {
        let Time {
            time,
            adjusted: time_adjusted,
        } = time;
        Event {
            trace: self.trace,
            offset,
            time,
            time_adjusted,
            seq_num,
            missing: None,
            gap: None,
            what,
        }
    }
}

/// A recorded time, and whether it was adjusted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Time {
    time: Option<Timestamp>,
    adjusted: bool,
}

impl Time {
    fn of((seconds, nanos): (i64, i32)) -> Self {
        let (time, adjusted) = Timestamp::from_parts(seconds, nanos);
        Self {
            time: Some(time),
            adjusted,
        }
    }
}

impl PartSink for Decoder {
    fn wants(&mut self, _: TracePart) -> bool {
        true
    }

    fn begin(&mut self, number: u32, form: Option<Form>) {
        self.open_message();
        self.member(number, form);
    }

    fn number(&mut self, part: TracePart, number: u64, offset: u64) -> bool {
        Self::number(self, part, number, offset)
    }

    fn part(&mut self, taken: Taken<'_>) -> Result<bool, Damage> {
        if taken.part == TracePart::Event {
            if self.wants_look() {
                self.looked();
                if self.is_complete() {
                    self.resolve_connection(FoundAhead::default(), taken.place.offset)?;
                }
            }
            // In readable messages, fields are not repeated.
            if self.delivers_at_once(taken.is_last || self.has_id()) {
                return self.event(taken.bytes, taken.place);
            }
        }
        self.take_part(taken)
    }

    fn end(&mut self) -> Result<bool, Damage> {
        self.end_message()
    }

    fn is_recognised(&self) -> bool {
        self.recognised
    }

    fn skipped(&mut self, from: u64, skip: Skip) {
        Self::skipped(self, from, skip);
    }

    fn advance(&mut self) -> bool {
        Self::advance(self)
    }
}

impl Decoder {
    /// Decodes a sample rate, in millionths; `None` if it is zero, since nothing is recorded then.
    pub(super) fn decode_rate(bytes: &[u8], offset: u64) -> Result<Option<u32>, Damage> {
        use tap::fractional_percent::DenominatorType;
        let rate = decode::<tap::FractionalPercent>(bytes, TracePart::SampleRate, offset)?;
        let scale = match rate.denominator() {
            DenominatorType::Hundred => 10_000,
            DenominatorType::TenThousand => 100,
            DenominatorType::Million => 1,
        };
        let rate = rate.numerator.saturating_mul(scale).min(1_000_000);
        Ok(Some(rate).filter(|rate| *rate > 0))
    }

    /// Delivers a sample rate, in millionths.
    pub(super) fn rate(&mut self, offset: u64, rate: u32) {
        let event = self.make_event(offset, Time::default(), None, What::SampleRate(rate));
        self.ready.push_back((event, Location::default()));
    }
}

pub(super) fn decode<M: prost::Message + Default>(
    bytes: &[u8],
    part: TracePart,
    offset: u64,
) -> Result<M, Damage> {
    M::decode(Bytes::copy_from_slice(bytes)).map_err(|why| {
        let (what, why) = (part.name(), why.to_string());
        Damage::new(offset, Fault::Message { what, why })
    })
}
