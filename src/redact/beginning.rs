//! Recognizes the protocol of a connection from the first bytes of a direction.

use memchr::memchr;

use crate::model::protocol::{self, Opening, PREFACE, Protocol};

use super::connection::MAX_BEGUN;
use super::{http1, http2};

/// The minimum number of bytes by which the preface is recognized: `PRI *`.
const MIN_PREFACE: usize = 5;

/// The methods by which a request is recognized although its target is cut.
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
];

/// The meaning of the first bytes of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// There are too few of them.
    Open,
    /// A client's or a server's first bytes.
    Http(Opening),
    /// Frames of HTTP/2 from the middle of a connection.
    Frames,
    Other,
}

impl Beginning {
    /// The meaning of bytes with other bytes before them.
    #[inline]
    pub(super) fn in_the_middle(bytes: &[u8]) -> Self {
        match bytes.first() {
            // A method, `HTTP`, or the length of a usual frame.
            Some(b'A'..=b'Z' | 0) => Self::of(bytes),
            _ => Self::Other,
        }
    }

    /// The meaning of the first bytes of a direction.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if is_cut_short(bytes) {
            return Self::Open;
        }
        if let Some(opening) = protocol::http_opening(bytes)
            && let Protocol::Http1 | Protocol::Http2 = opening.protocol()
        {
            return Self::Http(opening);
        }
        if is_request(bytes) {
            return Self::Http(Opening::Client(Protocol::Http1));
        }
        match http2::are_frames(bytes, false) {
            true => Self::Frames,
            false => Self::Other,
        }
    }
}

/// Whether bytes may show a protocol once more of them have arrived.
fn is_cut_short(bytes: &[u8]) -> bool {
    const SETTINGS: [Option<u8>; 9] = [
        Some(0),
        None,
        None,
        Some(4),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
    ];
    if bytes.len() < MIN_PREFACE && PREFACE.starts_with(bytes) || b"HTTP/1.".starts_with(bytes) {
        return true;
    }
    let may_be = |(byte, expected): (&u8, &Option<u8>)| expected.is_none_or(|it| it == *byte);
    if bytes.len() < SETTINGS.len() && bytes.iter().zip(&SETTINGS).all(may_be) {
        return true;
    }
    // A method, with or without the space after it.
    bytes.len() < MAX_BEGUN
        && http1::may_begin_request(bytes)
        && memchr(b' ', bytes).is_none_or(|space| space + 1 == bytes.len())
}

/// Whether bytes begin with a request's first line, which may be cut after a known method or in the target.
fn is_request(bytes: &[u8]) -> bool {
    match memchr(b'\n', bytes) {
        Some(end) => http1::is_request_line(&bytes[..end]),
        None => {
            let mut parts = bytes.splitn(3, |byte| *byte == b' ');
            let (method, target) = (parts.next(), parts.next());
            method.is_some_and(|method| METHODS.contains(&method))
                || (http1::may_begin_request(bytes)
                    && matches!(target, Some([b'/' | b'*' | b'h', ..])))
        }
    }
}
