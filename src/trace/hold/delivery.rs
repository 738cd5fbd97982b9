//! Delivers what is held of a message: at its end, when its connection is known, or when there is too much of it.
//!
//! Invariant: the connection comes before the events, and the events keep their order.

use crate::model::event::What;
use crate::trace::binary::look_ahead::FoundAhead;
use crate::trace::decode::{Decoder, Time};
use crate::trace::element::TracePart;
use crate::trace::error::Damage;

use super::{Held, Hold, LIMIT_BYTES, LIMIT_EVENTS, PendingMessage, Taken};

/// When this much is held, in bytes and in events, a file is searched ahead instead.
const AHEAD_BYTES: usize = 64 << 10;
const AHEAD_EVENTS: usize = 256;

impl Decoder {
    #[cold]
    pub(super) fn end_held(&mut self) -> Result<bool, Damage> {
        let result = self.give(None);
        self.hold = Hold::Clean;
        self.message = PendingMessage::default();
        result?;
        Ok(self.advance())
    }

    /// Delivers what is held, since nothing more arrives. Returns whether that produced an event.
    pub(in crate::trace) fn give_up(&mut self) -> Result<bool, Damage> {
        if self.hold == Hold::Open && !self.message.void {
            self.give(None)?;
        }
        Ok(self.advance())
    }

    /// Whether the held events have to be delivered; `in_file`: a search ahead is possible.
    #[inline]
    pub(in crate::trace) fn is_full(&self, in_file: bool) -> bool {
        let (bytes, events) = match in_file {
            true => (AHEAD_BYTES, AHEAD_EVENTS),
            false => (LIMIT_BYTES, LIMIT_EVENTS),
        };
        let message = &self.message;
        // A single event is in memory anyway.
        message.held.len() > 1 && (message.held_bytes > bytes || message.held.len() > events)
    }

    /// Delivers the held events because there are too many, using what was `found` by a search ahead.
    ///
    /// `next` is the offset of the next event.
    pub(in crate::trace) fn give_full(
        &mut self,
        found: Option<FoundAhead>,
        next: u64,
    ) -> Result<(), Damage> {
        self.message.gave_up = found.is_none() && self.message.connection.is_empty();
        self.resolve_connection(found.unwrap_or_default(), next)
    }

    /// Delivers all held events: everything about the connection is known.
    ///
    /// `next` is the offset of the next event, if there is one.
    pub(super) fn give(&mut self, next: Option<u64>) -> Result<(), Damage> {
        let held = std::mem::take(&mut self.message.held);
        self.message.held_bytes = 0;
        self.hold = Hold::Direct;
        let mut result = Ok(());
        if !self.message.connection.is_empty() {
            let own = self.message.connection_offset;
            // The connection comes before the events, whatever its position in the trace.
            let first = held.first().map(|held| held.place.offset).or(next);
            let bytes = std::mem::take(&mut self.message.connection);
            match self.decode_connection(&bytes, own) {
                Ok(connection) => {
                    let what = What::Connection(Box::new(connection));
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
            TracePart::Truncated(direction) => {
                let what = What::Truncated(direction);
                self.push(place.offset, Time::default(), None, what);
            }
            TracePart::HttpBuffered | TracePart::HttpSegment => {
                self.http_part(part, &bytes, place, is_joined)?;
            }
            _ => self.held_event(&bytes, place, is_joined)?,
        }
        Ok(())
    }

    /// Delivers the sample rate, unless it comes after `offset`.
    pub(super) fn give_rate(&mut self, offset: Option<u64>) {
        let is_due = |&mut (at, _): &mut (u64, u32)| offset.is_none_or(|offset| at < offset);
        if let Some((at, rate)) = self.message.rate.take_if(is_due) {
            self.rate(at, rate);
        }
    }

    /// Takes the sample rate.
    pub(super) fn sample_rate(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let offset = taken.place.offset;
        let Some(rate) = Self::decode_rate(taken.bytes, offset)? else {
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
