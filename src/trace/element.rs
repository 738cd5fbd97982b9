//! The parts of a trace that are decoded one at a time, and the messages that contain them.
//!
//! A buffered trace is one message of any size, so it is never decoded as a whole: the levels below are entered
//! field by field, and only the parts in them are decoded.
//!
//! Invariant: reading by number and reading by name use the same table.

use crate::model::event::Direction;

use super::schema::{self, Field, Message};

/// How a tap delivers a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One message at the connection's end (all of Envoy 1.7 to 1.9, `buffered` taps since).
    Buffered,
    /// A message per event, while the connection is open.
    Streamed,
}

/// A message that is entered field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// `TraceWrapper`; a concatenation of several is one long message.
    Wrapper,
    /// The bare `Trace` of 1.7 to 1.9.
    Bare,
    /// `StreamTapsRequest`, the message of a tap service; a concatenation of several is one long message.
    Taps,
    /// `SocketBufferedTrace`
    Buffered,
    /// `SocketStreamedTraceSegment`
    Streamed,
    /// `SocketEvents`
    Batch,
}

/// A field that is decoded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TracePart {
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
    Take(TracePart),
    Skip,
}

impl Level {
    /// What to do with the field of this number.
    pub(super) const fn field(self, number: u32) -> Action {
        match (self, number) {
            (Self::Wrapper, 1) => Action::Take(TracePart::HttpBuffered),
            (Self::Wrapper, 2) => Action::Take(TracePart::HttpSegment),
            (Self::Wrapper, 3) => Action::Enter(Self::Buffered),
            (Self::Wrapper, 4) => Action::Enter(Self::Streamed),
            (Self::Wrapper, 5) => Action::Take(TracePart::SampleRate),
            (Self::Buffered | Self::Streamed, 1) => Action::Take(TracePart::TraceId),
            (Self::Buffered | Self::Streamed, 2) => Action::Take(TracePart::Connection),
            (Self::Buffered | Self::Streamed, 3) => Action::Take(TracePart::Event),
            (Self::Buffered, 4) => Action::Take(TracePart::Truncated(Direction::Read)),
            (Self::Buffered, 5) => Action::Take(TracePart::Truncated(Direction::Write)),
            (Self::Streamed, 4) => Action::Enter(Self::Batch),
            (Self::Batch, 1) => Action::Take(TracePart::Event),
            (Self::Bare, 1) => Action::Take(TracePart::Connection),
            (Self::Bare, 2) => Action::Take(TracePart::Event),
            (Self::Taps, 3) => Action::Enter(Self::Wrapper),
            _ => Action::Skip,
        }
    }

    /// The key of its event field, if it has one.
    #[inline]
    pub(super) const fn event_key(self) -> Option<u8> {
        match self {
            Self::Buffered | Self::Streamed => Some(0x1a),
            Self::Batch => Some(0x0a),
            Self::Wrapper | Self::Bare | Self::Taps => None,
        }
    }

    /// The schema of the message.
    pub(super) fn schema(self) -> &'static Message {
        match self {
            Self::Wrapper => &schema::TAP_TRACEWRAPPER,
            Self::Bare => &schema::CAPTURE_TRACE,
            Self::Taps => &schema::TAP_STREAMTAPSREQUEST,
            Self::Buffered => &schema::TAP_SOCKETBUFFEREDTRACE,
            Self::Streamed => &schema::TAP_SOCKETSTREAMEDTRACESEGMENT,
            Self::Batch => &schema::TAP_SOCKETEVENTS,
        }
    }

    /// Returns the field of this name and its action. At the outermost level, the wrappers of a `TraceWrapper`
    /// are known as well: a `StreamTapsRequest`, or an `Any`.
    pub(super) fn named(self, name: &[u8]) -> Option<(Action, &'static Field)> {
        if let Some(field) = self.schema().named(name) {
            return Some((self.field(field.number), field));
        }
        if !matches!(self, Self::Wrapper | Self::Taps) {
            return None;
        }
        let taps = &schema::TAP_STREAMTAPSREQUEST;
        let name = if is_any(name) { b"trace" } else { name };
        let field = taps.named(name)?;
        Some((Self::Taps.field(field.number), field))
    }

    /// How the message's connection is delivered, if it has a connection.
    pub(super) const fn form(self) -> Option<Form> {
        match self {
            Self::Buffered => Some(Form::Buffered),
            Self::Streamed => Some(Form::Streamed),
            Self::Wrapper | Self::Bare | Self::Taps | Self::Batch => None,
        }
    }

    /// The number of its field in `TraceWrapper`; 0 if it has none.
    pub(super) const fn member(self) -> u32 {
        match self {
            Self::Buffered => 3,
            Self::Streamed => 4,
            Self::Wrapper | Self::Bare | Self::Taps | Self::Batch => 0,
        }
    }

    /// The name in error messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wrapper => "a trace message",
            Self::Bare => "a trace",
            Self::Taps => "a message to a tap service",
            Self::Buffered => "a buffered trace",
            Self::Streamed => "a streamed segment",
            Self::Batch => "a batch of events",
        }
    }
}

/// Whether a name is the content of a `google.protobuf.Any`: the `value` of an Any within an Any in JSON, or the
/// URL in brackets in the text format.
fn is_any(name: &[u8]) -> bool {
    let url = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"));
    let known: [&[u8]; 3] = [b"TraceWrapper", b"StreamTapsRequest", b"Any"];
    match url {
        Some(url) => known.contains(&url.rsplit(|&byte| byte == b'.').next().unwrap_or_default()),
        None => name == b"value",
    }
}

impl TracePart {
    /// The name in error messages.
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

    /// Whether it is a message rather than a number.
    pub(super) const fn is_message(self) -> bool {
        !matches!(self, Self::TraceId | Self::Truncated(_))
    }
}
