//! The parts of a trace that are decoded one at a time, and the messages around them that are not.
//!
//! A buffered trace is one message of any size, so it is never decoded whole: the levels below are
//! entered field by field, and only what lies in them is taken out. Both ways of reading, by number
//! and by name, share this one table.

use crate::model::event::Direction;

use super::schema::{self, Field, Message};

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
    /// `StreamTapsRequest`, the message of a tap service; a concatenation of them is one of any length.
    Taps,
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
            (Self::Taps, 3) => Action::Enter(Self::Wrapper),
            _ => Action::Skip,
        }
    }

    /// The key of its field that is an event, where it has one.
    #[inline]
    pub(super) const fn event_key(self) -> Option<u8> {
        match self {
            Self::Buffered | Self::Streamed => Some(0x1a),
            Self::Batch => Some(0x0a),
            Self::Wrapper | Self::Bare | Self::Taps => None,
        }
    }

    /// The names and numbers of its fields.
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

    /// The field of this name, and what to do with it. Of a message of the outermost level, what may stand
    /// around a `TraceWrapper` is known as well: a `StreamTapsRequest`, or an `Any`.
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

    /// How the connection that it is about is delivered, where it is about one.
    pub(super) const fn form(self) -> Option<Form> {
        match self {
            Self::Buffered => Some(Form::Buffered),
            Self::Streamed => Some(Form::Streamed),
            Self::Wrapper | Self::Bare | Self::Taps | Self::Batch => None,
        }
    }

    /// The number of the field of `TraceWrapper` that holds it; 0 where none does.
    pub(super) const fn member(self) -> u32 {
        match self {
            Self::Buffered => 3,
            Self::Streamed => 4,
            Self::Wrapper | Self::Bare | Self::Taps | Self::Batch => 0,
        }
    }

    /// Its name in messages about damage.
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

/// Whether a field of this name is what a `google.protobuf.Any` holds: the `value` of an Any within an Any in
/// JSON, or the URL in brackets of the text format.
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
