//! Finds names of fields in text that is not HTTP.
//!
//! Bytes are looked at in blocks, for the last byte of a name and a colon after it; then the last four bytes before the
//! colon are looked up; and then the names are compared.
//!
//! Invariant: neither look misses a name, in upper or lower case.

use crate::words::{self, is_lower_of};

/// The number of bytes that are searched at a time.
const BLOCK: usize = 16;

/// Which names a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// The last bytes of the names, [folded](fold), four at a time.
    ends: Vec<[u8; 4]>,
    /// A bit for each [`hash`] of the last four bytes of a name.
    tails: [u64; 8],
    /// Whether a name has fewer than four bytes.
    has_short: bool,
}

/// Equal for both cases of a letter. Few other bytes are equal.
const fn fold(byte: u8) -> u8 {
    byte | 0x20
}

/// A hash of four bytes, equal for upper and lower case.
const fn hash(tail: [u8; 4]) -> u32 {
    let folded = u32::from_le_bytes(tail) | 0x2020_2020;
    // Fibonacci hashing: the highest bits depend on all others.
    folded.wrapping_mul(0x9e37_79b1) >> 23
}

/// Whether one of these bytes is one of `ends`, and the byte after it is a colon.
#[inline(always)]
fn has_end([a, b, c, d]: [u8; 4], bytes: &[u8; BLOCK], after: &[u8; BLOCK]) -> bool {
    // Without branches, and with four names for the ends, the compiler compares all bytes at once.
    let mut is_found = false;
    for (byte, after) in bytes.iter().zip(after) {
        let byte = fold(*byte);
        let is_end = (byte == a) | (byte == b) | (byte == c) | (byte == d);
        is_found |= is_end & (*after == b':');
    }
    is_found
}

impl Search {
    /// Adds a name, in lower case.
    pub(super) fn add(&mut self, name: &[u8]) {
        match name.last_chunk() {
            Some(tail) => {
                let hash = hash(*tail);
                self.tails[(hash / 64) as usize] |= 1 << (hash % 64);
            }
            None => self.has_short = true,
        }
        let Some(end) = name.last().copied().map(fold) else {
            return;
        };
        let mut ends = self.ends.as_flattened().to_vec();
        if ends.contains(&end) {
            return;
        }
        // The first of four stands in for those that are not used.
        ends.dedup();
        ends.push(end);
        self.ends = ends
            .chunks(4)
            .map(|ends| std::array::from_fn(|i| *ends.get(i).unwrap_or(&ends[0])))
            .collect();
    }

    /// Whether one of the names, with a colon after it, occurs in `bytes`. `names` are those that were added.
    #[inline(never)]
    pub(super) fn is_any_in<'a, I: Iterator<Item = &'a str>>(
        &self,
        bytes: &[u8],
        names: impl Fn() -> I,
    ) -> bool {
        let Some((_, after)) = bytes.split_first() else {
            return false;
        };
        let (blocks, colons) = (bytes.as_chunks().0, after.as_chunks().0);
        let is_found = |ends: &[u8; 4]| {
            let mut blocks = blocks.iter().zip(colons).enumerate();
            blocks.any(|(i, (block, after))| {
                has_end(*ends, block, after)
                    && self.is_at_colon(bytes, i * BLOCK + 1, after, &names)
            })
        };
        if self.ends.iter().any(is_found) {
            return true;
        }
        let rest = colons.len() * BLOCK + 1;
        match &bytes[rest..] {
            after if after.contains(&b':') => self.is_at_colon(bytes, rest, after, &names),
            _ => false,
        }
    }

    /// Whether one of the names is before a colon in `part`, which begins at this index.
    fn is_at_colon<'a, I: Iterator<Item = &'a str>>(
        &self,
        bytes: &[u8],
        begin: usize,
        mut part: &[u8],
        names: &impl Fn() -> I,
    ) -> bool {
        let mut at = begin;
        while let Some(colon) = words::find(b':', part) {
            let before = &bytes[..at + colon];
            if self.may_be_at_end(before) && is_at_end(before, names()) {
                return true;
            }
            at += colon + 1;
            part = &part[colon + 1..];
        }
        false
    }

    /// Whether bytes may end with one of the names.
    #[inline]
    fn may_be_at_end(&self, bytes: &[u8]) -> bool {
        bytes.last_chunk().is_none_or(|tail| {
            let hash = hash(*tail);
            self.tails[(hash / 64) as usize] >> (hash % 64) & 1 != 0
        }) || self.has_short
    }
}

/// Whether bytes end with one of the names, and with no longer one.
fn is_at_end<'a>(bytes: &[u8], names: impl Iterator<Item = &'a str>) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && *byte != b':' && *byte != b'"';
    names.map(str::as_bytes).any(|known| {
        bytes.len().checked_sub(known.len()).is_some_and(|begin| {
            let (before, name) = bytes.split_at(begin);
            is_lower_of(name, known) && !before.last().is_some_and(is_part)
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::redact::names::Names;

    #[test]
    fn names_are_found_before_a_colon_anywhere() {
        let short: Names = "x-t".parse().unwrap();
        let both = [
            (&short, "X-T"),
            (&short, "Cookie"),
            (&Names::default(), "Cookie"),
            (&Names::default(), "set-cookie"),
            (&Names::default(), "AUTHORIZATION"),
        ];
        for (names, name) in both {
            for before in 0..40 {
                for after in [0, 1, 15, 16, 40] {
                    let text = |name: &str| {
                        let around = ":e:n ".repeat(8);
                        format!("{} {name}:{}", &around[..before], &around[..after])
                    };
                    assert!(names.are_in(text(name).as_bytes()), "{}", text(name));
                    let other = text(&format!("{name}s"));
                    assert!(!names.are_in(other.as_bytes()), "{other}");
                }
            }
        }
        for text in [
            "",
            ":",
            "cookie",
            "cookie :",
            ": cookie",
            "cookies:",
            "mycookie:",
        ] {
            assert!(!short.are_in(text.as_bytes()), "{text}");
            assert!(!Names::default().are_in(text.as_bytes()), "{text}");
        }
    }
}
