//! Where an event lies in a trace, and how it is decoded again from its bytes alone.
//!
//! A merge goes over its traces once to learn when each event happened, and reads single events by their
//! places in the order of their times after that. This module knows the place and decodes from it. It does
//! not read files: the caller does.
//!
//! Invariant: what [`EventDecoder::decode`] gives is what the [`Reader`](super::Reader) gave at that
//! location, but for the trace id, which stands in the message around the event.

use crate::input::Input;
use crate::model::event::Event;

use super::decode::{Decoder, Place};
use super::detect::{Encoding, Generation};
use super::element::{Form, Level, Part};
use super::error::{Damage, Fault};
use super::hold::Taken;
use super::schema::{self, Message};
use crate::trace::binary::look_ahead::Sink as _;
use crate::trace::binary::walk::Binary;
use crate::trace::readable::json::Json;
use crate::trace::readable::lexer::Step;
use crate::trace::readable::text::Text;
use crate::trace::readable::transcode::{BytesForm, Transcoder};

/// Where a trace's events lie, as far as it has to be known to decode one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How the trace is written.
    pub encoding: Encoding,
    /// Which messages it consists of.
    pub generation: Generation,
}

/// The place of an event in its trace.
///
/// All zero for an event of which no packet comes: it has no place of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Where the message begins that the event is decoded from, in bytes of the (decoded) input.
    pub offset: u64,
    /// The length of that message as it is encoded, in bytes.
    pub len: u32,
    /// What kind of message it is, which of its events is meant, and where its field begins. Opaque.
    pub part: u32,
}

/// What an event is decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// An event of a socket tap.
    Event(Form),
    /// The front of one, at which the trace ends.
    Cut(Form),
    /// A whole HTTP exchange.
    HttpBuffered,
    /// A piece of an HTTP message.
    HttpSegment,
    /// A whole message, which has the event in several pieces.
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

    const fn part(self) -> Part {
        match self {
            Self::Event(_) | Self::Cut(_) | Self::Whole => Part::Event,
            Self::HttpBuffered => Part::HttpBuffered,
            Self::HttpSegment => Part::HttpSegment,
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

// What `Location::part` is made of, from its lowest bit: which event of the message, what kind of message,
// and how far before the message its field begins.
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
            // A readable message may be longer. What is cut there does not decode, and says so.
            len: u32::try_from(place.len).unwrap_or(u32::MAX),
            part: (before.min(u64::from(u16::MAX)) as u32) << BEFORE_SHIFT
                | located.code() << EVENT_BITS,
        }
    }

    /// Goes on to the next event of the same message.
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

    /// Where the message's field begins, or no further before it than can be remembered.
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
/// It keeps its memory from one event to the next.
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
    /// Decodes the event at `location` of a trace of this `format`. `bytes` are the trace's bytes from
    /// `location.offset` on, `location.len` of them.
    ///
    /// The event's `trace` is not known here, for the message around the event has it: the caller sets it.
    ///
    /// # Errors
    /// Bytes that are no such event: the trace has changed since its location was taken.
    pub fn decode(
        &mut self,
        format: Format,
        location: Location,
        bytes: &[u8],
    ) -> Result<&mut Event, Damage> {
        // The memory of the last event is used again.
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
                // How long the event is as a whole was found to fit what is in it.
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
        // The other events of the message come with it.
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

/// The damage that a trace does not hold what it did.
fn changed(location: Location) -> Damage {
    let (what, why) = ("an event", "the trace has changed meanwhile".to_owned());
    Damage::new(location.offset, Fault::Message { what, why })
}
