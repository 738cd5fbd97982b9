//! The names of the fields whose values are overwritten.

mod search;

use std::fmt;
use std::str::FromStr;

use super::hpack::STATIC;
use crate::words::is_lower_of;
use search::Search;

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
const FRAMING: [(&str, Kind); 2] = [
    ("content-length", Kind::Length),
    ("transfer-encoding", Kind::Coding),
];

/// Names of header fields, without regard to case.
#[derive(Clone, PartialEq, Eq)]
pub struct Names {
    /// In lower case: the fields that determine the end of a message, and then the names in the order in which they were
    /// given.
    fields: Vec<(String, Kind)>,
    /// For each byte, whether a name begins with it, in either case.
    begins: [bool; 256],
    /// Finds the names in other text.
    search: Search,
    /// A bit for each name in HPACK's static table, the first one lowest: whether it is one of the names.
    in_static: u64,
    /// For each [`hash`], which of the names and of the fields that determine the end of a message have it.
    slots: [Slot; 256],
    /// Whether a name has fewer than four bytes.
    has_short: bool,
}

/// The names with a [`hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    /// The one with this index.
    One(u8),
    Several,
}

/// The use of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Other,
    /// To overwrite.
    Secret,
    Length,
    Coding,
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
            fields: Vec::new(),
            begins: [false; 256],
            search: Search::default(),
            in_static: 0,
            slots: [Slot::Free; 256],
            has_short: false,
        };
        for (name, kind) in FRAMING {
            names.mark(name.as_bytes());
            names.fields.push((name.to_owned(), kind));
        }
        for name in DEFAULT_NAMES {
            names.add(name.to_owned());
        }
        names
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Names {
    fn add(&mut self, name: String) {
        if self.iter().any(|known| known == name) {
            return;
        }
        if let [first, ..] = name.as_bytes() {
            self.begins[usize::from(first.to_ascii_lowercase())] = true;
            self.begins[usize::from(first.to_ascii_uppercase())] = true;
        }
        self.search.add(name.as_bytes());
        for (i, known) in STATIC.iter().enumerate() {
            self.in_static |= u64::from(*known == name) << i;
        }
        self.mark(name.as_bytes());
        self.fields.push((name, Kind::Secret));
    }

    /// Notes the name that will be the next of the fields.
    fn mark(&mut self, name: &[u8]) {
        let Some(begin) = name.first_chunk() else {
            self.has_short = true;
            return;
        };
        let slot = &mut self.slots[hash(*begin)];
        *slot = match (*slot, u8::try_from(self.fields.len())) {
            (Slot::Free, Ok(number)) => Slot::One(number),
            _ => Slot::Several,
        };
    }

    /// Whether a line of a head, if it has four bytes or more, is certainly a field that needs no attention: not one of
    /// the names, not one that determines the message's end, not a continuation of the line before, not the end of the
    /// head.
    #[inline]
    pub(super) fn is_plain_line(&self, line: &[u8]) -> bool {
        match line.first_chunk() {
            Some(begin) if begin[0] > b' ' => {
                let is_short = self.has_short && self.may_begin_with(begin[0]);
                self.slots[hash(*begin)] == Slot::Free && !is_short
            }
            _ => false,
        }
    }

    /// The names, in lower case.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.fields[FRAMING.len()..]
            .iter()
            .map(|(name, _)| name.as_str())
    }

    /// Whether a name begins with this byte, in either case.
    #[inline]
    pub(super) const fn may_begin_with(&self, byte: u8) -> bool {
        self.begins[byte as usize]
    }

    /// Whether the name with this index in HPACK's static table, counted from 0, is one of the names.
    #[inline]
    pub(super) const fn has_static(&self, index: usize) -> bool {
        self.in_static >> index & 1 != 0
    }

    /// Whether `name` is one of the names.
    #[inline]
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.kind(name) == Kind::Secret
    }

    /// The use of the value of a field with this name.
    pub(super) fn kind(&self, name: &[u8]) -> Kind {
        let slot = match name.first_chunk() {
            Some(begin) => self.slots[hash(*begin)],
            None if self.has_short => Slot::Several,
            None => Slot::Free,
        };
        let is_it = |(known, _): &&(String, Kind)| is_lower_of(name, known.as_bytes());
        let found = match slot {
            Slot::Free => None,
            Slot::One(index) => self.fields.get(usize::from(index)).filter(is_it),
            Slot::Several => self.fields.iter().find(is_it),
        };
        found.map_or(Kind::Other, |(_, kind)| *kind)
    }

    /// Whether one of the names, with a colon after it, occurs in `bytes`.
    pub(super) fn are_in(&self, bytes: &[u8]) -> bool {
        self.search.is_any_in(bytes, || self.iter())
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
            if FRAMING.iter().any(|(field, _)| *field == name) {
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
        // Those with the same first bytes, and more of them than a slot can number.
        let many: Vec<_> = (0..300).map(|i| format!("a{i}")).collect();
        let names: Names = [
            "x",
            "x-a",
            "x-token-a",
            "x-token-b",
            "content-type",
            "transfer-to",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(many.clone())
        .collect::<Vec<_>>()
        .join(",")
        .parse()
        .unwrap();
        for name in names.iter() {
            assert_eq!(
                names.kind(name.to_uppercase().as_bytes()),
                Kind::Secret,
                "{name}"
            );
            assert!(
                !names.is_plain_line(format!("{name}:").as_bytes()),
                "{name}"
            );
        }
        for (name, kind) in [
            ("Content-Length", Kind::Length),
            ("TRANSFER-ENCODING", Kind::Coding),
            ("content-range", Kind::Other),
            ("x-b", Kind::Other),
            ("a300", Kind::Other),
        ] {
            assert_eq!(names.kind(name.as_bytes()), kind, "{name}");
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
