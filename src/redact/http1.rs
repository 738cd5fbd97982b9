//! The messages of one direction of an HTTP/1 connection (RFC 9112), followed byte by byte.
//!
//! It fails closed. Where it is not certain where a message begins, everything is overwritten up to an event that
//! begins like a message, and after that everything but heads.

use std::ops::Range;

use arrayvec::ArrayVec;
use memchr::{memchr, memchr_iter};

use crate::model::protocol::{self, Opening, Protocol};

use super::names::{CODING, LENGTH, MAX_NAME, Names};
use super::patch::{Patch, STAND_IN};

/// How many bytes of a line are kept where it comes in pieces: a length, a coding, a status or a method needs no
/// more.
const MAX_LINE: usize = 64;
/// The longest method that is taken for one, in bytes; the longest registered is 17.
const MAX_METHOD: usize = 24;

/// The place in one direction.
#[derive(Debug)]
pub(super) struct Messages {
    is_client: bool,
    place: Place,
    /// Whether what follows a head is where the head says.
    is_certain: bool,
    head: Head,
    /// What has come of a line that began in an earlier event.
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the first line of a message, or before it.
    Start,
    /// In the fields of a head, or in trailers.
    Fields(Part, InField),
    /// So many bytes before the end of a body, and whether it is a chunk.
    Body(u64, bool),
    /// In the line before a chunk.
    ChunkSize,
    /// In the line's end after a chunk.
    ChunkEnd,
    /// In a body that the connection's end ends.
    UntilClose,
    /// Where messages begin is unknown.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Trailers,
}

/// The place in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InField {
    /// At the beginning of a line, after a field of this kind.
    Begin(Kind),
    Name,
    /// In a value; the flag: before its first byte that is no space.
    Value(Kind, bool),
}

/// What is done with a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Other,
    /// It is overwritten.
    Secret,
    Length,
    Coding,
}

/// A head as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    method: Method,
    /// A response's status.
    status: u16,
    length: Option<u64>,
    /// Whether what it says of the body's length makes no sense.
    is_odd: bool,
    has_coding: bool,
    is_chunked: bool,
}

/// What of a request's method decides what the answer is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Method {
    #[default]
    Other,
    Head,
    Connect,
}

/// The methods of the requests that have no answer yet, the oldest in the lowest bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    methods: u64,
    count: u32,
    /// Whether some may be missing.
    is_lost: bool,
}

impl Requests {
    /// How many there is room for, at two bits each.
    const ROOM: u32 = u64::BITS / 2;

    fn push(&mut self, method: Method) {
        if self.count < Self::ROOM {
            self.methods |= (method as u64) << (2 * self.count);
            self.count += 1;
        } else {
            self.is_lost = true;
        }
    }

    /// The method of the request that is answered; none: it is not known.
    fn pop(&mut self) -> Option<Method> {
        if self.is_lost || self.count == 0 {
            return None;
        }
        let method = match self.methods & 3 {
            1 => Method::Head,
            2 => Method::Connect,
            _ => Method::Other,
        };
        self.count -= 1;
        self.methods >>= 2;
        Some(method)
    }

    /// Takes note that requests may be missing.
    pub(super) const fn lose(&mut self) {
        self.is_lost = true;
    }
}

/// The beginning of a line.
#[derive(Debug, Default)]
struct Line {
    kept: ArrayVec<u8, { MAX_LINE + 1 }>,
    /// Whether there are bytes of it that are not kept.
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

/// What a direction has come to with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Http,
    /// From this place of the event's bytes on, the connection speaks something else.
    Tunnel(usize),
}

impl Messages {
    /// The place at the beginning of a direction.
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

    /// Loses the place.
    pub(super) const fn lose(&mut self) {
        self.place = Place::Unknown;
        self.is_certain = false;
    }

    /// Whether the place is lost, so that what was sent is not all known.
    pub(super) const fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Goes on over so many bytes that are not known.
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

    /// Goes on over an event's bytes, if all of them are certainly inside a body.
    #[inline]
    pub(super) fn is_inside(&mut self, bytes: &[u8]) -> bool {
        // A message begins with a method or `HTTP`.
        if bytes.first().is_some_and(u8::is_ascii_uppercase) {
            return false;
        }
        match &mut self.place {
            Place::Body(left, _) if (bytes.len() as u64) < *left => {
                *left -= bytes.len() as u64;
                true
            }
            Place::UntilClose => true,
            _ => false,
        }
    }

    /// Goes on over an event's bytes, from `at` on.
    pub(super) fn follow(
        &mut self,
        mut at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
        requests: &mut Requests,
    ) -> Outcome {
        let bytes = patch.bytes();
        // Bytes may be missing that the trace says nothing of.
        let may_begin = matches!(
            self.place,
            Place::Unknown | Place::Body(..) | Place::UntilClose
        );
        if may_begin && begins_message(self.is_client, &bytes[at..]) {
            self.lose();
            self.start();
        }
        while at < bytes.len() {
            let end = match self.place {
                Place::Unknown => {
                    patch.overwrite_whole(at..bytes.len(), STAND_IN);
                    break;
                }
                Place::Start => self.first_line(bytes, at, requests),
                Place::Fields(part, field) => {
                    let end = self.fields(at, part, field, patch, names);
                    let is_over = part == Part::Head && self.place == Place::Start;
                    if let Some(end) = end.filter(|_| is_over)
                        && self.head_ends(requests)
                    {
                        return Outcome::Tunnel(end);
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
                // What this event has of it is overwritten.
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

    /// Takes bytes of a message's first line, and returns where they end; none: it is no such line.
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
            // The version stands at its end, which may be longer than what is kept.
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

    /// The end of a line, which is kept where it goes on in the next event.
    fn line_end(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = &bytes[at..];
        let end = memchr(b'\n', rest);
        if end.is_none() {
            self.line.push(rest);
        }
        Some(at + end? + 1)
    }

    /// Takes bytes of a field, or many fields, and returns where they end; none: they are no fields.
    fn fields(
        &mut self,
        mut at: usize,
        part: Part,
        mut field: InField,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> Option<usize> {
        let bytes = patch.bytes();
        if !self.is_certain {
            self.check_fields(&bytes[at..], field)?;
        }
        let begin = at;
        for end in memchr_iter(b'\n', &bytes[begin..]) {
            let line = at..begin + end;
            at = line.end + 1;
            let InField::Begin(kind) = &mut field else {
                match self.piece(line, true, field, patch, names)? {
                    Some(next) => field = next,
                    None => {
                        self.start();
                        return Some(at);
                    }
                }
                continue;
            };
            match bytes[line.clone()] {
                ref line if names.is_plain_line(line) => *kind = Kind::Other,
                // The empty line that ends most heads.
                [] | [b'\r'] => {
                    self.start();
                    return Some(at);
                }
                [first, ..] if is_space(first) => {
                    field = self.piece(line, true, field, patch, names)??;
                }
                _ => *kind = self.line(line, patch, names)?,
            }
        }
        if at < bytes.len()
            && let Some(next) = self.piece(at..bytes.len(), false, field, patch, names)?
        {
            field = next;
        }
        self.place = Place::Fields(part, field);
        Some(bytes.len())
    }

    /// Checks that what looks like fields is fields, where something else may be taken for a head: a body's text, and
    /// what follows it. None: it is something else.
    fn check_fields(&self, bytes: &[u8], field: InField) -> Option<()> {
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        let mut is_value = matches!(field, InField::Value(..));
        let mut is_name = field == InField::Name;
        while let Some(line) = lines.next() {
            let line = without_cr(line);
            // The end of the head, or of the bytes.
            if line.is_empty() && !is_value && !is_name {
                return Some(());
            }
            let colon = memchr(b':', line);
            let is_whole = lines.peek().is_some();
            let is_field = is_value
                || (!is_name && is_space(line[0]))
                || colon.is_some_and(|colon| is_token(line[..colon].trim_ascii_end()))
                || (!is_whole && line.len() <= MAX_LINE && is_token(line.trim_ascii_end()));
            if !is_field || !is_text(line) || (is_name && self.line.is_long) {
                return None;
            }
            (is_value, is_name) = (false, false);
        }
        Some(())
    }

    /// Takes a whole line, and returns the kind of its field; none: it is no field.
    fn line(&mut self, line: Range<usize>, patch: &mut Patch<'_>, names: &Names) -> Option<Kind> {
        let bytes = &patch.bytes()[line.clone()];
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let kind = kind_of(bytes[..colon].trim_ascii(), names);
        self.line.clear();
        match kind {
            Kind::Other => {}
            Kind::Length | Kind::Coding => {
                self.head.take(kind, bytes[colon + 1..].trim_ascii(), false);
            }
            Kind::Secret => {
                self.value(kind, true, line.start + colon + 1..line.end, true, patch);
            }
        }
        Some(kind)
    }

    /// Takes a line, or as much of one as has come, and returns the place after it: none after the empty line that
    /// ends the fields. None of both: it is no field.
    #[allow(clippy::option_option, reason = "the outer one is for `?`")]
    fn piece(
        &mut self,
        mut piece: Range<usize>,
        is_end: bool,
        mut field: InField,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> Option<Option<InField>> {
        let bytes = patch.bytes();
        if let InField::Begin(kind) = field {
            // A line that begins with a space goes on with the value before it (RFC 9112, section 5.2).
            if bytes[piece.clone()]
                .first()
                .is_some_and(|first| is_space(*first))
            {
                self.head.is_odd |= matches!(kind, Kind::Length | Kind::Coding);
                field = InField::Value(kind, true);
            } else {
                self.line.clear();
                field = InField::Name;
            }
        }
        if field == InField::Name {
            let rest = &bytes[piece.clone()];
            let colon = rest.iter().position(|byte| *byte == b':');
            let mut name = &rest[..colon.unwrap_or(rest.len())];
            if !self.line.is_empty() || (colon.is_none() && !is_end) {
                self.line.push(name);
                name = &self.line.kept;
            }
            match colon {
                Some(colon) => {
                    field = InField::Value(kind_of(name.trim_ascii(), names), true);
                    self.line.clear();
                    piece.start += colon + 1;
                }
                None if !is_end => return Some(Some(field)),
                None => return without_cr(name).is_empty().then_some(None),
            }
        }
        let InField::Value(kind, is_begin) = field else {
            return None;
        };
        let has_begun = kind != Kind::Other && self.value(kind, is_begin, piece, is_end, patch);
        Some(Some(match is_end {
            true => InField::Begin(kind),
            false => InField::Value(kind, is_begin && !has_begun),
        }))
    }

    /// Takes a piece of a value, and returns whether there was more in it than spaces.
    fn value(
        &mut self,
        kind: Kind,
        is_begin: bool,
        piece: Range<usize>,
        is_end: bool,
        patch: &mut Patch<'_>,
    ) -> bool {
        let bytes = &patch.bytes()[piece.clone()];
        if kind == Kind::Secret {
            let spaces = match is_begin {
                true => bytes.iter().take_while(|byte| is_space(**byte)).count(),
                false => 0,
            };
            // The line's end may come in two events.
            let end = piece.end - usize::from(bytes.ends_with(b"\r"));
            patch.overwrite((piece.start + spaces).min(end)..end);
            return spaces < bytes.len();
        }
        if is_end && self.line.is_empty() {
            self.head.take(kind, bytes.trim_ascii(), false);
            return true;
        }
        self.line.push(bytes);
        if is_end {
            let value = std::mem::take(&mut self.line);
            self.head.take(kind, value.kept.trim_ascii(), value.is_long);
        }
        !bytes.is_empty()
    }

    /// Goes on after a head; returns whether something else than HTTP begins.
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
                // Whether it has a body depends on the request.
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

    /// Takes bytes of the line before a chunk, and returns where they end; none: it is no such line.
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

    /// Takes bytes of the line's end after a chunk, and returns where they end; none: it is none.
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

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn kind_of(name: &[u8], names: &Names) -> Kind {
    const _: () = assert!(MAX_LINE >= MAX_NAME);
    if names.has(name) {
        Kind::Secret
    } else if name.len() < LENGTH.len() {
        Kind::Other
    } else if is_name(name, LENGTH) {
        Kind::Length
    } else if is_name(name, CODING) {
        Kind::Coding
    } else {
        Kind::Other
    }
}

/// Whether a field's name is this one, in lower case. It takes the same few steps for each name of its length.
#[inline]
fn is_name<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let name: Result<[u8; N], _> = name.try_into();
    name.is_ok_and(|name| name.to_ascii_lowercase() == *known)
}

impl Head {
    /// What a message's first line tells, if it is one. Of a long line, the end may be missing.
    fn of(is_client: bool, line: &[u8], is_long: bool) -> Option<Self> {
        let head = Self::default();
        if is_client {
            let is_request = may_begin_request(line) && (is_long || has_version(line));
            let method = Method::of(line);
            return is_request.then_some(Self { method, ..head });
        }
        let digits = line
            .strip_prefix(b"HTTP/1.")?
            .get(2..)?
            .first_chunk::<3>()?;
        let is_status = digits.iter().all(u8::is_ascii_digit);
        let [a, b, c] = digits.map(|digit| u16::from(digit & 15));
        let status = 100 * a + 10 * b + c;
        is_status.then_some(Self { status, ..head })
    }

    fn take(&mut self, kind: Kind, value: &[u8], is_long: bool) {
        match kind {
            Kind::Length => {
                let told = number(value).filter(|_| !is_long);
                self.is_odd |= told.is_none() || (self.length.is_some() && self.length != told);
                self.length = told;
            }
            Kind::Coding => {
                self.has_coding = true;
                self.is_chunked |= value.to_ascii_lowercase().ends_with(b"chunked");
                self.is_odd |= is_long;
            }
            Kind::Other | Kind::Secret => {}
        }
    }

    /// What follows the head of a message that is an answer to a request with `method`, if it is one (RFC 9112,
    /// section 6.3).
    fn body(&self, is_client: bool, method: Method) -> Place {
        if !is_client && (matches!(self.status, 204 | 304) || method == Method::Head) {
            return Place::Start;
        }
        match (self.has_coding, self.length) {
            _ if self.is_odd => Place::Unknown,
            // A request smuggler says both, and each server believes another.
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

impl Method {
    fn of(line: &[u8]) -> Self {
        if line.starts_with(b"HEAD ") {
            Self::Head
        } else if line.starts_with(b"CONNECT ") {
            Self::Connect
        } else {
            Self::Other
        }
    }
}

/// Whether an event begins like a message.
#[inline]
fn begins_message(is_client: bool, bytes: &[u8]) -> bool {
    if !is_client {
        return bytes.starts_with(b"HTTP/1.");
    }
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && (protocol::http_opening(bytes) == Some(Opening::Client(Protocol::Http1))
            || memchr(b'\n', bytes).is_some_and(|end| is_request_line(&bytes[..end])))
}

/// Whether bytes may be the beginning of a request's first line.
pub(super) fn may_begin_request(bytes: &[u8]) -> bool {
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

/// Whether bytes may be the beginning of a response's first line.
pub(super) fn may_begin_response(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let len = bytes.len().min(VERSION.len());
    bytes[..len] == VERSION[..len] || bytes == b"\r"
}

/// Whether a request's first line ends as it must.
fn has_version(line: &[u8]) -> bool {
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

/// Whether a whole line is a request's first one.
pub(super) fn is_request_line(line: &[u8]) -> bool {
    let line = without_cr(line);
    may_begin_request(line) && has_version(line)
}

/// Whether bytes hold no control character that a head does not have (RFC 9110, section 5.5).
fn is_text(bytes: &[u8]) -> bool {
    let is_text = |&byte: &u8| byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\r');
    bytes.iter().all(is_text)
}

/// Whether bytes may be the name of a field (RFC 9110, section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    let is_token = |&byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    bytes.iter().all(is_token)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn hex_digits(line: &[u8]) -> usize {
    line.iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count()
}

/// The size in the line before a chunk, which an extension may follow (RFC 9112, section 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let (digits, rest) = line.split_at(hex_digits(line));
    let is_end = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    // 16 digits fill a `u64`, and no size has more.
    if !is_end || !(1..=16).contains(&digits.len()) {
        return None;
    }
    let digit = |byte: &u8| u64::from(byte & 15) + 9 * u64::from(byte >> 6);
    Some(digits.iter().fold(0, |size, byte| size << 4 | digit(byte)))
}

/// The number that decimal digits make.
fn number(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for digit in digits {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!digits.is_empty()).then_some(number)
}
