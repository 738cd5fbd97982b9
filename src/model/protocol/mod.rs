//! Recognizes the protocol of a connection and the side of its client, from its first bytes and its addresses.
//!
//! Handshakes, names and hints all use these rules, so that they agree.

pub(crate) mod http1;
mod proxied;
mod role;

use std::fmt;

use memchr::memmem;

pub use role::{Evidence, Role, role};

/// The HTTP that redaction has found in the bytes of an event, so that it is not parsed twice.
///
/// It depends only on these bytes, provided that a frame or a message begins with the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Complete frames of HTTP/2.
    Frames,
    /// A complete head of HTTP/1, and perhaps more.
    Head(http1::ParsedHead),
}

/// The protocol of a connection, as recognized from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// Redis.
    Redis,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// MongoDB.
    Mongo,
    /// Kafka.
    Kafka,
    /// Thrift, its binary protocol, framed or not.
    Thrift,
    /// SMTP.
    Smtp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Mongo => "MongoDB",
            Self::Kafka => "Kafka",
            Self::Thrift => "Thrift",
            Self::Smtp => "SMTP",
        })
    }
}

/// A dissector that has to be set in Wireshark for a server's port, because Wireshark does not choose it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeAs {
    /// The port.
    pub port: u16,
    /// The dissector's name.
    pub dissector: &'static str,
    /// Whether the port has HTTP/2 without its preface. The dissector that owns the port may claim such a connection.
    pub is_headless: bool,
}

impl Protocol {
    /// Wireshark's dissector for a protocol other than HTTP, and the ports on which Wireshark uses it by default.
    pub(crate) const fn dissector(self) -> Option<(&'static str, &'static [u16])> {
        Some(match self {
            Self::Http1 | Self::Http2 | Self::Grpc => return None,
            Self::Redis => ("resp", &[6379]),
            Self::Postgres => ("pgsql", &[5432]),
            Self::Mysql => ("mysql", &[3306]),
            Self::Mongo => ("mongo", &[27_017]),
            Self::Kafka => ("kafka", &[9092]),
            Self::Thrift => ("thrift", &[]),
            Self::Smtp => ("smtp", &[25, 587]),
        })
    }
}

/// The dissector of HTTP/1. It hands a connection with an HTTP/2 preface over to the dissector of HTTP/2.
pub(crate) const HTTP: &str = "http";
/// The dissector of HTTP/2. It also shows connections without a preface, but no other protocol.
pub(crate) const HTTP2: &str = "http2";

impl DecodeAs {
    /// Whether it dissects HTTP, of any version.
    pub fn is_http(&self) -> bool {
        [HTTP, HTTP2].contains(&self.dissector)
    }
}

/// The value of the option `-d` of tshark and Wireshark.
impl fmt::Display for DecodeAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp.port=={},{}", self.port, self.dissector)
    }
}

/// The first bytes that an HTTP/2 client sends (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The number of bytes that identify the preface: `PRI *`.
const MIN_PREFACE: usize = 5;
/// The length of the longest accepted method, in bytes. The longest registered one has 17.
const MAX_METHOD: usize = 24;

/// The end of a connection that sent its first bytes, and their protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Client(Protocol),
    Server(Protocol),
}

impl Opening {
    /// The protocol, for either end.
    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::Client(protocol) | Self::Server(protocol) => protocol,
        }
    }
}

/// The end that sent the first bytes of a connection, and their protocol, if it is recognized.
pub(crate) fn opening(bytes: &[u8]) -> Option<Opening> {
    proxied::opening(bytes).or_else(|| http_opening(bytes))
}

/// The end that sent the first bytes of a connection, and the version of HTTP, if it is HTTP.
pub(crate) fn http_opening(bytes: &[u8]) -> Option<Opening> {
    // The preface may be truncated by the tap's limit, or be split over events.
    if bytes.len() >= MIN_PREFACE && bytes.starts_with(&PREFACE[..bytes.len().min(PREFACE.len())]) {
        return Some(Opening::Client(Protocol::Http2));
    }
    if bytes.starts_with(b"HTTP/1.") {
        return Some(Opening::Server(Protocol::Http1));
    }
    // A server's first frame is SETTINGS on stream 0, a multiple of six bytes (RFC 9113, section 6.5).
    if let Some([len @ .., 4, 0, 0, 0, 0, 0]) = bytes.get(..9)
        && let [0, high, low] = *len
        && u16::from_be_bytes([high, low]) % 6 == 0
    {
        return Some(Opening::Server(Protocol::Http2));
    }
    let line = &bytes[..memchr::memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let space = memchr::memchr(b' ', &line[..line.len().min(MAX_METHOD + 1)])?;
    let (method, rest) = line.split_at(space);
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    // The line's end may be beyond the tap's limit, or in the next event.
    let ends_well = line.ends_with(b" HTTP/1.1")
        || line.ends_with(b" HTTP/1.0")
        || (line.len() == bytes.len() && matches!(rest.get(1), Some(b'/' | b'h')));
    (is_method && ends_well).then_some(Opening::Client(Protocol::Http1))
}

/// The protocol of a connection whose first bytes, from either end, are `bytes`.
pub fn protocol(bytes: &[u8]) -> Option<Protocol> {
    opening(bytes).map(Opening::protocol)
}

/// gRPC's content type, plain and in HPACK's Huffman code (RFC 7541, appendix B). A value begins at a byte boundary, so
/// its code is always the same bytes.
const GRPC: [&[u8]; 2] = [
    b"application/grpc",
    b"\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64",
];

/// Whether `bytes` contain gRPC's content type.
pub fn is_grpc(bytes: &[u8]) -> bool {
    GRPC.iter()
        .any(|needle| memmem::find(bytes, needle).is_some())
}

/// The sizes of a PROXY protocol header in bytes (HAProxy's PROXY protocol, sections 2.1 and 2.2).
///
/// The shortest header of version 1 is `PROXY UNKNOWN` with its line end; the shortest of version 2 has no addresses.
/// The longest ones are those that a receiver has to accept: 107 bytes for version 1, and 536 for version 2 with its
/// extensions (the smallest segment size that every host accepts).
const PROXY_HEADER: std::ops::RangeInclusive<u64> = 15..=536;

/// Whether `lost` bytes may be a PROXY protocol header, given that they are missing directly before or after the first
/// event of a connection, and that this event was sent by Envoy.
///
/// Envoy's upstream PROXY protocol socket sits below the tap. It sends the header before the first bytes and counts it
/// among them, so that Envoy's count after that write is too large by the size of the header (seen in 1.40: 28 bytes).
/// A downstream header is received before the tap starts.
pub(crate) fn explains_proxy_header(lost: u64, role: Role) -> bool {
    role == Role::Upstream && PROXY_HEADER.contains(&lost)
}

#[cfg(test)]
mod tests;
