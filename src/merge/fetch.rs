//! Reads single events of the traces by their locations.
//!
//! Invariant: the number of open files and of cached bytes is bounded, for any number of traces.

use std::io;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::model::event::Event;
use crate::progress::Progress;
use crate::trace::{Damage, EventDecoder, Fault, Location, TraceFormat};

use super::place::{Files, Place};

/// The size of a block, which is read as a whole for a small event, in bytes.
const BLOCK: u64 = 16 << 10;
/// The size of all blocks in the cache, in bytes.
const MAX_KEPT: usize = 48 << 20;

/// The memory that is kept for events that cross the end of a block, in bytes. Memory for a larger event is freed
/// with the next one.
const USUAL: usize = 1 << 20;

/// The trace of a block, and its number in that trace.
type Key = (u32, u64);

/// Reads events, and caches blocks of the traces.
pub(super) struct Fetcher<'a> {
    places: &'a [Place],
    /// The progress of each trace.
    progress: Vec<Progress>,
    files: Files,
    blocks: IndexMap<Key, Block, RandomState>,
    /// The number of bytes in all blocks.
    kept: usize,
    /// The index of the next block to consider for removal (the hand of a clock cache).
    hand: usize,
    /// The index of the block that was used last.
    last: usize,
    /// The bytes of an event that crosses the end of a block.
    scratch: Vec<u8>,
    decoder: EventDecoder,
}

struct Block {
    bytes: Vec<u8>,
    /// Whether it was used since the hand last passed it.
    used: bool,
}

/// Why an event cannot be read.
#[derive(Debug)]
pub(super) enum Lost {
    /// The trace has become shorter, or holds other bytes than before.
    Changed(Damage),
    /// The system reports an error.
    Unread(io::Error),
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(places: &'a [Place], progress: &'a Progress) -> Self {
        let progress = places
            .iter()
            .map(|place| place.progress(progress))
            .collect();
        Self {
            places,
            progress,
            files: Files::default(),
            blocks: IndexMap::default(),
            kept: 0,
            hand: 0,
            last: 0,
            scratch: Vec::new(),
            decoder: EventDecoder::default(),
        }
    }

    /// The event at `location` of a trace.
    pub(super) fn event(
        &mut self,
        source: u32,
        format: TraceFormat,
        location: Location,
    ) -> Result<&mut Event, Lost> {
        let (offset, len) = (location.offset, location.len as usize);
        self.progress[source as usize].add(len as u64);
        let number = offset / BLOCK;
        let start = (offset % BLOCK) as usize;
        // An event that crosses the end of its block is read by itself. A large one would fill several blocks, and is
        // needed only once.
        if start + len > BLOCK as usize {
            let room = room(&mut self.scratch, len);
            let place = &self.places[source as usize];
            let read = self.files.read(source, place, room, offset);
            let bytes = whole(location, &self.scratch[..read.map_err(Lost::Unread)?])?;
            let decoded = self.decoder.decode(format, location, bytes);
            return decoded.map_err(Lost::Changed);
        }
        let at = self.block((source, number))?;
        let bytes = &self.blocks[at].bytes;
        let end = (start + len).min(bytes.len());
        let bytes = whole(location, &bytes[start.min(end)..end])?;
        self.decoder
            .decode(format, location, bytes)
            .map_err(Lost::Changed)
    }

    /// The index of a block, which is read unless it is cached.
    fn block(&mut self, key: Key) -> Result<usize, Lost> {
        if let Some((last, _)) = self.blocks.get_index(self.last)
            && *last == key
        {
            return Ok(self.last);
        }
        if let Some((at, _, block)) = self.blocks.get_full_mut(&key) {
            block.used = true;
            self.last = at;
            return Ok(at);
        }
        while self.kept > MAX_KEPT {
            self.drop_one();
        }
        let (source, number) = key;
        let place = &self.places[source as usize];
        let room = room(&mut self.scratch, BLOCK as usize);
        let read = self.files.read(source, place, room, number * BLOCK);
        let bytes = self.scratch[..read.map_err(Lost::Unread)?].to_vec();
        self.kept += bytes.len() + size_of::<Block>();
        let (at, _) = self.blocks.insert_full(key, Block { bytes, used: true });
        self.last = at;
        Ok(at)
    }

    /// Removes a block that was not used since the hand last passed it.
    fn drop_one(&mut self) {
        loop {
            self.hand = match self.hand {
                hand if hand < self.blocks.len() => hand,
                _ => 0,
            };
            let Some((_, block)) = self.blocks.get_index_mut(self.hand) else {
                self.kept = 0;
                return;
            };
            if !std::mem::take(&mut block.used) {
                break;
            }
            self.hand += 1;
        }
        if let Some((_, block)) = self.blocks.swap_remove_index(self.hand) {
            self.kept -= block.bytes.len() + size_of::<Block>();
        }
    }
}

/// The bytes of an event, if they are all there.
fn whole(location: Location, bytes: &[u8]) -> Result<&[u8], Lost> {
    let missing = u64::from(location.len) - bytes.len() as u64;
    if missing == 0 {
        return Ok(bytes);
    }
    let offset = location.offset + bytes.len() as u64;
    let what = "a trace that was longer when the merge began";
    let missing = Some(missing);
    Err(Lost::Changed(Damage::new(
        offset,
        Fault::Cut { what, missing },
    )))
}

/// The first `len` bytes of `scratch`, which grows or shrinks as needed.
fn room(scratch: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if scratch.len() > USUAL && len <= USUAL {
        scratch.truncate(USUAL);
        scratch.shrink_to_fit();
    }
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    &mut scratch[..len]
}
