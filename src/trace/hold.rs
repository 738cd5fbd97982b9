//! What a message holds back until it is known of which connection its events are.
//!
//! Protobuf lets the members of a message come in any order: `trace_id` and `connection` after the events, a
//! submessage in several pieces, which are one, a second member of a oneof, which takes the first one's
//! place. Envoy writes them in the order of their numbers, and then nothing is held: [`Hold::Direct`] and
//! [`Hold::Clean`] are all that an event asks for on its way.
//!
//! A message here is a whole `TraceWrapper` where its end is known, and one of its members where wrappers
//! follow each other without a length, for a second message is not to be told from a piece of the first
//! there.
//!
//! Invariant: nothing is given of a message before it is known what it says of its connection, unless
//! [`LIMIT_BYTES`] or [`LIMIT_EVENTS`] have been reached and the input cannot be looked at twice.

use crate::model::event::{Connection, Direction, What};
use crate::slice::{Piece, Slice};

use super::address;
use super::decode::{Decoder, Place, Time};
use super::detect::Generation;
use super::element::{Form, Level, Part};
use super::error::{Damage, Fault};
use crate::trace::binary::look_ahead::Found;
use crate::trace::binary::wire::MAX_MESSAGE;

/// The most that is held of a message, in bytes of its events.
pub(super) const LIMIT_BYTES: usize = 8 << 20;
/// The most events that are held of a message.
pub(super) const LIMIT_EVENTS: usize = 64 << 10;
/// How much is held, in bytes and in events, before a file is looked ahead in instead.
const AHEAD_BYTES: usize = 64 << 10;
const AHEAD_EVENTS: usize = 256;
/// The most of a connection that comes in several pieces. Of more, the last one counts.
const MAX_CONNECTION: usize = 1 << 20;

/// What may be given of a message as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Every event: nothing that follows in the message changes it.
    Direct,
    /// An event that ends the message, for nothing is held.
    Clean,
    /// Nothing.
    Open,
}

/// A part that was taken out of its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken<'a> {
    pub(super) part: Part,
    /// The message that it was a field of.
    pub(super) level: Level,
    pub(super) bytes: Piece<'a>,
    pub(super) place: Place,
    /// Whether nothing follows in the message that could change it.
    pub(super) is_last: bool,
    /// The whole message, from which pieces that are one part are decoded.
    pub(super) whole: Place,
}

/// What is known of a message that has not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// The number of the wrapper's member that it is.
    member: Option<u32>,
    has_id: bool,
    /// The connection as far as it has come, encoded, and the offset of its last piece.
    connection: Vec<u8>,
    connection_offset: u64,
    /// Which member of a segment's oneof came last.
    piece: Option<Member>,
    held: Vec<Held>,
    held_bytes: usize,
    /// The sample rate, where it has to wait, and its offset.
    rate: Option<(u64, u32)>,
    /// Whether it has been tried to look ahead.
    looked: bool,
    /// Up to here it is known what the message says of its connection: everything has been looked at.
    ahead: u64,
    /// Whether another member takes the place of this one.
    void: bool,
    /// Whether events were given before anything was known of their connection, for there were too many.
    gave_up: bool,
}

/// A member of the oneof in a streamed segment, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Connection = 2,
    Event = 3,
    Batch = 4,
}

/// A part that waits.
#[derive(Clone, Debug)]
struct Held {
    part: Part,
    bytes: Slice,
    place: Place,
    is_joined: bool,
}

impl Message {
    /// The number of the wrapper's member that it is.
    pub(super) const fn member(&self) -> Option<u32> {
        self.member
    }

    /// The number of the field in a segment's oneof that came last.
    pub(super) fn piece(&self) -> Option<u32> {
        self.piece.map(|piece| piece as u32)
    }

    /// Holds a part, and what it is made of where that is bytes.
    fn push(&mut self, part: Part, bytes: Slice, place: Place) {
        self.held_bytes += bytes.len();
        self.held.push(Held {
            part,
            bytes,
            place,
            is_joined: false,
        });
    }

    /// Whether what is held is followed by its connection.
    fn has_ended(&self) -> bool {
        let last = self.held.last();
        !self.connection.is_empty()
            && last.is_some_and(|last| last.place.offset < self.connection_offset)
    }

    /// Forgets what was held and collected: another member takes its place.
    fn clear(&mut self) {
        self.connection.clear();
        self.held.clear();
        self.held_bytes = 0;
    }
}

impl Decoder {
    /// A message begins that is about a connection, or several of which the last counts.
    #[inline]
    pub(super) fn open_message(&mut self) {
        if self.hold != Hold::Clean {
            self.message = Message::default();
            self.hold = Hold::Clean;
        }
        self.message.member = None;
    }

    /// The wrapper's member of this number begins, or goes on.
    #[inline]
    pub(super) fn member(&mut self, number: u32, form: Option<Form>) {
        self.recognised = true;
        if self.message.member != Some(number) {
            self.begin_member(number, form);
        }
    }

    /// A message begins that is a segment of a stream, of the connection `id`.
    ///
    /// The same as [`open_message`](Self::open_message), [`member`](Self::member) and [`take_id`](Self::take_id)
    /// where nothing is held.
    #[inline]
    pub(super) fn open_segment(&mut self, id: u64) {
        debug_assert!(self.hold == Hold::Clean);
        self.recognised = true;
        self.message.member = Some(4);
        self.message.has_id = true;
        self.form = Form::Streamed;
        self.begun = true;
        self.trace.number = id;
    }

    #[inline]
    fn begin_member(&mut self, number: u32, form: Option<Form>) {
        if self.message.member.is_some() {
            // Of a oneof, the last one counts.
            self.drop_held();
            self.message = Message::default();
        }
        self.message.member = Some(number);
        self.message.has_id = false;
        self.trace.number = 0;
        self.form = form.unwrap_or(Form::Streamed);
        // What is streamed says nothing by its messages.
        self.begun = form != Some(Form::Buffered);
        self.hold = match form {
            Some(Form::Buffered) => Hold::Open,
            _ => Hold::Clean,
        };
    }

    /// Forgets what is held, but for the sample rate, which is no member of a oneof.
    fn drop_held(&mut self) {
        self.message.clear();
        self.give_rate(None);
        self.hold = Hold::Clean;
    }

    /// A batch of events begins in a streamed segment.
    pub(super) fn batch(&mut self) {
        if self.is_binary {
            self.piece(Member::Batch);
        }
    }

    /// The message ends: what it says is known. Reports whether an event comes of that.
    #[inline]
    pub(super) fn end_message(&mut self) -> Result<bool, Damage> {
        if self.hold != Hold::Open {
            return Ok(false);
        }
        self.end_held()
    }

    #[cold]
    fn end_held(&mut self) -> Result<bool, Damage> {
        let result = self.give(None);
        self.hold = Hold::Clean;
        self.message = Message::default();
        result?;
        Ok(self.advance())
    }

    /// Gives what is held, as nothing comes that would say more. Reports whether an event comes of that.
    pub(super) fn give_up(&mut self) -> Result<bool, Damage> {
        if self.hold == Hold::Open && !self.message.void {
            self.give(None)?;
        }
        Ok(self.advance())
    }

    /// Takes the front of an event at which the trace ends, after all that is held.
    pub(super) fn cut(
        &mut self,
        front: Piece<'_>,
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

    /// Takes the id that a message has for its connection.
    pub(super) fn take_id(&mut self, number: u64) {
        // What was given had the id that was known, and the rest keeps it.
        if self.hold != Hold::Direct {
            self.trace.number = number;
            self.message.has_id = true;
        }
    }

    /// Whether the id has come.
    pub(super) const fn has_id(&self) -> bool {
        self.message.has_id
    }

    /// Takes the flag that all of one direction was cut.
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
            let part = Part::Truncated(direction);
            self.message.push(part, Slice::default(), place);
            self.hold = Hold::Open;
        }
        false
    }

    /// Takes a part that cannot be given as it comes, or of which a trace has few.
    #[cold]
    pub(super) fn take_part(&mut self, taken: Taken<'_>) -> Result<bool, Damage> {
        self.recognised = true;
        if self.is_binary && taken.level == Level::Streamed {
            self.piece(match taken.part {
                Part::Connection => Member::Connection,
                _ => Member::Event,
            });
        }
        match taken.part {
            Part::SampleRate => self.sample_rate(taken)?,
            _ if self.message.void => {}
            Part::Connection => self.connection(taken)?,
            Part::HttpBuffered | Part::HttpSegment if taken.is_last && self.hold == Hold::Clean => {
                let (bytes, place) = (Slice::from(taken.bytes), taken.place);
                self.http_part(taken.part, bytes, place, false)?;
            }
            Part::Event | Part::HttpBuffered | Part::HttpSegment => self.keep(taken)?,
            Part::TraceId | Part::Truncated(_) => {}
        }
        Ok(self.advance())
    }

    /// Holds a part.
    fn keep(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let Taken {
            part, level, place, ..
        } = taken;
        if self.generation == Generation::Capture && self.message.has_ended() {
            // In bare traces one after the other, this may belong to the next one.
            self.give(None)?;
        }
        self.hold = Hold::Open;
        let is_repeated = part == Part::Event && level != Level::Streamed;
        let message = &mut self.message;
        if self.is_binary
            && !is_repeated
            && let Some(before) = message.held.iter_mut().find(|held| held.part == part)
        {
            // Pieces of one message, which protobuf merges: that is what decoding them together does.
            let bytes = [&before.bytes[..], taken.bytes.bytes()].concat();
            if bytes.len() as u64 > MAX_MESSAGE {
                let (what, claimed) = (part.name(), bytes.len() as u64);
                let fault = Fault::TooLarge { what, claimed };
                return Err(Damage::new(place.offset, fault));
            }
            before.bytes = Slice::from(bytes);
            before.place = taken.whole;
            before.is_joined = true;
            return Ok(());
        }
        // The memory that the first one lies in is held with it; of more, each could hold as much.
        let bytes = match message.held.is_empty() {
            true => Slice::from(taken.bytes),
            false => Slice::copy_of(taken.bytes.bytes()),
        };
        message.push(part, bytes, place);
        Ok(())
    }

    /// A member of a segment's oneof comes, which takes the place of another.
    fn piece(&mut self, member: Member) {
        let before = self.message.piece.replace(member);
        if before.is_some_and(|before| before != member) {
            self.drop_held();
            self.message.void = false;
        }
    }

    /// Takes a connection, or a piece of one.
    fn connection(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let offset = taken.place.offset;
        if offset < self.message.ahead {
            return self.pass_connection();
        }
        let bytes = Slice::from(taken.bytes);
        // What cannot be read is damage here, before anything is given.
        let told = self.decode_connection(&bytes, offset)?;
        match (self.generation, self.hold) {
            // A bare trace is one connection, which begins here.
            (Generation::Capture, _) => self.begun = false,
            (Generation::Tap, Hold::Direct) => {
                if std::mem::take(&mut self.message.gave_up) {
                    self.push(offset, Time::default(), None, What::Late);
                }
                let what = What::Connection(Box::new(told));
                self.push(offset, Time::default(), None, what);
                return Ok(());
            }
            (Generation::Tap, _) => {}
        }
        let message = &mut self.message;
        if message.connection.len() + bytes.len() > MAX_CONNECTION {
            message.connection.clear();
        }
        message.connection.extend_from_slice(&bytes);
        message.connection_offset = offset;
        self.hold = Hold::Open;
        Ok(())
    }

    /// Passes over a connection that was known before it came.
    fn pass_connection(&mut self) -> Result<(), Damage> {
        if self.generation == Generation::Capture {
            // In bare traces one after the other, the next events may have another.
            self.message.looked = false;
            self.hold = Hold::Open;
        }
        Ok(())
    }

    /// Decodes a connection, and takes the id where it is a bare trace's.
    fn decode_connection(&mut self, bytes: &Slice, offset: u64) -> Result<Connection, Damage> {
        Ok(match self.generation {
            Generation::Tap => {
                let (connection, numbering) = address::of_tap(bytes, offset)?;
                self.numbering = numbering.or(self.numbering);
                connection
            }
            Generation::Capture => {
                let (connection, id) = address::of_capture(bytes, offset)?;
                self.trace.number = id;
                self.message.has_id = true;
                connection
            }
        })
    }

    /// Whether to look ahead for what the message says of its connection, now that an event of it comes.
    pub(super) fn wants_look(&self) -> bool {
        self.hold == Hold::Open && !self.message.looked && self.form == Form::Buffered
    }

    /// Takes note that looking ahead was tried.
    pub(super) const fn looked(&mut self) {
        self.message.looked = true;
    }

    /// Whether the message has said all of its connection that Envoy ever says, so that what follows in it
    /// needs no look.
    pub(super) fn is_complete(&mut self) -> bool {
        if !self.message.has_id || self.message.connection.is_empty() {
            return false;
        }
        let bytes = Slice::copy_of(&self.message.connection);
        let told = self.decode_connection(&bytes, 0);
        told.is_ok_and(|told| told.local.is_some() && told.remote.is_some())
    }

    /// Whether something is held, or has to be.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.hold == Hold::Open
    }

    /// Whether so much is held that it has to be given; `in_file` where it can be looked ahead instead.
    #[inline]
    pub(super) fn is_full(&self, in_file: bool) -> bool {
        let (bytes, events) = match in_file {
            true => (AHEAD_BYTES, AHEAD_EVENTS),
            false => (LIMIT_BYTES, LIMIT_EVENTS),
        };
        let message = &self.message;
        // A single event is in memory anyhow.
        message.held.len() > 1 && (message.held_bytes > bytes || message.held.len() > events)
    }

    /// Gives what is held, for it is too much, or goes by what was `found` further ahead.
    ///
    /// `next` is the offset of what is to be given after that.
    pub(super) fn give_full(&mut self, found: Option<Found>, next: u64) -> Result<(), Damage> {
        self.message.gave_up = found.is_none() && self.message.connection.is_empty();
        self.settle(found.unwrap_or_default(), next)
    }

    /// Takes what was found further ahead in the message, up to its end, and gives what is held.
    ///
    /// `next` is the offset of what is to be given after that.
    #[allow(clippy::needless_pass_by_value, reason = "what was found serves once")]
    pub(super) fn settle(&mut self, found: Found, next: u64) -> Result<(), Damage> {
        let message = &mut self.message;
        message.looked = true;
        if found.is_void {
            message.clear();
            message.void = true;
            return Ok(());
        }
        if let Some(id) = found.id {
            self.trace.number = id;
            message.has_id = true;
        }
        if !found.connection.is_empty() {
            let before = message.connection.len();
            message.connection.extend_from_slice(&found.connection);
            let all = Slice::copy_of(&message.connection);
            if self.decode_connection(&all, found.offset).is_err() {
                // It is damage where it stands, which is not here.
                self.message.connection.truncate(before);
                return self.give(Some(next));
            }
            self.message.connection_offset = found.offset;
            if self.generation == Generation::Capture {
                self.begun = false;
            }
        }
        self.message.ahead = found.end;
        self.give(Some(next))
    }

    /// Gives all that is held: what the message says of its connection is known, as far as it ever is.
    ///
    /// `next` is the offset of what is to be given after that, where something is.
    fn give(&mut self, next: Option<u64>) -> Result<(), Damage> {
        let held = std::mem::take(&mut self.message.held);
        self.message.held_bytes = 0;
        self.hold = Hold::Direct;
        let mut result = Ok(());
        if !self.message.connection.is_empty() {
            let own = self.message.connection_offset;
            // Before all that it is about, wherever it stands.
            let first = held.first().map(|held| held.place.offset).or(next);
            let bytes = Slice::from(std::mem::take(&mut self.message.connection));
            match self.decode_connection(&bytes, own) {
                Ok(told) => {
                    let what = What::Connection(Box::new(told));
                    let offset = first.map_or(own, |first| first.min(own));
                    self.push(offset, Time::default(), None, what);
                }
                Err(damage) => result = Err(damage),
            }
        }
        for held in held {
            self.give_rate(Some(held.place.offset));
            self.give_part(held)?;
        }
        self.give_rate(None);
        result
    }

    fn give_part(&mut self, held: Held) -> Result<(), Damage> {
        let Held {
            part,
            bytes,
            place,
            is_joined,
        } = held;
        match part {
            Part::Truncated(direction) => {
                let what = What::Truncated(direction);
                self.push(place.offset, Time::default(), None, what);
            }
            Part::HttpBuffered | Part::HttpSegment => {
                self.http_part(part, bytes, place, is_joined)?;
            }
            _ => self.held_event(&bytes, place, is_joined)?,
        }
        Ok(())
    }

    /// Gives the sample rate, unless it comes after `offset`.
    fn give_rate(&mut self, offset: Option<u64>) {
        let is_due = |&mut (at, _): &mut (u64, u32)| offset.is_none_or(|offset| at < offset);
        if let Some((at, rate)) = self.message.rate.take_if(is_due) {
            self.rate(at, rate);
        }
    }

    /// Takes the sample rate.
    fn sample_rate(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let offset = taken.place.offset;
        let Some(rate) = Self::decode_rate(Slice::from(taken.bytes), offset)? else {
            return Ok(());
        };
        if self.hold == Hold::Open && !self.message.void {
            self.message.rate = Some((offset, rate));
        } else {
            self.rate(offset, rate);
        }
        Ok(())
    }
}
