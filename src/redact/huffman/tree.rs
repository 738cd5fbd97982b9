//! The tree of HPACK's Huffman code and the properties of its nodes, computed at compile time.

/// The number of bits of each symbol's code; the last one is the end of the string, which no string has.
pub(super) const LENGTHS: [u8; 257] = [
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

pub(super) const EOS: usize = 256;

pub(super) const MAX_LENGTH: usize = 30;

/// The maximum number of bits of padding (RFC 7541, section 5.2).
const MAX_PADDING: u8 = 7;

/// An inner node of the code's tree: the position inside a character, or 0 between two of them.
pub(in super::super) type Node = u8;

/// The result of four bits from a node: the next node in the lowest byte, then a symbol, then flags.
pub(super) type Step = u32;

pub(super) const EMITTED: Step = 1 << 16;

pub(super) const INVALID: Step = 1 << 17;

pub(super) static TREE: Tree = Tree::new();

pub(super) struct Tree {
    /// The canonical codes: ordered by length, then by symbol.
    pub(super) codes: [u32; 257],
    pub(super) steps: [[Step; 16]; 256],
    /// The bits from the root to each node, and their number.
    pub(super) prefixes: [u32; 256],
    pub(super) depths: [u8; 256],
    /// The replacement of each node if a string is cut there: codes of the same lengths are below it.
    pub(super) stand_ins: [Node; 256],
    /// For each [`PAIR`] bits, the codes of up to eight bits at their beginning, at most two: their [`LENGTH`], and from
    /// [`COUNT_AT`] on their number.
    pub(super) pairs: [u8; 1 << PAIR],
}

/// The number of bits that are looked up at once: two codes of the usual characters.
pub(super) const PAIR: u32 = 12;

/// The length of a pair is a shift of a word of 64 bits without a mask.
pub(super) const LENGTH: usize = 63;
pub(super) const COUNT_AT: u32 = 6;

/// The result of a bit: an inner node, or 256 plus a symbol.
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

/// For each eight bits, the length of the code at their beginning; 0 if it is longer than that.
const fn short(codes: &[u32; 257]) -> [u8; 256] {
    let mut short = [0; 256];
    let mut symbol = 0;
    while symbol < 257 {
        let length = LENGTHS[symbol];
        symbol += 1;
        if length > 8 {
            continue;
        }
        let mut bits = (codes[symbol - 1] << (8 - length)) as usize;
        let end = bits + (1 << (8 - length));
        while bits < end {
            short[bits] = length;
            bits += 1;
        }
    }
    short
}

const fn pairs(short: &[u8; 256]) -> [u8; 1 << PAIR] {
    let mut pairs = [0; 1 << PAIR];
    let mut bits = 0;
    while bits < pairs.len() {
        let first = short[bits >> (PAIR - 8)] as u32;
        if first > 0 {
            // The bits after the first code, and zeros.
            let rest = (bits << first) & (pairs.len() - 1);
            let second = short[rest >> (PAIR - 8)] as u32;
            pairs[bits] = if second > 0 && first + second <= PAIR {
                2 << COUNT_AT | (first + second) as u8
            } else {
                1 << COUNT_AT | first as u8
            };
        }
        bits += 1;
    }
    pairs
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
            pairs: pairs(&short(&codes)),
        }
    }

    /// The first code of this length below a node.
    pub(super) fn code(&self, node: Node, length: usize) -> u32 {
        let (depth, prefix) = (self.depths[node as usize], self.prefixes[node as usize]);
        let below = |&symbol: &usize| {
            usize::from(LENGTHS[symbol]) == length
                && self.codes[symbol] >> (length - depth as usize) == prefix
        };
        (0..EOS).find(below).map_or(0, |symbol| self.codes[symbol])
    }

    /// Whether a string may end at a node: padding is ones, the first bits of the end's code.
    pub(super) fn may_end(&self, node: Node) -> bool {
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

/// The replacement of each node. A node with codes of several lengths below it stays. Any other is replaced by a node
/// of the same depth below its parent's replacement, the one that reveals least.
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
