//! The fast path: plain events, which borrow from the window of the input.
//!
//! Nothing is stored and no byte is copied before an event is passed over. Anything that is not plain, or may not be
//! delivered as it arrives, is left to the general walk.
//!
//! Invariant: for every event on the fast path, [`Binary::next`] would deliver an equal one.

use std::num::NonZeroU64;

use crate::input::Input;
use crate::model::event::{Direction, PlainEvent, Timestamp, TraceId};

use super::{Binary, Framing, Open};
use crate::trace::binary::wire::{self, MAX_MESSAGE, short_varint, split_varint, word_varint};
use crate::trace::decode::{Decoder, Place};
use crate::trace::element::{Form, Level};
use crate::trace::locate::{Located, Location};

/// The key of a streamed segment in a `TraceWrapper`.
const SEGMENT: u8 = 0x22;
/// The key of the event in a streamed segment.
const EVENT: u8 = 0x1a;

/// A plain event at the front of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent<'a> {
    pub(crate) event: PlainEvent<'a>,
    /// The offset of the event's field.
    pub(crate) offset: u64,
    place: Place,
    form: Form,
    pass: Pass,
}

/// What is needed to pass over a lent event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// The id of the segment around the event, if the segment is passed over, too.
    id: Option<u64>,
    /// The length of both, in bytes.
    len: usize,
}

impl Lent<'_> {
    /// The location from which the event can be decoded again.
    #[inline]
    pub(crate) fn location(&self) -> Location {
        Location::of(self.place, Located::Event(self.form))
    }

    /// What is needed to pass over it.
    #[inline]
    pub(crate) const fn pass(&self) -> Pass {
        self.pass
    }
}

impl Pass {
    /// Passes over the event.
    #[inline(always)]
    pub(in crate::trace) fn over(self, input: &mut Input, decoder: &mut Decoder) {
        if let Some(id) = self.id {
            decoder.open_segment(id);
        }
        input.skip(self.len);
    }
}

/// Where a plain event may lie in the window.
struct Outline<'a> {
    pass: Pass,
    /// The offset of its field from the front of the window.
    field: usize,
    message: &'a [u8],
}

impl Binary {
    /// The event at the front of the window, if it is plain and complete, and may be delivered as it arrives.
    #[inline(always)]
    pub(in crate::trace) fn plain<'a>(
        &self,
        input: &'a Input,
        decoder: &Decoder,
    ) -> Option<Lent<'a>> {
        let (window, offset) = (input.window(), input.offset());
        let Outline {
            pass,
            field,
            message,
        } = self.outline(window, offset, decoder)?;
        let PlainFields {
            time,
            direction,
            payload,
            seq_num,
        } = PlainFields::decode(message)?;
        let len = message.len() as u64;
        if len > MAX_MESSAGE {
            return None;
        }
        let (trace, form) = match pass.id {
            Some(number) => (
                TraceId {
                    number,
                    ..decoder.trace
                },
                Form::Streamed,
            ),
            None => (decoder.trace, decoder.form),
        };
        Some(Lent {
            event: PlainEvent {
                trace,
                time,
                // Buffered traces have no count.
                seq_num: NonZeroU64::new(seq_num).filter(|_| form == Form::Streamed),
                direction,
                payload,
            },
            offset: offset + field as u64,
            place: Place {
                offset: offset + field as u64,
                value: offset + pass.len as u64 - len,
                len,
            },
            form,
            pass,
        })
    }

    /// Finds an event field of the open level at the front of the window, or a message that has an id, an event
    /// and nothing else.
    #[inline(always)]
    fn outline<'a>(&self, window: &'a [u8], offset: u64, decoder: &Decoder) -> Option<Outline<'a>> {
        if self.skipping > 0 || !decoder.has_nothing_ready() {
            return None;
        }
        let (segment, rest) = match (self.open.last(), self.framing) {
            (Some(&Open { level, end: limit }), _) if level != Level::Wrapper => {
                // A bare trace has no such level, so the event is one of `Generation::Tap`.
                let (message, rest) = only_len(level.event_key()?, window)?;
                let len = window.len() - rest.len();
                let end = offset + len as u64;
                let fits = limit.is_none_or(|limit| end <= limit);
                return (fits && decoder.delivers_at_once(end == self.end)).then_some(Outline {
                    pass: Pass { id: None, len },
                    field: 0,
                    message,
                });
            }
            (Some(Open { end: None, .. }), _) => only_len(SEGMENT, window)?,
            (None, Framing::Varint) if self.root == Level::Wrapper => {
                let (len, rest) = wire::short_varint(window)?;
                let (wrapper, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                match only_len(SEGMENT, wrapper)? {
                    (segment, []) => (segment, rest),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let len = window.len() - rest.len();
        let [0x08, rest @ ..] = segment else {
            return None;
        };
        let (id, field) = short_varint(rest)?;
        let (message, []) = only_len(EVENT, field)? else {
            return None;
        };
        decoder.is_clean().then_some(Outline {
            pass: Pass { id: Some(id), len },
            field: len - field.len(),
            message,
        })
    }
}

/// The value of the field at the front of `bytes` that has this key and a length, and the bytes after it.
#[inline(always)]
fn only_len(key: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (len, rest) = short_varint(rest)?;
    if *first != key {
        return None;
    }
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// The fields of a plain event.
#[derive(Clone, Copy, Debug)]
pub(in crate::trace) struct PlainFields<'a> {
    pub(in crate::trace) time: Timestamp,
    pub(in crate::trace) direction: Direction,
    pub(in crate::trace) payload: &'a [u8],
    /// 0 if there is none.
    pub(in crate::trace) seq_num: u64,
}

impl<'a> PlainFields<'a> {
    /// Decodes an event that consists of a time and bytes, and perhaps a count.
    ///
    /// Returns `None` for any other event, an impossible time, or an invalid event.
    #[inline(always)]
    pub(in crate::trace) fn decode(message: &'a [u8]) -> Option<Self> {
        let [0x0a, len @ ..0x80, time @ ..] = message else {
            return None;
        };
        let [0x08, rest @ ..] = time else { return None };
        let (seconds, rest) = word_varint(rest)?;
        let [0x10, rest @ ..] = rest else { return None };
        let (nanos, rest) = word_varint(rest)?;
        // The varints may have exceeded the end of the time.
        if time.len() - rest.len() != usize::from(*len) {
            return None;
        }
        let (key, payload, rest) = match *rest {
            // In a small event, each length is one byte, also that of the outermost message, which is `c + 4`.
            [key, a, 0x0a, b, 0x0a, c @ ..0x7c, ref rest @ ..] => {
                let (payload, rest) = rest.split_at_checked(usize::from(c))?;
                if b != c + 2 || a != b + 2 {
                    return None;
                }
                (key, payload, rest)
            }
            [key, ref rest @ ..] => {
                let (len, rest) = word_varint(rest)?;
                let (data, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                (key, only_field(0x0a, only_field(0x0a, data)?)?, rest)
            }
            [] => return None,
        };
        let direction = match key {
            0x12 => Direction::Read,
            0x1a => Direction::Write,
            _ => return None,
        };
        let seq_num = match rest {
            [] => 0,
            [0x30, rest @ ..] => match split_varint(rest) {
                Ok((seq_num, [])) => seq_num,
                _ => return None,
            },
            _ => return None,
        };
        let (time, false) = Timestamp::from_parts(seconds as i64, nanos as i32) else {
            return None;
        };
        Some(Self {
            time,
            direction,
            payload,
            seq_num,
        })
    }
}

/// The value of a field that makes up the whole message.
#[inline(always)]
fn only_field(key: u8, message: &[u8]) -> Option<&[u8]> {
    let (first, rest) = message.split_first()?;
    let (len, value) = short_varint(rest)?;
    (*first == key && value.len() as u64 == len).then_some(value)
}
