//! The event at the end of a trace that was cut: the part of its payload that is in the trace.
//!
//! Invariant: bytes that may not be payload are never taken for payload.

use crate::model::event::Direction;
use crate::trace::binary::wire::{NoHeader, WireValue, header};
use crate::trace::detect::Generation;

use super::{AS_BYTES, AS_STRING, DATA, READ, Selector, SocketEvent, WRITE};

impl<'a> SocketEvent<'a> {
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

    /// Whether any of the payload is available.
    fn has_data(&self) -> bool {
        matches!(self.selector, Some(Selector::Data(_))) && !self.payload.is_empty()
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
