//! The first line of a message, and the properties of a head that determine the body's length.

use memchr::memchr;

use crate::model::protocol::http1::{
    Method, Methods, ParsedHead, Start, has_version, number, status, without_cr,
};
use crate::model::protocol::{self, Opening, Parsed, Protocol};

use super::super::names::Kind;
use super::Place;

/// The maximum length of a method, in bytes; the longest registered one has 17.
const MAX_METHOD: usize = 24;

/// The part of a head received so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) method: Method,
    /// A response's status.
    pub(super) status: u16,
    length: Option<u64>,
    /// Whether the body's length is invalid or ambiguous.
    pub(super) is_odd: bool,
    /// Whether there is a space between the name of a length and the colon.
    pub(super) has_space: bool,
    has_coding: bool,
    is_chunked: bool,
}

/// The methods of requests without a response so far.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Requests {
    methods: Methods,
    /// Whether some may be missing.
    is_lost: bool,
}

impl Requests {
    pub(super) fn push(&mut self, method: Method) {
        self.is_lost |= !self.methods.push(method);
    }

    /// Removes the method of the request that a response belongs to; `None` if it is unknown.
    pub(super) fn pop(&mut self) -> Option<Method> {
        match self.is_lost {
            true => None,
            false => self.methods.pop(),
        }
    }

    /// Notes that requests may be missing.
    pub(in super::super) const fn lose(&mut self) {
        self.is_lost = true;
    }
}

impl Head {
    /// Parses a message's first line. Of a long line, the end may be missing.
    pub(super) fn of(is_client: bool, line: &[u8], is_long: bool) -> Option<Self> {
        let head = Self::default();
        if is_client {
            let is_request = may_begin_request(line) && (is_long || has_version(line));
            let method = Method::of(line);
            return is_request.then_some(Self { method, ..head });
        }
        let status = status(line)?;
        Some(Self { status, ..head })
    }

    pub(super) fn take(&mut self, kind: Kind, value: &[u8], is_long: bool) {
        match kind {
            Kind::Length => {
                let length = number(value).filter(|_| !is_long);
                self.is_odd |= length.is_none() || (self.length.is_some() && self.length != length);
                self.length = length;
            }
            Kind::Coding => {
                self.has_coding = true;
                self.is_chunked |= value.to_ascii_lowercase().ends_with(b"chunked");
                self.is_odd |= is_long;
            }
            Kind::Other | Kind::Secret => {}
        }
    }

    /// What this complete head, which consists of `bytes`, is for all who follow messages; `None` if they may differ.
    pub(super) fn parsed(&self, is_client: bool, bytes: &[u8]) -> Option<Parsed> {
        let is_plain = bytes.first().is_some_and(u8::is_ascii_uppercase)
            && !self.is_odd
            && !self.has_space
            && !self.has_coding;
        let start = match is_client {
            true => Start::Request(self.method),
            false => Start::Response(self.status),
        };
        is_plain.then_some(Parsed::Head(ParsedHead {
            len: bytes.len(),
            start,
            length: self.length,
        }))
    }

    /// The position after the head (RFC 9112, section 6.3); for a response, `method` is that of its request.
    pub(super) fn body(&self, is_client: bool, method: Method) -> Place {
        if !is_client && (matches!(self.status, 204 | 304) || method == Method::Head) {
            return Place::Start;
        }
        match (self.has_coding, self.length) {
            _ if self.is_odd => Place::Unknown,
            // Both appear in request smuggling, where servers disagree about the end.
            (true, Some(_)) => Place::Unknown,
            (true, None) if self.is_chunked => Place::ChunkSize,
            (true, None) if is_client => Place::Unknown,
            (true, None) => Place::UntilClose,
            (false, Some(0)) => Place::Start,
            (false, Some(length)) => Place::Body(length, false),
            (false, None) if is_client => Place::Start,
            (false, None) => Place::UntilClose,
        }
    }
}

/// Whether the bytes of an event begin like a message.
#[inline]
pub(super) fn begins_message(is_client: bool, bytes: &[u8]) -> bool {
    if !is_client {
        return bytes.starts_with(b"HTTP/1.");
    }
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && (protocol::http_opening(bytes) == Some(Opening::Client(Protocol::Http1))
            || memchr(b'\n', bytes).is_some_and(|end| is_request_line(&bytes[..end])))
}

/// Whether bytes may begin a request's first line.
pub(in super::super) fn may_begin_request(bytes: &[u8]) -> bool {
    let is_method = |&&byte: &&u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(is_method)
        .count();
    match bytes.get(method) {
        Some(b'\r') => bytes.len() == 1,
        after => method <= MAX_METHOD && matches!(after, None | Some(b' ')),
    }
}

/// Whether bytes may begin a response's first line.
pub(in super::super) fn may_begin_response(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let len = bytes.len().min(VERSION.len());
    bytes[..len] == VERSION[..len] || bytes == b"\r"
}

/// Whether a complete line is the first of a request.
pub(in super::super) fn is_request_line(line: &[u8]) -> bool {
    let line = without_cr(line);
    may_begin_request(line) && has_version(line)
}

pub(super) fn hex_digits(line: &[u8]) -> usize {
    line.iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count()
}

/// Parses the size in the line before a chunk, which an extension may follow (RFC 9112, section 7.1).
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let (digits, rest) = line.split_at(hex_digits(line));
    let is_end = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    // 16 digits fill a `u64`, and no size has more.
    if !is_end || !(1..=16).contains(&digits.len()) {
        return None;
    }
    let digit = |byte: &u8| u64::from(byte & 15) + 9 * u64::from(byte >> 6);
    Some(digits.iter().fold(0, |size, byte| size << 4 | digit(byte)))
}

/// Whether bytes are exactly one chunk with the lines around it.
pub(super) fn is_chunk(bytes: &[u8]) -> bool {
    const MAX_SIZE: usize = 20;
    let begin = &bytes[..bytes.len().min(MAX_SIZE)];
    let Some(end) = begin.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let (line, rest) = bytes.split_at(end + 1);
    let size = rest.len().checked_sub(2).filter(|size| *size > 0);
    rest.ends_with(b"\r\n") && size.is_some_and(|size| chunk_size(line) == Some(size as u64))
}
