//! The model that all rooms share: what a trace says, free of how it was encoded.
//!
//! It owns no logic beyond its own invariants and knows neither protobuf nor packets.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::slice::Slice;

/// A moment in nanoseconds since the Unix epoch, from 1970 to 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Timestamp {
    /// Makes a timestamp of nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes a timestamp of protobuf's pair of seconds and nanoseconds.
    ///
    /// Nanoseconds outside 0..10^9 are carried into the seconds; a result outside the years that
    /// a `Timestamp` holds is clamped. The flag tells that either happened.
    #[inline]
    pub const fn from_parts(seconds: i64, nanos: i32) -> (Self, bool) {
        // As nearly all are: the product and the sum have room.
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

    /// The moment `nanos` nanoseconds later, or the last one that a `Timestamp` holds.
    pub const fn saturating_add(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// What tells tapped connections (socket taps) or requests (HTTP taps) apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId {
    /// Which input of a merge it comes from, from 0: Envoys number their connections alike.
    pub source: u32,
    /// The number that Envoy gives it.
    pub number: u64,
    /// Which of the connections that share this number in their source, from 0: ids start again when
    /// Envoy restarts, and two Envoys may write to one file.
    pub instance: u32,
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// Which way bytes went, as Envoy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Envoy read them: from the remote to the local endpoint.
    Read,
    /// Envoy wrote them: from the local to the remote endpoint.
    Write,
}

impl Direction {
    /// The other way.
    pub const fn reverse(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// A transport protocol that a socket address names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, and whatever says nothing.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// One end of a connection, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port; port 0 where the trace has none.
    Ip(IpAddr, u16),
    /// A name where an IP address is usual, and its port (0 where the trace has none).
    Host(String, u16),
    /// A Unix domain socket's path; `@` stands for the leading NUL of an abstract one.
    Pipe(String),
    /// A listener inside Envoy, and an endpoint of it.
    Internal {
        /// The listener's name.
        listener: String,
        /// The endpoint's id; empty where there is none.
        endpoint: String,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Self::Ip(ip, port) => write!(f, "{ip}:{port}"),
            Self::Host(host, port) => write!(f, "{}:{port}", host.escape_debug()),
            Self::Pipe(path) => write!(f, "unix:{}", path.escape_debug()),
            Self::Internal { listener, endpoint } if endpoint.is_empty() => {
                write!(f, "envoy://{}", listener.escape_debug())
            }
            Self::Internal { listener, endpoint } => {
                write!(
                    f,
                    "envoy://{}/{}",
                    listener.escape_debug(),
                    endpoint.escape_debug()
                )
            }
        }
    }
}

/// Both ends of a connection, as far as the trace names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    /// TCP or UDP.
    pub transport: Transport,
    /// Envoy's end.
    pub local: Option<Endpoint>,
    /// The peer's end: the client of a downstream tap, the server of an upstream one.
    pub remote: Option<Endpoint>,
    /// The network namespace of Envoy's end, where the listener is in one of its own.
    pub namespace: Option<String>,
}

impl Event {
    /// Envoy's running count before this event, on the scale of all others.
    ///
    /// What `closed` carries is one more than what an event at its place would.
    pub fn count_before(&self) -> Option<u64> {
        let seq = self.seq_num?.get();
        Some(if matches!(self.what, What::Closed) {
            seq.saturating_sub(1)
        } else {
            seq
        })
    }

    /// The bytes that it holds of what went over the connection, and which way they went.
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

    /// Makes it be about bytes, unless it is, and gives what it tells of them, to be written over.
    pub(crate) fn data(&mut self) -> &mut What {
        if !matches!(self.what, What::Data { .. }) {
            self.what = What::Data {
                direction: Direction::Read,
                payload: Slice::default(),
                truncated: false,
                as_string: false,
                end_stream: false,
            };
        }
        &mut self.what
    }

    /// Whether it happened at a time, rather than telling of something else that did.
    pub const fn is_timed(&self) -> bool {
        matches!(
            self.what,
            What::Data { .. } | What::Closed | What::Http(Http::Part { .. })
        )
    }
}

impl Connection {
    /// Adds what `other` names; returns whether that is something new.
    pub(crate) fn learn(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.transport = other.transport;
        for (known, named) in [
            (&mut self.local, &other.local),
            (&mut self.remote, &other.remote),
        ] {
            if named.is_some() {
                known.clone_from(named);
            }
        }
        if other.namespace.is_some() {
            self.namespace.clone_from(&other.namespace);
        }
        before != *self
    }

    /// Whether it names neither end.
    pub const fn is_empty(&self) -> bool {
        self.local.is_none() && self.remote.is_none()
    }
}

/// One thing that a trace says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The connection it belongs to.
    pub trace: TraceId,
    /// Where in the (decoded) input it begins, in bytes.
    pub offset: u64,
    /// When it happened, where recorded.
    pub time: Option<Timestamp>,
    /// Whether what was recorded cannot be, and `time` is the nearest that can.
    pub time_adjusted: bool,
    /// Envoy's running count of bytes before this event, both ways together, plus one.
    ///
    /// Streamed traces of Envoy 1.37 and later only.
    pub seq_num: Option<NonZeroU64>,
    /// How many bytes of payload are known to be missing from the end of this event.
    pub missing: Option<u64>,
    /// Bytes that went over the connection before this event, and are in none.
    pub gap: Option<Box<Gap>>,
    /// What happened.
    pub what: What,
}

/// Bytes that Envoy has counted between two events of a connection, and that no event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many there are.
    pub bytes: u64,
    /// Which way they went, where that is certain.
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

/// What an [`Event`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// A buffered message about this connection begins, up to the next one of its kind. Whether it goes
    /// on with the connection or another one has its number, only what follows tells.
    Begin,
    /// The connection's endpoints.
    Connection(Box<Connection>),
    /// What a message says of its connection comes only now, after events of it: it was too long to be held.
    Late,
    /// Bytes went over the connection.
    Data {
        /// Which way.
        direction: Direction,
        /// The bytes, as far as Envoy kept them.
        payload: Slice,
        /// Envoy kept only the first of them.
        truncated: bool,
        /// They were recorded as a string, which cannot hold every byte.
        as_string: bool,
        /// The write that carried them ended the stream.
        end_stream: bool,
    },
    /// The connection was closed.
    Closed,
    /// Nothing more of the connection comes, although its end is not recorded.
    Over,
    /// The whole buffered trace lost bytes of one direction to its limit.
    Truncated(Direction),
    /// A message stood here that Envoy failed to write. It is of no connection.
    Failed,
    /// Some of the trace was skipped, from this event's offset on. It is of no connection.
    Skipped(Box<Skip>),
    /// The share of connections that the tap was configured to record, in parts of a million (Envoy 1.39
    /// and later). It applies to the whole trace.
    SampleRate(u32),
    /// An event that tells nothing, as JSON_BODY_AS_STRING writes in place of the connection.
    #[default]
    Nothing,
    /// Something of an HTTP exchange, which an HTTP filter tap records without its bytes.
    Http(Http),
}

/// Some of a trace that was skipped, because no event can be made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Where the trace goes on, in bytes of the (decoded) input.
    pub to: u64,
    /// Why it was skipped.
    pub kind: SkipKind,
}

/// Why some of a trace was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipKind {
    /// It is damaged, in this way and at this place.
    Damage(String),
    /// It is no part of a message, such as a line of a log between two.
    Text,
    /// It is a line that Envoy writes to a client in the place of a message.
    Note,
    /// A terminal has put them there: the carriage returns before the line feeds of all of a binary trace.
    CarriageReturns,
    /// It comes after the end of a compressed trace, and is no gzip or zstd: how much it is, is not known.
    AfterCompressed,
}

/// What a trace tells of an HTTP exchange: a request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// The exchange begins.
    Begin {
        /// The client's connection, where it is recorded.
        downstream: Option<Box<Connection>>,
        /// The connection to the server, where it is recorded (Envoy 1.36 and later).
        upstream: Option<Box<Connection>>,
    },
    /// Something of the request or the response.
    Part {
        /// Whose part it is.
        side: Side,
        /// The part.
        part: Part,
        /// Whether it is known to be the side's last.
        last: bool,
    },
    /// All of the exchange has been told.
    End,
}

/// A side of an HTTP exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the client sends.
    Request,
    /// What the server answers.
    Response,
}

impl Side {
    /// Which way its bytes go on the downstream connection, where HTTP taps sit.
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
    /// Some of the body, or all of it.
    Body {
        /// The bytes, as far as Envoy kept them.
        payload: Bytes,
        /// Envoy kept only the first of them.
        truncated: bool,
        /// They were recorded as a string, which cannot hold every byte.
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
