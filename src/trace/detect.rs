//! Detects the encoding and the schema generation of a trace from its first bytes.
//!
//! JSON and text are recognized by the first name of a message, after any text that common tools put before it.
//! The binary layouts are compared by [`shape`].
//!
//! Invariant: the shortest sufficient prefix decides, in whatever pieces it arrives.

use std::fmt;
use std::path::Path;

use crate::input::{Match, Prefix, Recoding, Utf16};

use super::element::Level;
use super::schema::{self, Message};
use super::shape;
use crate::trace::binary::walk::Framing;
use crate::trace::readable::begin::{Beginning, FAILURE, MAX_NAME};
use crate::trace::readable::seek::{Found, Grammar, Seeker};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf messages without separators.
    Binary,
    /// Protobuf messages, each preceded by its length: a varint, or gRPC's five bytes.
    Delimited,
    /// Protobuf's text format.
    Text,
    /// JSON objects without separators.
    Json,
}

/// The messages of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Envoy 1.7 to 1.9: the bare `Trace` of the capture extension.
    Capture,
    /// Envoy 1.10 and later: `TraceWrapper`.
    Tap,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Delimited => "delimited",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Generation {
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Capture => Level::Bare,
            Self::Tap => Level::Wrapper,
        }
    }
}

/// The layout of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) encoding: Encoding,
    pub(super) generation: Generation,
    /// The type of the outermost messages.
    pub(super) root: Level,
    /// What precedes each message in a binary encoding.
    pub(super) framing: Framing,
    /// How the bytes were changed in transit.
    pub(super) recoding: Recoding,
    /// The length of a byte order mark at the start.
    pub(super) mark: usize,
}

impl Layout {
    pub(super) fn new(encoding: Encoding, generation: Generation) -> Self {
        Self {
            encoding,
            generation,
            root: generation.level(),
            framing: match encoding {
                Encoding::Delimited => Framing::Varint,
                _ => Framing::None,
            },
            recoding: Recoding::default(),
            mark: 0,
        }
    }
}

/// How much of a binary trace is examined, in bytes; it includes the first one or two events.
pub(super) const PREFIX: usize = 64 << 10;
/// How much text may precede the first message, in bytes: the head of a response, and what curl prints each
/// second for an hour.
const MAX_FOREIGN: usize = 256 << 10;

/// The result of a detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    As(Box<Layout>),
    /// More bytes are needed.
    Short,
    /// Not a trace.
    Nothing,
}

impl Detected {
    pub(super) fn of(layout: Layout) -> Self {
        Self::As(Box::new(layout))
    }
}

/// After how many bytes to try again. At first every byte counts, because a live stream must not wait; later the
/// intervals grow, so that all tries together cost little more than one.
pub(super) const fn next_look(looked: usize) -> usize {
    looked + 1 + looked / 64
}

/// Examines the beginning of an input repeatedly while it arrives.
#[derive(Debug, Default)]
pub(super) struct Detector {
    search: Search,
}

impl Detector {
    /// Detects the layout of a trace from its first bytes, `window`; `ended`: these are all.
    ///
    /// `wanted` is the encoding set by the user; the name of `path` decides if the bytes allow more than one.
    pub(super) fn detect(
        &mut self,
        window: &[u8],
        ended: bool,
        wanted: Option<Encoding>,
        path: Option<&Path>,
    ) -> Detected {
        let readable = match charset(window, ended) {
            Charset::Utf8 { mark } => {
                let found = self.readable(&window[mark..], ended);
                set(found, |layout| layout.mark = mark)
            }
            Charset::Utf16(order) => {
                let text = decoded(order, window);
                let found = self.readable(text.as_bytes(), ended);
                set(found, |layout| layout.recoding.utf16 = Some(order))
            }
            Charset::Short => Detected::Short,
        };
        match (wanted, readable) {
            (Some(Encoding::Text | Encoding::Json), Detected::Short) => Detected::Short,
            (Some(wanted @ (Encoding::Text | Encoding::Json)), found) => match found {
                Detected::As(layout) if layout.encoding == wanted => Detected::As(layout),
                _ => Detected::of(Layout::new(wanted, Generation::Tap)),
            },
            (None, found @ (Detected::As(_) | Detected::Short)) => found,
            _ => match shape::binary(window, ended, wanted, path) {
                Detected::Nothing => changed_by_terminal(window, ended, wanted, path),
                found => found,
            },
        }
    }

    /// Searches for the first name of a text or JSON trace.
    fn readable(&mut self, text: &[u8], ended: bool) -> Detected {
        // Blanks and comments alone are not a trace, however many there are.
        let ended = ended || text.len() >= MAX_FOREIGN;
        let start = start(text, ended);
        if let Start::As(encoding, generation) = start {
            return Detected::of(Layout::new(encoding, generation));
        }
        if start == Start::Short {
            return Detected::Short;
        }
        if !text.iter().copied().all(is_text) {
            return Detected::Nothing;
        }
        if let Some((encoding, prefix)) = self.search.go_on(text) {
            let mut layout = Layout::new(encoding, Generation::Tap);
            layout.recoding.prefix = prefix;
            return Detected::of(layout);
        }
        match (ended, start) {
            (false, _) => Detected::Short,
            // A field of TraceWrapper that is newer than this program.
            (true, Start::Json) => Detected::of(Layout::new(Encoding::Json, Generation::Tap)),
            (true, _) => Detected::Nothing,
        }
    }
}

fn set(found: Detected, change: impl FnOnce(&mut Layout)) -> Detected {
    match found {
        Detected::As(mut layout) => {
            change(&mut layout);
            Detected::As(layout)
        }
        other => other,
    }
}

/// The character encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    /// UTF-8 or a similar encoding, after a mark of this length.
    Utf8 {
        mark: usize,
    },
    Utf16(Utf16),
    /// More bytes are needed.
    Short,
}

/// The number of characters that identify a text as UTF-16.
const SHOWN_UNITS: usize = 4;

fn charset(window: &[u8], ended: bool) -> Charset {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if window.starts_with(MARK) {
        return Charset::Utf8 { mark: MARK.len() };
    }
    if !window.is_empty() && MARK.starts_with(window) && !ended {
        return Charset::Short;
    }
    for (order, mark) in [(Utf16::Little, [0xff, 0xfe]), (Utf16::Big, [0xfe, 0xff])] {
        // A mark alone may be the length of a delimited message.
        let after = window.strip_prefix(&mark);
        let units: Vec<_> = after
            .unwrap_or(window)
            .chunks(2)
            .take(SHOWN_UNITS)
            .collect();
        let is_ascii = |unit: &&[u8]| match **unit {
            [a, b] => {
                u8::try_from(order.unit([a, b])).is_ok_and(|byte| byte < 0x80 && is_text(byte))
            }
            [a] => order == Utf16::Big && a == 0 || order == Utf16::Little && is_text(a),
            _ => false,
        };
        let whole = units.iter().filter(|unit| unit.len() == 2).count();
        let ascii = units.iter().filter(|unit| is_ascii(unit)).count();
        let first = units.first().is_some_and(is_ascii);
        let fits = match after {
            // After a mark, a prompt may begin with a character of any kind.
            Some(_) => ascii + 1 >= units.len(),
            None => ascii == units.len(),
        };
        let is_shown = whole == SHOWN_UNITS || (after.is_some() && first && whole > 0);
        if fits && (is_shown || (ended && whole > 1)) {
            return Charset::Utf16(order);
        }
        if fits && !ended && !window.is_empty() {
            return Charset::Short;
        }
    }
    Charset::Utf8 { mark: 0 }
}

/// Decodes the available characters of UTF-16.
fn decoded(order: Utf16, window: &[u8]) -> String {
    let unit = |pair: &[u8]| order.unit([pair[0], pair[1]]);
    let mut units: Vec<u16> = window.chunks_exact(2).map(unit).collect();
    // The first half of a surrogate pair may be incomplete.
    units.pop_if(|last| (0xd800..0xdc00).contains(last));
    let units = units.strip_prefix(&[0xfeff]).unwrap_or(&units);
    char::decode_utf16(units.iter().copied())
        .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Detects the binary layout of a trace that went through a terminal.
fn changed_by_terminal(
    window: &[u8],
    ended: bool,
    wanted: Option<Encoding>,
    path: Option<&Path>,
) -> Detected {
    // A line feed may follow.
    if window.ends_with(b"\r") && !ended {
        return Detected::Short;
    }
    let Some(bytes) = without_carriage_returns(window) else {
        return Detected::Nothing;
    };
    let found = shape::binary(&bytes, ended, wanted, path);
    set(found, |layout| layout.recoding.terminal = true)
}

/// The `window` before a terminal added a carriage return before each line feed, if that is possible.
fn without_carriage_returns(window: &[u8]) -> Option<Vec<u8>> {
    let window = &window[..window.len().min(PREFIX)];
    let mut feeds = memchr::memchr_iter(b'\n', window).peekable();
    feeds.peek()?;
    if !feeds.all(|at| at > 0 && window[at - 1] == b'\r') {
        return None;
    }
    let mut bytes = Vec::with_capacity(window.len());
    for (i, &byte) in window.iter().enumerate() {
        if byte != b'\r' || window.get(i + 1) != Some(&b'\n') {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// Whether a byte may occur in text: in UTF-8 or an older encoding, including terminal controls.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b'\x1b' | b'\x07' | b' '..=b'~' | 0x80..)
}

/// The beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// A message.
    As(Encoding, Generation),
    /// The beginning of what may become a message.
    Short,
    /// A JSON object whose first name is unknown.
    Json,
    /// Anything else.
    Nothing,
}

/// The maximum length of a comment before a text trace, in bytes.
const LONGEST_LINE: usize = 1 << 10;

fn start(text: &[u8], ended: bool) -> Start {
    let short = if ended { Start::Nothing } else { Start::Short };
    let mut rest = text.trim_ascii_start();
    while rest.first() == Some(&b'#') {
        match memchr::memchr(b'\n', rest) {
            Some(end) => rest = rest[end..].trim_ascii_start(),
            // What looks like a comment may be the length of a bare Trace's first field.
            None if rest.len() > LONGEST_LINE => return Start::Nothing,
            None => return short,
        }
    }
    // An empty text and a prefix of Envoy's failure message are undecided.
    if FAILURE.starts_with(&rest[..rest.len().min(FAILURE.len())]) {
        let whole = rest.len() >= FAILURE.len();
        return if whole {
            Start::As(Encoding::Json, Generation::Tap)
        } else {
            short
        };
    }
    let (encoding, rest) = match rest.strip_prefix(b"[").unwrap_or(rest).trim_ascii_start() {
        [b'{', inner @ ..] => match inner.trim_ascii_start() {
            [b'"', name @ ..] => (Encoding::Json, name),
            [] => return short,
            _ => return Start::Nothing,
        },
        [] => return short,
        _ => (Encoding::Text, rest),
    };
    let Some((name, rest)) = split_name(rest, encoding == Encoding::Json) else {
        return short;
    };
    let ends_well = match encoding {
        Encoding::Json => rest.starts_with(b"\""),
        _ => matches!(rest.trim_ascii_start().first(), Some(b'{' | b':' | b'<')),
    };
    if !ends_well && rest.trim_ascii().is_empty() {
        return short;
    }
    match () {
        () if !ends_well => Start::Nothing,
        () if is_url(name) => Start::As(encoding, Generation::Tap),
        () if Generation::Tap.beginning(name).is_some() => Start::As(encoding, Generation::Tap),
        () => match schema::CAPTURE_TRACE.named(name).map(|field| &field.kind) {
            Some(schema::Kind::Message(message)) => capture(rest, message, encoding, short),
            _ if encoding == Encoding::Json => Start::Json,
            _ => Start::Nothing,
        },
    }
}

/// Splits the name from the front of `text`; `None` if the name may be incomplete.
fn split_name(text: &[u8], is_json: bool) -> Option<(&[u8], &[u8])> {
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (is_json && byte == b'@');
    let len = match text {
        // The URL of an Any.
        [b'[', ..] if !is_json => {
            let url = |byte: u8| is_name(byte) || b"[./-".contains(&byte);
            let end = text.iter().position(|&byte| !url(byte));
            end.map(|end| end + usize::from(text[end] == b']'))
        }
        _ => text.iter().position(|&byte| !is_name(byte)),
    };
    match len {
        Some(len) => Some(text.split_at(len)),
        None if text.len() > MAX_NAME * 2 => Some((text, b"")),
        None => None,
    }
}

/// Whether a name in the text format is the URL of an Any that may hold a trace.
fn is_url(name: &[u8]) -> bool {
    name.starts_with(b"[") && Level::Wrapper.named(name).is_some()
}

/// Whether a bare `Trace` continues after the name of its first field. The names of its fields are common, so the
/// first name in the field's message has to match, too.
fn capture(after_name: &[u8], message: &Message, encoding: Encoding, short: Start) -> Start {
    let is_json = encoding == Encoding::Json;
    let mut rest = after_name;
    for byte in [&b"\""[..], b":", b"[", b"{<", b"\""] {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return short,
            [first, after @ ..] if byte.contains(first) => rest = after,
            _ => {}
        }
    }
    match split_name(rest, is_json) {
        None => short,
        Some((name, _)) if message.named(name).is_some() => {
            Start::As(encoding, Generation::Capture)
        }
        Some(_) => match is_json {
            true => Start::Json,
            false => Start::Nothing,
        },
    }
}

/// The search for the first message after other text.
#[derive(Debug)]
struct Search {
    json: Seeker,
    text: Seeker,
    /// The number of bytes searched.
    taken: usize,
    /// The offset of the last line.
    line: usize,
    /// The text before the brace at the end of the previous line, if it may be a prefix.
    prefix: Option<Prefix>,
}

impl Default for Search {
    fn default() -> Self {
        let seeker = |grammar| Seeker::new(grammar, Generation::Tap);
        Self {
            json: seeker(Grammar::Json),
            text: seeker(Grammar::Text),
            taken: 0,
            line: 0,
            prefix: None,
        }
    }
}

impl Search {
    /// Continues the search in `text`, whose beginning has been searched.
    fn go_on(&mut self, text: &[u8]) -> Option<(Encoding, Option<Prefix>)> {
        while let Some(&byte) = text.get(self.taken) {
            let at = self.taken as u64;
            self.taken += 1;
            let before = &text[..self.taken];
            match self.json.feed(&[byte], at).1 {
                Some(Found::Message) => {
                    let brace = self.json.at as usize;
                    let in_line = !text[brace..self.taken].contains(&b'\n');
                    let prefix = prefix(&text[..brace]).filter(|_| in_line);
                    return Some((Encoding::Json, prefix));
                }
                Some(Found::Failure) => return Some((Encoding::Json, None)),
                Some(Found::Note) => self.json.restart(true),
                None => {}
            }
            if self.text.feed(&[byte], at).1.is_some() {
                let prefix = prefix(&text[..self.text.at as usize]);
                return Some((Encoding::Text, prefix.filter(Self::is_no_field)));
            }
            match byte {
                b'\n' => {
                    let line = before[self.line..].trim_ascii_end();
                    self.prefix = line.strip_suffix(b"{").and_then(Prefix::of);
                    self.line = self.taken;
                }
                b'"' if self
                    .prefix
                    .as_ref()
                    .is_some_and(|prefix| begins_object(prefix, &before[self.line..])) =>
                {
                    return Some((Encoding::Json, self.prefix.take()));
                }
                _ => {}
            }
        }
        None
    }

    /// Whether a prefix is not a field of a text message on a line of its own.
    fn is_no_field(prefix: &Prefix) -> bool {
        let word = prefix.word();
        let mut fields = schema::TAP_MESSAGES
            .iter()
            .flat_map(|message| message.named(&word));
        // A field that is a message has a brace.
        fields.all(|field| matches!(field.kind, schema::Kind::Message(_)))
    }
}

/// The prefix in the last line of `text`.
fn prefix(text: &[u8]) -> Option<Prefix> {
    let line = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
    let line = &text[line..];
    // The message that Envoy writes in place of a trace message is counted elsewhere.
    match memchr::memmem::find(line, FAILURE) {
        Some(_) => None,
        None => Prefix::of(line),
    }
}

/// Whether `line` is the second line of an object whose first line is a prefix and a brace.
fn begins_object(prefix: &Prefix, line: &[u8]) -> bool {
    let Match::Yes(len) = prefix.matches(line, false) else {
        return false;
    };
    let name = line[len..].trim_ascii_start().strip_prefix(b"\"");
    let name = name.and_then(|name| name.strip_suffix(b"\""));
    name.is_some_and(|name| Generation::Tap.beginning(name) == Some(Beginning::Sure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let len = u8::try_from(value.len()).unwrap();
        assert!(len < 0x80);
        [&[number << 3 | 2, len], value].concat()
    }

    fn address(host: &str) -> Vec<u8> {
        field(1, &[field(2, host.as_bytes()), vec![0x18, 80]].concat())
    }

    fn delimit(message: &[u8]) -> Vec<u8> {
        [&[u8::try_from(message.len()).unwrap()], message].concat()
    }

    /// What `bytes` are taken for when they come whole, and when they come one at a time.
    fn taken_for(bytes: &[u8]) -> Detected {
        let whole = detect(bytes, true, None, None);
        let (mut detector, mut bytewise) = (Detector::default(), Detected::Short);
        for end in 0..=bytes.len() {
            bytewise = detector.detect(&bytes[..end], end == bytes.len(), None, None);
            if bytewise != Detected::Short {
                break;
            }
        }
        assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
        whole
    }

    fn detect(
        bytes: &[u8],
        ended: bool,
        wanted: Option<Encoding>,
        path: Option<&Path>,
    ) -> Detected {
        Detector::default().detect(bytes, ended, wanted, path)
    }

    fn tap(encoding: Encoding) -> Detected {
        Detected::of(Layout::new(encoding, Generation::Tap))
    }

    fn capture(encoding: Encoding) -> Detected {
        Detected::of(Layout::new(encoding, Generation::Capture))
    }

    #[test]
    fn readable_traces_show_in_their_first_name() {
        let cases = [
            ("socket_buffered_trace {", tap(Encoding::Text)),
            (
                "# a comment\n\n  http_buffered_trace: {",
                tap(Encoding::Text),
            ),
            ("socket_streamed_trace_segment <", tap(Encoding::Text)),
            ("connection {\n  id: 1", capture(Encoding::Text)),
            ("events: <timestamp {", capture(Encoding::Text)),
            (
                "[type.googleapis.com/envoy.data.tap.v3.TraceWrapper] {",
                tap(Encoding::Text),
            ),
            ("identifier {", tap(Encoding::Text)),
            ("{\n \"socket_buffered_trace\": {", tap(Encoding::Json)),
            ("{\"socketBufferedTrace\":", tap(Encoding::Json)),
            ("[{\"events\": [ {\"read\"", capture(Encoding::Json)),
            (
                "{\"connection\": {\"local_address\":",
                capture(Encoding::Json),
            ),
            ("{\"@type\": \"type.googleapis.com/", tap(Encoding::Json)),
            ("{\"trace_id\": \"3\"", tap(Encoding::Json)),
            ("{\"a_field_of_the_future\": 1", tap(Encoding::Json)),
            (
                "Failed to convert protobuf message to JSON string: x",
                tap(Encoding::Json),
            ),
            ("hello world, this is no trace", Detected::Nothing),
            ("{ 1: 2 }", Detected::Nothing),
            ("connection refused", Detected::Nothing),
            // Names that others have as well.
            ("events {\n  name: 1", Detected::Nothing),
            ("connection: {", Detected::Nothing),
        ];
        for (text, expected) in cases {
            assert_eq!(taken_for(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn binary_traces_are_told_apart_by_their_shape() {
        let new = [
            field(1, &address("10.0.0.1")),
            field(2, &address("10.0.0.2")),
        ]
        .concat();
        let old = [
            field(2, &address("10.0.0.1")),
            field(3, &address("10.0.0.2")),
        ]
        .concat();
        let time = field(1, &[0x08, 1, 0x10, 2]);
        let event = [time.clone(), field(2, &field(1, &field(1, b"data")))].concat();
        let bare_event = [time, field(2, &field(1, b"data"))].concat();
        for connection in [&new, &old] {
            let buffered = field(3, &[field(2, connection), field(3, &event)].concat());
            assert_eq!(taken_for(&buffered), tap(Encoding::Binary));
            assert_eq!(taken_for(&delimit(&buffered)), tap(Encoding::Delimited));
            let streamed = field(4, &[vec![0x08, 7], field(2, connection)].concat());
            assert_eq!(
                taken_for(&[&streamed[..], &streamed].concat()),
                tap(Encoding::Binary)
            );
        }
        for id in [&[][..], &[0x08, 9]] {
            let bare = [field(1, &[id, &old].concat()), field(2, &bare_event)].concat();
            assert_eq!(taken_for(&bare), capture(Encoding::Binary));
        }
        let header = |name: &[u8]| field(1, &[field(1, name), field(2, b"200")].concat());
        let response = field(1, &field(2, &header(b":status")));
        assert_eq!(
            taken_for(&response),
            tap(Encoding::Binary),
            "an HTTP response, no connection"
        );
        let segment = field(2, &[vec![0x08, 7], field(5, &header(b":status"))].concat());
        assert_eq!(
            taken_for(&segment),
            tap(Encoding::Binary),
            "no event of a bare Trace"
        );
    }

    /// Lengths that are tags, too: a delimited trace that begins like another layout.
    #[test]
    fn a_length_that_looks_like_a_tag_is_still_a_length() {
        for wanted in [
            0x0a_usize,
            0x12,
            0x1a,
            0x22,
            0x7b,
            b's'.into(),
            b'c'.into(),
            b'e'.into(),
        ] {
            let build = |pad: usize| {
                let body = field(1, &vec![b'x'; pad]);
                let event = field(3, &field(2, &field(1, &body)));
                field(4, &[vec![0x08, 7], event].concat())
            };
            let pad = (0..112).find(|&pad| build(pad).len() == wanted);
            let message = match pad {
                Some(pad) => build(pad),
                // Too short for bytes: a read of nothing.
                None => field(4, &[0x08, 0x87, 0x80, 0x01, 0x1a, 2, 0x12, 0]),
            };
            assert_eq!(message.len(), wanted);
            let two = [delimit(&message), delimit(&message)].concat();
            assert_eq!(taken_for(&two), tap(Encoding::Delimited), "{wanted}");
        }
    }

    #[test]
    fn the_user_decides_where_the_bytes_do_not() {
        let wanted = Some(Encoding::Delimited);
        assert_eq!(
            detect(b"\xff\xff", true, wanted, None),
            tap(Encoding::Delimited)
        );
    }

    /// What a shell, curl, a log and a program for Windows put around a trace.
    #[test]
    fn a_trace_is_found_after_other_text() {
        let plain = "{\n \"socket_buffered_trace\": {";
        let text = "socket_buffered_trace {\n";
        let cases = [
            ("HTTP/1.1 200 OK\r\nserver: envoy\r\n\r\n", ""),
            ("$ cat x.json\n", ""),
            ("root@pod:/# ", ""),
            ("```json\n", ""),
            (
                "An attached /tap admin stream already exists. Detach it.",
                "",
            ),
            (
                "* Connected\n> POST /tap HTTP/1.1\n< HTTP/1.1 200 OK\n{ [5 bytes data]\n",
                "",
            ),
            ("\r100   12    0    12   0 --:--:-- --:--:--     0", ""),
            ("\u{feff}", ""),
            ("\u{feff}# ", "\n"),
        ];
        for (before, after) in cases {
            for (trace, encoding) in [(plain, Encoding::Json), (text, Encoding::Text)] {
                let Detected::As(layout) = taken_for(format!("{before}{after}{trace}").as_bytes())
                else {
                    panic!("{before:?} before {encoding}");
                };
                assert_eq!(layout.encoding, encoding, "{before:?}");
                let mark = if before.starts_with('\u{feff}') { 3 } else { 0 };
                assert_eq!(layout.mark, mark, "{before:?}");
            }
        }
    }

    /// The prefix is the sample's, if each line has one.
    #[test]
    fn prefixes_of_lines_are_found() {
        let samples = [
            "2026-11-22T06:08:46.153382123Z ",
            "[pod/tap-6f9c/envoy] ",
            "envoy-1  | ",
            "> ",
            "7:",
            "tap.json:7:",
            "     7\t",
            "[2026-11-22 06:08:46.153][12][info][tap] ",
        ];
        for sample in samples {
            let prefix = Prefix::of(sample.as_bytes());
            let traces = [
                (
                    format!("{sample}{{\n{sample} \"socket_buffered_trace\": {{"),
                    Encoding::Json,
                ),
                (
                    format!("{sample}{{\"socket_buffered_trace\": {{"),
                    Encoding::Json,
                ),
                (
                    format!("{sample}socket_buffered_trace {{\n"),
                    Encoding::Text,
                ),
                (
                    format!("{sample}hello\n{sample}socket_buffered_trace {{\n"),
                    Encoding::Text,
                ),
            ];
            for (trace, encoding) in traces {
                let Detected::As(layout) = taken_for(trace.as_bytes()) else {
                    panic!("{trace:?}");
                };
                assert_eq!(layout.encoding, encoding, "{trace:?}");
                assert_eq!(layout.recoding.prefix, prefix, "{trace:?}");
            }
        }
        // In one line alone, it is a prompt.
        let prompt = "root@pod:/# {\n \"socket_buffered_trace\": {";
        assert_eq!(taken_for(prompt.as_bytes()), tap(Encoding::Json));
        // A field's name is no prefix.
        let field = "trace_id: 7 socket_buffered_trace {\n";
        assert_eq!(taken_for(field.as_bytes()), tap(Encoding::Text));
        let field = "x\nport_value: 7 socket_buffered_trace {\n";
        assert_eq!(taken_for(field.as_bytes()), tap(Encoding::Text));
    }

    #[test]
    fn utf16_shows_without_a_mark() {
        let text = " {\r\n \"socket_buffered_trace\": {";
        for mark in ["\u{feff}", ""] {
            for order in [Utf16::Little, Utf16::Big] {
                let units = format!("{mark}{text}");
                let bytes: Vec<u8> = units
                    .encode_utf16()
                    .flat_map(|unit| match order {
                        Utf16::Little => unit.to_le_bytes(),
                        Utf16::Big => unit.to_be_bytes(),
                    })
                    .collect();
                let mut layout = Layout::new(Encoding::Json, Generation::Tap);
                layout.recoding.utf16 = Some(order);
                assert_eq!(
                    taken_for(&bytes),
                    Detected::of(layout),
                    "{mark:?} {order:?}"
                );
            }
        }
        // The length of a delimited message is no mark.
        let message = [&[0xff, 0xfe, 0x01][..], &field(4, &[0x08, 7])].concat();
        assert_eq!(charset(&message, false), Charset::Utf8 { mark: 0 });
    }

    /// A message of a tap service has a trace in its third field, where `TraceWrapper` has one of another type.
    #[test]
    fn messages_of_a_tap_service_are_told_from_traces() {
        let connection = [
            field(1, &address("10.0.0.1")),
            field(2, &address("10.0.0.2")),
        ]
        .concat();
        let streamed = field(4, &[&[0x08, 7][..], &field(2, &connection)].concat());
        let time = field(1, &[0x08, 0xf0, 0xa9, 0xff, 0xd7, 0x06]);
        let event = [time, field(2, &field(1, &field(1, b"data")))].concat();
        let buffered = [&[0x08, 7][..], &field(2, &connection), &field(3, &event)].concat();
        let wrapped = field(3, &buffered);
        let header = field(1, &[field(1, b":method"), field(2, b"GET")].concat());
        let http = field(1, &field(1, &header));
        let node = [
            field(1, b"sc-worker-0"),
            field(2, b"scp"),
            field(3, &[0x0a, 0]),
        ]
        .concat();
        let identifier = field(1, &[field(1, &node), field(2, b"tap")].concat());
        let grpc = |message: &[u8]| {
            [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
        };
        let of = |encoding, root, framing| {
            Detected::of(Layout {
                root,
                framing,
                ..Layout::new(encoding, Generation::Tap)
            })
        };
        for trace in [&streamed, &wrapped, &http] {
            for first in [&identifier[..], &[], &[0x10, 3]] {
                let message = [first, &field(3, trace)].concat();
                let (taps, none) = (Level::Taps, Framing::None);
                assert_eq!(taken_for(&message), of(Encoding::Binary, taps, none));
                let two = delimit(&message).repeat(2);
                assert_eq!(
                    taken_for(&two),
                    of(Encoding::Delimited, taps, Framing::Varint)
                );
                let two = grpc(&message).repeat(2);
                assert_eq!(
                    taken_for(&two),
                    of(Encoding::Delimited, taps, Framing::Grpc)
                );
            }
            assert_eq!(taken_for(trace), tap(Encoding::Binary));
            let two = grpc(trace).repeat(2);
            assert_eq!(
                taken_for(&two),
                of(Encoding::Delimited, Level::Wrapper, Framing::Grpc)
            );
        }
        let inner = of(Encoding::Binary, Level::Buffered, Framing::None);
        assert_eq!(taken_for(&buffered), inner);
    }
}
