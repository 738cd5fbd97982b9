//! Memory pages, which the system copies to and from faster where both sides begin at one.

/// The size of a memory page, or a part of one, in bytes.
///
/// A read that copies to another place within a page than the one it comes from takes up to five times as
/// long on some processors (AMD Zen 3), and a write from one up to three times (Zen 4).
pub(crate) const PAGE: usize = 4096;

/// Where in `memory` so many bytes begin that end where a page does.
pub(crate) fn start_in(memory: &[u8], len: usize) -> usize {
    let address = memory.as_ptr().addr();
    (address + len).next_multiple_of(PAGE) - address - len
}
