//! Events: the contents of a trace, independent of its encoding.
//!
//! All modules share these types. They have no logic beyond their own invariants, and know neither protobuf nor
//! packets.

mod connection;
mod plain;

use std::fmt;
use std::num::NonZeroU64;

use bytes::Bytes;

pub use connection::{Connection, Endpoint, Transport};
pub(crate) use plain::PlainEvent;

/// A moment in nanoseconds since the Unix epoch, from 1970 to 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Timestamp {
    /// Makes a timestamp from nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes a timestamp from protobuf's pair of seconds and nanoseconds.
    ///
    /// Nanoseconds outside 0..10^9 are carried into the seconds. A result outside the range of a `Timestamp` is
    /// clamped. The flag is true if either happened.
    #[inline]
    pub const fn from_parts(seconds: i64, nanos: i32) -> (Self, bool) {
        // The usual case, in which neither the product nor the sum overflows.
        const LAST_WHOLE: u64 = u64::MAX / NANOS_PER_SECOND;
        if (seconds as u64) < LAST_WHOLE && (nanos as u32 as u64) < NANOS_PER_SECOND {
            let total = seconds as u64 * NANOS_PER_SECOND + nanos as u64;
            return (Self(total), false);
        }
        Self::from_odd_parts(seconds, nanos)
    }

    #[cold]
    const fn from_odd_parts(seconds: i64, nanos: i32) -> (Self, bool) {
        let total = seconds as i128 * NANOS_PER_SECOND as i128 + nanos as i128;
        let clamped = match total {
            ..0 => 0,
            total if total > u64::MAX as i128 => u64::MAX,
            total => total as u64,
        };
        let in_range = 0 <= nanos && (nanos as u64) < NANOS_PER_SECOND;
        (Self(clamped), clamped as i128 != total || !in_range)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The moment `nanos` nanoseconds later, or the last moment that a `Timestamp` can hold.
    pub const fn saturating_add(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// Identifies a tapped connection (socket taps) or a tapped request (HTTP taps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId {
    /// The input of a merge, counted from 0. Different Envoys use the same numbers.
    pub source: u32,
    /// The number that Envoy assigned.
    pub number: u64,
    /// Counts the connections with the same number in one input, from 0. Numbers repeat when Envoy restarts, or when
    /// two Envoys write to one file.
    pub instance: u32,
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// The direction of bytes, by Envoy's names for its own reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Received by Envoy: from the remote to the local endpoint.
    Read,
    /// Sent by Envoy: from the local to the remote endpoint.
    Write,
}

impl Direction {
    /// The opposite direction.
    pub const fn reverse(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// One item of a trace: bytes, a closed connection, part of an HTTP message, or information about a connection or the
/// trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The connection that it belongs to.
    pub trace: TraceId,
    /// The position in the (decoded) input at which it begins, in bytes.
    pub offset: u64,
    /// The time at which it happened, if recorded.
    pub time: Option<Timestamp>,
    /// Whether the recorded time is impossible, and `time` is the nearest possible one.
    pub time_adjusted: bool,
    /// Envoy's count of the connection's bytes before this event, both directions together, plus one.
    ///
    /// Only in streamed traces of Envoy 1.37 and later.
    pub seq_num: Option<NonZeroU64>,
    /// The number of payload bytes that are missing from the end of this event, if it is known.
    pub missing: Option<u64>,
    /// Bytes that were transferred before this event, and are in no event.
    pub gap: Option<Box<Gap>>,
    /// What happened.
    pub what: What,
}

impl Event {
    /// An event about bytes, of which nothing else is known.
    pub fn of_bytes(direction: Direction, payload: &[u8]) -> Self {
        Self {
            what: What::Data {
                direction,
                payload: payload.to_vec(),
                truncated: false,
                as_string: false,
                end_stream: false,
            },
            ..Self::default()
        }
    }

    /// Envoy's byte count before this event, on the same scale for all events.
    ///
    /// The count in a `closed` event is one higher than in another event at the same position.
    pub fn count_before(&self) -> Option<u64> {
        let seq = self.seq_num?.get();
        Some(if matches!(self.what, What::Closed) {
            seq.saturating_sub(1)
        } else {
            seq
        })
    }

    /// The payload of the event, and its direction.
    pub fn payload(&self) -> Option<(Direction, &[u8])> {
        match &self.what {
            What::Data {
                direction, payload, ..
            } => Some((*direction, payload)),
            What::Http(Http::Part {
                side,
                part: Part::Body { payload, .. },
                ..
            }) => Some((side.direction(), payload)),
            _ => None,
        }
    }

    /// Turns the event into a data event, unless it is one, and returns its contents to be overwritten.
    pub(crate) fn data(&mut self) -> &mut What {
        if !matches!(self.what, What::Data { .. }) {
            self.what = What::Data {
                direction: Direction::Read,
                payload: Vec::new(),
                truncated: false,
                as_string: false,
                end_stream: false,
            };
        }
        &mut self.what
    }

    /// Whether it has a time of its own. The others describe a connection or the trace.
    pub const fn is_timed(&self) -> bool {
        matches!(
            self.what,
            What::Data { .. } | What::Closed | What::Http(Http::Part { .. })
        )
    }
}

/// Bytes that Envoy counted between two events of a connection, and that no event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The number of bytes.
    pub bytes: u64,
    /// Their direction, if it is certain.
    pub direction: Option<Direction>,
    /// Why they are missing.
    pub kind: GapKind,
}

/// Why the bytes of a [`Gap`] are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// Events were lost.
    Lost,
    /// They are the rest of a truncated event, which was delivered before its size was known.
    Cut,
    /// They are a header of the PROXY protocol, which Envoy sends first and does not record.
    ProxyHeader,
}

/// The contents of an [`Event`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// A buffered message about this connection begins. It ends with the next event of this kind. Its contents show
    /// whether it continues a connection with the same number or begins another one.
    Begin,
    /// The connection's endpoints.
    Connection(Box<Connection>),
    /// The message names its endpoints only after some of its events, and is too long to be buffered until then.
    Late,
    /// Envoy received or sent bytes.
    Data {
        /// Their direction.
        direction: Direction,
        /// The bytes, as far as Envoy kept them.
        payload: Vec<u8>,
        /// Whether Envoy kept only the first of them.
        truncated: bool,
        /// Whether they were recorded as a string, which cannot hold every byte.
        as_string: bool,
        /// Whether the write that carried them ended the stream.
        end_stream: bool,
    },
    /// The connection was closed.
    Closed,
    /// The trace has no further events of the connection, although its end is not recorded.
    Over,
    /// The buffered trace reached its limit in one direction; later bytes are missing.
    Truncated(Direction),
    /// Envoy failed to write a message at this position. The event belongs to no connection.
    Failed,
    /// A part of the trace was skipped, from this event's offset on. The event belongs to no connection.
    Skipped(Box<Skip>),
    /// The share of connections that the tap was configured to record, in parts of a million (Envoy 1.39
    /// and later). It applies to the whole trace.
    SampleRate(u32),
    /// An event without contents, which JSON_BODY_AS_STRING writes in place of the connection.
    #[default]
    Nothing,
    /// Part of an HTTP exchange. An HTTP filter tap records it without the bytes of the connection.
    Http(Http),
}

/// A part of a trace that was skipped because it cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The position at which decoding resumes, in bytes of the (decoded) input.
    pub to: u64,
    /// Why it was skipped.
    pub kind: SkipKind,
}

/// Why a part of a trace was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipKind {
    /// It is damaged; the text describes the damage and its position.
    Damage(String),
    /// It is not part of a message, such as a log line between two messages.
    Text,
    /// It is a line that Envoy sends to a client in place of a message.
    Note,
    /// It consists of the carriage returns that a terminal inserted before the line feeds of a binary trace.
    CarriageReturns,
    /// It follows a compressed trace, and is neither gzip nor zstd. Its size is unknown.
    AfterCompressed,
}

/// An item of an HTTP exchange, that is of a request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// The exchange begins.
    Begin {
        /// The connection to the client, if recorded.
        downstream: Option<Box<Connection>>,
        /// The connection to the server, if recorded (Envoy 1.36 and later).
        upstream: Option<Box<Connection>>,
    },
    /// A part of the request or the response.
    Part {
        /// The request or the response.
        side: Side,
        /// The part.
        part: Part,
        /// Whether it is known to be the last part of its side.
        last: bool,
    },
    /// The exchange ends here in the trace.
    End,
}

/// A side of an HTTP exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request, sent by the client.
    Request,
    /// The response, sent by the server.
    Response,
}

impl Side {
    /// The direction of its bytes on the downstream connection, which is where an HTTP tap records.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Request => Direction::Read,
            Self::Response => Direction::Write,
        }
    }
}

/// A part of an HTTP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Header fields, pseudo-headers such as `:path` among them.
    Headers(Vec<Field>),
    /// The body, or a part of it.
    Body {
        /// The bytes, as far as Envoy kept them.
        payload: Bytes,
        /// Whether Envoy kept only the first of them.
        truncated: bool,
        /// Whether they were recorded as a string, which cannot hold every byte.
        as_string: bool,
    },
    /// Trailer fields.
    Trailers(Vec<Field>),
}

/// A header or trailer field, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, with the colon of a pseudo-header.
    pub name: Bytes,
    /// The value, which may be any bytes.
    pub value: Bytes,
}
