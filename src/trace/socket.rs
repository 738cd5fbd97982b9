//! Decodes the one message that a trace is full of: an event of a socket tap.
//!
//! Field by field and in place, where a generated type would be filled and taken apart again for each
//! event. Repeated and unknown fields come out as protobuf has it: what comes last counts, messages
//! are merged.

use std::ops::Range;

use crate::event::Direction;

use super::detect::Generation;
use super::element::Part;
use super::error::Fault;
use super::wire::{self, WireValue};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    Data(Direction),
    Closed,
}

/// A `SocketEvent`, or an `Event` of 1.7 to 1.9.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SocketEvent {
    /// Seconds and nanoseconds.
    pub(super) time: Option<(i64, i32)>,
    pub(super) selector: Option<Selector>,
    /// Where in the message the bytes lie that were read or written.
    pub(super) payload: Range<usize>,
    pub(super) as_string: bool,
    pub(super) truncated: bool,
    pub(super) end_stream: bool,
    /// The encoded connection; empty where there is none.
    pub(super) connection: Vec<u8>,
    pub(super) seq_num: u64,
}

/// A field's value, as far as this message has use for it.
enum Value {
    Number(u64),
    /// Where in the message its bytes lie.
    Bytes(Range<usize>),
    Other,
}

impl SocketEvent {
    /// Decodes `message`.
    #[inline]
    pub(super) fn decode(message: &[u8], generation: Generation) -> Result<Self, Box<Fault>> {
        let mut event = Self::default();
        let tap = generation == Generation::Tap;
        fields(message, 0..message.len(), |number, value| {
            match (number, value) {
                (1, Value::Bytes(at)) => event.timestamp(message, at)?,
                (2 | 3, Value::Bytes(at)) => {
                    let direction = match number {
                        2 => Direction::Read,
                        _ => Direction::Write,
                    };
                    event.data(message, at, direction, generation)?;
                }
                (4, Value::Bytes(_)) if tap => event.select(Selector::Closed),
                (5, Value::Bytes(at)) if tap => event.connection.extend_from_slice(&message[at]),
                (6, Value::Number(number)) if tap => event.seq_num = number,
                _ => {}
            }
            Ok(())
        })?;
        Ok(event)
    }

    #[inline]
    fn timestamp(&mut self, message: &[u8], at: Range<usize>) -> Result<(), Box<Fault>> {
        let (mut seconds, mut nanos) = self.time.unwrap_or_default();
        fields(message, at, |number, value| {
            match (number, value) {
                (1, Value::Number(number)) => seconds = number as i64,
                (2, Value::Number(number)) => nanos = number as i32,
                _ => {}
            }
            Ok(())
        })?;
        self.time = Some((seconds, nanos));
        Ok(())
    }

    /// A `Read` or `Write`, whose data is a `Body` since 1.10 and plain bytes before.
    #[inline]
    fn data(
        &mut self,
        message: &[u8],
        at: Range<usize>,
        direction: Direction,
        generation: Generation,
    ) -> Result<(), Box<Fault>> {
        self.select(Selector::Data(direction));
        fields(message, at, |number, value| {
            match (number, value) {
                (1, Value::Bytes(at)) => match generation {
                    Generation::Tap => self.body(message, at)?,
                    Generation::Capture => self.payload = at,
                },
                (2, Value::Number(number)) if direction == Direction::Write => {
                    self.end_stream = number != 0;
                }
                _ => {}
            }
            Ok(())
        })
    }

    #[inline]
    fn body(&mut self, message: &[u8], at: Range<usize>) -> Result<(), Box<Fault>> {
        fields(message, at, |number, value| {
            match (number, value) {
                (1, Value::Bytes(at)) => (self.payload, self.as_string) = (at, false),
                (2, Value::Bytes(at)) => (self.payload, self.as_string) = (at, true),
                (3, Value::Number(number)) => self.truncated = number != 0,
                _ => {}
            }
            Ok(())
        })
    }

    /// Makes the event be about something, and forgets what it was about before.
    #[inline]
    fn select(&mut self, selector: Selector) {
        if self.selector.is_some_and(|before| before != selector) {
            self.payload = 0..0;
            (self.as_string, self.truncated, self.end_stream) = (false, false, false);
        }
        self.selector = Some(selector);
    }
}

/// The fault of a field that is longer than what is left of its message.
#[cold]
fn overrun(claimed: u64, left: u64) -> Box<Fault> {
    let what = Part::Event.name();
    Box::new(Fault::Overrun {
        what,
        claimed,
        left,
    })
}

/// The fault of a message that is there in full, and ends inside a field.
#[cold]
fn cut() -> Fault {
    Fault::Message {
        what: Part::Event.name(),
        why: "a message in it ends inside a field".into(),
    }
}

/// Tells `field` each field of the message that lies at `range`.
#[inline(always)]
fn fields(
    bytes: &[u8],
    range: Range<usize>,
    mut field: impl FnMut(u32, Value) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let Range { start: mut at, end } = range;
    while at < end {
        let header = match wire::header_at(bytes, at, end) {
            Ok(header) => header,
            Err(why) => return Err(Box::new(why.fault().unwrap_or_else(cut))),
        };
        at += header.len;
        let left = (end - at) as u64;
        let value = match header.value {
            WireValue::Varint(number) => Value::Number(number),
            WireValue::Fixed(claimed) | WireValue::Len(claimed) if claimed > left => {
                return Err(overrun(claimed, left));
            }
            WireValue::Fixed(len) => {
                at += len as usize;
                Value::Other
            }
            WireValue::Len(len) => {
                let start = at;
                at += len as usize;
                Value::Bytes(start..at)
            }
        };
        field(header.number, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::decode::proto::tap;
    use prost::Message as _;

    /// What the generated type holds of `message`.
    fn generated(message: &[u8]) -> SocketEvent {
        use tap::{body::BodyType, socket_event::EventSelector};
        let event = tap::SocketEvent::decode(message).unwrap();
        let mut same = SocketEvent {
            time: event.timestamp.map(|at| (at.seconds, at.nanos)),
            connection: event
                .connection
                .map(|told| told.encode_to_vec())
                .unwrap_or_default(),
            seq_num: event.seq_num,
            ..SocketEvent::default()
        };
        let (selector, body, end_stream) = match event.event_selector {
            Some(EventSelector::Read(read)) => {
                (Some(Selector::Data(Direction::Read)), read.data, false)
            }
            Some(EventSelector::Write(write)) => (
                Some(Selector::Data(Direction::Write)),
                write.data,
                write.end_stream,
            ),
            Some(EventSelector::Closed(_)) => (Some(Selector::Closed), None, false),
            None => (None, None, false),
        };
        (same.selector, same.end_stream) = (selector, end_stream);
        if let Some(body) = body {
            same.truncated = body.truncated;
            let (bytes, as_string) = match body.body_type {
                Some(BodyType::AsBytes(bytes)) => (bytes, false),
                Some(BodyType::AsString(bytes)) => (bytes, true),
                None => Default::default(),
            };
            same.as_string = as_string;
            // Payloads below are of one kind of byte each, and different.
            let at = message
                .windows(bytes.len().max(1))
                .rposition(|window| window == bytes);
            same.payload = at.map_or(0..0, |at| at..at + bytes.len());
        }
        same
    }

    /// A field that holds `bytes`.
    fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut field = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut field);
        prost::encoding::encode_varint(bytes.len() as u64, &mut field);
        field.extend_from_slice(bytes);
        field
    }

    fn number(number: u32, value: u64) -> Vec<u8> {
        let mut field = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3), &mut field);
        prost::encoding::encode_varint(value, &mut field);
        field
    }

    #[test]
    fn fields_come_out_as_generated_code_has_them() {
        let (a, b) = (field(1, &[0xaa; 40]), field(2, &[0xbb; 200]));
        let pieces = [
            field(1, &[number(1, 1_700_000_000), number(2, 5)].concat()),
            field(1, &number(2, u64::MAX)),
            field(1, &number(1, (-5_i64) as u64)),
            field(2, &field(1, &a)),
            field(2, &field(1, &[a.clone(), b.clone(), number(3, 1)].concat())),
            field(3, &[field(1, &b), number(2, 1)].concat()),
            field(3, &field(1, &number(3, 1))),
            field(3, &number(2, 0)),
            field(4, &[]),
            field(5, &field(1, &field(2, &field(1, b"/a")))),
            number(6, 1 << 40),
            // Unknown ones of each wire type.
            number(7, 9),
            field(99, b"what"),
            [&[0x79][..], &[1; 8]].concat(),
            [&[0x7d][..], &[1; 4]].concat(),
        ];
        for first in &pieces {
            for second in &pieces {
                for third in &pieces {
                    let message = [&first[..], second, third].concat();
                    let mut read = SocketEvent::decode(&message, Generation::Tap).unwrap();
                    // What is merged is encoded anew.
                    let told = tap::Connection::decode(&read.connection[..]).unwrap();
                    read.connection = told.encode_to_vec();
                    assert_eq!(read, generated(&message), "{message:x?}");
                }
            }
        }
    }

    #[test]
    fn a_cut_is_a_fault_wherever_it_is() {
        let body = field(1, &[field(1, &[0xaa; 140]), number(3, 1)].concat());
        let time = field(1, &[number(1, 1_700_000_000), number(2, 5)].concat());
        let whole = [time.clone(), field(3, &[body, number(2, 1)].concat())].concat();
        for cut in 0..whole.len() {
            let read = SocketEvent::decode(&whole[..cut], Generation::Tap);
            assert_eq!(read.is_ok(), cut == 0 || cut == time.len(), "{cut}");
        }
        // A message that ends inside a field of its own, with more behind it.
        let message = [&[0x0a, 2, 0x08, 0x80][..], &[0x01, 0x10, 0x05]].concat();
        assert!(SocketEvent::decode(&message, Generation::Tap).is_err());
    }
}
