//! Parts of a trace into events of the model. The generated protobuf types are used nowhere else.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::model::event::{
    self, Event, Field, Http, PlainEvent, Side, Skip, Timestamp, TraceId, What,
};

use crate::slice::{Piece, Slice};

use super::address::{self, Numbering};
use super::detect::{Encoding, Generation};
use super::element::{Form, Part};
use super::error::{Damage, Fault};
use super::hold::{Hold, Message, Taken};
use super::locate::{Located, Location};
use crate::trace::binary::look_ahead::{Found, Sink};
use crate::trace::binary::socket::{self, Selector, SocketEvent};
use crate::trace::binary::walk::Lent;

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
    pub(super) message: Message,
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
            message: Message::default(),
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
        self.message = Message::default();
        self.exchanges = 0;
    }

    /// Whether the next event has yet to be decoded, in a message that has begun.
    #[inline]
    pub(super) fn has_nothing_ready(&self) -> bool {
        self.ready.is_empty() && self.begun && self.generation == Generation::Tap
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

    /// Releases the memory of the current event.
    pub(super) fn release(&mut self) {
        self.current.what = What::Nothing;
    }

    /// Adds the event of a message that Envoy failed to write.
    pub(super) fn failed(&mut self, offset: u64) {
        self.recognised = true;
        self.current = self.tell(offset, Time::default(), None, What::Failed);
        self.location = Location::default();
    }

    /// Adds the event that bytes were skipped from the offset `from` on.
    pub(super) fn skipped(&mut self, from: u64, skip: Skip) {
        let what = What::Skipped(Box::new(skip));
        let event = self.tell(from, Time::default(), None, what);
        self.ready.push_back((event, Location::default()));
    }

    /// Takes a number; returns whether it produced an event.
    #[inline]
    pub(super) fn number(&mut self, part: Part, number: u64, offset: u64) -> bool {
        match part {
            Part::TraceId => self.take_id(number),
            Part::Truncated(direction) if number != 0 => {
                return self.take_truncated(direction, offset);
            }
            _ => {}
        }
        false
    }

    /// Whether an event may be delivered as it arrives; `is_last`: nothing follows it in its message.
    #[inline]
    pub(super) fn is_straight(&self, is_last: bool) -> bool {
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
            let begin = self.tell(offset, Time::default(), None, What::Begin);
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
        let event = self.tell(offset, time, seq_num, what);
        self.ready.push_back((event, Location::default()));
    }

    const fn tell(
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

    /// Takes an event that may be delivered as it arrives.
    #[inline]
    pub(super) fn event(&mut self, message: Piece<'_>, place: Place) -> Result<bool, Damage> {
        let location = Location::of(place, Located::Event(self.form));
        self.socket_event(message, place.offset, location)?;
        if !self.begun || !self.ready.is_empty() {
            self.queue();
        }
        Ok(true)
    }

    /// Makes a lent event the current one.
    #[inline(always)]
    pub(super) fn plain_event(&mut self, lent: &Lent<'_>, window: Piece<'_>) {
        let PlainEvent {
            trace,
            time,
            seq_num,
            direction,
            payload,
        } = lent.event;
        let event = SocketEvent {
            selector: Some(Selector::Data(direction)),
            payload,
            ..SocketEvent::default()
        };
        self.set_current(&event, window, lent.offset, lent.location());
        let current = &mut self.current;
        (current.trace, current.time, current.seq_num) = (trace, Some(time), seq_num);
    }

    /// Takes an event that was held, in several pieces if it `is_joined`, and queues it.
    pub(super) fn held_event(
        &mut self,
        message: &Slice,
        place: Place,
        is_joined: bool,
    ) -> Result<(), Damage> {
        let located = match is_joined {
            true => Located::Whole,
            false => Located::Event(self.form),
        };
        let location = Location::of(place, located);
        self.begin_message(place.offset);
        self.socket_event(message.piece(), place.offset, location)?;
        let current = std::mem::take(&mut self.current);
        self.ready.push_back((current, location));
        Ok(())
    }

    /// Decodes an event, and makes it the current one.
    #[inline(always)]
    fn socket_event(
        &mut self,
        message: Piece<'_>,
        offset: u64,
        location: Location,
    ) -> Result<(), Damage> {
        let mut event = SocketEvent::default();
        if let Err(broken) = event.decode(message.bytes(), self.generation) {
            let fault = socket::fault(broken);
            return Err(Damage::new(offset, fault));
        }
        self.fill(event, message, offset, location)
    }

    /// Takes the part of an event before the end of the trace, and queues it if it has some payload.
    pub(super) fn cut_event(
        &mut self,
        front: Piece<'_>,
        place: Place,
        len: u64,
    ) -> Result<(), Damage> {
        let mut event = SocketEvent::default();
        let Some(missing) = event.decode_cut(front.bytes(), len, self.generation) else {
            return Ok(());
        };
        let location = Location::of(place, Located::Cut(self.form));
        self.begin_message(place.offset);
        self.fill(event, front, place.offset, location)?;
        self.current.missing = missing;
        let current = std::mem::take(&mut self.current);
        self.ready.push_back((current, location));
        Ok(())
    }

    /// Makes an event the current one, after the connection that it names.
    #[inline(always)]
    fn fill(
        &mut self,
        mut event: SocketEvent<'_>,
        message: Piece<'_>,
        offset: u64,
        location: Location,
    ) -> Result<(), Damage> {
        if !event.connection.is_empty() {
            let bytes = Slice::from(std::mem::take(&mut event.connection));
            let told = decode::<tap::Connection>(bytes, Part::Connection, offset)?;
            let told = address::connection(told.local_address, told.remote_address);
            let told = Box::new(told);
            self.push(offset, Time::default(), None, What::Connection(told));
        }
        self.set_current(&event, message, offset, location);
        Ok(())
    }

    /// Makes an event the current one.
    #[inline(always)]
    fn set_current(
        &mut self,
        event: &SocketEvent<'_>,
        message: Piece<'_>,
        offset: u64,
        location: Location,
    ) {
        let Time { time, adjusted } = event.time.map_or_else(Time::default, Time::of);
        let current = &mut self.current;
        current.trace = self.trace;
        current.offset = offset;
        current.time = time;
        current.time_adjusted = adjusted;
        // Buffered traces have no count; in JSON they record a 0.
        current.seq_num = NonZeroU64::new(event.seq_num).filter(|_| self.form == Form::Streamed);
        current.missing = None;
        current.gap = None;
        self.location = location;
        match event.selector {
            None => current.what = What::Nothing,
            Some(Selector::Closed) => current.what = What::Closed,
            Some(Selector::Data(way)) => {
                if let What::Data {
                    direction,
                    payload,
                    truncated,
                    as_string,
                    end_stream,
                } = current.data()
                {
                    *direction = way;
                    message.hold(event.payload, payload);
                    *truncated = event.truncated;
                    *as_string = event.as_string;
                    *end_stream = event.end_stream;
                }
            }
        }
    }

    /// Swaps the current event with the queued ones that come before it.
    #[cold]
    fn queue(&mut self) {
        let current = std::mem::take(&mut self.current);
        self.begin_message(current.offset);
        self.ready.push_back((current, self.location));
        self.advance();
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

impl Decoder {
    fn http(&mut self, location: Location, place: Place, time: Time, http: Http) {
        let event = self.tell(place.offset, time, None, What::Http(http));
        self.ready.push_back((event, location));
    }

    /// Takes a part of an HTTP tap, in several pieces if it `is_joined`.
    pub(super) fn http_part(
        &mut self,
        part: Part,
        bytes: Slice,
        place: Place,
        is_joined: bool,
    ) -> Result<(), Damage> {
        let (is_buffered, located) = match part {
            Part::HttpBuffered => (true, Located::HttpBuffered),
            _ => (false, Located::HttpSegment),
        };
        let located = if is_joined { Located::Whole } else { located };
        let location = Location::of(place, located);
        match is_buffered {
            true => self.http_buffered(bytes, place, location),
            false => self.http_segment(bytes, place, location),
        }
    }

    fn http_segment(
        &mut self,
        bytes: Slice,
        place: Place,
        location: Location,
    ) -> Result<(), Damage> {
        let part = Part::HttpSegment;
        let segment = decode::<tap::HttpStreamedTraceSegment>(bytes, part, place.offset)?;
        self.trace.number = segment.trace_id;
        if let Some((side, part)) = segment.message_piece.map(http_piece) {
            let last = false;
            let http = Http::Part { side, part, last };
            self.http(location, place, Time::default(), http);
        }
        Ok(())
    }

    /// Splits a complete exchange into events.
    fn http_buffered(
        &mut self,
        bytes: Slice,
        place: Place,
        mut location: Location,
    ) -> Result<(), Damage> {
        let part = Part::HttpBuffered;
        let exchange = decode::<tap::HttpBufferedTrace>(bytes, part, place.offset)?;
        // Only the file's name holds an id. Within an input, a sequential number identifies the exchanges.
        self.trace.number = self.exchanges;
        self.exchanges += 1;
        let connection = |told: tap::Connection| {
            let told = address::connection(told.local_address, told.remote_address);
            Box::new(told)
        };
        let begin = Http::Begin {
            downstream: exchange.downstream_connection.map(connection),
            upstream: exchange.upstream_connection.map(connection),
        };
        self.http(location, place, Time::default(), begin);
        let sides = [
            (Side::Request, exchange.request),
            (Side::Response, exchange.response),
        ];
        for (side, message) in sides {
            let Some(message) = message else { continue };
            let received = message.headers_received_time;
            let mut time =
                received.map_or_else(Time::default, |at| Time::of((at.seconds, at.nanos)));
            let mut parts = vec![event::Part::Headers(fields(message.headers))];
            parts.extend(message.body.map(http_body));
            if !message.trailers.is_empty() {
                parts.push(event::Part::Trailers(fields(message.trailers)));
            }
            let count = parts.len();
            for (i, part) in parts.into_iter().enumerate() {
                let last = i + 1 == count;
                location.next_part();
                self.http(location, place, time, Http::Part { side, part, last });
                // Body and trailers have no time of their own, so their time needs no warning.
                time.adjusted = false;
            }
        }
        location.next_part();
        self.http(location, place, Time::default(), Http::End);
        Ok(())
    }
}

fn http_piece(piece: tap::http_streamed_trace_segment::MessagePiece) -> (Side, event::Part) {
    use tap::http_streamed_trace_segment::MessagePiece;
    match piece {
        MessagePiece::RequestHeaders(map) => {
            (Side::Request, event::Part::Headers(fields(map.headers)))
        }
        MessagePiece::RequestBodyChunk(body) => (Side::Request, http_body(body)),
        MessagePiece::RequestTrailers(map) => {
            (Side::Request, event::Part::Trailers(fields(map.headers)))
        }
        MessagePiece::ResponseHeaders(map) => {
            (Side::Response, event::Part::Headers(fields(map.headers)))
        }
        MessagePiece::ResponseBodyChunk(body) => (Side::Response, http_body(body)),
        MessagePiece::ResponseTrailers(map) => {
            (Side::Response, event::Part::Trailers(fields(map.headers)))
        }
    }
}

fn http_body(body: tap::Body) -> event::Part {
    use tap::body::BodyType;
    let truncated = body.truncated;
    let (payload, as_string) = match body.body_type {
        Some(BodyType::AsBytes(bytes)) => (bytes, false),
        Some(BodyType::AsString(bytes)) => (bytes, true),
        None => (Bytes::new(), false),
    };
    event::Part::Body {
        payload,
        truncated,
        as_string,
    }
}

fn fields(headers: Vec<tap::HeaderValue>) -> Vec<Field> {
    let field = |header: tap::HeaderValue| Field {
        name: header.key,
        // A value that is not UTF-8 is in a separate field, and JSON prints both.
        value: if header.raw_value.is_empty() {
            header.value
        } else {
            header.raw_value
        },
    };
    headers.into_iter().map(field).collect()
}

impl Sink for Decoder {
    fn wants(&mut self, _: Part) -> bool {
        true
    }

    fn begin(&mut self, number: u32, form: Option<Form>) {
        self.open_message();
        self.member(number, form);
    }

    fn number(&mut self, part: Part, number: u64, offset: u64) -> bool {
        Self::number(self, part, number, offset)
    }

    fn part(&mut self, taken: Taken<'_>) -> Result<bool, Damage> {
        if taken.part == Part::Event {
            if self.wants_look() {
                self.looked();
                if self.is_complete() {
                    self.settle(Found::default(), taken.place.offset)?;
                }
            }
            // In readable messages, fields are not repeated.
            if self.is_straight(taken.is_last || self.has_id()) {
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
    pub(super) fn decode_rate(bytes: Slice, offset: u64) -> Result<Option<u32>, Damage> {
        use tap::fractional_percent::DenominatorType;
        let rate = decode::<tap::FractionalPercent>(bytes, Part::SampleRate, offset)?;
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
        let event = self.tell(offset, Time::default(), None, What::SampleRate(rate));
        self.ready.push_back((event, Location::default()));
    }
}

pub(super) fn decode<M: prost::Message + Default>(
    bytes: Slice,
    part: Part,
    offset: u64,
) -> Result<M, Damage> {
    M::decode(Bytes::from_owner(bytes)).map_err(|why| {
        let (what, why) = (part.name(), why.to_string());
        Damage::new(offset, Fault::Message { what, why })
    })
}
