//! HPACK's Huffman code (RFC 7541, appendix B): follows strings through events, and overwrites them with the same
//! number of characters in the same number of bits.
//!
//! A crate would replace nothing but the lengths of the codes. Strings that are cut need the tree, which is computed
//! from them.
//!
//! Invariant: an overwritten string decodes to the same number of characters, so that the tables of both ends keep
//! their sizes, wherever events end. It depends only on the numbers of characters and of bits in each event. If an
//! event ends inside a character, it also depends on the length of that character's code.

mod tree;

pub(super) use tree::Node;
use tree::{EMITTED, EOS, INVALID, LENGTHS, MAX_LENGTH, TREE};

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
        // '*' has eight bits, ':' seven, '-' six and '0' five.
        let extra = of_all - 5 * count;
        let eights = extra / 3;
        for _ in 0..eights {
            bits.push(TREE.codes[usize::from(b'*')], 8);
        }
        let mut left = count - eights;
        let odd = match extra % 3 {
            1 => Some((b'-', 6)),
            2 => Some((b':', 7)),
            _ => None,
        };
        if let Some((symbol, length)) = odd {
            bits.push(TREE.codes[usize::from(symbol)], length);
            left -= 1;
        }
        for _ in 0..left {
            bits.push(TREE.codes[usize::from(b'0')], 5);
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
