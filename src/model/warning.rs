//! Warnings about everything that is missing or wrong in a trace and does not end it.
//!
//! They are counted by kind. Every module reports here, so that no loss is silent. How a warning is displayed is decided
//! elsewhere.

mod kind;

use std::collections::BTreeMap;
use std::fmt;

use crate::model::event::{Direction, Event, Skip, SkipKind, TraceId};
use crate::plural;

pub(crate) use kind::THROUGH_TERMINAL;
pub use kind::WarningKind;

/// One thing that the user of a capture has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// The offset in the (decoded) input of the event that caused it.
    pub offset: u64,
    /// The connection that it is about, if it concerns one.
    pub trace: Option<TraceId>,
    /// The number of bytes that it is about; 0 if that is unknown or has no meaning.
    pub bytes: u64,
    /// Details; may be empty.
    pub detail: String,
}

impl Warning {
    /// The warning about an input without bytes.
    pub(crate) fn empty(is_pipe: bool) -> Self {
        let detail = match is_pipe {
            true => "nothing came through the pipe",
            false => {
                "nothing has been written to it yet (Envoy writes a trace when the connection closes)"
            }
        };
        Self {
            kind: WarningKind::Empty,
            offset: 0,
            trace: None,
            bytes: 0,
            detail: detail.to_owned(),
        }
    }

    /// A warning about an event.
    pub(crate) fn of_event(kind: WarningKind, event: &Event) -> Self {
        Self::at(kind, event.trace, event.offset)
    }

    /// A warning about an event of this connection at this offset.
    pub(crate) const fn at(kind: WarningKind, trace: TraceId, offset: u64) -> Self {
        Self {
            kind,
            offset,
            trace: Some(trace),
            bytes: 0,
            detail: String::new(),
        }
    }

    /// A warning about a whole trace.
    pub(crate) fn of_trace(kind: WarningKind) -> Self {
        Self {
            kind,
            offset: 0,
            trace: None,
            bytes: 0,
            detail: String::new(),
        }
    }

    /// The warning that Envoy stopped recording one direction of a connection.
    pub(crate) fn cut_direction(event: &Event, direction: Direction) -> Self {
        let detail = match direction {
            Direction::Read => "bytes received by Envoy",
            Direction::Write => "bytes sent by Envoy",
        };
        Self {
            detail: detail.into(),
            ..Self::of_event(WarningKind::DirectionTruncated, event)
        }
    }

    /// The warning about a message that Envoy failed to write.
    pub(crate) fn failed(event: &Event) -> Self {
        Self {
            trace: None,
            ..Self::of_event(WarningKind::ConversionFailed, event)
        }
    }

    /// The warning that part of a trace was skipped, starting at the offset `from`.
    pub(crate) fn skipped(from: u64, skip: &Skip) -> Self {
        let (kind, detail) = match &skip.kind {
            SkipKind::Damage(why) => (WarningKind::Skipped, why.clone()),
            SkipKind::Text => (WarningKind::OtherText, String::new()),
            SkipKind::Note => (WarningKind::EnvoyLine, String::new()),
            SkipKind::CarriageReturns => (WarningKind::ThroughTerminal, String::new()),
            SkipKind::AfterCompressed => (WarningKind::TrailingBytes, String::new()),
        };
        Self {
            kind,
            offset: from,
            trace: None,
            bytes: skip.to.saturating_sub(from),
            detail,
        }
    }

    /// The range of offsets that it is about.
    pub const fn range(&self) -> (u64, u64) {
        (self.offset, self.offset.saturating_add(self.bytes))
    }

    /// Writes a message about the skipped damage, which the caller may continue.
    fn describe_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.range();
        write!(f, "{}; skipped from offset {from} to {to}", self.detail)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == WarningKind::Skipped {
            return self.describe_skipped(f);
        }
        write!(f, "at offset {}", self.offset)?;
        if let Some(trace) = self.trace {
            write!(f, ", connection {trace}")?;
        }
        f.write_str(": ")?;
        self.kind.describe(f, 1, self.bytes)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// All warnings of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// The sum of their bytes.
    pub bytes: u64,
    /// The first of them.
    pub first: Warning,
    /// The next ones, at most [`MAX_LISTED`] including the first; only for skipped damage.
    pub more: Vec<Warning>,
}

/// The maximum number of damaged places that are listed.
pub const MAX_LISTED: usize = 8;

impl Tally {
    /// The warnings of this kind that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &Warning> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Writes which damage was skipped: the first in full, then the ranges of the others.
    fn describe_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.describe_skipped(f)?;
        if self.count == 1 {
            return Ok(());
        }
        let more = self.count - 1;
        write!(f, ", and in {more} more {}: ", plural(more, "place"))?;
        for (i, warning) in self.more.iter().enumerate() {
            let (from, to) = warning.range();
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{from} to {to}")?;
        }
        if more > self.more.len() as u64 {
            f.write_str(", and so on")?;
        }
        let unit = plural(self.bytes, "byte");
        write!(f, "; {} {unit} in all", self.bytes)
    }

    /// Adds the warnings of the same kind from another trace.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first.kind == WarningKind::Skipped {
            return self.describe_skipped(f);
        }
        self.first.kind.describe(f, self.count, self.bytes)?;
        if !self.first.detail.is_empty() {
            write!(f, ": {}", self.first.detail)?;
        }
        let first = if self.count == 1 {
            "at"
        } else {
            "the first at"
        };
        if matches!(
            self.first.kind,
            WarningKind::EnvoyLine | WarningKind::OtherText
        ) {
            write!(f, " ({first} offset {})", self.first.offset)?;
        }
        if let Some(trace) = self.first.trace {
            write!(
                f,
                " ({first} offset {}, connection {trace})",
                self.first.offset
            )?;
        }
        Ok(())
    }
}

/// The callback for each warning.
type Listener = Box<dyn FnMut(&Warning) + Send>;

/// Counts warnings by kind, and passes each to an optional listener.
#[derive(Default)]
pub struct Warnings {
    tallies: BTreeMap<WarningKind, Tally>,
    listener: Option<Listener>,
}

impl fmt::Debug for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warnings")
            .field("tallies", &self.tallies)
            .finish_non_exhaustive()
    }
}

impl Warnings {
    /// Creates a counter that calls `listener` for each warning.
    pub fn with_listener(listener: impl FnMut(&Warning) + Send + 'static) -> Self {
        Self {
            tallies: BTreeMap::new(),
            listener: Some(Box::new(listener)),
        }
    }

    /// A copy for warnings that may have to be discarded; `None` if a listener is called for each at once.
    #[cfg(feature = "cli")]
    pub(crate) fn draft(&self) -> Option<Self> {
        self.listener.is_none().then(|| Self {
            tallies: self.tallies.clone(),
            listener: None,
        })
    }

    /// Adds a warning.
    pub fn add(&mut self, warning: Warning) {
        if let Some(listener) = &mut self.listener {
            listener(&warning);
        }
        match self.tallies.get_mut(&warning.kind) {
            Some(tally) => {
                tally.count += 1;
                tally.bytes = tally.bytes.saturating_add(warning.bytes);
                if warning.kind == WarningKind::Skipped && tally.more.len() + 1 < MAX_LISTED {
                    tally.more.push(warning);
                }
            }
            None => {
                let tally = Tally {
                    count: 1,
                    bytes: warning.bytes,
                    first: warning,
                    more: Vec::new(),
                };
                self.tallies.insert(tally.first.kind, tally);
            }
        }
    }

    /// The tallies, in the order of [`WarningKind`].
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.values()
    }

    /// The number of warnings of this kind.
    pub fn count(&self, kind: WarningKind) -> u64 {
        self.tallies.get(&kind).map_or(0, |tally| tally.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(kind: WarningKind, bytes: u64) -> Tally {
        let mut warnings = Warnings::default();
        warnings.add(Warning {
            bytes,
            ..Warning::of_trace(kind)
        });
        warnings.tallies().next().unwrap().clone()
    }

    #[test]
    fn one_byte_is_singular_in_every_sentence() {
        for kind in [
            WarningKind::Truncated,
            WarningKind::TruncatedUnknown,
            WarningKind::LostEvents,
            WarningKind::LostEventsUnplaced,
            WarningKind::ProxyHeader,
            WarningKind::LossyString,
            WarningKind::OtherText,
            WarningKind::OverwrittenWhole,
        ] {
            let (one, two) = (tally(kind, 1).to_string(), tally(kind, 2).to_string());
            assert!(
                one.contains(" 1 byte ") || one.ends_with(" 1 byte"),
                "{one}"
            );
            assert!(two.contains(" 2 bytes"), "{two}");
            assert!(
                !one.contains("byte is") || !one.contains("for them"),
                "{one}"
            );
        }
        let mut skipped = tally(WarningKind::Skipped, 1);
        skipped.count = 2;
        skipped.more.push(skipped.first.clone());
        assert!(
            skipped.to_string().ends_with("; 1 byte in all"),
            "{skipped}"
        );
    }
}
