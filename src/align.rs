//! Alignment to memory pages: the system copies faster if both sides begin at a page boundary.

/// The size of a memory page, or a part of one, in bytes.
///
/// On some processors, a read into memory with another offset within its page takes up to five times as long (AMD
/// Zen 3), and a write from such memory up to three times (Zen 4).
pub(crate) const PAGE: usize = 4096;

/// The offset in `memory` of a range of `len` bytes that ends at a page boundary.
pub(crate) fn start_in(memory: &[u8], len: usize) -> usize {
    let address = memory.as_ptr().addr();
    (address + len).next_multiple_of(PAGE) - address - len
}
