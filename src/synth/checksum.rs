//! The Internet checksum (RFC 1071), fast enough to be negligible.
//!
//! A sum of 16-bit words modulo 2^16 − 1 has the same result over wider words and in either byte order. So bytes
//! are added as little-endian words, as most processors load them, without swapping.

/// The number of parallel sums, which the compiler puts into vector registers.
const LANES: usize = 8;

/// Up to this many bytes are added as single 64-bit words, since setting up and adding lanes would take longer.
pub(super) const SHORT: usize = 256;

/// A checksum in progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds `bytes`, padded with zeros to whole words; only the last bytes of a packet may need padding.
    #[must_use]
    #[inline(always)]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        if bytes.len() <= SHORT {
            return Self(self.0 + short(bytes));
        }
        // The 32-bit words of an IP packet cannot overflow 64 bits.
        let mut lanes = [0_u64; LANES];
        let (blocks, rest) = bytes.as_chunks::<{ 4 * LANES }>();
        for block in blocks {
            let (words, _) = block.as_chunks();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_le_bytes(*word));
            }
        }
        Self(self.0 + lanes.iter().sum::<u64>() + short(rest))
    }

    /// Adds another sum.
    #[must_use]
    #[inline(always)]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum of a few bytes: right for any number, but quick only up to [`SHORT`].
    #[inline(always)]
    pub(super) fn of_few(bytes: &[u8]) -> Self {
        Self(short(bytes))
    }

    /// Adds a number in network byte order.
    #[must_use]
    #[inline]
    pub const fn number(self, number: u32) -> Self {
        Self(self.0 + number.swap_bytes() as u64)
    }

    /// The sum that has this checksum.
    const fn of(checksum: [u8; 2]) -> Self {
        Self(!u16::from_le_bytes(checksum) as u64)
    }

    /// The checksum in network byte order.
    #[inline]
    pub const fn finish(self) -> [u8; 2] {
        // A number plus itself with its halves exchanged: the upper half is the sum of both halves, plus the carry.
        let sum = self.0.wrapping_add(self.0.rotate_left(32));
        let sum = (sum >> 32) as u32;
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        (!(sum as u16)).to_le_bytes()
    }
}

/// The sum of a few bytes, equal to that of 32-bit words.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let mut sum = 0_u128;
    let mut add = |word: &[u8; 8]| sum += u128::from(u64::from_le_bytes(*word));
    let (fours, rest) = bytes.as_chunks::<32>();
    for four in fours {
        let (words, _) = four.as_chunks();
        words.iter().for_each(&mut add);
    }
    let (words, rest) = rest.as_chunks();
    words.iter().for_each(&mut add);
    if !rest.is_empty() {
        // The last word again, without the bytes already added.
        let last = match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        sum += u128::from(last);
    }
    let low = sum as u64;
    (sum >> 64) as u64 + (low >> 32) + (low & 0xffff_ffff)
}

/// The TCP checksum of a large payload, which is left to the writer of the packet, as an operating system leaves it to
/// a network card (checksum offload). Until then, the header has the checksum of a segment without the payload.
///
/// To sum a large payload takes as long as to copy it. The thread that converts has to do that copy, and often the
/// thread that writes has time left.
pub mod offload {
    use super::Sum;

    /// Payloads of this many bytes or more are worth it.
    pub(in crate::synth) const FROM: usize = 4096;
    /// The distance from the checksum to the payload: the checksum is at 16 of a header of 20 bytes without options
    /// (RFC 9293, section 3.1).
    pub(crate) const BEFORE_PAYLOAD: usize = 4;

    /// Completes the checksum in `headers`, which end where the whole `payload` begins.
    pub(crate) fn complete(headers: &mut [u8], payload: &[u8]) {
        if let Some(field) = headers.len().checked_sub(BEFORE_PAYLOAD)
            && let Some((checksum, _)) = headers[field..].split_first_chunk_mut()
        {
            *checksum = Sum::of(*checksum).bytes(payload).finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm of RFC 1071, section 4.1.
    fn by_the_rfc(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn sums_of_every_length_equal_those_of_the_rfc() {
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
