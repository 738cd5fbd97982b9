//! The location of an event in a trace, and decoding a single event from its bytes.
//!
//! A merge reads its traces once for the times of the events, and then reads single events by their locations, in
//! the order of the times. The caller reads the file.
//!
//! Invariant: [`EventDecoder::decode`] returns the event that the [`Reader`](super::Reader) returned at that
//! location, except for the trace id, which is in the enclosing message.

use crate::input::Input;
use crate::model::event::Event;

use super::decode::{Decoder, Place};
use super::detect::{Encoding, Generation};
use super::element::{Form, Level, TracePart};
use super::error::{Damage, Fault};
use super::hold::Taken;
use super::schema::{self, Message};
use crate::trace::binary::look_ahead::PartSink as _;
use crate::trace::binary::walk::Binary;
use crate::trace::readable::json::Json;
use crate::trace::readable::lexer::Step;
use crate::trace::readable::text::Text;
use crate::trace::readable::transcode::{BytesForm, Transcoder};

/// The format of a trace, as far as decoding a single event requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFormat {
    /// How the trace is written.
    pub encoding: Encoding,
    /// The generation of its messages.
    pub generation: Generation,
}

/// The position of an event in its trace.
///
/// All zero for an event that makes no packet and has no position of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The offset of the message that holds the event, in the (decoded) input.
    pub offset: u64,
    /// The length of the encoded message, in bytes.
    pub len: u32,
    /// The kind of the message, the index of the event in it, and the offset of its field. Opaque.
    pub part: u32,
}

/// The message that holds an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// An event of a socket tap.
    Event(Form),
    /// The part of an event before the end of the trace.
    Cut(Form),
    /// A whole HTTP exchange.
    HttpBuffered,
    /// A piece of an HTTP message.
    HttpSegment,
    /// A complete message with the event in several pieces.
    Whole,
}

impl Located {
    const ALL: [Self; 7] = [
        Self::Event(Form::Buffered),
        Self::Event(Form::Streamed),
        Self::HttpBuffered,
        Self::HttpSegment,
        Self::Whole,
        Self::Cut(Form::Buffered),
        Self::Cut(Form::Streamed),
    ];

    #[inline]
    const fn code(self) -> u32 {
        match self {
            Self::Event(Form::Buffered) => 1,
            Self::Event(Form::Streamed) => 2,
            Self::HttpBuffered => 3,
            Self::HttpSegment => 4,
            Self::Whole => 5,
            Self::Cut(Form::Buffered) => 6,
            Self::Cut(Form::Streamed) => 7,
        }
    }

    const fn part(self) -> TracePart {
        match self {
            Self::Event(_) | Self::Cut(_) | Self::Whole => TracePart::Event,
            Self::HttpBuffered => TracePart::HttpBuffered,
            Self::HttpSegment => TracePart::HttpSegment,
        }
    }

    /// The type of the message.
    fn message(self, generation: Generation) -> &'static Message {
        match (self, generation) {
            (Self::Event(_) | Self::Cut(_), Generation::Tap) => &schema::TAP_SOCKETEVENT,
            (Self::Event(_) | Self::Cut(_), Generation::Capture) => &schema::CAPTURE_EVENT,
            (Self::Whole, _) => &schema::TAP_TRACEWRAPPER,
            (Self::HttpBuffered, _) => &schema::TAP_HTTPBUFFEREDTRACE,
            (Self::HttpSegment, _) => &schema::TAP_HTTPSTREAMEDTRACESEGMENT,
        }
    }
}

// The components of `Location::part`, from the lowest bit: the index of the event in the message, the kind of the
// message, and the distance from its field to the message.
const EVENT_BITS: u32 = 8;
const KIND_BITS: u32 = 8;
const BEFORE_SHIFT: u32 = EVENT_BITS + KIND_BITS;

impl Location {
    /// The first event of the message at `place`.
    #[inline]
    pub(super) fn of(place: Place, located: Located) -> Self {
        let before = place.value.saturating_sub(place.offset);
        Self {
            offset: place.value,
            // A readable message may be longer. Truncated here, it does not decode and is reported.
            len: u32::try_from(place.len).unwrap_or(u32::MAX),
            part: (before.min(u64::from(u16::MAX)) as u32) << BEFORE_SHIFT
                | located.code() << EVENT_BITS,
        }
    }

    /// Advances to the next event of the same message.
    pub(super) const fn next_part(&mut self) {
        self.part += 1;
    }

    /// The location of the first event of the same message.
    pub(crate) const fn first_of_message(self) -> Self {
        Self {
            part: self.part & !((1 << EVENT_BITS) - 1),
            ..self
        }
    }

    /// The offset of the message's field, or as far before the message as can be represented.
    fn field_offset(self) -> u64 {
        self.offset
            .saturating_sub((self.part >> BEFORE_SHIFT).into())
    }

    fn located(self) -> Option<Located> {
        let code = self.part >> EVENT_BITS & ((1 << KIND_BITS) - 1);
        Located::ALL
            .into_iter()
            .find(|located| located.code() == code)
    }
}

/// Decodes single events from their bytes.
///
/// Its memory is reused from one event to the next.
#[derive(Debug)]
pub struct EventDecoder {
    input: Input,
    decoder: Decoder,
    text: Option<Box<Transcoder<Text>>>,
    json: Option<Box<Transcoder<Json>>>,
}

impl Default for EventDecoder {
    fn default() -> Self {
        Self {
            input: Input::from_bytes([]),
            decoder: Decoder::new(Encoding::Binary, Generation::Tap, 0),
            text: None,
            json: None,
        }
    }
}

impl EventDecoder {
    /// Decodes the event at `location` of a trace with this `format`. `bytes` are the `location.len` bytes of the
    /// trace from `location.offset` on.
    ///
    /// The event's `trace` is not set, because it is in the enclosing message: the caller sets it.
    ///
    /// # Errors
    /// When the bytes are not such an event: the trace has changed since the location was recorded.
    pub fn decode(
        &mut self,
        format: TraceFormat,
        location: Location,
        bytes: &[u8],
    ) -> Result<&mut Event, Damage> {
        // Reuses the memory of the last event.
        self.decoder.restart(format.encoding, format.generation);
        let located = location
            .located()
            .filter(|_| bytes.len() as u64 == u64::from(location.len));
        let Some(located) = located else {
            return Err(changed(location));
        };
        self.input.replace(bytes, location.offset);
        self.decoder.form = match located {
            Located::Event(form) | Located::Cut(form) => form,
            _ => Form::Streamed,
        };
        let place = Place {
            offset: location.field_offset(),
            value: location.offset,
            len: location.len.into(),
        };
        let (part, message) = (located.part(), located.message(format.generation));
        let (input, decoder) = (&mut self.input, &mut self.decoder);
        let mut whole = Binary::wrapper(location.offset, location.len.into());
        let generation = format.generation;
        let mut at_hand = match format.encoding {
            Encoding::Binary | Encoding::Delimited if matches!(located, Located::Cut(_)) => {
                // The first pass has checked that the length of the whole event fits its contents.
                decoder.cut(input.take(0..bytes.len()), Level::Batch, place, u64::MAX)?;
                decoder.advance()
            }
            _ if located == Located::Whole => whole.next(input, decoder)? == Step::Item(()),
            Encoding::Binary | Encoding::Delimited => decoder.part(Taken {
                part,
                level: Level::Batch,
                bytes: input.take(0..bytes.len()),
                place,
                is_last: true,
                whole: place,
            })?,
            Encoding::Text => {
                let level = Level::Wrapper;
                let new = || {
                    Box::new(Transcoder::new(
                        Text::new(generation),
                        BytesForm::Plain,
                        level,
                    ))
                };
                let text = self.text.get_or_insert_with(new);
                text.message(input, decoder, part, message, place)?
            }
            Encoding::Json => {
                let level = Level::Wrapper;
                let new = || {
                    Box::new(Transcoder::new(
                        Json::new(generation),
                        BytesForm::Base64,
                        level,
                    ))
                };
                let json = self.json.get_or_insert_with(new);
                json.message(input, decoder, part, message, place)?
            }
        };
        // The message's other events are decoded with it.
        while at_hand && decoder.location != location {
            at_hand = decoder.advance()
                || located == Located::Whole && whole.next(input, decoder)? == Step::Item(());
        }
        match at_hand {
            true => Ok(&mut decoder.current),
            false => Err(changed(location)),
        }
    }
}

/// The damage of a trace that has changed.
fn changed(location: Location) -> Damage {
    let (what, why) = ("an event", "the trace has changed meanwhile".to_owned());
    Damage::new(location.offset, Fault::Message { what, why })
}
