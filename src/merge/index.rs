//! An index of the events of all traces, sorted by time.
//!
//! The first pass adds an entry for each event; the second takes them out in order. Entries that do not fit in
//! memory are sorted in parts, in an unnamed temporary file. The index knows the positions of the events, and not their
//! contents.
//!
//! Invariant: the order is total, and does not depend on the order in which entries are added.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::model::event::Timestamp;
use crate::trace::Location;

use super::spill::Spill;

/// The number of entries that are sorted in memory, at 64 bytes each.
const MAX_IN_MEMORY: usize = 1 << 20;
/// The number of entries of a sorted part that are read at once.
const READ_ENTRIES: usize = 1 << 10;

/// An event of a trace.
///
/// The order of the fields is the order of the events: the time, then the trace, then the position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The event's time, no earlier than that of the event before it in its conversation.
    pub(super) time: Timestamp,
    /// The number of the trace.
    pub(super) source: u32,
    /// Its position among the events of the trace.
    pub(super) ordinal: u64,
    /// The number of its conversation within the trace.
    pub(super) conversation: u32,
    /// The number in its trace id.
    pub(super) number: u64,
    /// The offset from which it is decoded.
    pub(super) location: Location,
    /// The number of bytes missing from it; [`UNKNOWN`] if that is unknown.
    pub(super) missing: u32,
    /// The number of bytes missing before it.
    pub(super) gap: u32,
    /// Flags: see the constants of [`Entry`].
    pub(super) flags: u32,
}

/// In [`Entry::missing`]: no bytes are known to be missing.
pub(super) const UNKNOWN: u32 = u32::MAX;

impl Entry {
    /// It is the first event of an HTTP exchange, which begins before it.
    pub(super) const FIRST: u32 = 1;
    /// It is the last event of an HTTP exchange, which ends after it.
    pub(super) const LAST: u32 = 2;
    /// The bytes missing before it were received by Envoy, or sent.
    pub(super) const GAP_READ: u32 = 4;
    pub(super) const GAP_WRITE: u32 = 8;
    /// The bytes missing before it are a PROXY protocol header, or the rest of a truncated event.
    pub(super) const GAP_PROXY: u32 = 16;
    pub(super) const GAP_CUT: u32 = 32;

    /// The length of an entry in the temporary file, in bytes.
    const LEN: usize = 60;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [
            self.time.nanos(),
            self.ordinal,
            self.number,
            self.location.offset,
        ];
        let halves = [
            self.source,
            self.conversation,
            self.location.len,
            self.location.part,
            self.missing,
            self.gap,
            self.flags,
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        for (to, half) in bytes[32..].chunks_exact_mut(4).zip(halves) {
            to.copy_from_slice(&half.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at * 8..][..8]);
            u64::from_le_bytes(word)
        };
        let half = |at: usize| {
            let mut half = [0; 4];
            half.copy_from_slice(&bytes[32 + at * 4..][..4]);
            u32::from_le_bytes(half)
        };
        Self {
            time: Timestamp::from_nanos(word(0)),
            ordinal: word(1),
            number: word(2),
            location: Location {
                offset: word(3),
                len: half(2),
                part: half(3),
            },
            source: half(0),
            conversation: half(1),
            missing: half(4),
            gap: half(5),
            flags: half(6),
        }
    }
}

/// An index under construction.
#[derive(Debug)]
pub(super) struct Builder {
    entries: Vec<Entry>,
    max_in_memory: usize,
    /// The folder for the temporary file.
    folder: PathBuf,
    file: Option<Spill>,
    /// The sorted parts in the file: the offset and the number of entries of each.
    parts: Vec<(u64, u64)>,
    written: u64,
}

impl Builder {
    /// Creates an empty index, which may need a temporary file in `folder`.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            entries: Vec::new(),
            max_in_memory: MAX_IN_MEMORY,
            folder,
            file: None,
            parts: Vec::new(),
            written: 0,
        }
    }

    /// Adds all of `entries`, and empties it.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub(super) fn add(&mut self, entries: &mut Vec<Entry>) -> io::Result<()> {
        self.entries.append(entries);
        if self.entries.len() >= self.max_in_memory {
            self.spill()?;
        }
        Ok(())
    }

    /// Sorts the entries in memory, and writes them to the temporary file.
    fn spill(&mut self) -> io::Result<()> {
        self.entries.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Spill::new(&self.folder)?),
        };
        let mut writer = io::BufWriter::with_capacity(1 << 16, file.writer());
        for entry in &self.entries {
            writer.write_all(&entry.to_bytes())?;
        }
        writer.flush()?;
        drop(writer);
        let count = self.entries.len() as u64;
        self.parts.push((self.written, count));
        self.written += count * Entry::LEN as u64;
        self.entries.clear();
        Ok(())
    }

    /// Ends the first pass.
    ///
    /// # Errors
    /// When the temporary file cannot be read or written.
    pub(super) fn finish(mut self) -> io::Result<Index> {
        self.entries.sort_unstable();
        let mut index = Index {
            memory: self.entries.into_iter(),
            file: self.file,
            parts: Vec::new(),
            next: BinaryHeap::new(),
        };
        for (start, left) in self.parts {
            index.parts.push(SortedPart {
                next: start,
                left,
                read: Vec::new(),
            });
        }
        for part in 0..=index.parts.len() {
            index.queue(part)?;
        }
        Ok(index)
    }
}

/// An index that returns its entries in order.
#[derive(Debug)]
pub(super) struct Index {
    memory: std::vec::IntoIter<Entry>,
    file: Option<Spill>,
    parts: Vec<SortedPart>,
    /// The next entry of each part; the last part is in memory.
    next: BinaryHeap<Reverse<(Entry, usize)>>,
}

/// A sorted part of the temporary file.
#[derive(Debug)]
struct SortedPart {
    /// The offset of the entries that have not been read.
    next: u64,
    left: u64,
    /// The entries that have been read, the next one last.
    read: Vec<Entry>,
}

impl Index {
    /// Returns the next entry.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.parts.is_empty() {
            let Some(Reverse((entry, _))) = self.next.pop() else {
                return Ok(self.memory.next());
            };
            return Ok(Some(entry));
        }
        let Some(Reverse((entry, part))) = self.next.pop() else {
            return Ok(None);
        };
        self.queue(part)?;
        Ok(Some(entry))
    }

    /// Queues the next entry of a part.
    fn queue(&mut self, part: usize) -> io::Result<()> {
        let entry = match self.parts.get_mut(part) {
            Some(part) => part.next(self.file.as_ref())?,
            None => self.memory.next(),
        };
        self.next.extend(entry.map(|entry| Reverse((entry, part))));
        Ok(())
    }
}

impl SortedPart {
    fn next(&mut self, file: Option<&Spill>) -> io::Result<Option<Entry>> {
        if self.read.is_empty() && self.left > 0 {
            let count = self.left.min(READ_ENTRIES as u64);
            let mut bytes = vec![0; count as usize * Entry::LEN];
            if let Some(file) = file {
                file.read(&mut bytes, self.next)?;
            }
            let entries = bytes.chunks_exact(Entry::LEN).rev();
            self.read.extend(entries.map(Entry::from_bytes));
            self.next += bytes.len() as u64;
            self.left -= count;
        }
        Ok(self.read.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Entry {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Entry {
            time: Timestamp::from_nanos(mixed >> 54),
            source: (mixed >> 20) as u32 % 3,
            ordinal: n,
            conversation: n as u32,
            number: mixed,
            location: Location {
                offset: mixed,
                len: n as u32,
                part: 7,
            },
            missing: UNKNOWN,
            gap: 3,
            flags: Entry::LAST,
        }
    }

    #[test]
    fn entries_come_in_order_from_memory_and_from_the_file() {
        for (count, max_in_memory) in [(0, 10), (1, 10), (5000, 10_000), (5000, 1300), (5000, 7)] {
            let mut builder = Builder {
                max_in_memory,
                ..Builder::new(std::env::temp_dir())
            };
            let mut expected: Vec<_> = (0..count).map(entry).collect();
            for chunk in expected.chunks(11) {
                builder.add(&mut chunk.to_vec()).unwrap();
            }
            expected.sort_unstable();
            let mut index = builder.finish().unwrap();
            assert_eq!(index.parts.is_empty(), count < max_in_memory as u64);
            for entry in expected {
                assert_eq!(index.next().unwrap(), Some(entry));
            }
            assert_eq!(index.next().unwrap(), None);
        }
    }
}
