//! The connection of a message: in one or several pieces, in the message or found by searching ahead.
//!
//! Invariant: an invalid connection is reported at its own position, wherever the search for it began.

use crate::model::event::{Connection, What};
use crate::trace::address;
use crate::trace::binary::look_ahead::FoundAhead;
use crate::trace::decode::{Decoder, Time};
use crate::trace::detect::Generation;
use crate::trace::element::Form;
use crate::trace::error::Damage;

use super::{Hold, Taken};

/// The maximum size of a connection in several pieces. If it is larger, only the last piece counts.
const MAX_CONNECTION: usize = 1 << 20;

impl Decoder {
    /// Takes a connection, or a piece of one.
    pub(super) fn connection(&mut self, taken: Taken<'_>) -> Result<(), Damage> {
        let offset = taken.place.offset;
        if offset < self.message.ahead {
            return self.pass_connection();
        }
        let bytes = taken.bytes;
        // An invalid connection is reported here, before any event is delivered.
        let decoded = self.decode_connection(bytes, offset)?;
        match (self.generation, self.hold) {
            // A bare trace is one connection, which begins here.
            (Generation::Capture, _) => self.begun = false,
            (Generation::Tap, Hold::Direct) => {
                if std::mem::take(&mut self.message.gave_up) {
                    self.push(offset, Time::default(), None, What::Late);
                }
                let what = What::Connection(Box::new(decoded));
                self.push(offset, Time::default(), None, what);
                return Ok(());
            }
            (Generation::Tap, _) => {}
        }
        let message = &mut self.message;
        if message.connection.len() + bytes.len() > MAX_CONNECTION {
            message.connection.clear();
        }
        message.connection.extend_from_slice(bytes);
        message.connection_offset = offset;
        self.hold = Hold::Open;
        Ok(())
    }

    /// Skips a connection that was found by searching ahead.
    fn pass_connection(&mut self) -> Result<(), Damage> {
        if self.generation == Generation::Capture {
            // In concatenated bare traces, the next events may have another connection.
            self.message.looked = false;
            self.hold = Hold::Open;
        }
        Ok(())
    }

    /// Decodes a connection; in a bare trace it includes the id.
    pub(super) fn decode_connection(
        &mut self,
        bytes: &[u8],
        offset: u64,
    ) -> Result<Connection, Damage> {
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

    /// Whether to search ahead for the message's connection before delivering its events.
    pub(in crate::trace) fn wants_look(&self) -> bool {
        self.hold == Hold::Open && !self.message.looked && self.form == Form::Buffered
    }

    /// Records that a search ahead was tried.
    pub(in crate::trace) const fn looked(&mut self) {
        self.message.looked = true;
    }

    /// Whether the message has everything about its connection that Envoy ever writes, so that no search ahead is
    /// needed.
    pub(in crate::trace) fn is_complete(&mut self) -> bool {
        if !self.message.has_id || self.message.connection.is_empty() {
            return false;
        }
        let bytes = self.message.connection.clone();
        let decoded = self.decode_connection(&bytes, 0);
        decoded.is_ok_and(|decoded| decoded.local.is_some() && decoded.remote.is_some())
    }

    /// Takes what was found ahead, up to the end of the message, and delivers the held events.
    ///
    /// `next` is the offset of the next event.
    #[allow(clippy::needless_pass_by_value, reason = "what was found serves once")]
    pub(in crate::trace) fn resolve_connection(
        &mut self,
        found: FoundAhead,
        next: u64,
    ) -> Result<(), Damage> {
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
            let all = message.connection.clone();
            if self.decode_connection(&all, found.offset).is_err() {
                // The damage is reported at its own position, which is not here.
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
}
