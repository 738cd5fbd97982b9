//! The parts of a trace that are decoded one at a time, and the messages around them that are not.
//!
//! A buffered trace is one message of any size, so it is never decoded whole: the levels below are
//! entered field by field, and only what lies in them is taken out. Both ways of reading, by number
//! and by name, share this one table.

use crate::event::Direction;

use super::schema::{self, Message};

/// How a tap delivers a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One message at the connection's end (all of Envoy 1.7 to 1.9, `buffered` taps since).
    Buffered,
    /// A message an event, while the connection lives.
    Streamed,
}

/// A message that is entered, not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// `TraceWrapper`; a concatenation of them is one of any length.
    Wrapper,
    /// The bare `Trace` of 1.7 to 1.9.
    Bare,
    /// `SocketBufferedTrace`
    Buffered,
    /// `SocketStreamedTraceSegment`
    Streamed,
    /// `SocketEvents`
    Batch,
}

/// A field that is taken out of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    TraceId,
    Connection,
    Event,
    Truncated(Direction),
    HttpBuffered,
    HttpSegment,
    SampleRate,
}

/// What to do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Enter(Level),
    Take(Part),
    Skip,
}

impl Level {
    /// What to do with the field of this number.
    pub(super) const fn field(self, number: u32) -> Action {
        match (self, number) {
            (Self::Wrapper, 1) => Action::Take(Part::HttpBuffered),
            (Self::Wrapper, 2) => Action::Take(Part::HttpSegment),
            (Self::Wrapper, 3) => Action::Enter(Self::Buffered),
            (Self::Wrapper, 4) => Action::Enter(Self::Streamed),
            (Self::Wrapper, 5) => Action::Take(Part::SampleRate),
            (Self::Buffered | Self::Streamed, 1) => Action::Take(Part::TraceId),
            (Self::Buffered | Self::Streamed, 2) => Action::Take(Part::Connection),
            (Self::Buffered | Self::Streamed, 3) => Action::Take(Part::Event),
            (Self::Buffered, 4) => Action::Take(Part::Truncated(Direction::Read)),
            (Self::Buffered, 5) => Action::Take(Part::Truncated(Direction::Write)),
            (Self::Streamed, 4) => Action::Enter(Self::Batch),
            (Self::Batch, 1) => Action::Take(Part::Event),
            (Self::Bare, 1) => Action::Take(Part::Connection),
            (Self::Bare, 2) => Action::Take(Part::Event),
            _ => Action::Skip,
        }
    }

    /// The names and numbers of its fields.
    pub(super) fn schema(self) -> &'static Message {
        match self {
            Self::Wrapper => &schema::TAP_TRACEWRAPPER,
            Self::Bare => &schema::CAPTURE_TRACE,
            Self::Buffered => &schema::TAP_SOCKETBUFFEREDTRACE,
            Self::Streamed => &schema::TAP_SOCKETSTREAMEDTRACESEGMENT,
            Self::Batch => &schema::TAP_SOCKETEVENTS,
        }
    }

    /// How the connection that it is about is delivered, where it is about one.
    pub(super) const fn form(self) -> Option<Form> {
        match self {
            Self::Buffered => Some(Form::Buffered),
            Self::Streamed => Some(Form::Streamed),
            Self::Wrapper | Self::Bare | Self::Batch => None,
        }
    }

    /// Its name in messages about damage.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wrapper => "a trace message",
            Self::Bare => "a trace",
            Self::Buffered => "a buffered trace",
            Self::Streamed => "a streamed segment",
            Self::Batch => "a batch of events",
        }
    }
}

impl Part {
    /// Its name in messages about damage.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TraceId => "a trace id",
            Self::Connection => "a connection",
            Self::Event => "an event",
            Self::Truncated(_) => "a truncation flag",
            Self::HttpBuffered => "an HTTP trace",
            Self::HttpSegment => "an HTTP trace segment",
            Self::SampleRate => "a sample rate",
        }
    }

    /// Whether it is a message, and no number.
    pub(super) const fn is_message(self) -> bool {
        !matches!(self, Self::TraceId | Self::Truncated(_))
    }
}
