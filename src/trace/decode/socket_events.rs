//! Makes events of the messages of a socket tap.
//!
//! An event is decoded into the current one, in place, unless others come before it. Whether it may be delivered as
//! it arrives is decided by [`Hold`](crate::trace::hold::Hold).
//!
//! Invariant: a field of the current event that the message lacks has its default, not the value of the event before.

use std::num::NonZeroU64;

use crate::model::event::{PlainEvent, What};
use crate::trace::address;
use crate::trace::binary::socket::{self, Selector, SocketEvent};
use crate::trace::binary::walk::Lent;
use crate::trace::element::{Form, TracePart};
use crate::trace::error::Damage;
use crate::trace::locate::{Located, Location};

use super::proto::tap;
use super::{Decoder, Place, Time, decode};

impl Decoder {
    /// Takes an event that may be delivered as it arrives.
    #[inline]
    pub(in crate::trace) fn event(&mut self, message: &[u8], place: Place) -> Result<bool, Damage> {
        let location = Location::of(place, Located::Event(self.form));
        self.socket_event(message, place.offset, location)?;
        if !self.begun || !self.ready.is_empty() {
            self.queue();
        }
        Ok(true)
    }

    /// Makes a lent event the current one.
    #[inline(always)]
    pub(in crate::trace) fn plain_event(&mut self, lent: &Lent<'_>) {
        let PlainEvent {
            trace,
            time,
            seq_num,
            direction,
            payload,
        } = lent.event;
        let event = SocketEvent {
            selector: Some(Selector::Data(direction)),
            payload,
            ..SocketEvent::default()
        };
        self.set_current(&event, lent.offset, lent.location());
        let current = &mut self.current;
        (current.trace, current.time, current.seq_num) = (trace, Some(time), seq_num);
    }

    /// Takes an event that was held, in several pieces if it `is_joined`, and queues it.
    pub(in crate::trace) fn held_event(
        &mut self,
        message: &[u8],
        place: Place,
        is_joined: bool,
    ) -> Result<(), Damage> {
        let located = match is_joined {
            true => Located::Whole,
            false => Located::Event(self.form),
        };
        let location = Location::of(place, located);
        self.begin_message(place.offset);
        self.socket_event(message, place.offset, location)?;
        let current = std::mem::take(&mut self.current);
        self.ready.push_back((current, location));
        Ok(())
    }

    /// Decodes an event, and makes it the current one.
    #[inline(always)]
    fn socket_event(
        &mut self,
        message: &[u8],
        offset: u64,
        location: Location,
    ) -> Result<(), Damage> {
        let mut event = SocketEvent::default();
        if let Err(broken) = event.decode(message, self.generation) {
            let fault = socket::fault(broken);
            return Err(Damage::new(offset, fault));
        }
        self.fill(event, offset, location)
    }

    /// Takes the part of an event before the end of the trace, and queues it if it has some payload.
    pub(in crate::trace) fn cut_event(
        &mut self,
        front: &[u8],
        place: Place,
        len: u64,
    ) -> Result<(), Damage> {
        let mut event = SocketEvent::default();
        let Some(missing) = event.decode_cut(front, len, self.generation) else {
            return Ok(());
        };
        let location = Location::of(place, Located::Cut(self.form));
        self.begin_message(place.offset);
        self.fill(event, place.offset, location)?;
        self.current.missing = missing;
        let current = std::mem::take(&mut self.current);
        self.ready.push_back((current, location));
        Ok(())
    }

    /// Makes an event the current one, after the connection that it names.
    #[inline(always)]
    fn fill(
        &mut self,
        mut event: SocketEvent<'_>,
        offset: u64,
        location: Location,
    ) -> Result<(), Damage> {
        if !event.connection.is_empty() {
            let bytes = std::mem::take(&mut event.connection);
            let encoded = decode::<tap::Connection>(&bytes, TracePart::Connection, offset)?;
            let connection = address::connection(encoded.local_address, encoded.remote_address);
            let what = What::Connection(Box::new(connection));
            self.push(offset, Time::default(), None, what);
        }
        self.set_current(&event, offset, location);
        Ok(())
    }

    /// Makes an event the current one.
    #[inline(always)]
    fn set_current(&mut self, event: &SocketEvent<'_>, offset: u64, location: Location) {
        let Time { time, adjusted } = event.time.map_or_else(Time::default, Time::of);
        let current = &mut self.current;
        current.trace = self.trace;
        current.offset = offset;
        current.time = time;
        current.time_adjusted = adjusted;
        // Buffered traces have no count; in JSON they record a 0.
        current.seq_num = NonZeroU64::new(event.seq_num).filter(|_| self.form == Form::Streamed);
        current.missing = None;
        current.gap = None;
        self.location = location;
        match event.selector {
            None => current.what = What::Nothing,
            Some(Selector::Closed) => current.what = What::Closed,
            Some(Selector::Data(way)) => {
                if let What::Data {
                    direction,
                    payload,
                    truncated,
                    as_string,
                    end_stream,
                } = current.data()
                {
                    *direction = way;
                    payload.clear();
                    payload.extend_from_slice(event.payload);
                    *truncated = event.truncated;
                    *as_string = event.as_string;
                    *end_stream = event.end_stream;
                }
            }
        }
    }

    /// Swaps the current event with the queued ones that come before it.
    #[cold]
    fn queue(&mut self) {
        let current = std::mem::take(&mut self.current);
        self.begin_message(current.offset);
        self.ready.push_back((current, self.location));
        self.advance();
    }
}
