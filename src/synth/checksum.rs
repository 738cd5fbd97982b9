//! The Internet checksum (RFC 1071), fast enough that it does not show.
//!
//! A sum of 16-bit words modulo 2^16 − 1 comes out the same over wider words and in either byte order,
//! so bytes are added as they lie in memory and nothing is swapped.

/// How many sums run side by side, for the compiler to put them into vector registers.
const LANES: usize = 8;

/// A checksum under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds `bytes`, padded with zeros to whole words: only what comes last may need that.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // What an IP packet holds, in words of 32 bits, cannot overflow 64 bits.
        let mut lanes = [0_u64; LANES];
        let (blocks, rest) = bytes.as_chunks::<{ 4 * LANES }>();
        for block in blocks {
            let (words, _) = block.as_chunks();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, rest) = rest.as_chunks();
        let mut sum = self.0 + lanes.iter().sum::<u64>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let last = match *rest {
            [] => [0; 4],
            [a] => [a, 0, 0, 0],
            [a, b] => [a, b, 0, 0],
            [a, b, c, ..] => [a, b, c, 0],
        };
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds a number as it stands in a header.
    #[must_use]
    pub const fn number(self, number: u32) -> Self {
        Self(self.0 + number.to_be() as u64)
    }

    /// The checksum, as it stands in a header.
    pub const fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        (!(sum as u16)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071, section 4.1, word for word.
    fn by_the_rfc(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn every_length_comes_out_as_the_rfc_has_it() {
        let bytes: Vec<u8> = (0..70_000_u32)
            .map(|i| (i.wrapping_mul(i) >> 5) as u8)
            .collect();
        for len in (0..600).chain([1459, 1460, 65_494, 65_495, 70_000]) {
            let seen = Sum::default().bytes(&bytes[..len]).finish();
            assert_eq!(seen, by_the_rfc(&bytes[..len]), "{len} bytes");
        }
        for byte in [0x00, 0xff] {
            let bytes = [byte; 65_495];
            assert_eq!(Sum::default().bytes(&bytes).finish(), by_the_rfc(&bytes));
        }
    }

    #[test]
    fn numbers_count_as_their_bytes() {
        for number in [0, 1, 0x1234_5678, u32::MAX] {
            let sum = Sum::default().bytes(&[7; 20]);
            let seen = sum.number(number).finish();
            assert_eq!(seen, sum.bytes(&number.to_be_bytes()).finish());
        }
    }
}
