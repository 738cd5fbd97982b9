//! Walks over the outer messages of a binary trace, field by field.
//!
//! Undelimited and length-delimited files, `TraceWrapper` and the bare `Trace` differ only in the level at which the
//! walk starts. The fast path for plain events is in `plain`.
//!
//! Invariant: only a position in each open message is kept, so a trace of any size takes the memory of its largest
//! event.

mod bounds;
mod framing;
mod plain;

use arrayvec::ArrayVec;

use crate::input::Input;

use crate::trace::binary::look_ahead;
use crate::trace::binary::wire::{self, Header, MAX_MESSAGE, WireValue};
use crate::trace::decode::{Decoder, Place};
use crate::trace::element::{Action, Level, TracePart};
use crate::trace::error::Damage;
use crate::trace::hold::Taken;
use crate::trace::readable::lexer::Step;

use bounds::{message_short, missing, short, within};

pub(in crate::trace) use framing::{Framing, GRPC_HEADER, grpc_length};
#[cfg(test)]
pub(in crate::trace) use plain::PlainFields;
pub(crate) use plain::{Lent, Pass};

/// The position in a binary trace.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Binary {
    /// The open levels, the innermost last. Empty only between messages with a framing.
    open: ArrayVec<Open, MAX_DEPTH>,
    /// The framing of the outermost messages.
    framing: Framing,
    /// The level of the outermost messages.
    root: Level,
    /// The number of bytes of an unknown field that are still to be skipped.
    skipping: u64,
    /// The start and the end of the open message whose members may come in any order: a wrapper if its end is
    /// known, otherwise a member of one.
    start: u64,
    end: u64,
}

/// The largest message that is searched ahead although it names its connection first, in bytes.
const SMALL: u64 = 64 << 10;

/// The maximum depth of nested levels: a tap service's message, a wrapper, a streamed segment, a batch of
/// events.
pub(in crate::trace) const MAX_DEPTH: usize = 4;

/// A message that has begun and not ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::trace) struct Open {
    pub(in crate::trace) level: Level,
    /// The offset after its last byte; `None` if the end of the input ends it.
    pub(in crate::trace) end: Option<u64>,
}

/// A field to take: its header and its position.
#[derive(Clone, Copy, Debug)]
struct Found {
    part: TracePart,
    around: Open,
    header: Header,
    offset: u64,
    len: u64,
}

impl Binary {
    /// Starts at a trace whose outermost messages have the level `root` and this `framing`.
    pub(in crate::trace) fn new(root: Level, framing: Framing) -> Self {
        let whole = Open {
            level: root,
            end: None,
        };
        Self {
            // Messages without lengths are one message, which the end of the input ends.
            open: (framing == Framing::None)
                .then_some(whole)
                .into_iter()
                .collect(),
            framing,
            root,
            skipping: 0,
            start: 0,
            end: u64::MAX,
        }
    }

    /// Starts at a single wrapper of `len` bytes from `start` on.
    pub(in crate::trace) fn wrapper(start: u64, len: u64) -> Self {
        let end = start.saturating_add(len);
        let open = Open {
            level: Level::Wrapper,
            end: Some(end),
        };
        Self {
            open: ArrayVec::from_iter([open]),
            framing: Framing::Varint,
            root: Level::Wrapper,
            skipping: 0,
            start,
            end,
        }
    }

    /// Walks on until `decoder` has made an event.
    #[inline]
    pub(in crate::trace) fn next(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<Step<()>, Damage> {
        loop {
            if self.skipping > 0 {
                let n = self.skipping.min(input.window().len() as u64);
                input.skip(n as usize);
                self.skipping -= n;
                if self.skipping > 0 {
                    return short(input, "a field", Some(self.skipping));
                }
            }
            let offset = input.offset();
            while self
                .open
                .last()
                .is_some_and(|open| open.end == Some(offset))
            {
                self.open.pop();
                if offset == self.end && decoder.end_message()? {
                    return Ok(Step::Item(()));
                }
            }
            let Some(&open) = self.open.last() else {
                match self.enter_framed(input, decoder)? {
                    Step::Item(()) => continue,
                    Step::More => return Ok(Step::More),
                    Step::End => return Ok(Step::End),
                }
            };
            let window = input.window();
            let header = match wire::header(window) {
                Ok(header) => header,
                Err(why) => match why.fault() {
                    Some(fault) => return Err(Damage::new(offset, fault)),
                    None if window.is_empty() && input.ended() && open.end.is_none() => {
                        return Ok(Step::End);
                    }
                    None => return short(input, open.level.name(), missing(open, input)),
                },
            };
            let action = open.level.field(header.number);
            let len = match header.value {
                WireValue::Varint(_) => 0,
                WireValue::Fixed(n) | WireValue::Len(n) => n,
            };
            let end = within(open, offset, action, header, len)?;
            match (action, header.value) {
                (Action::Enter(level), WireValue::Len(_)) => {
                    input.skip(header.len);
                    self.open.push(Open {
                        level,
                        end: Some(end),
                    });
                    if open.end.is_none() {
                        (self.start, self.end) = (offset, end);
                        decoder.open_message();
                    }
                    match (level, level.form()) {
                        (_, Some(form)) => decoder.member(header.number, Some(form)),
                        (Level::Batch, None) => decoder.batch(),
                        _ => {}
                    }
                }
                (Action::Take(part), WireValue::Varint(number)) => {
                    input.skip(header.len);
                    if decoder.number(part, number, offset) {
                        return Ok(Step::Item(()));
                    }
                }
                (Action::Take(part), WireValue::Len(_)) if part.is_message() => {
                    let present = (window.len() - header.len) as u64;
                    if len > MAX_MESSAGE || len > present {
                        if part == TracePart::Event && len <= MAX_MESSAGE && input.ended() {
                            self.cut(open.level, header, len, input, decoder)?;
                        }
                        return message_short(input, part, len, present);
                    }
                    let is_last = end == self.end;
                    if part == TracePart::Event && decoder.delivers_at_once(is_last) {
                        let message = input.take(header.len..header.len + len as usize);
                        let place = Place {
                            offset,
                            value: offset + header.len as u64,
                            len,
                        };
                        if decoder.event(message, place)? {
                            // The end of a message needs no handling if nothing is held.
                            self.leave(end);
                            return Ok(Step::Item(()));
                        }
                    } else {
                        let around = open;
                        let found = Found {
                            part,
                            around,
                            header,
                            offset,
                            len,
                        };
                        if self.take(found, input, decoder)? {
                            return Ok(Step::Item(()));
                        }
                    }
                }
                _ => {
                    // The field is unknown, or has another wire type, which protobuf treats as unknown, too.
                    input.skip(header.len);
                    self.skipping = len;
                }
            }
        }
    }

    /// Leaves the messages that end at `offset`.
    fn leave(&mut self, offset: u64) {
        while self
            .open
            .last()
            .is_some_and(|open| open.end == Some(offset))
        {
            self.open.pop();
        }
    }

    /// Takes the available part of an event that the end of the input cuts. The position stays before it.
    #[cold]
    fn cut(
        &self,
        level: Level,
        header: Header,
        len: u64,
        input: &Input,
        decoder: &mut Decoder,
    ) -> Result<(), Damage> {
        let front = &input.window()[header.len..];
        let offset = input.offset();
        let place = Place {
            offset,
            value: offset + header.len as u64,
            len: front.len() as u64,
        };
        decoder.cut(front, level, place, len)
    }

    /// Takes a part that cannot be delivered as it arrives, or that is rare.
    #[cold]
    #[inline(never)]
    fn take(
        &mut self,
        found: Found,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<bool, Damage> {
        let Found {
            part,
            around,
            header,
            offset,
            len,
        } = found;
        let place = Place {
            offset,
            value: offset + header.len as u64,
            len,
        };
        let end = place.value + len;
        if around.level == Level::Wrapper {
            if around.end.is_none() {
                (self.start, self.end) = (offset, end);
                decoder.open_message();
            }
            if part != TracePart::SampleRate {
                decoder.member(header.number, None);
            }
        }
        if part == TracePart::Event && decoder.wants_look() {
            self.look(end, offset, input, decoder)?;
        }
        // If the batch ends with the message, only further events of the batch can follow.
        let is_last =
            end == self.end || around.level == Level::Batch && around.end == Some(self.end);
        let bytes = input.take(header.len..header.len + len as usize);
        if part == TracePart::Event && decoder.delivers_at_once(is_last) {
            return decoder.event(bytes, place);
        }
        let taken = Taken {
            part,
            level: around.level,
            bytes,
            place,
            is_last,
            whole: Place {
                offset: self.start,
                value: self.start,
                len: self.end - self.start,
            },
        };
        if decoder.take_part(taken)? {
            return Ok(true);
        }
        if decoder.is_full(input.can_look_ahead()) {
            input.unpack_aside();
            let found = self.ahead(decoder).look(&mut input.ahead(), end);
            decoder.give_full(found, end)?;
            return Ok(decoder.advance());
        }
        Ok(false)
    }

    /// Searches a buffered message for its connection after the event that starts at `next` and ends at `end`,
    /// before that event is delivered.
    fn look(
        &self,
        end: u64,
        next: u64,
        input: &Input,
        decoder: &mut Decoder,
    ) -> Result<(), Damage> {
        decoder.looked();
        let level_end = self.open.last().and_then(|open| open.end);
        let mut from = end;
        let is_at_hand = self.end <= input.offset() + input.window().len() as u64;
        let is_to_come = !is_at_hand && !input.can_look_ahead();
        // Messages as Envoy writes them are not searched. A small message is, at little cost, so that repeated ids
        // or addresses are merged as protobuf defines it. The search does not wait for a stream.
        if (self.end - self.start > SMALL || is_to_come) && decoder.is_complete() {
            match level_end {
                Some(level_end) if level_end != self.end => from = level_end,
                _ => return decoder.resolve_connection(look_ahead::FoundAhead::default(), next),
            }
        }
        match self.ahead(decoder).look(&mut input.ahead(), from) {
            Some(found) => decoder.resolve_connection(found, next),
            None => Ok(()),
        }
    }

    /// The position from which the message is searched ahead.
    fn ahead(&self, decoder: &Decoder) -> look_ahead::OpenMessage<'_> {
        look_ahead::OpenMessage {
            open: &self.open,
            end: self.end,
            member: decoder.message.member(),
            piece: decoder.message.piece(),
        }
    }
}
