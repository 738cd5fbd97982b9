//! Finds names of fields in text that is not HTTP.
//!
//! At each colon, the four bytes before it are looked up, and only then the names are compared.
//!
//! Invariant: the lookup misses no name, in upper or lower case.

use memchr::memchr_iter;

use crate::words::is_lower_of;

/// Which names a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// A bit for each [`hash`] of the last four bytes of a name.
    tails: [u64; 8],
    /// Whether a name has fewer than four bytes.
    has_short: bool,
}

/// A hash of four bytes, equal for upper and lower case.
const fn hash(tail: [u8; 4]) -> u32 {
    let folded = u32::from_le_bytes(tail) | 0x2020_2020;
    // Fibonacci hashing: the highest bits depend on all others.
    folded.wrapping_mul(0x9e37_79b1) >> 23
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
    }

    /// Whether one of the names, with a colon after it, occurs in `bytes`. `names` are those that were added.
    #[inline(never)]
    pub(super) fn is_any_in<'a, I: Iterator<Item = &'a str>>(
        &self,
        bytes: &[u8],
        names: impl Fn() -> I,
    ) -> bool {
        memchr_iter(b':', bytes).any(|colon| {
            let before = &bytes[..colon];
            self.may_be_at_end(before) && is_at_end(before, names())
        })
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
