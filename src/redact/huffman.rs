//! HPACK's Huffman code (RFC 7541, appendix B): follows strings through events, and overwrites them with the same
//! number of characters in the same number of bits.
//!
//! No crate is used, because it could only provide the lengths of the codes: strings that are cut need the tree, which
//! is computed from these lengths.
//!
//! Invariant: an overwritten string decodes to the same number of characters, so that the tables of both ends keep
//! their sizes, wherever events end. It depends only on the numbers of characters and of bits in each event. If an
//! event ends inside a character, it also depends on the length of that character's code.

mod tree;

pub(super) use tree::Node;
use tree::{COUNT_AT, EMITTED, EOS, INVALID, LENGTH, LENGTHS, MAX_LENGTH, PAIR, TREE};

/// The string has an invalid code or invalid padding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Follows a part of a string from `node`, and calls `take` with each character.
#[inline]
pub(super) fn decode(
    bytes: &[u8],
    node: &mut Node,
    mut take: impl FnMut(u8),
) -> Result<(), Invalid> {
    let mut at = *node;
    for &byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            let step = TREE.steps[at as usize][nibble as usize];
            if step & (EMITTED | INVALID) != 0 {
                if step & INVALID != 0 {
                    return Err(Invalid);
                }
                take((step >> 8) as u8);
            }
            at = step as Node;
        }
    }
    *node = at;
    Ok(())
}

/// Whether a string may end at `node`.
pub(super) fn end(node: Node) -> Result<(), Invalid> {
    if TREE.may_end(node) {
        Ok(())
    } else {
        Err(Invalid)
    }
}

/// The number of characters in a complete string, and of their bits; `None` if one has a code of more than eight bits,
/// or the string is invalid.
///
/// Nearly all strings have short codes only.
fn count_short(bytes: &[u8]) -> Option<(u32, u64)> {
    let (mut count, mut end) = (0, 0);
    loop {
        let mut bits = bits_at(bytes, end);
        let mut found = 0;
        // Without a test in between, which would often be mispredicted.
        for _ in 0..PAIRS {
            let pair = u32::from(TREE.pairs[(bits >> (64 - PAIR)) as usize]);
            bits = bits.wrapping_shl(pair);
            found += pair;
        }
        count += found >> COUNT_AT;
        end += found as usize & LENGTH;
        // A longer code, or the padding.
        if bits >> 57 == 0x7f {
            break;
        }
    }
    let padding = (8 * bytes.len()).checked_sub(end)?;
    (padding < 8).then_some((count, end as u64))
}

/// The number of pairs in a word of [`bits_at`], with eight bits left.
const PAIRS: u32 = (57 - 8) / PAIR;

/// At least 57 bits of a string from the one with this index on, the first of them highest. The string is followed by
/// ones, like its padding.
#[inline]
fn bits_at(bytes: &[u8], index: usize) -> u64 {
    let rest = bytes.get(index / 8..).unwrap_or_default();
    let word = match (rest.first_chunk(), bytes.last_chunk()) {
        (Some(word), _) => u64::from_be_bytes(*word),
        (None, Some(last)) if !rest.is_empty() => {
            let others = 8 * (8 - rest.len());
            u64::from_be_bytes(*last) << others | ((1 << others) - 1)
        }
        _ => rest
            .iter()
            .rev()
            .fold(u64::MAX, |word, byte| word >> 8 | u64::from(*byte) << 56),
    };
    word << (index % 8)
}

/// The number of characters in a complete string.
///
/// # Errors
/// When the string is invalid.
pub(super) fn count(bytes: &[u8]) -> Result<u32, Invalid> {
    if let Some((count, _)) = count_short(bytes) {
        return Ok(count);
    }
    let (mut count, mut node) = (0, 0);
    decode(bytes, &mut node, |_| count += 1)?;
    end(node)?;
    Ok(count)
}

/// The characters that replace `count` others with `bits` bits and no code of more than eight: this many stars of
/// eight bits, perhaps one with the code of the second and third number, which has 0 bits if there is none, and zeros of
/// five bits.
const fn replacement(count: u64, bits: u64) -> (u64, (u8, u32)) {
    let extra = bits - 5 * count;
    (extra / 3, ODD[(extra % 3) as usize])
}

/// The codes of `*`, `:` and `-`, of eight, seven and six bits. That of `0` is five zeros.
const STAR: u8 = 0xf9;
const COLON: u8 = 0x5c;
const DASH: u8 = 0x16;

/// The character that takes this many bits more than a zero, with its bits. A table, because a branch would often be
/// mispredicted.
const ODD: [(u8, u32); 3] = [(0, 0), (DASH, 6), (COLON, 7)];

/// Overwrites a complete string, and returns the number of its characters.
///
/// # Errors
/// When the string is invalid. It is unchanged then.
pub(super) fn overwrite_all(bytes: &mut [u8]) -> Result<u32, Invalid> {
    let Some((count, bits)) = count_short(bytes) else {
        return overwrite(bytes, &mut 0, true);
    };
    let padding = 8 * bytes.len() as u64 - bits;
    let (stars, (code, length)) = replacement(count.into(), bits);
    let (begin, rest) = bytes.split_at_mut(stars as usize);
    begin.fill(STAR);
    // Not read back, because a processor waits for what it has just written in a piece of another size.
    if let Some((last, rest)) = rest.split_last_mut() {
        rest.fill(0);
        *last = !(0xff << padding);
        let odd = (u16::from(code) << (8 - length)) as u8;
        match rest.first_mut() {
            Some(first) => *first = odd,
            None => *last |= odd,
        }
    }
    Ok(count)
}

/// Overwrites a part of a string from `node`, and returns the number of characters that end in it.
///
/// # Errors
/// When the string is invalid. The part is unchanged then.
pub(super) fn overwrite(bytes: &mut [u8], node: &mut Node, is_last: bool) -> Result<u32, Invalid> {
    let begin = *node;
    let mut pieces = Pieces::default();
    decode(bytes, node, |symbol| pieces.add(symbol))?;
    if is_last {
        end(*node)?;
    }
    let mut bits = Bits::new(bytes);
    let depth = u32::from(TREE.depths[begin as usize]);
    if begin != 0 && pieces.count > 0 {
        let length = pieces.first;
        pieces.remove(length);
        let code = TREE.code(TREE.stand_ins[begin as usize], length);
        bits.push(code, length as u32 - depth);
        pieces.write(&mut bits);
        pieces.count += 1;
    } else {
        pieces.write(&mut bits);
    }
    if is_last {
        bits.pad();
    } else {
        // The first bits of a character may be in an earlier event.
        let before = if pieces.count == 0 { depth } else { 0 };
        let cut = TREE.stand_ins[*node as usize] as usize;
        bits.push(TREE.prefixes[cut], u32::from(TREE.depths[cut]) - before);
    }
    Ok(pieces.count)
}

/// The properties of a part's characters on which the replacement depends.
struct Pieces {
    count: u32,
    /// The bits of all of them, and of the first.
    bits: u64,
    first: usize,
    /// The number of characters with each length.
    of_length: [u32; MAX_LENGTH + 1],
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            count: 0,
            bits: 0,
            first: 0,
            of_length: [0; MAX_LENGTH + 1],
        }
    }
}

impl Pieces {
    #[inline]
    fn add(&mut self, symbol: u8) {
        let length = usize::from(LENGTHS[usize::from(symbol)]);
        if self.count == 0 {
            self.first = length;
        }
        self.count += 1;
        self.bits += length as u64;
        self.of_length[length] += 1;
    }

    fn remove(&mut self, length: usize) {
        self.count -= 1;
        self.bits -= length as u64;
        self.of_length[length] -= 1;
    }

    /// Writes the same number of characters in the same number of bits.
    fn write(&self, bits: &mut Bits<'_>) {
        let (count, of_all) = (u64::from(self.count), self.bits);
        if of_all > 8 * count {
            // Rare characters keep the lengths of their codes, but not their order.
            for (length, &count) in self.of_length.iter().enumerate().rev() {
                for _ in 0..count {
                    bits.push(TREE.codes[rare(length)], length as u32);
                }
            }
            return;
        }
        let (stars, (code, length)) = replacement(count, of_all);
        for _ in 0..stars {
            bits.push(STAR.into(), 8);
        }
        bits.push(code.into(), length);
        for _ in stars + u64::from(length > 0)..count {
            bits.push(0, 5);
        }
    }
}

/// A symbol with a code of this length, a visible one if possible.
fn rare(length: usize) -> usize {
    let has = |symbol: &usize| usize::from(LENGTHS[*symbol]) == length;
    match length {
        5 => b'0'.into(),
        6 => b'-'.into(),
        7 => b':'.into(),
        8 => b'*'.into(),
        _ => (0x21..0x7f)
            .find(has)
            .or_else(|| (0..EOS).rev().find(has))
            .unwrap_or_default(),
    }
}

/// Writes bits over bytes, from their beginning on.
struct Bits<'a> {
    bytes: std::slice::IterMut<'a, u8>,
    /// Bits that fill no byte yet, the last of them lowest.
    waiting: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes: bytes.iter_mut(),
            waiting: 0,
            count: 0,
        }
    }

    /// Writes the last `count` bits of a code.
    fn push(&mut self, code: u32, count: u32) {
        let code = u64::from(code) & ((1 << count) - 1);
        self.waiting = self.waiting << count | code;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            if let Some(byte) = self.bytes.next() {
                *byte = (self.waiting >> self.count) as u8;
            }
        }
    }

    /// Fills the last byte with ones.
    fn pad(&mut self) {
        if self.count > 0 {
            self.push(u32::MAX, 8 - self.count);
        }
    }
}

#[cfg(test)]
mod tests;
