//! The names of the fields whose values are overwritten.

use std::fmt;
use std::str::FromStr;

use memchr::memchr_iter;

/// The maximum length of a name, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// The names that are always included, in lower case.
pub const DEFAULT_NAMES: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
];

/// Fields that determine the end of a message, which readers of the capture need.
pub(super) const LENGTH: &[u8; 14] = b"content-length";
pub(super) const CODING: &[u8; 17] = b"transfer-encoding";
const FRAMING: [&[u8]; 2] = [LENGTH, CODING];

/// Names of header fields, without regard to case.
#[derive(Clone, PartialEq, Eq)]
pub struct Names {
    /// In lower case, in the order in which they were given.
    names: Vec<String>,
    /// For each byte, whether a name begins with it, in either case.
    begins: [bool; 256],
    /// For each byte, whether a name ends with it, in either case.
    ends: [bool; 256],
    /// For each [`hash`], whether one of the names, or a field that determines the end of a message, has it.
    hashes: [bool; 256],
    /// Whether a name has fewer than four bytes.
    has_short: bool,
}

/// A hash of the first four bytes of a line, equal for upper and lower case.
#[inline]
const fn hash(begin: [u8; 4]) -> usize {
    let folded = u32::from_le_bytes(begin) | 0x2020_2020;
    // Fibonacci hashing: the highest bits depend on all others.
    (folded.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self {
            names: Vec::new(),
            begins: [false; 256],
            ends: [false; 256],
            hashes: [false; 256],
            has_short: false,
        };
        for name in FRAMING {
            names.mark(name);
        }
        for name in DEFAULT_NAMES {
            names.add(name.to_owned());
        }
        names
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

impl Names {
    fn add(&mut self, name: String) {
        if self.names.contains(&name) {
            return;
        }
        if let [first, ..] = name.as_bytes()
            && let [.., last] = name.as_bytes()
        {
            for (table, byte) in [(&mut self.begins, first), (&mut self.ends, last)] {
                table[usize::from(byte.to_ascii_lowercase())] = true;
                table[usize::from(byte.to_ascii_uppercase())] = true;
            }
        }
        self.mark(name.as_bytes());
        self.names.push(name);
    }

    fn mark(&mut self, name: &[u8]) {
        match name.first_chunk() {
            Some(begin) => self.hashes[hash(*begin)] = true,
            None => self.has_short = true,
        }
    }

    /// Whether a complete line of a head is certainly a field that needs no attention: not one of the names, not one
    /// that determines the message's end, not a continuation of the line before, not the end of the head.
    #[inline]
    pub(super) fn is_plain_line(&self, line: &[u8]) -> bool {
        match line.first_chunk() {
            Some(begin) if begin[0] > b' ' => {
                let is_short = self.has_short && self.may_begin_with(begin[0]);
                !self.hashes[hash(*begin)] && !is_short
            }
            _ => false,
        }
    }

    /// The names, in lower case.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether a name begins with this byte, in either case.
    #[inline]
    pub(super) const fn may_begin_with(&self, byte: u8) -> bool {
        self.begins[byte as usize]
    }

    /// Whether a name ends with this byte, in either case.
    #[inline]
    pub(super) const fn may_end_with(&self, byte: u8) -> bool {
        self.ends[byte as usize]
    }

    /// Whether `name` is one of the names.
    #[inline]
    pub(super) fn has(&self, name: &[u8]) -> bool {
        match name.first() {
            Some(&first) if self.may_begin_with(first) => self.has_any(name),
            _ => false,
        }
    }

    /// Whether one of the names, with a colon after it, occurs in `bytes`.
    pub(super) fn are_in(&self, bytes: &[u8]) -> bool {
        memchr_iter(b':', bytes).any(|colon| {
            let before = &bytes[colon.saturating_sub(MAX_NAME + 1)..colon];
            if !before.last().is_some_and(|last| self.may_end_with(*last)) {
                return false;
            }
            let is_name = |&&byte: &&u8| byte.is_ascii_graphic() && byte != b':' && byte != b'"';
            let len = before.iter().rev().take_while(is_name).count();
            self.has(&before[before.len() - len..])
        })
    }

    fn has_any(&self, name: &[u8]) -> bool {
        let is_it = |known: &String| known.as_bytes().eq_ignore_ascii_case(name);
        self.names.iter().any(is_it)
    }
}

/// The reason why a list of names is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

/// Parses a comma-separated list of names, and adds them to the default ones.
impl FromStr for Names {
    type Err = NameError;

    fn from_str(list: &str) -> Result<Self, NameError> {
        let mut names = Self::default();
        for name in list.split(',').map(str::trim) {
            let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(NameError(format!("{name:?} is no name of a header field")));
            }
            if name.len() > MAX_NAME {
                return Err(NameError(format!("a name is longer than {MAX_NAME} bytes")));
            }
            let name = name.to_ascii_lowercase();
            if FRAMING.contains(&name.as_bytes()) {
                let why = "says where a message ends, and cannot be overwritten";
                return Err(NameError(format!("{name} {why}")));
            }
            names.add(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_add_to_the_default_ones_in_any_case() {
        let names: Names = "X-Token, x-user,Cookie".parse().unwrap();
        assert_eq!(names.iter().len(), DEFAULT_NAMES.len() + 2);
        for name in ["x-token", "X-USER", "Authorization", "set-cookie"] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in ["", "x-toke", "x-tokens", "host", ":path"] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_is_no_field_or_ends_messages_is_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for list in [
            "",
            "a,,b",
            ":path",
            "a b",
            "x:y",
            "Content-Length",
            "ü",
            &long,
        ] {
            assert!(list.parse::<Names>().is_err(), "{list}");
        }
        assert!("x".repeat(MAX_NAME).parse::<Names>().is_ok());
    }
}
