//! A file mapped into memory, its pages given back behind the cursor.
#![allow(
    unsafe_code,
    reason = "mapping a file and giving its pages back; each use is argued for"
)]

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use memmap2::{Mmap, UncheckedAdvice};

/// How far the cursor runs before the pages behind it are given back, in bytes.
///
/// Resident memory stays about this high. Measured to cost no time from 1 MiB up.
const RELEASE_EVERY: usize = 4 << 20;

/// The part of a mapped file that lies before the cursor.
#[derive(Debug)]
pub(super) struct Map {
    rest: Bytes,
    /// The mapping, where `rest` is one, and how much of it has been given back.
    release: Option<(Arc<Mmap>, usize)>,
}

/// What `Bytes` keeps so that the mapping outlives every slice of it.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private and read-only, so nothing here can change the bytes. A
        // process that writes to the file meanwhile changes what we read; the decoders check every
        // length against the window before they use it, and take each byte for hostile anyway. Cutting
        // the file short while it is mapped raises SIGBUS on the next access behind its end; like other
        // tools that map (ripgrep, ld) we accept that end, which corrupts nothing: a capture that is
        // not whole has not been given its name yet.
        let map = Arc::new(unsafe { Mmap::map(file) }?);
        Ok(Self {
            rest: Bytes::from_owner(Owner(Arc::clone(&map))),
            release: Some((map, 0)),
        })
    }

    pub(super) fn of_bytes(rest: Bytes) -> Self {
        Self {
            rest,
            release: None,
        }
    }

    pub(super) fn window(&self) -> &[u8] {
        &self.rest
    }

    pub(super) fn take(&mut self, n: usize) -> Bytes {
        let taken = self.rest.split_to(n);
        self.release();
        taken
    }

    pub(super) fn skip(&mut self, n: usize) {
        self.rest.advance(n);
        self.release();
    }

    /// Gives back the pages behind the cursor, once there are enough of them.
    fn release(&mut self) {
        if let Some((map, released)) = &mut self.release {
            let cursor = map.len() - self.rest.len();
            if cursor - *released >= RELEASE_EVERY {
                // The kernel rounds the end up to a whole page and wants the start at one.
                // RELEASE_EVERY is a multiple of every page size in use.
                let end = cursor / RELEASE_EVERY * RELEASE_EVERY;
                // The event that lies across the end is read once more behind it, and the kernel maps
                // what it has around a page, up to 2 MiB. So each stretch is given back twice: without
                // that, half of the file stayed.
                let start = released.saturating_sub(RELEASE_EVERY);
                // SAFETY: MADV_DONTNEED on a private file mapping that was never written to drops
                // clean pages only. A slice that is still held reads the same bytes from the file
                // again, so no reference is left dangling.
                let advised = unsafe {
                    map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
                };
                // Advice that the kernel does not take costs memory, not correctness.
                drop(advised);
                *released = end;
            }
        }
    }
}
