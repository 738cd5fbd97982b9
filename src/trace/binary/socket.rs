//! Decodes the events of a socket tap, the most frequent message of a trace.
//!
//! They are decoded field by field and in place, whereas a generated type would have to be filled and taken apart
//! for each event. As in protobuf, the last of repeated fields counts, messages are merged, and unknown fields
//! are ignored.

use crate::model::event::Direction;

use crate::trace::binary::wire::{
    Broken, NoHeader, Rest, WireValue, each_field, header, len_key, varint_key,
};
use crate::trace::detect::Generation;
use crate::trace::element::Part;
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

    /// Decodes the available part of an event of `len` bytes, and returns how many bytes of its payload are
    /// missing.
    ///
    /// Returns `None` if none of the payload is available, or if the event is invalid. The number is `None` if
    /// the event is cut after its payload.
    pub(in crate::trace) fn decode_cut(
        &mut self,
        front: &'a [u8],
        len: u64,
        generation: Generation,
    ) -> Option<Option<u64>> {
        let cut = Cut::of(front, len)?;
        self.decode(cut.whole, generation).ok()?;
        let direction = match cut.key {
            READ => Direction::Read,
            WRITE => Direction::Write,
            // The missing part is not payload.
            _ => return self.has_data().then_some(None),
        };
        self.select(Selector::Data(direction));
        let cut = Cut::of(cut.front, cut.len)?;
        self.data(direction, cut.whole, generation).ok()?;
        match (cut.key, generation) {
            (DATA, Generation::Tap) => {
                let cut = Cut::of(cut.front, cut.len)?;
                self.body(cut.whole).ok()?;
                match cut.key {
                    AS_BYTES | AS_STRING => {
                        self.as_string = cut.key == AS_STRING;
                        self.take_cut(cut)
                    }
                    // After a payload, Envoy writes whether it is truncated.
                    _ => {
                        self.truncated = true;
                        self.has_data().then_some(None)
                    }
                }
            }
            (DATA, Generation::Capture) => self.take_cut(cut),
            _ => self.has_data().then_some(None),
        }
    }

    /// Takes the available part of the payload, and returns how much is missing.
    fn take_cut(&mut self, cut: Cut<'a>) -> Option<Option<u64>> {
        self.payload = cut.front;
        self.truncated = true;
        self.has_data()
            .then(|| Some(cut.len - cut.front.len() as u64))
    }

    /// Whether there is something to show.
    fn has_data(&self) -> bool {
        matches!(self.selector, Some(Selector::Data(_))) && !self.payload.is_empty()
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
            _ => value.behind(key),
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
            _ => value.behind(key),
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
            _ => value.behind(key),
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

/// A message whose end is missing.
#[derive(Clone, Copy, Debug)]
struct Cut<'a> {
    /// The complete fields.
    whole: &'a [u8],
    /// The key of the incomplete field; 0 if the key is incomplete, too.
    key: u64,
    /// The available part of its value, and the length of the complete value.
    front: &'a [u8],
    len: u64,
}

impl<'a> Cut<'a> {
    /// Splits the available part of a message of `len` bytes. Returns `None` if it is invalid.
    fn of(front: &'a [u8], len: u64) -> Option<Self> {
        let mut at = 0;
        loop {
            let rest = front.get(at..)?;
            let header = match header(rest) {
                Ok(header) => header,
                Err(NoHeader::Short) => {
                    return Some(Self {
                        whole: &front[..at],
                        key: 0,
                        front: &[],
                        len: 0,
                    });
                }
                Err(_) => return None,
            };
            let value = rest.get(header.len..)?;
            let (wire_type, size) = match header.value {
                WireValue::Varint(_) => (0, 0),
                WireValue::Fixed(n) => (5, n),
                WireValue::Len(n) => (2, n),
            };
            let left = len.checked_sub((at + header.len) as u64)?;
            if size > left {
                return None;
            }
            if size > value.len() as u64 {
                return Some(Self {
                    whole: &front[..at],
                    key: u64::from(header.number) << 3 | wire_type,
                    front: value,
                    len: size,
                });
            }
            at += header.len + size as usize;
        }
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
        _ => value.behind(key),
    })?;
    Ok((seconds, nanos))
}

/// Why an event cannot be decoded.
#[cold]
pub(in crate::trace) fn fault(broken: Broken) -> Fault {
    let what = Part::Event.name();
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
mod tests {
    use super::*;
    use crate::trace::decode::proto::tap;
    use prost::Message as _;

    fn decoded(message: &[u8]) -> Result<SocketEvent<'_>, Broken> {
        let mut event = SocketEvent::default();
        event.decode(message, Generation::Tap).map(|()| event)
    }

    /// The generated type's decoding of `message`.
    fn generated(message: &[u8]) -> SocketEvent<'_> {
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
            same.payload = at.map_or(&[], |at| &message[at..at + bytes.len()]);
        }
        same
    }

    /// A field that contains `bytes`.
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
            // Unknown fields of each wire type.
            number(7, 9),
            field(99, b"what"),
            [&[0x79][..], &[1; 8]].concat(),
            [&[0x7d][..], &[1; 4]].concat(),
        ];
        for first in &pieces {
            for second in &pieces {
                for third in &pieces {
                    let message = [&first[..], second, third].concat();
                    let mut read = decoded(&message).unwrap();
                    // Merged messages are encoded again.
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
            let read = decoded(&whole[..cut]);
            assert_eq!(read.is_ok(), cut == 0 || cut == time.len(), "{cut}");
        }
        // A message that ends inside a field of its own, followed by other bytes.
        let message = [&[0x0a, 2, 0x08, 0x80][..], &[0x01, 0x10, 0x05]].concat();
        assert!(decoded(&message).is_err());
    }
}
