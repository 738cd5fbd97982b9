//! The memory of a window, which is reused for the bytes that follow.
//!
//! Invariant: the bytes of the window are not moved until the window is filled.

use std::fmt;
use std::ops::{Deref, Range};

use crate::align::{PAGE, start_in};

/// How much memory is kept for reuse when one event replaces another, in bytes. Events are seldom larger; the
/// memory beyond it is freed.
const KEPT: usize = 1 << 20;

/// The memory in which a window lies.
enum Memory {
    /// Memory of the program.
    Own(Vec<u8>),
    /// A mapped part of a file.
    #[cfg(feature = "cli")]
    Map(super::map::Map),
}

impl Deref for Memory {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            #[cfg(feature = "cli")]
            Self::Map(map) => map,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.len())
    }
}

/// A window into memory.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Memory,
    /// The range of the window in the memory.
    at_hand: Range<usize>,
}

impl Buffer {
    /// A window over all of `bytes`.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self {
            at_hand: 0..bytes.len(),
            memory: Memory::Own(bytes),
        }
    }

    /// Replaces the window by a copy of `bytes`.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        let memory = self.own();
        memory.clear();
        memory.shrink_to(KEPT);
        memory.extend_from_slice(bytes);
        self.at_hand = 0..bytes.len();
    }

    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        &self.memory[self.at_hand.clone()]
    }

    /// The program's memory. If the window is in a mapped part, it is replaced by empty memory.
    fn own(&mut self) -> &mut Vec<u8> {
        if !matches!(self.memory, Memory::Own(_)) {
            self.memory = Memory::default();
        }
        match &mut self.memory {
            Memory::Own(memory) => memory,
            #[cfg(feature = "cli")]
            Memory::Map(_) => unreachable!("it was replaced"),
        }
    }

    /// Takes the bytes of the window in `range`, and drops those before them.
    #[inline]
    pub(super) fn take(&mut self, range: Range<usize>) -> &[u8] {
        let start = self.at_hand.start;
        self.skip(range.end);
        &self.memory[start + range.start..start + range.end]
    }

    /// Drops the first `n` bytes of the window.
    #[inline]
    pub(super) fn skip(&mut self, n: usize) {
        assert!(n <= self.at_hand.len());
        self.at_hand.start += n;
    }

    /// Replaces the window by a part of a mapping.
    #[cfg(feature = "cli")]
    pub(super) fn show(&mut self, map: super::map::Map, at_hand: Range<usize>) {
        self.memory = Memory::Map(map);
        self.at_hand = at_hand;
    }

    /// Calls `read` to append up to `ask` bytes to the window, and returns how many it appended.
    pub(super) fn fill<E>(
        &mut self,
        ask: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let rest = self.at_hand.len();
        // The rest of the window moves to the front, so that the new bytes begin at a page boundary.
        let need = PAGE + rest.next_multiple_of(PAGE) + ask;
        match &mut self.memory {
            Memory::Own(memory) if self.at_hand.end + ask <= memory.len() => {}
            Memory::Own(memory) if need <= memory.len() => {
                let start = start_in(memory, rest);
                memory.copy_within(self.at_hand.clone(), start);
                self.at_hand = start..start + rest;
            }
            _ => {
                // The memory doubles for an event larger than one read. Otherwise each fill would copy the
                // whole event.
                let more = if rest > ask { rest } else { 0 };
                let mut memory = vec![0; need + more];
                let start = start_in(&memory, rest);
                memory[start..start + rest].copy_from_slice(self.window());
                self.at_hand = start..start + rest;
                self.memory = Memory::Own(memory);
            }
        }
        let end = self.at_hand.end;
        let read = read(&mut self.own()[end..end + ask])?;
        self.at_hand.end += read.min(ask);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Fills the buffer, and returns the address of the new bytes.
    fn fill(buffer: &mut Buffer, byte: u8, ask: usize) -> usize {
        let mut address = 0;
        let Ok(read) = buffer.fill(ask, |room| {
            room.fill(byte);
            address = room.as_ptr().addr();
            Ok::<_, Infallible>(room.len())
        });
        assert_eq!(read, ask);
        address
    }

    #[test]
    fn memory_is_reused_unless_a_slice_of_it_exists() {
        let mut buffer = Buffer::default();
        let mut places = Vec::new();
        for i in 0..100_u8 {
            places.push(fill(&mut buffer, i, 10_000));
            assert_eq!(buffer.window().len(), 10_000 + usize::from(i > 0) * 77);
            buffer.skip(buffer.window().len() - 77);
            assert_eq!(buffer.window(), [i; 77]);
        }
        assert!(places.iter().all(|place| place % PAGE == 0));
        places.dedup();
        // The first memory was too small for the rest of the window.
        assert!(places.len() <= 2, "{places:?}");
        let held = buffer.take(0..77).to_vec();
        for i in 100..105 {
            fill(&mut buffer, i, 10_000);
            buffer.skip(10_000);
        }
        assert_eq!(held[..], [99; 77]);
    }

    #[test]
    fn the_rest_of_the_window_stays_in_front() {
        let mut buffer = Buffer::default();
        fill(&mut buffer, 1, 4);
        fill(&mut buffer, 2, 4);
        buffer.skip(3);
        fill(&mut buffer, 3, 6);
        assert_eq!(buffer.window(), [1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn a_large_event_is_moved_a_few_times_only() {
        let mut buffer = Buffer::default();
        let mut memories = Vec::new();
        for i in 0..200_u8 {
            fill(&mut buffer, i, 1_000);
            memories.push(buffer.memory.as_ptr());
        }
        memories.dedup();
        assert!(memories.len() < 12, "{}", memories.len());
        let seen = (0..200_u8).flat_map(|i| [i; 1_000]);
        assert!(buffer.window().iter().copied().eq(seen));
    }

    #[test]
    fn a_failed_read_changes_nothing() {
        let mut buffer = Buffer::default();
        fill(&mut buffer, 1, 10);
        assert_eq!(buffer.fill(5_000, |_| Err("no")), Err("no"));
        assert_eq!(buffer.window(), [1; 10]);
    }
}
