//! HPACK's Huffman code (RFC 7541, appendix B): strings are followed through events, and overwritten by as many
//! characters in as many bits.
//!
//! Invariant: an overwritten string decodes to as many characters as before, so that the tables of both ends keep
//! their sizes, wherever events cut it. It depends on nothing but the number of characters, and the number of
//! bits, of each of its pieces. Where an event ends inside a character, the class of that one character's length
//! is kept as well.

/// The bits of each symbol's code; the last is the end of the string, which no string holds.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
const EOS: usize = 256;
const MAX_LENGTH: usize = 30;
/// The most bits that may fill the last byte (RFC 7541, section 5.2).
const MAX_PADDING: u8 = 7;

/// Where in the code's tree a piece of a string ends: an inner node, and 0 is between two characters.
pub(super) type Node = u8;

/// What four bits lead to from a node: the next node in the lowest byte, then a symbol, then flags.
type Step = u32;
const EMITTED: Step = 1 << 16;
const INVALID: Step = 1 << 17;

/// The string holds what no string may hold, or ends with what no string may end with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

static TREE: Tree = Tree::new();

struct Tree {
    /// The codes, which are canonical: in the order of their lengths, then of their symbols.
    codes: [u32; 257],
    steps: [[Step; 16]; 256],
    /// The bits on the way from the root to a node, and how many these are.
    prefixes: [u32; 256],
    depths: [u8; 256],
    /// The node that stands for a node where a string is cut: below it are codes of the same lengths.
    stand_ins: [Node; 256],
}

/// Where a bit leads to: an inner node, or 256 and a symbol.
type Children = [[u16; 2]; 256];

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut code, mut length) = (0, 1);
    while length <= MAX_LENGTH {
        code <<= 1;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes
}

impl Tree {
    const fn new() -> Self {
        let codes = codes();
        let mut children: Children = [[0; 2]; 256];
        let (mut prefixes, mut depths) = ([0; 256], [0; 256]);
        let mut nodes = 1;
        let mut symbol = 0;
        while symbol < 257 {
            let (mut node, mut left) = (0, LENGTHS[symbol]);
            while left > 1 {
                left -= 1;
                let bit = (codes[symbol] >> left & 1) as usize;
                if children[node][bit] == 0 {
                    children[node][bit] = nodes;
                    prefixes[nodes as usize] = prefixes[node] << 1 | bit as u32;
                    depths[nodes as usize] = depths[node] + 1;
                    nodes += 1;
                }
                node = children[node][bit] as usize;
            }
            children[node][(codes[symbol] & 1) as usize] = 256 + symbol as u16;
            symbol += 1;
        }
        Self {
            codes,
            steps: steps(&children),
            prefixes,
            depths,
            stand_ins: stand_ins(&children, &depths),
        }
    }

    /// The first code of so many bits below a node.
    fn code(&self, node: Node, length: usize) -> u32 {
        let (depth, prefix) = (self.depths[node as usize], self.prefixes[node as usize]);
        let below = |&symbol: &usize| {
            usize::from(LENGTHS[symbol]) == length
                && self.codes[symbol] >> (length - depth as usize) == prefix
        };
        (0..EOS).find(below).map_or(0, |symbol| self.codes[symbol])
    }

    /// Whether a string may end at a node: only ones lead there, the first bits of the end's code.
    fn may_end(&self, node: Node) -> bool {
        let depth = self.depths[node as usize];
        depth <= MAX_PADDING && self.prefixes[node as usize] == (1 << depth) - 1
    }
}

const fn steps(children: &Children) -> [[Step; 16]; 256] {
    let mut steps = [[0; 16]; 256];
    let mut from = 0;
    while from < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            let (mut node, mut step, mut left) = (from, 0, 4);
            while left > 0 {
                left -= 1;
                let child = children[node][nibble >> left & 1] as usize;
                if child == 256 + EOS {
                    step |= INVALID;
                    node = 0;
                } else if child >= 256 {
                    step |= EMITTED | ((child - 256) as Step) << 8;
                    node = 0;
                } else {
                    node = child;
                }
            }
            steps[from][nibble] = step | node as Step;
            nibble += 1;
        }
        from += 1;
    }
    steps
}

/// The lengths of the codes below each node, a bit each.
const fn lengths_below(children: &Children, depths: &[u8; 256]) -> [u32; 256] {
    let mut below = [0_u32; 256];
    // A node is made before those below it, and nodes 1 to 255 are all there are.
    let mut node = 256;
    while node > 0 {
        node -= 1;
        let mut bit = 0;
        while bit < 2 {
            let child = children[node][bit] as usize;
            below[node] |= if child >= 256 {
                1 << (depths[node] + 1)
            } else {
                below[child]
            };
            bit += 1;
        }
    }
    below
}

/// What stands for each node: itself, where codes of several lengths are below it, and otherwise the node of its
/// depth that says least, below the stand-in of the node above it.
const fn stand_ins(children: &Children, depths: &[u8; 256]) -> [Node; 256] {
    let below = lengths_below(children, depths);
    let mut stand_ins = [0; 256];
    let mut node = 0;
    while node < 256 {
        let mut bit = 0;
        while bit < 2 {
            let child = children[node][bit] as usize;
            bit += 1;
            if child >= 256 {
                continue;
            }
            if below[child].count_ones() > 1 {
                stand_ins[child] = child as Node;
                continue;
            }
            let [zero, one] = children[stand_ins[node] as usize];
            let (has_zero, has_one) = (
                zero < 256 && below[zero as usize] & below[child] != 0,
                one < 256 && below[one as usize] & below[child] != 0,
            );
            let takes_one = has_one && (!has_zero || below[one as usize].count_ones() > 1);
            stand_ins[child] = if takes_one { one } else { zero } as Node;
        }
        node += 1;
    }
    stand_ins
}

/// Follows a piece of a string from `node`, and gives each character to `take`.
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

/// Overwrites a piece of a string that begins at `node`, and returns how many characters end in it.
///
/// # Errors
/// When the string is none. The piece is as it was then.
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
        // Of a character that began before, the first bits stand there.
        let before = if pieces.count == 0 { depth } else { 0 };
        let cut = TREE.stand_ins[*node as usize] as usize;
        bits.push(TREE.prefixes[cut], u32::from(TREE.depths[cut]) - before);
    }
    Ok(pieces.count)
}

/// The characters of a piece, as far as their stand-ins depend on them.
struct Pieces {
    count: u32,
    /// The bits of all of them, and of the first.
    bits: u64,
    first: usize,
    /// How many there are of each length.
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

    /// Writes as many characters in as many bits.
    fn write(&self, bits: &mut Bits<'_>) {
        let (count, of_all) = (u64::from(self.count), self.bits);
        if of_all > 8 * count {
            // Rare characters, of which few have stand-ins: the lengths stay, and their order does not.
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

/// A symbol whose code has so many bits: a visible one where there is one.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A string in the code.
    pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
        let bits: usize = text
            .iter()
            .map(|&c| usize::from(LENGTHS[usize::from(c)]))
            .sum();
        let mut bytes = vec![0; bits.div_ceil(8)];
        let mut out = Bits::new(&mut bytes);
        for &c in text {
            let symbol = usize::from(c);
            out.push(TREE.codes[symbol], LENGTHS[symbol].into());
        }
        out.pad();
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
        let (mut text, mut node) = (Vec::new(), 0);
        decode(bytes, &mut node, |c| text.push(c))?;
        end(node)?;
        Ok(text)
    }

    #[test]
    fn the_code_is_that_of_rfc_7541() {
        // Appendices C.4.1 to C.4.3 and C.6.1.
        let cases: [(&[u8], &[u8]); 5] = [
            (
                b"www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            (
                b"Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
            (
                b"https://www.example.com",
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
            ),
        ];
        for (text, bytes) in cases {
            assert_eq!(encode(text), bytes);
            assert_eq!(decoded(bytes).unwrap(), text);
        }
        assert_eq!(TREE.codes[EOS], 0x3fff_ffff);
        assert_eq!(decoded(b"\xff\xff\xff\xff"), Err(Invalid), "the end's code");
        assert_eq!(decoded(b"\x00"), Err(Invalid), "padded with zeros");
        assert_eq!(
            decoded(b"\x07\xff"),
            Err(Invalid),
            "a whole byte of padding"
        );
    }

    /// Below what stands for a node are codes of all lengths that are below the node, wherever it is cut again.
    #[test]
    fn a_cut_character_can_be_finished_with_any_length() {
        for (symbol, (&length, &code)) in LENGTHS[..EOS].iter().zip(&TREE.codes).enumerate() {
            let length = usize::from(length);
            let mut before = (0, 0);
            for depth in 1..length {
                let prefix = code >> (length - depth);
                let node = (0..256)
                    .find(|&node| {
                        usize::from(TREE.depths[node]) == depth && TREE.prefixes[node] == prefix
                    })
                    .unwrap();
                let stand_in = TREE.stand_ins[node];
                assert_eq!(usize::from(TREE.depths[stand_in as usize]), depth);
                let bits = TREE.prefixes[stand_in as usize];
                assert_eq!(bits >> (depth - before.0), before.1, "{symbol} at {depth}");
                let finished = TREE.code(stand_in, length);
                assert_eq!(finished >> (length - depth), bits, "{symbol} at {depth}");
                assert!(
                    (0..EOS)
                        .any(|s| TREE.codes[s] == finished && usize::from(LENGTHS[s]) == length)
                );
                before = (depth, bits);
            }
        }
    }

    /// Overwrites a string in pieces that end at `cuts`.
    fn overwritten(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, u32) {
        let mut out = bytes.to_vec();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let (mut begin, mut node, mut chars) = (0, 0, 0);
        for (i, &end) in ends.iter().enumerate() {
            let is_last = i + 1 == ends.len();
            chars += overwrite(&mut out[begin..end], &mut node, is_last).unwrap();
            begin = end;
        }
        (out, chars)
    }

    #[test]
    fn an_ordinary_secret_becomes_stars_dashes_and_zeros() {
        let bytes = encode(b"Bearer eyJhbGciOiJIUzI1NiJ9");
        let (out, chars) = overwritten(&bytes, &[]);
        assert_eq!(chars, 27);
        assert_eq!(decoded(&out).unwrap(), b"**********00000000000000000");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_overwritten_string_has_as_many_characters(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[ -~]{0,60}".prop_map(String::into_bytes),
                "[a-e0-2]{0,60}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let bytes = encode(&text);
            let (out, chars) = overwritten(&bytes, &cuts);
            prop_assert_eq!(chars as usize, text.len());
            prop_assert_eq!(out.len(), bytes.len());
            let decoded = decoded(&out).unwrap();
            prop_assert_eq!(decoded.len(), text.len());
            // Any other text of the same lengths, cut at the same places, gives the same.
            if cuts.is_empty() {
                let mut other = text.clone();
                other.reverse();
                prop_assert_eq!(overwritten(&encode(&other), &[]).0, out);
            }
        }
    }
}
