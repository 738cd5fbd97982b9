//! The messages of HTTP/1 (RFC 9112) in the bytes of one direction.

mod line;

use crate::model::protocol::http1::{
    Method, Methods, ParsedHead, Start, has_version, number, status, without_cr,
};
use crate::model::protocol::{self, Opening, Protocol};

use line::{Line, MAX_LINE};

/// The position in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages {
    place: Place,
    /// The incomplete line, in the parts that consist of lines.
    line: Line,
    /// Whether the position is uncertain. Then an event that begins like a message starts one.
    unsure: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a message's head, or before it.
    Head(Head),
    /// This many bytes before the end of a body.
    Body(u64),
    /// This many bytes before the end of a chunk, including the line end after it.
    Chunk(u64),
    /// In the line before a chunk.
    Size,
    /// In the lines after the last chunk.
    Trailers,
    /// In a body that ends with the connection.
    UntilClose,
    /// In bytes that are no longer HTTP.
    Tunnel,
    Unknown,
}

/// The part of a head received so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    start: Option<Start>,
    length: Option<u64>,
    /// Whether a length is invalid, or two lengths differ.
    is_odd: bool,
    is_chunked: bool,
}

impl Messages {
    /// The position at the beginning, or an unknown position.
    pub(super) fn new(at_beginning: bool) -> Self {
        let place = if at_beginning {
            Place::Head(Head::default())
        } else {
            Place::Unknown
        };
        Self {
            place,
            line: Line::EMPTY,
            unsure: !at_beginning,
        }
    }

    /// Whether the connection has switched to another protocol.
    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(self.place, Place::Tunnel)
    }

    /// Advances over the bytes of an event, sent by the client or the server.
    #[inline]
    pub(super) fn follow(&mut self, is_client: bool, payload: &[u8], requests: &mut Methods) {
        match &mut self.place {
            Place::Body(left) if !self.unsure && (payload.len() as u64) < *left => {
                *left -= payload.len() as u64;
            }
            _ => self.follow_messages(is_client, payload, requests),
        }
    }

    /// Advances over a complete head, sent by the client or the server, if the position is certainly before one. Returns
    /// whether it did.
    #[inline]
    pub(super) fn take_head(
        &mut self,
        is_client: bool,
        parsed: &ParsedHead,
        requests: &mut Methods,
    ) -> bool {
        let is_before = matches!(&self.place, Place::Head(head) if head.start.is_none());
        let is_sent_by = is_client == matches!(parsed.start, Start::Request(_));
        if !is_before || !is_sent_by || self.unsure || self.line.len > 0 {
            return false;
        }
        let head = Head {
            length: parsed.length,
            ..Head::default()
        };
        self.place = head.started(parsed.start, requests).body(requests);
        true
    }

    fn follow_messages(&mut self, is_client: bool, mut payload: &[u8], requests: &mut Methods) {
        if self.unsure && begins_message(is_client, payload) {
            (self.place, self.unsure) = (Place::Head(Head::default()), false);
            self.line.len = 0;
        }
        let line = &mut self.line;
        while !payload.is_empty() {
            self.place = match &mut self.place {
                Place::Unknown | Place::UntilClose | Place::Tunnel => return,
                Place::Head(head) => match head.next(is_client, line, &mut payload, requests) {
                    Some(next) => next,
                    None => return,
                },
                Place::Body(left) => match take(left, &mut payload) {
                    true => Place::Head(Head::default()),
                    false => return,
                },
                Place::Chunk(left) => match take(left, &mut payload) {
                    true => Place::Size,
                    false => return,
                },
                Place::Size => match line.next(&mut payload, chunk_size) {
                    Some(Some(0)) => Place::Trailers,
                    Some(Some(size)) => Place::Chunk(size.saturating_add(2)),
                    Some(None) => Place::Unknown,
                    None => return,
                },
                Place::Trailers => match line.next(&mut payload, <[u8]>::is_empty) {
                    Some(true) => Place::Head(Head::default()),
                    Some(false) => continue,
                    None => return,
                },
            };
            self.unsure |= matches!(self.place, Place::Unknown);
        }
    }

    /// Advances over `missing` unknown bytes.
    pub(super) fn skip(&mut self, is_client: bool, missing: u64, requests: &mut Methods) {
        self.place = match &self.place {
            Place::Body(left) => match left.checked_sub(missing) {
                Some(0) => Place::Head(Head::default()),
                Some(left) => Place::Body(left),
                None => Place::Unknown,
            },
            Place::Chunk(left) => match left.checked_sub(missing) {
                Some(0) => Place::Size,
                Some(left) => Place::Chunk(left),
                None => Place::Unknown,
            },
            Place::Head(head) => {
                head.skip(is_client, self.line.begun(), requests);
                Place::Unknown
            }
            Place::UntilClose => Place::UntilClose,
            Place::Tunnel => Place::Tunnel,
            Place::Size | Place::Trailers | Place::Unknown => Place::Unknown,
        };
        self.line.len = 0;
        self.unsure = true;
    }

    /// The minimum number of bytes missing if the last event is truncated: the rest of the head, and of the body
    /// or chunk.
    pub(super) fn missing(&self, requests: &Methods) -> u64 {
        match &self.place {
            Place::Head(head) => head.missing(self.line.begun(), requests),
            Place::Body(left) | Place::Chunk(left) => *left,
            // Before the line end, more digits of the number may be missing.
            Place::Size => match self.line.begun() {
                [.., b'\r'] => {
                    chunk_size(self.line.begun()).map_or(1, |size| size.saturating_add(3))
                }
                begun if begun.contains(&b';') => {
                    chunk_size(begun).map_or(1, |size| size.saturating_add(4))
                }
                _ => 1,
            },
            Place::Trailers | Place::UntilClose | Place::Tunnel | Place::Unknown => 1,
        }
    }
}

/// Takes up to `left` bytes, and returns whether all of them were there.
fn take(left: &mut u64, payload: &mut &[u8]) -> bool {
    let len = usize::try_from(*left).map_or(payload.len(), |left| left.min(payload.len()));
    *payload = payload.get(len..).unwrap_or_default();
    *left -= len as u64;
    *left == 0
}

/// Whether an event begins like a message.
fn begins_message(is_client: bool, payload: &[u8]) -> bool {
    match protocol::http_opening(payload) {
        Some(Opening::Client(Protocol::Http1)) => is_client,
        Some(Opening::Server(Protocol::Http1)) => !is_client,
        _ => false,
    }
}

/// Parses the size in the line before a chunk, which an extension may follow (RFC 9112, section 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|&byte| byte == b';');
    let digits = line[..end.unwrap_or(line.len())].trim_ascii();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u64::from_str_radix(digits, 16).ok()
}

impl Head {
    /// Takes lines up to the end of the head. Returns the position after it, or where it turns out to be invalid.
    fn next(
        &mut self,
        is_client: bool,
        line: &mut Line,
        payload: &mut &[u8],
        requests: &mut Methods,
    ) -> Option<Place> {
        if line.len > 0 {
            let next = line.next(payload, |line| self.line(is_client, line, requests))?;
            if next.is_some() {
                return next;
            }
        }
        let (bytes, mut begin) = (*payload, 0);
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(begin..end).unwrap_or_default();
            begin = end + 1;
            // Skips lines that do not affect the framing.
            let is_other = !matches!(line.first(), Some(b'C' | b'c' | b'T' | b't' | b'\r') | None);
            if is_other && self.start.is_some() {
                continue;
            }
            if let Some(place) = self.line(is_client, without_cr(line), requests) {
                *payload = bytes.get(begin..).unwrap_or_default();
                return Some(place);
            }
        }
        line.keep(bytes.get(begin..).unwrap_or_default());
        *payload = &[];
        None
    }

    /// Takes a line; returns the position after it, unless that is still in the head.
    fn line(&mut self, is_client: bool, line: &[u8], requests: &mut Methods) -> Option<Place> {
        if self.start.is_none() {
            // Empty lines before a message are allowed (RFC 9112, section 2.2).
            if line.is_empty() {
                return None;
            }
            let Some(start) = start(is_client, line) else {
                return Some(Place::Unknown);
            };
            *self = self.started(start, requests);
            return None;
        }
        match line.first() {
            None => return Some(self.body(requests)),
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(line, b"content-length") {
                    let length = number(value);
                    self.is_odd |=
                        length.is_none() || (self.length.is_some() && self.length != length);
                    self.length = length;
                }
            }
            Some(b't' | b'T') => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    self.is_chunked |= value.to_ascii_lowercase().ends_with(b"chunked");
                    self.is_odd |= !self.is_chunked;
                }
            }
            Some(_) => {}
        }
        None
    }

    /// The head with this first line.
    fn started(self, start: Start, requests: &mut Methods) -> Self {
        if let Start::Request(method) = start {
            requests.push(method);
        }
        let start = Some(start);
        Self { start, ..self }
    }

    /// The position after a complete head (RFC 9112, section 6.3).
    fn body(&self, requests: &mut Methods) -> Place {
        let method = requests.first();
        match self.start {
            Some(Start::Response(101)) => return Place::Tunnel,
            Some(Start::Response(100..200)) => return Place::Head(Self::default()),
            Some(Start::Response(status)) => {
                requests.pop();
                if method == Method::Connect && status / 100 == 2 {
                    return Place::Tunnel;
                }
            }
            Some(Start::Request(_)) | None => {}
        }
        if !self.may_have_body(method) {
            return Place::Head(Self::default());
        }
        match (self.is_chunked, self.length, self.start) {
            (true, ..) => Place::Size,
            _ if self.is_odd => Place::Unknown,
            (_, Some(0), _) | (_, None, Some(Start::Request(_))) => Place::Head(Self::default()),
            (_, Some(length), _) => Place::Body(length),
            (_, None, _) => Place::UntilClose,
        }
    }

    /// Whether the response to a request with `method` may have a body.
    const fn may_have_body(&self, method: Method) -> bool {
        match self.start {
            Some(Start::Response(100..200 | 204 | 304)) => false,
            Some(Start::Response(_)) => !matches!(method, Method::Head),
            _ => true,
        }
    }

    /// Ends the head although its rest is unknown; `begun` is the line at the truncation.
    fn skip(&self, is_client: bool, begun: &[u8], requests: &mut Methods) {
        match self.start {
            None if begun.is_empty() => {}
            None if is_client => drop(requests.push(Method::of(begun))),
            None => drop(requests.pop()),
            Some(Start::Response(100..200) | Start::Request(_)) => {}
            Some(Start::Response(_)) => drop(requests.pop()),
        }
    }

    /// The minimum number of bytes missing from the message, with the incomplete line `begun`.
    fn missing(&self, begun: &[u8], requests: &Methods) -> u64 {
        let rest = match (self.start, begun) {
            // A message that has not started may never come.
            (None, [] | [b'\r']) => return 1,
            // The empty line, or the end of the line before it.
            (_, []) => 2,
            (_, [b'\r']) => 1,
            (_, [.., b'\r']) => 3,
            _ => 4,
        };
        let body = match self.length {
            _ if !self.may_have_body(requests.first()) => 0,
            // The last chunk.
            _ if self.is_chunked => 5,
            Some(length) if !self.is_odd => length,
            _ => 0,
        };
        body.saturating_add(rest)
    }
}

/// Parses the first line of a message.
fn start(is_client: bool, line: &[u8]) -> Option<Start> {
    if !is_client {
        return status(line).map(Start::Response);
    }
    // The end of a long line is not kept.
    let is_long = line.len() >= MAX_LINE;
    let is_request = is_long || has_version(line);
    let method = Method::of(line);
    (is_request && line.first()?.is_ascii_uppercase()).then_some(Start::Request(method))
}

/// The value of the header field with this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
