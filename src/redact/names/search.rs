//! Finds names of fields in text that is not HTTP.
//!
//! Text is searched a block at a time for colons with the end of a name before them. Only in blocks that may have one,
//! the four bytes before each colon are looked up, and only then the names are compared.
//!
//! Invariant: both steps miss no name, in upper or lower case.

use arrayvec::ArrayVec;
use memchr::memchr_iter;

use crate::words::is_lower_of;

/// The number of colons' positions that are searched at once: a number for which the compiler uses vectors.
const BLOCK: usize = 64;

/// The number of last bytes of a name that are looked up before a colon.
const TAIL: usize = 4;

/// A block, and the bytes before it.
type Window = [u8; TAIL + BLOCK];

/// The maximum number of different marks. With more, searching blocks takes longer than looking up each colon.
const MAX_MARKS: usize = 8;

/// Whether blocks are searched with vectors. Without them, looking up each colon takes less time.
const HAS_VECTORS: bool = cfg!(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
));

/// Which names a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// A bit for each [`hash`] of the last four bytes of a name.
    tails: [u64; 8],
    /// The [`mark`]s of the last four bytes of the names.
    marks: ArrayVec<u8, MAX_MARKS>,
    /// Whether each colon is looked up, because a name is too short for a mark, or there are too many marks.
    has_no_blocks: bool,
    /// Whether a name has fewer than four bytes.
    has_short: bool,
}

/// A hash of four bytes, equal for upper and lower case.
const fn hash(tail: [u8; TAIL]) -> u32 {
    let folded = u32::from_le_bytes(tail) | 0x2020_2020;
    // Fibonacci hashing: the highest bits depend on all others.
    folded.wrapping_mul(0x9e37_79b1) >> 23
}

/// A smaller hash of three of four bytes, equal for upper and lower case: a sum, which vectors can compute.
const fn mark(first: u8, third: u8, last: u8) -> u8 {
    const LOWER: u8 = 0x20;
    let sum = (first | LOWER).wrapping_mul(2).wrapping_add(third | LOWER);
    sum.wrapping_mul(2).wrapping_add(last | LOWER)
}

impl Search {
    /// Adds a name, in lower case.
    pub(super) fn add(&mut self, name: &[u8]) {
        let Some(tail) = name.last_chunk() else {
            (self.has_short, self.has_no_blocks) = (true, true);
            return;
        };
        let hash = hash(*tail);
        self.tails[(hash / 64) as usize] |= 1 << (hash % 64);
        let [first, _, third, last] = *tail;
        let mark = mark(first, third, last);
        if !self.marks.contains(&mark) {
            self.has_no_blocks |= self.marks.try_push(mark).is_err();
        }
    }

    /// Whether one of the names, with a colon after it, occurs in `bytes`. `names` are those that were added.
    #[inline(never)]
    pub(super) fn is_any_in<'a, I: Iterator<Item = &'a str>>(
        &self,
        bytes: &[u8],
        names: impl Fn() -> I,
    ) -> bool {
        let is_in = |begin: usize, end: usize| {
            memchr_iter(b':', &bytes[begin..end]).any(|colon| {
                let before = &bytes[..begin + colon];
                self.may_be_at_end(before) && is_at_end(before, names())
            })
        };
        let Some(last) = bytes
            .last_chunk()
            .filter(|_| HAS_VECTORS && !self.has_no_blocks)
        else {
            return is_in(0, bytes.len());
        };
        let mut begin = 0;
        // No name with a mark ends before the first block.
        while let Some(window) = bytes[begin..].first_chunk() {
            if self.may_be_in(window) && is_in(begin, begin + window.len()) {
                return true;
            }
            begin += BLOCK;
        }
        // The last block overlaps the one before it.
        self.may_be_in(last) && is_in(begin, bytes.len())
    }

    /// Whether one of the names, with a colon after it, may end in the block of a window.
    #[inline(always)]
    fn may_be_in(&self, window: &Window) -> bool {
        let [first, third, last, colon] = [0, 2, 3, TAIL].map(|at| &window[at..at + BLOCK]);
        let mut marks = [0; BLOCK];
        for (((found, first), third), last) in marks.iter_mut().zip(first).zip(third).zip(last) {
            *found = mark(*first, *third, *last);
        }
        let all_if = |is_it: bool| if is_it { u8::MAX } else { 0 };
        let mut names = [0; BLOCK];
        for known in &self.marks {
            for (name, found) in names.iter_mut().zip(&marks) {
                *name |= all_if(found == known);
            }
        }
        let fields = names.iter().zip(colon);
        fields.fold(0, |any, (name, byte)| any | name & all_if(*byte == b':')) != 0
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::is_at_end;
    use crate::properties::config;
    use crate::redact::names::Names;

    proptest! {
        #![proptest_config(config(256))]

        #[test]
        fn a_search_of_blocks_finds_what_a_search_of_colons_finds(
            names in prop_oneof![
                Just("x-token,key"),
                Just("x-token,x-user"),
                Just("a-one,a-two,a-three,a-four,a-five,a-six,a-seven"),
            ],
            text in vec(
                prop_oneof![
                    20 => "[a-z]{0,9}[ :]",
                    1 => "[ a-z]?(COOKIE|x-api-Key|x-Token|key|a-Three)[ :a]",
                ],
                0..60,
            ),
        ) {
            let names: Names = names.parse().unwrap();
            let text = text.concat();
            for names in [&names, &Names::default()] {
                let is_before = |(colon, _)| is_at_end(&text.as_bytes()[..colon], names.iter());
                let is_in = text.match_indices(':').any(is_before);
                prop_assert_eq!(names.are_in(text.as_bytes()), is_in, "{}", &text);
            }
        }
    }

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
            for before in 0..150 {
                for after in [0, 1, 15, 16, 40, 150] {
                    let text = |name: &str| {
                        let around = ":e:n ".repeat(30);
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
