//! The first name of a text or JSON trace, from which its schema generation follows.
//!
//! Only blanks, comments and brackets may precede the name here. A message after other text is found by
//! [`foreign_text`](super::foreign_text).
//!
//! Invariant: nothing is recognized before its first name is complete.

use crate::trace::element::Level;
use crate::trace::readable::begin::{FAILURE, MAX_NAME};
use crate::trace::schema::{self, Message};

use super::{Encoding, Generation};

/// The beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
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

/// Examines the beginning of `text`; `ended`: nothing follows it.
pub(super) fn start(text: &[u8], ended: bool) -> Start {
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
