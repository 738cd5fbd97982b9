//! The outcome of a conversion: what the capture holds, or why there is none.

use std::fmt;
use std::io;

use anyhow::anyhow;

use super::Options;
use crate::model::event::{Direction, Event};
use crate::model::protocol::DecodeAs;
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::synth::{ConnectionSummary, Synthesizer};
use crate::trace::{Damage, Encoding, Reader};

/// What a trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    #[cfg(feature = "cli")]
    Pipe,
    #[cfg(feature = "cli")]
    Tap,
}

/// The outcome of a conversion.
#[derive(Debug, Default)]
pub struct Summary {
    /// The number of connections that have packets in the capture.
    pub connections: u64,
    /// The number of reads, writes and closes in the trace.
    pub events: u64,
    /// The number of packets in the capture.
    pub frames: u64,
    /// The payload that Envoy received, in bytes.
    pub bytes_read: u64,
    /// The payload that Envoy sent, in bytes.
    pub bytes_written: u64,
    /// The options that a reader needs to find the HTTP in the capture.
    pub decode_as: Vec<DecodeAs>,
    /// The encoding; `None` if the trace is empty.
    pub encoding: Option<Encoding>,
    /// The releases of Envoy that write such a trace, e.g. `1.28 or later`.
    pub releases: Option<&'static str>,
    /// The summaries of its connections in the order of their first events, if the options request them.
    pub summaries: Vec<ConnectionSummary>,
    /// The damage that ends the trace early, if any.
    pub damage: Option<Damage>,
    /// The error that ended reading early, if any.
    pub unread: Option<io::Error>,
    /// The signal that ended the conversion early, if one did.
    pub signal: Option<u8>,
    /// Whether the reader of a stream closed it early.
    pub reader_gone: bool,
    /// Whether there is a capture: a signal may arrive before it is started.
    pub written: bool,
}

impl Summary {
    /// The outcome of a conversion that was interrupted before the first event.
    pub(super) fn interrupted(signal: u8) -> Self {
        Self {
            signal: Some(signal),
            ..Self::default()
        }
    }

    /// Adds what is known at the end of the conversion.
    pub(super) fn complete(&mut self, synth: &mut Synthesizer, trace: &Reader) {
        self.connections = synth.connections();
        self.decode_as = synth.decode_as();
        self.summaries = synth.take_summaries();
        self.summaries.sort_by_key(ConnectionSummary::order);
        self.encoding = trace.encoding();
        self.releases = trace.releases();
    }

    /// Warns about a trace without events, which was read up to `offset`. A live tap without events causes no warning: no
    /// connection was opened while it ran.
    pub(super) fn check_empty(&self, kind: Kind, offset: u64, warnings: &mut Warnings) {
        if self.signal.is_some() {
            return;
        }
        match (kind, offset) {
            (Kind::File, 0) => warnings.add(Warning::empty(false)),
            #[cfg(feature = "cli")]
            (Kind::Pipe, 0) => warnings.add(Warning::empty(true)),
            #[cfg(feature = "cli")]
            (Kind::Tap, _) => {}
            _ if self.events > 0 || self.damage.is_some() => {}
            _ => warnings.add(Warning::of_trace(WarningKind::NoEvents)),
        }
    }

    /// Rejects a damaged trace if the options are strict.
    pub(super) fn check_strict(
        &mut self,
        options: &Options,
        warnings: &Warnings,
    ) -> Result<(), Failure> {
        if !options.strict {
            return Ok(());
        }
        if let Some(damage) = self.damage.take() {
            return Err(Failure::trace(STRICT, damage));
        }
        if let Some(error) = self.unread.take() {
            return Err(Failure::trace(
                "cannot read the rest, so --strict writes no capture",
                error,
            ));
        }
        let mut tallies = warnings.tallies();
        match tallies.find(|tally| tally.first.kind.is_damage()) {
            Some(tally) => Err(Failure::trace(STRICT, anyhow!("{tally}"))),
            None => Ok(()),
        }
    }

    /// Counts an event of the trace.
    #[inline]
    pub(crate) fn count(&mut self, event: &Event) {
        match event.payload() {
            Some((direction, payload)) => self.count_bytes(direction, payload),
            None => self.events += u64::from(event.is_timed()),
        }
    }

    /// Counts an event about bytes.
    #[inline]
    pub(crate) fn count_bytes(&mut self, direction: Direction, payload: &[u8]) {
        self.events += 1;
        let bytes = match direction {
            Direction::Read => &mut self.bytes_read,
            Direction::Write => &mut self.bytes_written,
        };
        *bytes += payload.len() as u64;
    }
}

/// The outcome of a damaged trace if the options are strict.
pub(crate) const STRICT: &str = "damaged, so --strict writes no capture";

/// Why there is no capture.
#[derive(Debug)]
pub enum Failure {
    /// The trace cannot be read, or is not a trace, or is damaged and the options are strict.
    Trace(anyhow::Error),
    /// The capture cannot be written.
    Capture(anyhow::Error),
}

impl Failure {
    /// The error.
    pub const fn error(&self) -> &anyhow::Error {
        match self {
            Self::Trace(error) | Self::Capture(error) => error,
        }
    }

    pub(crate) fn trace(why: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self::Trace(error.into().context(why))
    }

    pub(crate) fn capture(error: io::Error) -> Self {
        Self::Capture(anyhow::Error::new(error).context("cannot write"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error())
    }
}

impl std::error::Error for Failure {}
