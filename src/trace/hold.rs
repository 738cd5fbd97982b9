//! Holds back the events of a message until their connection is known.
//!
//! Protobuf allows the fields of a message in any order: `trace_id` and `connection` may follow the events, a
//! submessage may be split into several pieces, and a second member of a oneof replaces the first. Envoy writes
//! fields in the order of their numbers, and then nothing is held: an event only checks for [`Hold::Direct`] or
//! [`Hold::Clean`].
//!
//! A message here is a whole `TraceWrapper` if its end is known. If wrappers follow each other without a length, it
//! is one of the wrapper's fields, because a second wrapper cannot be distinguished from a piece of the first.
//!
//! Invariant: no event of a message is delivered before everything about its connection is known, unless
//! [`LIMIT_BYTES`] or [`LIMIT_EVENTS`] is reached and the input cannot be searched ahead.

mod connection;
mod delivery;

use crate::model::event::{Direction, What};

use super::decode::{Decoder, Place, Time};
use super::detect::Generation;
use super::element::{Form, Level, TracePart};
use super::error::{Damage, Fault};
use crate::trace::binary::wire::MAX_MESSAGE;

/// The maximum size of the events held from a message, in bytes.
pub(super) const LIMIT_BYTES: usize = 8 << 20;
/// The maximum number of events held from a message.
pub(super) const LIMIT_EVENTS: usize = 64 << 10;

/// Which events of a message may be delivered as they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Every event: nothing that follows in the message changes it.
    Direct,
    /// The event that ends the message: nothing can follow it, and nothing is held before it.
    Clean,
    /// No event.
    Open,
}

/// A part that was taken from its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken<'a> {
    pub(super) part: TracePart,
    /// The message that contained the field.
    pub(super) level: Level,
    pub(super) bytes: &'a [u8],
    pub(super) place: Place,
    /// Whether nothing that could change it follows in the message.
    pub(super) is_last: bool,
    /// The whole message, from which a part in several pieces is decoded.
    pub(super) whole: Place,
}

/// The state of a message that has not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingMessage {
    /// The number of its field in the wrapper.
    member: Option<u32>,
    has_id: bool,
    /// The encoded connection as far as it has arrived, and the offset of its last piece.
    connection: Vec<u8>,
    connection_offset: u64,
    /// The last member of a segment's oneof.
    piece: Option<Member>,
    held: Vec<Held>,
    held_bytes: usize,
    /// The sample rate, if it has to wait, and its offset.
    rate: Option<(u64, u32)>,
    /// Whether a search ahead was tried.
    looked: bool,
    /// Everything that the message records about its connection up to this offset is known.
    ahead: u64,
    /// Whether another member of the oneof has replaced this one.
    void: bool,
    /// Whether events were delivered before their connection was known, because there were too many.
    gave_up: bool,
}

/// A member of the oneof in a streamed segment, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Connection = 2,
    Event = 3,
    Batch = 4,
}

/// A part that is held.
#[derive(Clone, Debug)]
struct Held {
    part: TracePart,
    bytes: Vec<u8>,
    place: Place,
    is_joined: bool,
}

impl PendingMessage {
    /// The number of its field in the wrapper.
    pub(super) const fn member(&self) -> Option<u32> {
        self.member
    }

    /// The number of the last member of a segment's oneof.
    pub(super) fn piece(&self) -> Option<u32> {
        self.piece.map(|piece| piece as u32)
    }

    /// Holds a part, and its bytes if it has any.
    fn push(&mut self, part: TracePart, bytes: Vec<u8>, place: Place) {
        self.held_bytes += bytes.len();
        self.held.push(Held {
            part,
            bytes,
            place,
            is_joined: false,
        });
    }

    /// Whether the connection follows the held events.
    fn has_ended(&self) -> bool {
        let last = self.held.last();
        !self.connection.is_empty()
            && last.is_some_and(|last| last.place.offset < self.connection_offset)
    }

    /// Discards everything held and collected: another member replaces it.
    fn clear(&mut self) {
        self.connection.clear();
        self.held.clear();
        self.held_bytes = 0;
    }
}

impl Decoder {
    /// Begins a message with a connection, or several such messages of which the last counts.
    #[inline]
    pub(super) fn open_message(&mut self) {
        if self.hold != Hold::Clean {
            self.message = PendingMessage::default();
            self.hold = Hold::Clean;
        }
        self.message.member = None;
    }

    /// Begins or continues the wrapper's member with this number.
    #[inline]
    pub(super) fn member(&mut self, number: u32, form: Option<Form>) {
        self.recognised = true;
        if self.message.member != Some(number) {
            self.begin_member(number, form);
        }
    }

    /// Begins a segment of a stream for the connection `id`.
    ///
    /// The same as [`open_message`](Self::open_message), [`member`](Self::member) and [`take_id`](Self::take_id)
    /// if nothing is held and a message has begun before.
    #[inline]
    pub(super) fn open_segment(&mut self, id: u64) {
        debug_assert!(self.hold == Hold::Clean && self.begun && self.recognised);
        self.message.member = Some(4);
        self.message.has_id = true;
        self.form = Form::Streamed;
        self.trace.number = id;
    }

    #[inline]
    fn begin_member(&mut self, number: u32, form: Option<Form>) {
        if self.message.member.is_some() {
            // Of a oneof, the last member counts.
            self.drop_held();
            self.message = PendingMessage::default();
        }
        self.message.member = Some(number);
        self.message.has_id = false;
        self.trace.number = 0;
        self.form = form.unwrap_or(Form::Streamed);
        // Streamed messages deliver no `Begin`.
        self.begun = form != Some(Form::Buffered);
        self.hold = match form {
            Some(Form::Buffered) => Hold::Open,
            _ => Hold::Clean,
        };
    }

    /// Discards what is held, except for the sample rate, which is not a member of a oneof.
    fn drop_held(&mut self) {
        self.message.clear();
        self.give_rate(None);
        self.hold = Hold::Clean;
    }

    /// Begins a batch of events in a streamed segment.
    pub(super) fn batch(&mut self) {
        if self.is_binary {
            self.piece(Member::Batch);
        }
    }

    /// Ends the message, whose connection is now known. Returns whether that produced an event.
    #[inline]
    pub(super) fn end_message(&mut self) -> Result<bool, Damage> {
        if self.hold != Hold::Open {
            return Ok(false);
        }
        self.end_held()
    }

    /// Takes the part of an event before the end of the trace, after everything that is held.
    pub(super) fn cut(
        &mut self,
        front: &[u8],
        level: Level,
        place: Place,
        len: u64,
    ) -> Result<(), Damage> {
        self.recognised = true;
        if level == Level::Streamed && self.is_binary {
            self.piece(Member::Event);
        }
        if self.message.void {
            return Ok(());
        }
        if self.hold == Hold::Open {
            self.give(Some(place.offset))?;
        }
        self.cut_event(front, place, len)
    }

    /// Takes the trace id of a message.
    pub(super) fn take_id(&mut self, number: u64) {
        // Events that were delivered already have the earlier id, so the rest of the message keeps that id, too.
        if self.hold != Hold::Direct {
            self.trace.number = number;
            self.message.has_id = true;
        }
    }

    /// Whether the id has arrived.
    pub(super) const fn has_id(&self) -> bool {
        self.message.has_id
    }

    /// Takes the flag that one direction was truncated.
    pub(super) fn take_truncated(&mut self, direction: Direction, offset: u64) -> bool {
        if self.hold == Hold::Direct {
            self.push(offset, Time::default(), None, What::Truncated(direction));
            return self.advance();
        }
        if !self.message.void {
            let place = Place {
                offset,
                value: offset,
                len: 0,
            };
            let part = TracePart::Truncated(direction);
            self.message.push(part, Vec::new(), place);
            self.hold = Hold::Open;
        }
        false
    }

    /// Takes a part that cannot be delivered as it arrives, or that is rare.
    #[cold]
    pub(super) fn take_part(&mut self, taken: Taken<'_>) -> Result<bool, Damage> {
        self.recognised = true;
        if self.is_binary && taken.level == Level::Streamed {
            self.piece(match taken.part {
                TracePart::Connection => Member::Connection,
                _ => Member::Event,
            });
        }
        match taken.part {
            TracePart::SampleRate => self.sample_rate(taken)?,
            _ if self.message.void => {}
            TracePart::Connection => self.connection(taken)?,
            TracePart::HttpBuffered | TracePart::HttpSegment
                if taken.is_last && self.hold == Hold::Clean =>
            {
                self.http_part(taken.part, taken.bytes, taken.place, false)?;
            }
            TracePart::Event | TracePart::HttpBuffered | TracePart::HttpSegment => {
                self.keep(taken)?;
            }
            TracePart::TraceId | TracePart::Truncated(_) => {}
        }
        Ok(self.advance())
    }

    /// Holds a part.
    fn keep(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let Taken {
            part, level, place, ..
        } = taken;
        if self.generation == Generation::Capture && self.message.has_ended() {
            // In concatenated bare traces, this may belong to the next one.
            self.give(None)?;
        }
        self.hold = Hold::Open;
        let is_repeated = part == TracePart::Event && level != Level::Streamed;
        let message = &mut self.message;
        if self.is_binary
            && !is_repeated
            && let Some(before) = message.held.iter_mut().find(|held| held.part == part)
        {
            // Protobuf merges the pieces of a message, which is what decoding their concatenation does.
            let bytes = [&before.bytes[..], taken.bytes].concat();
            if bytes.len() as u64 > MAX_MESSAGE {
                let (what, claimed) = (part.name(), bytes.len() as u64);
                let fault = Fault::TooLarge { what, claimed };
                return Err(Damage::new(place.offset, fault));
            }
            before.bytes = bytes;
            before.place = taken.whole;
            before.is_joined = true;
            return Ok(());
        }
        message.push(part, taken.bytes.to_vec(), place);
        Ok(())
    }

    /// Records a member of a segment's oneof. It replaces a different member before it.
    fn piece(&mut self, member: Member) {
        let before = self.message.piece.replace(member);
        if before.is_some_and(|before| before != member) {
            self.drop_held();
            self.message.void = false;
        }
    }

    /// Whether something is held or has to be.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.hold == Hold::Open
    }
}
