//! The messages of one direction of an HTTP/1 connection (RFC 9112), followed byte by byte.
//!
//! It fails closed. If the position is lost, everything is overwritten up to an event that begins like a message, and
//! after that everything but heads.

mod fields;
mod head;

use arrayvec::ArrayVec;

use crate::model::protocol::http1::{Method, has_version, without_cr};
use crate::words;

use super::names::{Kind, Names};
use super::patch::{Patch, STAND_IN};
use fields::{InField, is_text};
use head::{Head, begins_message, chunk_size, hex_digits, is_chunk, may_begin_response};

pub(super) use head::{Requests, is_request_line, may_begin_request};

/// The number of bytes that are kept of a line that arrives in pieces: enough for a length, a coding, a status or a
/// method.
const MAX_LINE: usize = 64;

/// The position in one direction.
#[derive(Debug)]
pub(super) struct Messages {
    is_client: bool,
    place: Place,
    /// Whether heads determine where messages end: no bytes before were lost.
    is_certain: bool,
    head: Head,
    /// The part of a line that arrived in earlier events.
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the first line of a message, or before it.
    Start,
    /// In the fields of a head, or in trailers.
    Fields(Part, InField),
    /// This many bytes before the end of a body, or, with the flag, of a chunk.
    Body(u64, bool),
    /// In the line before a chunk.
    ChunkSize,
    /// In the line end after a chunk.
    ChunkEnd,
    /// In a body that ends with the connection.
    UntilClose,
    /// The position is lost.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Trailers,
}

/// A line that arrives in pieces, as far as it is kept.
#[derive(Debug, Default)]
struct Line {
    kept: ArrayVec<u8, { MAX_LINE + 1 }>,
    /// Whether bytes of it are not kept.
    is_long: bool,
}

impl Line {
    fn clear(&mut self) {
        self.kept.clear();
        self.is_long = false;
    }

    fn push(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(self.kept.remaining_capacity());
        self.is_long |= len < bytes.len();
        let _ = self.kept.try_extend_from_slice(&bytes[..len]);
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// The protocol after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Http,
    /// From this index of the event's bytes on, the connection uses another protocol.
    Tunnel(usize),
}

impl Messages {
    /// The position at the beginning of a direction; lost, unless it is certain.
    pub(super) fn new(is_client: bool, is_certain: bool) -> Self {
        let place = if is_certain {
            Place::Start
        } else {
            Place::Unknown
        };
        Self {
            is_client,
            place,
            is_certain,
            head: Head::default(),
            line: Line::default(),
        }
    }

    /// Loses the position.
    pub(super) const fn lose(&mut self) {
        self.place = Place::Unknown;
        self.is_certain = false;
    }

    /// Whether no bytes were lost so far.
    pub(super) const fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Advances over `missing` unknown bytes.
    pub(super) fn skip(&mut self, missing: u64) {
        match &mut self.place {
            Place::Body(left, is_chunk) if missing <= *left => {
                *left -= missing;
                if *left == 0 {
                    self.place = after_body(*is_chunk);
                    self.line.clear();
                }
            }
            Place::UntilClose => {}
            _ if missing == 0 => {}
            _ => self.lose(),
        }
    }

    /// Advances over the bytes of an event, if they are certainly inside a body, or a complete chunk.
    #[inline]
    pub(super) fn pass(&mut self, bytes: &[u8]) -> bool {
        // A message begins with a method or `HTTP`.
        let begins = bytes.first().is_some_and(u8::is_ascii_uppercase);
        let len = bytes.len() as u64;
        match &mut self.place {
            Place::Body(left, _) if !begins && len < *left => {
                *left -= len;
                true
            }
            Place::UntilClose => !begins,
            Place::ChunkSize => self.line.is_empty() && is_chunk(bytes),
            _ => false,
        }
    }

    /// Advances over the bytes of an event, from `at` on.
    pub(super) fn follow(
        &mut self,
        mut at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
        requests: &mut Requests,
    ) -> Outcome {
        let bytes = patch.bytes();
        // Bytes may be missing that the trace does not mention.
        let may_begin = matches!(
            self.place,
            Place::Unknown | Place::Body(..) | Place::UntilClose
        );
        if may_begin && begins_message(self.is_client, &bytes[at..]) {
            self.lose();
            self.start();
        }
        let mut is_first_head = at == 0 && self.place == Place::Start && self.line.is_empty();
        while at < bytes.len() {
            let end = match self.place {
                Place::Unknown => {
                    patch.overwrite_whole(at..bytes.len(), STAND_IN);
                    break;
                }
                Place::Start => {
                    is_first_head &= at == 0;
                    self.first_line(bytes, at, requests)
                }
                Place::Fields(part, field) => {
                    let end = self.fields(at, part, field, patch, names);
                    let is_over = part == Part::Head && self.place == Place::Start;
                    if let Some(end) = end.filter(|_| is_over) {
                        if is_first_head {
                            patch.parsed = self.head.parsed(self.is_client, &bytes[..end]);
                            is_first_head = false;
                        }
                        if self.head_ends(requests) {
                            return Outcome::Tunnel(end);
                        }
                    }
                    end
                }
                Place::Body(left, is_chunk) => {
                    let rest = (bytes.len() - at) as u64;
                    let end = at + left.min(rest) as usize;
                    if has_bodies {
                        patch.overwrite(at..end);
                    }
                    self.place = match left - (end - at) as u64 {
                        0 => after_body(is_chunk),
                        left => Place::Body(left, is_chunk),
                    };
                    self.line.clear();
                    Some(end)
                }
                Place::ChunkSize => self.chunk_size(bytes, at),
                Place::ChunkEnd => self.chunk_end(bytes, at),
                Place::UntilClose => {
                    if has_bodies {
                        patch.overwrite(at..bytes.len());
                    }
                    break;
                }
            };
            match end {
                Some(end) => at = end,
                // The rest of the event is overwritten.
                None => self.lose(),
            }
        }
        Outcome::Http
    }

    /// Goes to the beginning of a message.
    fn start(&mut self) {
        self.place = Place::Start;
        self.line.clear();
    }

    /// Takes bytes of a message's first line, and returns their end; `None` if the line is invalid.
    fn first_line(&mut self, bytes: &[u8], at: usize, requests: &mut Requests) -> Option<usize> {
        let Some(end) = self.line_end(bytes, at) else {
            if !self.is_certain && !is_text(&bytes[at..]) {
                return None;
            }
            let may_be = if self.is_client {
                may_begin_request(&self.line.kept)
            } else {
                may_begin_response(&self.line.kept)
            };
            return may_be.then_some(bytes.len());
        };
        let is_whole = self.line.is_empty();
        let line = without_cr(&bytes[at..end - 1]);
        if is_whole {
            // Empty lines before a message are allowed (RFC 9112, section 2.2).
            if line.is_empty() {
                return Some(end);
            }
            self.head = Head::of(self.is_client, line, false)?;
        } else {
            // The version is at the line's end, which may not be kept.
            let is_long = self.line.is_long || self.line.kept.len() + line.len() > MAX_LINE;
            if is_long && self.is_client && !has_version(line) && line.len() > 8 {
                return None;
            }
            self.line.push(line);
            let kept = without_cr(&self.line.kept);
            if kept.is_empty() {
                self.line.clear();
                return Some(end);
            }
            self.head = Head::of(self.is_client, kept, is_long)?;
        }
        if self.is_client {
            requests.push(self.head.method);
        }
        self.place = Place::Fields(Part::Head, InField::Begin(Kind::Other));
        self.line.clear();
        Some(end)
    }

    /// The end of a line. A line that continues in the next event is kept.
    #[inline]
    fn line_end(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = &bytes[at..];
        let end = words::find(b'\n', rest);
        if end.is_none() {
            self.line.push(rest);
        }
        Some(at + end? + 1)
    }

    /// Ends a head. Returns whether the connection switches to another protocol.
    fn head_ends(&mut self, requests: &mut Requests) -> bool {
        let mut method = Method::Other;
        if !self.is_client {
            let status = self.head.status;
            if status == 101 {
                return true;
            }
            if (100..200).contains(&status) {
                return false;
            }
            match requests.pop() {
                Some(answered) => method = answered,
                // Whether the response has a body depends on the request.
                None => self.is_certain = false,
            }
            if method == Method::Connect && status / 100 == 2 {
                return true;
            }
        }
        if !self.is_certain {
            self.place = Place::Unknown;
            return false;
        }
        self.place = self.head.body(self.is_client, method);
        self.is_certain = self.place != Place::Unknown;
        false
    }

    /// Takes bytes of the line before a chunk, and returns their end; `None` if the line is invalid.
    fn chunk_size(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let Some(end) = self.line_end(bytes, at) else {
            let digits = hex_digits(&self.line.kept);
            return (1..MAX_LINE).contains(&digits).then_some(bytes.len());
        };
        let line = &bytes[at..end];
        let size = if self.line.is_empty() {
            chunk_size(line)?
        } else {
            self.line.push(line);
            let size = chunk_size(&self.line.kept)?;
            self.line.clear();
            size
        };
        self.place = match size {
            0 => Place::Fields(Part::Trailers, InField::Begin(Kind::Other)),
            size => Place::Body(size, true),
        };
        Some(end)
    }

    /// Takes bytes of the line end after a chunk, and returns their end; `None` if it is invalid.
    fn chunk_end(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        match (bytes[at], self.line.is_empty()) {
            (b'\r', true) if bytes.get(at + 1) == Some(&b'\n') => {
                self.place = Place::ChunkSize;
                return Some(at + 2);
            }
            (b'\r', true) => self.line.push(b"\r"),
            (b'\n', _) => {
                self.line.clear();
                self.place = Place::ChunkSize;
            }
            _ => return None,
        }
        Some(at + 1)
    }
}

const fn after_body(is_chunk: bool) -> Place {
    match is_chunk {
        true => Place::ChunkEnd,
        false => Place::Start,
    }
}
