//! Decodes the events of a socket tap, the most frequent message of a trace.
//!
//! They are decoded field by field and in place, whereas a generated type would have to be filled and taken apart
//! for each event. As in protobuf, the last of repeated fields counts, messages are merged, and unknown fields
//! are ignored. An event that is cut at the end of the trace is decoded by [`cut`].
//!
//! Invariant: an event is decoded as the generated type would decode it.

mod cut;

use crate::model::event::Direction;

use crate::trace::binary::wire::{Broken, Rest, each_field, len_key, varint_key};
use crate::trace::detect::Generation;
use crate::trace::element::TracePart;
use crate::trace::error::Fault;

// `SocketEvent`
const TIMESTAMP: u64 = len_key(1);
const READ: u64 = len_key(2);
const WRITE: u64 = len_key(3);
const CLOSED: u64 = len_key(4);
const CONNECTION: u64 = len_key(5);
const SEQ_NUM: u64 = varint_key(6);
// `google.protobuf.Timestamp`
const SECONDS: u64 = varint_key(1);
const NANOS: u64 = varint_key(2);
// `Read`, `Write`
const DATA: u64 = len_key(1);
const END_STREAM: u64 = varint_key(2);
// `Body`
const AS_BYTES: u64 = len_key(1);
const AS_STRING: u64 = len_key(2);
const TRUNCATED: u64 = varint_key(3);

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Selector {
    Data(Direction),
    Closed,
}

/// A `SocketEvent`, or an `Event` of 1.7 to 1.9.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::trace) struct SocketEvent<'a> {
    /// Seconds and nanoseconds.
    pub(in crate::trace) time: Option<(i64, i32)>,
    pub(in crate::trace) selector: Option<Selector>,
    /// The bytes that Envoy received or sent.
    pub(in crate::trace) payload: &'a [u8],
    pub(in crate::trace) as_string: bool,
    pub(in crate::trace) truncated: bool,
    pub(in crate::trace) end_stream: bool,
    /// The encoded connection; empty if there is none.
    pub(in crate::trace) connection: Vec<u8>,
    pub(in crate::trace) seq_num: u64,
}

impl<'a> SocketEvent<'a> {
    /// Decodes `message` into an event without fields, in place.
    #[inline]
    pub(in crate::trace) fn decode(
        &mut self,
        message: &'a [u8],
        generation: Generation,
    ) -> Result<(), Broken> {
        each_field(message, |key, value| match key {
            TIMESTAMP => {
                let (bytes, rest) = value.bytes()?;
                self.time = Some(timestamp(bytes, self.time.unwrap_or_default())?);
                Ok(rest)
            }
            READ | WRITE => {
                let (bytes, rest) = value.bytes()?;
                let direction = match key {
                    READ => Direction::Read,
                    _ => Direction::Write,
                };
                self.data(direction, bytes, generation)?;
                Ok(rest)
            }
            SEQ_NUM if generation == Generation::Tap => {
                let (number, rest) = value.number()?;
                self.seq_num = number;
                Ok(rest)
            }
            _ => self.rare(key, value, generation),
        })
    }

    /// Takes a rare or unknown field, and returns the bytes after it.
    #[cold]
    fn rare(
        &mut self,
        key: u64,
        value: Rest<'a>,
        generation: Generation,
    ) -> Result<Rest<'a>, Broken> {
        match (key, generation) {
            (CLOSED, Generation::Tap) => {
                let (_, rest) = value.bytes()?;
                self.select(Selector::Closed);
                Ok(rest)
            }
            (CONNECTION, Generation::Tap) => {
                let (bytes, rest) = value.bytes()?;
                self.connection.extend_from_slice(bytes);
                Ok(rest)
            }
            _ => value.after(key),
        }
    }

    /// A `Read` or `Write`, whose data is a `Body` since 1.10 and plain bytes before.
    #[inline(always)]
    fn data(
        &mut self,
        direction: Direction,
        message: &'a [u8],
        generation: Generation,
    ) -> Result<(), Broken> {
        self.select(Selector::Data(direction));
        each_field(message, |key, value| match key {
            DATA => {
                let (bytes, rest) = value.bytes()?;
                match generation {
                    Generation::Tap => self.body(bytes)?,
                    Generation::Capture => self.payload = bytes,
                }
                Ok(rest)
            }
            END_STREAM if direction == Direction::Write => {
                let (number, rest) = value.number()?;
                self.end_stream = number != 0;
                Ok(rest)
            }
            _ => value.after(key),
        })
    }

    #[inline(always)]
    fn body(&mut self, message: &'a [u8]) -> Result<(), Broken> {
        each_field(message, |key, value| match key {
            AS_BYTES | AS_STRING => {
                let (bytes, rest) = value.bytes()?;
                self.payload = bytes;
                self.as_string = key == AS_STRING;
                Ok(rest)
            }
            TRUNCATED => {
                let (number, rest) = value.number()?;
                self.truncated = number != 0;
                Ok(rest)
            }
            _ => value.after(key),
        })
    }

    /// Changes the kind of the event, and discards the fields of the earlier kind.
    #[inline(always)]
    fn select(&mut self, selector: Selector) {
        if self.selector.is_some_and(|before| before != selector) {
            self.payload = &[];
            (self.as_string, self.truncated, self.end_stream) = (false, false, false);
        }
        self.selector = Some(selector);
    }
}

/// The seconds and nanoseconds of a `Timestamp`; missing fields are taken from `before`.
#[inline]
fn timestamp(message: &[u8], before: (i64, i32)) -> Result<(i64, i32), Broken> {
    let (mut seconds, mut nanos) = before;
    each_field(message, |key, value| match key {
        SECONDS => {
            let (number, rest) = value.number()?;
            seconds = number as i64;
            Ok(rest)
        }
        NANOS => {
            let (number, rest) = value.number()?;
            nanos = number as i32;
            Ok(rest)
        }
        _ => value.after(key),
    })?;
    Ok((seconds, nanos))
}

/// Why an event cannot be decoded.
#[cold]
pub(in crate::trace) fn fault(broken: Broken) -> Fault {
    let what = TracePart::Event.name();
    match broken {
        Broken::Overrun { claimed, left } => Fault::Overrun {
            what,
            claimed,
            left,
        },
        // It is complete, and ends inside a field.
        Broken::NoHeader(why) => why.fault().unwrap_or_else(|| Fault::Message {
            what,
            why: "a message in it ends inside a field".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
