//! Searches and comparisons of short texts, eight bytes at a time. For these, a call of memchr would take longer.

/// Each byte is 1.
pub(crate) const ONES: u64 = u64::from_le_bytes([0x01; 8]);
/// The high bit of each byte.
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// How many bytes are searched here before memchr is called: most names, numbers and lines of a head are shorter.
pub(crate) const SHORT: usize = 32;

/// The high bit of the first byte of `word` that equals `byte`, and perhaps of bytes after that.
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (ONES * byte as u64);
    other.wrapping_sub(ONES) & !other & HIGH
}

/// The position of the first `byte`.
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes[..bytes.len().min(SHORT)].as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = equal(u64::from_le_bytes(*word), byte);
        if found != 0 {
            return Some(i * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let searched = words.len() * 8;
    if bytes.len() <= SHORT {
        let found = rest.iter().position(|other| *other == byte);
        return found.map(|found| searched + found);
    }
    Some(searched + memchr::memchr(byte, &bytes[searched..])?)
}

/// A word in lower case.
const fn lower(word: u64) -> u64 {
    // No sum exceeds its byte.
    let low = word & !HIGH;
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let after_z = low + ONES * (0x80 - b'Z' as u64 - 1);
    let upper = from_a & !after_z & !word & HIGH;
    word | upper >> 2
}

/// Whether bytes equal others in lower case, without regard to their own case: `eq_ignore_ascii_case` without a step
/// for each byte.
#[inline]
pub(crate) fn is_lower_of(bytes: &[u8], known: &[u8]) -> bool {
    if bytes.len() != known.len() {
        return false;
    }
    let is_same =
        |a: &[u8; 8], b: &[u8; 8]| lower(u64::from_le_bytes(*a)) == u64::from_le_bytes(*b);
    // The last bytes may overlap those before.
    if let (Some(last), Some(known_last)) = (bytes.last_chunk(), known.last_chunk()) {
        let (words, _) = bytes.as_chunks();
        let (known, _) = known.as_chunks();
        return is_same(last, known_last) && words.iter().zip(known).all(|(a, b)| is_same(a, b));
    }
    lower(short_word(bytes)) == short_word(known)
}

/// A word with all of fewer than eight bytes.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 1_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_search_finds_what_a_plain_search_finds(
            bytes in vec(prop_oneof![30 => Just(b' '), 1 => Just(b'\n'), 1 => any::<u8>()], 0..100),
        ) {
            let found = bytes.iter().position(|byte| *byte == b'\n');
            prop_assert_eq!(find(b'\n', &bytes), found);
        }

        #[test]
        fn names_are_compared_without_regard_to_case(
            name in vec(any::<u8>(), 0..30),
            change in any::<Option<(usize, u8)>>(),
        ) {
            let known = name.to_ascii_lowercase();
            prop_assert!(is_lower_of(&name, &known));
            let mut other = name;
            if let Some((at, byte)) = change && !other.is_empty() {
                let at = at % other.len();
                other[at] = byte;
            }
            prop_assert_eq!(is_lower_of(&other, &known), other.to_ascii_lowercase() == known);
            prop_assert!(!is_lower_of(&[&other[..], b"x"].concat(), &known));
        }
    }

    #[test]
    fn each_byte_has_the_lower_case_of_ascii() {
        for byte in 0..=255_u8 {
            let lower = byte.to_ascii_lowercase();
            for other in 0..=255 {
                let is_same = is_lower_of(&[byte; 9], &[other; 9]);
                assert_eq!(is_same, lower == other, "{byte} {other}");
            }
        }
    }
}
