//! Events into frames: conversations, addresses, sequence numbers, headers.
//!
//! Pure: the same events and options make the same frames. Knows nothing of the encoding of a trace or the format
//! of a capture.
//!
//! Invariant: the frames of one conversation are in the order of its events.

mod address;
pub mod checksum;
mod comments;
mod connection;
mod conversation;
mod flow;
mod frame;
mod framing;
mod headers;
mod http;
mod http2;
mod occupancy;
mod port_protocols;
mod summary;
mod tcp;

use std::collections::HashMap;
use std::convert::Infallible;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::model::event::{Event, Http, Part, PlainEvent, Timestamp, TraceId, What};
use crate::model::protocol::{DecodeAs, Role};
use crate::model::warning::{Warning, Warnings};

use address::AddressBook;
use connection::{ConnectionState, FastPath, Lifetime, RecordedTime};
use http::Exchanges;
use occupancy::Occupancy;
use port_protocols::PortProtocols;

pub use address::AddressOverride;
pub use checksum::offload;
pub use conversation::{ConversationId, Conversations};
pub use frame::{Endpoints, Frame, Label};
pub use summary::{ConnectionSummary, percent};

/// The time between two events of a trace without times, in nanoseconds.
pub(crate) const STAND_IN_INTERVAL: u64 = 1_000;

/// Which connections get a synthesized opening and closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// Every connection of a capture but the first, so that a single connection shows only what was recorded.
    #[default]
    Auto,
    /// Every connection.
    Always,
    /// No connection.
    Never,
}

/// How frames are made.
#[derive(Clone, Debug)]
pub struct SynthOptions {
    /// The largest TCP payload of a frame in bytes; default: what one IP packet holds.
    pub mss: Option<usize>,
    /// Which connections get a synthesized handshake; default: [`Handshake::Auto`].
    pub handshake: Handshake,
    /// Replaces a missing local address; default: a documentation address.
    pub local: Option<AddressOverride>,
    /// Replaces a missing remote address; default: a documentation address.
    pub remote: Option<AddressOverride>,
    /// The side of Envoy that the connections are on; default: detected.
    pub role: Option<Role>,
    /// The time of the first event of a trace without times; default: the Unix epoch.
    pub start: Timestamp,
    /// Whether the caller [ends](Synthesizer::end) every conversation with its last event, so that open
    /// connections are never over; default: no.
    pub exclusive: bool,
    /// The traces' names, by their number in a merge, if frames are to have labels; default: no labels.
    pub labels: Option<Vec<String>>,
    /// The last time that the capture can represent; default: the last that a [`Timestamp`] holds.
    pub latest: Timestamp,
}

impl Default for SynthOptions {
    fn default() -> Self {
        Self {
            mss: None,
            handshake: Handshake::default(),
            local: None,
            remote: None,
            role: None,
            start: Timestamp::default(),
            exclusive: false,
            labels: None,
            latest: Timestamp::from_nanos(u64::MAX),
        }
    }
}

/// Makes frames of events.
#[derive(Debug)]
pub struct Synthesizer {
    shared: Shared,
    connections: IndexMap<TraceId, ConnectionState, RandomState>,
    /// The index of the last event's connection, which is usually the next one's, too.
    last: usize,
    exchanges: Exchanges,
}

/// State that all connections of a capture share.
#[derive(Debug)]
struct Shared {
    options: SynthOptions,
    addresses: AddressBook,
    /// The number of connections that have a frame in the capture.
    opened: u64,
    port_protocols: PortProtocols,
    /// The last stand-in time.
    stand_in: Option<Timestamp>,
    occupancy: Occupancy,
    /// The share of connections that a trace records, in millionths, by the trace's number.
    sample_rates: HashMap<u32, u32>,
    /// The summaries of finished connections, if requested.
    summaries: Option<Vec<ConnectionSummary>>,
}

impl Shared {
    /// The stand-in time of an event whose connection records no times. Each is later than the one before, so
    /// that the capture keeps the order of the trace.
    fn stand_in_time(&mut self) -> Timestamp {
        let time = match self.stand_in {
            Some(last) => last.saturating_add(STAND_IN_INTERVAL),
            None => self.options.start,
        };
        self.stand_in = Some(time);
        time
    }
}

/// A consumer of the frames of a capture.
pub(crate) trait Sink {
    /// The error that ends the work early.
    type Error;

    /// Takes the next frame.
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Self::Error>;

    /// Whether frames that carry bytes are wanted. If not, none are made, and payloads are not examined.
    #[inline(always)]
    fn wants_bytes(&self) -> bool {
        true
    }
}

/// Discards frames.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    type Error = Infallible;

    fn frame(&mut self, _: &Frame<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn wants_bytes(&self) -> bool {
        false
    }
}

impl<E, F: FnMut(&Frame<'_>) -> Result<(), E>> Sink for F {
    type Error = E;

    #[inline]
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), E> {
        self(frame)
    }
}

/// The context of an event, apart from its own connection.
struct Context<'a, S> {
    shared: &'a mut Shared,
    warnings: &'a mut Warnings,
    out: &'a mut S,
}

impl<S: Sink> Context<'_, S> {
    /// Takes an event that belongs to no connection.
    #[cold]
    fn of_no_connection(&mut self, event: &Event) {
        match event.what {
            What::SampleRate(rate) => {
                self.shared.sample_rates.insert(event.trace.source, rate);
            }
            What::Failed => self.warnings.add(Warning::failed(event)),
            What::Skipped(ref skip) => self.warnings.add(Warning::skipped(event.offset, skip)),
            _ => {}
        }
    }
}

impl Synthesizer {
    /// Starts a capture.
    pub fn new(options: SynthOptions) -> Self {
        let addresses = AddressBook::new(options.local, options.remote);
        let shared = Shared {
            options,
            addresses,
            opened: 0,
            port_protocols: PortProtocols::default(),
            stand_in: None,
            occupancy: Occupancy::default(),
            sample_rates: HashMap::new(),
            summaries: None,
        };
        Self {
            shared,
            connections: IndexMap::default(),
            last: 0,
            exchanges: Exchanges::default(),
        }
    }

    /// Keeps the summary of each connection for [`take_summaries`](Self::take_summaries).
    pub fn keep_summaries(&mut self) {
        self.shared.summaries.get_or_insert_default();
    }

    /// Returns the summaries of the connections that have finished since the last call.
    pub fn take_summaries(&mut self) -> Vec<ConnectionSummary> {
        self.shared
            .summaries
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The number of connections that have a frame in the capture.
    pub const fn connections(&self) -> u64 {
        self.shared.opened
    }

    /// The options that a reader needs to find the HTTP in the capture, port by port.
    pub fn decode_as(&self) -> Vec<DecodeAs> {
        self.shared.port_protocols.decode_as()
    }

    /// Takes an event; `out` gets its frames.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn event<E>(
        &mut self,
        event: &Event,
        warnings: &mut Warnings,
        out: &mut impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(plain) = event.as_plain()
            && let Some(done) = self.plain(&plain, out)
        {
            return done;
        }
        self.any_event(event, warnings, out)
    }

    /// Takes a plain event of the last event's connection, on the fast path. Returns `None` if the event needs
    /// more; then [`event`](Self::event) has to be called, which has the same result for all events.
    #[inline(always)]
    pub(crate) fn plain<S: Sink>(
        &mut self,
        event: &PlainEvent<'_>,
        out: &mut S,
    ) -> Option<Result<(), S::Error>> {
        Some(self.fast_path(event)?.take(event, None, out))
    }

    /// The fast path for a plain event; `None` if it is not possible. The payload does not affect that.
    #[inline(always)]
    pub(crate) fn fast_path(&mut self, event: &PlainEvent<'_>) -> Option<FastPath<'_>> {
        let (last, state) = self.connections.get_index_mut(self.last)?;
        if *last != event.trace || event.time > self.shared.options.latest {
            return None;
        }
        state.fast_path()
    }

    /// Takes an event of any kind.
    pub(crate) fn any_event<S: Sink>(
        &mut self,
        event: &Event,
        warnings: &mut Warnings,
        out: &mut S,
    ) -> Result<(), S::Error> {
        let shared = &mut self.shared;
        let cx = &mut Context {
            shared,
            warnings,
            out,
        };
        let id = event.trace;
        if let What::Http(http) = &event.what {
            let when = RecordedTime {
                offset: event.offset,
                time: event.time,
                adjusted: event.time_adjusted,
                // A message's body and trailers share the time of its headers.
                shared: matches!(
                    http,
                    Http::Part {
                        part: Part::Body { .. } | Part::Trailers(_),
                        ..
                    }
                ),
            };
            return self.exchanges.event(id, when, http, cx);
        }
        if let What::Failed | What::SampleRate(_) | What::Skipped(_) = event.what {
            cx.of_no_connection(event);
            return Ok(());
        }
        let state = match self.connections.get_index_mut(self.last) {
            Some((last, state)) if *last == id => state,
            _ => {
                let has_summary = cx.shared.summaries.is_some();
                let entry = self.connections.entry(id);
                self.last = entry.index();
                entry.or_insert_with(|| ConnectionState::new(id, has_summary))
            }
        };
        if state.event(event, cx)? == Lifetime::Over {
            self.connections.swap_remove_index(self.last);
        }
        Ok(())
    }

    /// Ends one conversation after its last event, if it is open; `out` gets the frames that were held back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end<E>(
        &mut self,
        conversation: &ConversationId,
        warnings: &mut Warnings,
        out: &mut impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let cx = &mut Context {
            shared: &mut self.shared,
            warnings,
            out,
        };
        match conversation {
            ConversationId::Socket(id) => match self.connections.swap_remove(id) {
                Some(mut state) => state.finish(cx),
                None => Ok(()),
            },
            _ => self.exchanges.end(conversation, cx),
        }
    }

    /// Ends the connections whose end is not recorded; `out` gets the frames that were held back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish<E>(
        &mut self,
        warnings: &mut Warnings,
        out: &mut impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let shared = &mut self.shared;
        let cx = &mut Context {
            shared,
            warnings,
            out,
        };
        // The connections are no longer in the order of their beginnings, because finished ones were swapped out.
        let mut rest: Vec<_> = self.connections.drain(..).collect();
        rest.sort_by_key(|(id, state)| (state.last(), *id));
        for (_, mut state) in rest {
            state.finish(cx)?;
        }
        self.exchanges.finish(cx)
    }
}

/// Scrambles `x` in a platform-independent way: the finalizer of SplitMix64.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod plain_tests;
#[cfg(test)]
mod tests;
