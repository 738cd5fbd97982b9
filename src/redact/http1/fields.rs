//! The fields of a head or of trailers, which may come in any pieces.

use std::ops::Range;

use memchr::memchr;

use crate::model::protocol::http1::without_cr;
use crate::words;

use super::super::names::{Kind, MAX_NAME, Names};
use super::super::patch::Patch;
use super::{MAX_LINE, Messages, Part, Place};

/// The position in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InField {
    /// At the beginning of a line, after a field of this kind.
    Begin(Kind),
    Name,
    /// In a value; with the flag, in the spaces before it.
    Value(Kind, bool),
}

impl Messages {
    /// Takes bytes of fields, and returns their end; `None` if they are invalid.
    pub(super) fn fields(
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
        loop {
            if let InField::Begin(kind) = &mut field {
                let begin = at;
                at = after_plain_lines(bytes, at, names);
                if at > begin {
                    *kind = Kind::Other;
                }
            }
            let Some(len) = words::find(b'\n', &bytes[at..]) else {
                break;
            };
            let line = at..at + len;
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

    /// Checks bytes of fields strictly, for a head that may be the text of a body. `None` if they are invalid.
    fn check_fields(&self, bytes: &[u8], field: InField) -> Option<()> {
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        let mut is_value = matches!(field, InField::Value(..));
        let mut is_name = field == InField::Name;
        while let Some(line) = lines.next() {
            let line = without_cr(line);
            // The end of the head or of the bytes.
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

    /// Takes a complete line, and returns the kind of its field; `None` if the line is invalid.
    fn line(&mut self, line: Range<usize>, patch: &mut Patch<'_>, names: &Names) -> Option<Kind> {
        let bytes = &patch.bytes()[line.clone()];
        let colon = words::find(b':', bytes)?;
        let name = bytes[..colon].trim_ascii();
        let kind = names.kind(name);
        self.line.clear();
        match kind {
            Kind::Other => {}
            Kind::Length | Kind::Coding => {
                self.head.has_space |= name.len() < colon;
                self.head.take(kind, bytes[colon + 1..].trim_ascii(), false);
            }
            Kind::Secret => {
                let _ = secret(true, line.start + colon + 1..line.end, patch);
            }
        }
        Some(kind)
    }

    /// Takes a line or a part of one, and returns the position after it, or `Some(None)` after the empty line that ends
    /// the fields; `None` if the line is invalid.
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
            // A line that begins with a space continues the value before it (RFC 9112, section 5.2).
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
                    field = InField::Value(names.kind(name.trim_ascii()), true);
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

    /// Takes a part of a value, and returns whether it holds more than spaces.
    fn value(
        &mut self,
        kind: Kind,
        is_begin: bool,
        piece: Range<usize>,
        is_end: bool,
        patch: &mut Patch<'_>,
    ) -> bool {
        if kind == Kind::Secret {
            return secret(is_begin, piece, patch);
        }
        let bytes = &patch.bytes()[piece];
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
}

// A name that arrives in pieces is kept with a byte more.
const _: () = assert!(MAX_LINE >= MAX_NAME);

/// Overwrites a part of a value, and returns whether it holds more than spaces.
#[inline]
fn secret(is_begin: bool, piece: Range<usize>, patch: &mut Patch<'_>) -> bool {
    let bytes = &patch.bytes()[piece.clone()];
    let spaces = match is_begin {
        true => bytes.iter().take_while(|byte| is_space(**byte)).count(),
        false => 0,
    };
    // The line end may be split between two events.
    let end = piece.end - usize::from(bytes.ends_with(b"\r"));
    patch.overwrite((piece.start + spaces).min(end)..end);
    spaces < bytes.len()
}

/// The end of the complete lines from `at` on that need no attention.
#[inline]
fn after_plain_lines(bytes: &[u8], mut at: usize, names: &Names) -> usize {
    while let Some(rest) = bytes.get(at..)
        && names.is_plain_line(rest)
        && let Some(len @ 4..) = words::find(b'\n', rest)
    {
        at += len + 1;
    }
    at
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether bytes have no control characters that are invalid in a head (RFC 9110, section 5.5).
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let is_text = |&byte: &u8| byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\r');
    bytes.iter().all(is_text)
}

/// Whether bytes may be the name of a field (RFC 9110, section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    let is_token = |&byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    bytes.iter().all(is_token)
}
