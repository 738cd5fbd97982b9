//! Restores bytes that something has changed on their way: UTF-16, a prefix on each line, the line ends of a
//! terminal.
//!
//! This module knows nothing about traces: the caller states how the bytes were changed. Offsets in a recoded input
//! are those of the recoded bytes.
//!
//! Invariant: the result does not depend on how the bytes are divided into pieces. No more bytes are held back than a
//! prefix or a character needs.

mod prefix;

pub(crate) use prefix::{Match, Prefix};

use prefix::MAX_PREFIX;

/// How the bytes of an input were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recoding {
    /// They are UTF-16, and are converted to UTF-8.
    pub(crate) utf16: Option<Utf16>,
    /// Each line begins with a prefix, which is removed. Lines without it stay as they are.
    pub(crate) prefix: Option<Prefix>,
    /// A terminal has inserted a carriage return before each line feed.
    pub(crate) terminal: bool,
}

/// The byte order of UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Utf16 {
    Little,
    Big,
}

impl Utf16 {
    pub(crate) const fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// A text in this encoding.
    #[cfg(test)]
    pub(crate) fn encoded(self, text: &str) -> Vec<u8> {
        let bytes = |unit: u16| match self {
            Self::Little => unit.to_le_bytes(),
            Self::Big => unit.to_be_bytes(),
        };
        text.encode_utf16().flat_map(bytes).collect()
    }
}

/// Restores bytes, piece by piece.
#[derive(Debug)]
pub(super) struct Recoder {
    recoding: Recoding,
    /// The first bytes of an incomplete UTF-16 character.
    character: Vec<u8>,
    /// Whether the first character has been seen. A byte order mark there is removed.
    begun: bool,
    /// The first bytes of a line, which may be a prefix; `None` in the rest of the line.
    line: Option<Vec<u8>>,
    /// Whether the last byte was a carriage return, which is removed if a line feed follows.
    carriage_return: bool,
    /// The number of bytes passed to [`feed`](Self::feed).
    taken: u64,
}

impl Recoder {
    pub(super) fn new(recoding: Recoding) -> Self {
        Self {
            recoding,
            character: Vec::new(),
            begun: false,
            line: Some(Vec::new()),
            carriage_return: false,
            taken: 0,
        }
    }

    /// The number of bytes passed to [`feed`](Self::feed).
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) const fn recoding(&self) -> &Recoding {
        &self.recoding
    }

    /// Appends the restored `bytes` to `out`. `ended` if they are the last.
    pub(super) fn feed(&mut self, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        self.taken += bytes.len() as u64;
        let utf8;
        let mut bytes = bytes;
        if let Some(order) = self.recoding.utf16 {
            utf8 = self.utf16(order, bytes, ended);
            bytes = utf8.as_bytes();
        }
        if self.recoding.terminal {
            self.terminal(bytes, ended, out);
        } else if let Some(prefix) = self.recoding.prefix.take() {
            self.lines(&prefix, bytes, ended, out);
            self.recoding.prefix = Some(prefix);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    fn utf16(&mut self, order: Utf16, bytes: &[u8], ended: bool) -> String {
        let mut units = std::mem::take(&mut self.character);
        units.extend_from_slice(bytes);
        let mut whole = units.len() / 2 * 2;
        let unit = |pair: &[u8]| order.unit([pair[0], pair[1]]);
        // The first half of a surrogate pair is held back until the second half is there.
        let last = units[..whole].chunks_exact(2).next_back().map(unit);
        if last.is_some_and(|last| (0xd800..0xdc00).contains(&last)) && !ended {
            whole -= 2;
        }
        let chars = char::decode_utf16(units[..whole].chunks_exact(2).map(unit));
        let mut text: String = chars
            .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        if !self.begun && !text.is_empty() {
            self.begun = true;
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
        }
        if ended && whole < units.len() {
            text.push(char::REPLACEMENT_CHARACTER);
        } else {
            self.character = units.split_off(whole);
        }
        text
    }

    /// Removes the carriage return that the terminal inserted before each line feed. In a line that ended with
    /// CR LF already, the first one stays.
    fn terminal(&mut self, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        for &byte in bytes {
            if std::mem::take(&mut self.carriage_return) && byte != b'\n' {
                out.push(b'\r');
            }
            match byte {
                b'\r' => self.carriage_return = true,
                byte => out.push(byte),
            }
        }
        if ended && std::mem::take(&mut self.carriage_return) {
            out.push(b'\r');
        }
    }

    /// Removes the prefix of each line.
    fn lines(&mut self, prefix: &Prefix, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(line) = &mut self.line else {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                out.extend_from_slice(&rest[..end]);
                if rest[..end].ends_with(b"\n") {
                    self.line = Some(Vec::new());
                }
                rest = &rest[end..];
                continue;
            };
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (more, after) = rest.split_at(end.min(MAX_PREFIX));
            line.extend_from_slice(more);
            rest = after;
            let whole = line.ends_with(b"\n");
            let len = match prefix.matches(line, whole) {
                Match::Short => continue,
                Match::Yes(len) => len,
                Match::No => 0,
            };
            out.extend_from_slice(&line[len..]);
            self.line = whole.then(Vec::new);
        }
        if ended && let Some(line) = self.line.take() {
            let len = match prefix.matches(&line, true) {
                Match::Yes(len) => len,
                Match::No | Match::Short => 0,
            };
            out.extend_from_slice(&line[len..]);
        }
    }
}

#[cfg(test)]
mod tests;
