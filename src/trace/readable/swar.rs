//! Searches of short ranges, eight bytes at a time. For these, a call of memchr would take longer.

use crate::words::{ONES, SHORT, equal};

/// The position of the first double quote or backslash.
#[inline]
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes[..bytes.len().min(SHORT)].as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return Some(i * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let searched = words.len() * 8;
    Some(searched + memchr::memchr2(b'"', b'\\', &bytes[searched..])?)
}

/// The bytes after a line feed and the spaces that follow it; all bytes if there is no line feed.
///
/// This is the blank space that Envoy writes. Other blank space is left to the caller, and the last bytes of the
/// window may be.
#[inline]
pub(super) fn after_indent(mut bytes: &[u8]) -> &[u8] {
    if let [b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    while let Some((word, rest)) = bytes.split_first_chunk::<8>() {
        let other = u64::from_le_bytes(*word) ^ (ONES * b' ' as u64);
        if other != 0 {
            return &bytes[(other.trailing_zeros() / 8) as usize..];
        }
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::properties::config;

    proptest! {
        #![proptest_config(config(1_000))]

        /// The same as a search byte by byte.
        #[test]
        fn searches_find_what_a_plain_search_finds(
            bytes in vec(prop_oneof![8 => Just(b' '), 1 => Just(b'\n'), 1 => Just(b'"'), 1 => any::<u8>()], 0..100),
            from in 0..100_usize,
        ) {
            let bytes = &bytes[from.min(bytes.len())..];
            let found = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(quote_or_backslash(bytes), found);
            let line = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            let end = line.iter().position(|&byte| byte != b' ').unwrap_or(line.len());
            let rest = after_indent(bytes);
            // Fewer than eight bytes at the end may be left.
            prop_assert!(rest == &line[end..] || rest.len() < 8 && line.ends_with(rest));
        }
    }
}
