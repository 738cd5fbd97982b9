//! The integers of HPACK (RFC 7541, section 5.1).

/// The maximum number of bits of an integer; a longer length or index is invalid here.
const MAX_BITS: u32 = 28;

/// An integer so far (RFC 7541, section 5.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Integer {
    pub(super) value: u32,
    bits: u32,
}

impl Integer {
    /// Begins an integer in the last `bits` bits of a byte, and returns whether it also ends there.
    pub(super) const fn begin(byte: u8, bits: u32) -> (Self, bool) {
        let max = (1 << bits) - 1;
        let value = byte as u32 & max;
        (Self { value, bits: 0 }, value < max)
    }

    /// Takes the next byte, and returns whether it is the last; `None` if the integer is invalid.
    pub(super) fn next(&mut self, byte: u8) -> Option<bool> {
        if self.bits >= MAX_BITS {
            return None;
        }
        self.value = self
            .value
            .checked_add(u32::from(byte & 0x7f) << self.bits)?;
        self.bits += 7;
        Some(byte < 0x80)
    }
}

/// The complete integer in the last `bits` bits of the byte at `at` and after it, and its end.
#[inline]
pub(super) fn whole_integer(bytes: &[u8], at: usize, bits: u32) -> Option<(u32, usize)> {
    let (mut integer, mut is_end) = Integer::begin(*bytes.get(at)?, bits);
    let mut at = at + 1;
    while !is_end {
        is_end = integer.next(*bytes.get(at)?)?;
        at += 1;
    }
    Some((integer.value, at))
}
