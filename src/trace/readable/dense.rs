//! Strings of the text format that consist mostly of escapes, as Envoy writes binary data.
//!
//! Envoy writes each byte that is not printable as a backslash and three octal digits. In binary data, such escapes
//! occur at random, so a loop with a branch for each byte is slow: the processor mispredicts many of the branches.
//!
//! Here a block of bytes is decoded in two steps without branches. The first decodes at every position, as if an escape
//! began there; the compiler turns it into vector instructions. The second keeps the values of those positions at which
//! a byte or an escape really begins.

/// How many bytes of a string are decoded at a time.
const BLOCK: usize = 64;
/// How many bytes of an escape follow its backslash, at most.
const DIGITS: usize = 3;
/// If a block has fewer bytes than this in escapes, a search for the next escape is faster.
const FEW: usize = BLOCK / 8;

/// A truth value in the form that vector instructions use: all bits of a byte are 1, or all are 0.
const fn mask(is: bool) -> u8 {
    (is as u8).wrapping_neg()
}

/// A block of a string, decoded at each of its bytes.
struct Block {
    /// For each position, the value of the byte or escape that begins there.
    values: [u8; BLOCK],
    /// 1 where a byte or an escape begins, 0 inside an escape.
    begins: [u8; BLOCK],
    /// Not 0 at the end of the string or line, and where an escape begins that is not decoded here.
    stops: [u8; BLOCK],
    /// How many bytes after the block belong to its last escape.
    after: usize,
}

impl Block {
    /// Decodes the block at the front of `bytes`, which begins with a byte or an escape.
    #[inline]
    fn decode(bytes: &[u8; BLOCK + DIGITS]) -> Self {
        let (mut values, mut begins, mut stops) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
        // Whether an escape of three digits, or of one letter, begins at each position. The entries are shifted by DIGITS,
        // so that the loop below can look at the positions before each: up to three for digits, one for a letter.
        let (mut octals, mut letters) = ([0; BLOCK + DIGITS], [0; BLOCK + DIGITS]);
        for i in 0..BLOCK {
            let [byte, a, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]];
            let is_escape = mask(byte == b'\\');
            // Three octal digits, up to 377.
            let is_octal =
                is_escape & mask((a & 0xfc ^ b'0') | (b & 0xf8 ^ b'0') | (c & 0xf8 ^ b'0') == 0);
            let octal = a << 6 | (b & 7) << 3 | c & 7;
            let (n, r, t) = (mask(a == b'n'), mask(a == b'r'), mask(a == b't'));
            let quote = mask((a == b'"') | (a == b'\''));
            let is_letter = is_escape & (n | r | t | quote);
            let letter = n & b'\n' | r & b'\r' | t & b'\t' | quote & a;
            values[i] = !is_escape & byte | is_octal & octal | is_letter & letter;
            octals[i + DIGITS] = is_octal;
            letters[i + DIGITS] = is_letter;
            stops[i] = is_escape & !(is_octal | is_letter);
        }
        for i in 0..BLOCK {
            let is_inside = octals[i] | octals[i + 1] | octals[i + 2] | letters[i + 2];
            begins[i] = !is_inside & 1;
            let byte = bytes[i];
            let is_end = mask((byte == b'"') | (byte == b'\'') | (byte == b'\n'));
            stops[i] |= is_end & !is_inside;
        }
        let [.., x, y, z] = octals;
        let after = [x | y | z | letters[BLOCK + 2], y | z, z];
        Self {
            values,
            begins,
            stops,
            after: after.iter().filter(|&&is_inside| is_inside != 0).count(),
        }
    }

    /// Appends the decoded values of the first `end` bytes of the block. Returns the number of values.
    #[inline]
    fn append(&self, end: usize, text: &mut Vec<u8>) -> usize {
        let mut kept = [0; BLOCK];
        let mut count = 0;
        for (value, begins) in self.values.iter().zip(self.begins).take(end) {
            // `count` is less than BLOCK. With the remainder, the compiler omits the bounds check.
            kept[count % BLOCK] = *value;
            count += usize::from(begins);
        }
        text.extend_from_slice(&kept[..count.min(BLOCK)]);
        count
    }
}

/// Decodes bytes and escapes at the front of `rest`, which is inside a string and not inside an escape. Appends the
/// decoded bytes, and returns how many bytes of `rest` were read.
///
/// It stops where most bytes are not escapes, before a quote, the end of a line, or an escape that Envoy does not
/// write, and near the end of `rest`. Returning 0 is always correct.
pub(super) fn decode(rest: &[u8], text: &mut Vec<u8>) -> usize {
    let mut read = 0;
    while let Some(bytes) = rest[read..].first_chunk() {
        let block = Block::decode(bytes);
        if block.stops.iter().fold(0, |any, stop| any | stop) == 0 {
            let count = block.append(BLOCK, text);
            read += BLOCK + block.after;
            if count > BLOCK - FEW {
                break;
            }
            continue;
        }
        let end = block.stops.iter().position(|&stop| stop != 0);
        let end = end.unwrap_or_default();
        block.append(end, text);
        read += end;
        // Blocks stop before two backslashes: whether the second one begins an escape depends on all bytes before it.
        if bytes[end..].starts_with(b"\\\\") {
            text.push(b'\\');
            read += 2;
        } else {
            break;
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::properties::config;
    use crate::trace::readable::escape;

    /// Escapes of one letter that Envoy writes.
    const ENVOYS: [&str; 6] = ["\\n", "\\r", "\\t", "\\\"", "\\'", "\\\\"];
    /// Other escapes, and what ends a string or a line.
    const OTHERS: [&str; 8] = ["\\1", "\\400", "\\x41", "\\q", "\\u00e4", "\n", "\"", "'"];

    /// The contents of a string as Envoy writes them, with escapes of other programs and of none among them.
    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            40 => any::<u8>().prop_map(|byte| match byte {
                b' '..=b'~' if !br#"\'""#.contains(&byte) => vec![byte],
                _ => format!("\\{byte:03o}").into_bytes(),
            }),
            4 => select(&ENVOYS[..]).prop_map(|escape| escape.as_bytes().to_vec()),
            1 => select(&OTHERS[..]).prop_map(|escape| escape.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 1..4),
        ];
        vec(part, 0..400).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(config(2_000))]

        /// The same as byte by byte and escape by escape.
        #[test]
        fn dense_escapes_are_decoded_like_single_ones(bytes in contents()) {
            let mut dense_text = b"before".to_vec();
            let read = decode(&bytes, &mut dense_text);
            let (mut text, mut at) = (b"before".to_vec(), 0);
            while at < read {
                at += match bytes[at] {
                    b'\\' => escape::text(&bytes[at..], &mut text).unwrap_or_else(|_| panic!("{at}")),
                    byte => {
                        prop_assert!(!matches!(byte, b'"' | b'\'' | b'\n'));
                        text.push(byte);
                        1
                    }
                };
            }
            prop_assert_eq!(at, read);
            prop_assert_eq!(dense_text, text);
        }
    }
}
