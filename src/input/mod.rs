//! Bytes of a file or stream, read piece by piece.
//!
//! An [`Input`] is a cursor with a [`window`](Input::window) over the next bytes. A decoder looks at the window and
//! takes bytes from its front. When the window is too short, [`fill`](Input::fill) extends it. Buffers are reused, so
//! that the memory in use does not grow with the input.
//!
//! A caller that is able to start over, and does not need all bytes, may have files mapped (`Access`). A binary trace is
//! then mapped from its first large event on, at the earliest after the first read of 1 MiB. It is decoded in place, and
//! the bytes that the caller skips are not even read from the disk. `Input::is_torn` reports whether a mapped file was
//! truncated in the meantime.
//!
//! Compressed files and streams are recognized by their first bytes, and unpacked, and so are bytes that can be read at
//! any position. Offsets are those of the unpacked bytes. Bytes of a reader or a vector are not unpacked.
//!
//! Invariant: `offset` counts every byte that was taken or skipped. The first byte of the window is at the position
//! `offset` of the input.

#[cfg(feature = "cli")]
pub mod admin;
mod ahead;
mod buffer;
mod compressed;
#[cfg(any(feature = "cli", feature = "unpack"))]
mod decoder;
#[cfg(feature = "cli")]
mod file;
#[cfg(feature = "cli")]
pub(crate) mod map;
mod mapping;
mod origin;
#[cfg(any(test, all(feature = "unpack", not(feature = "cli"))))]
mod portable;
mod random_access;
mod recode;
#[cfg(feature = "cli")]
mod reference;
#[cfg(feature = "cli")]
mod unpack;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::descriptor::BorrowedFd;
use crate::progress::Progress;

pub(crate) use ahead::Ahead;
use buffer::Buffer;
pub(crate) use compressed::Ending;
pub use compressed::{Compression, Unpackable};
pub(crate) use mapping::Access;
use mapping::Mapping;
#[cfg(feature = "cli")]
pub(crate) use mapping::or_read;
pub use origin::ReadAt;
use origin::{Begun, Once, Origin};
use random_access::RandomAccess;
use recode::Recoder;
pub(crate) use recode::{Match, Prefix, Recoding, Utf16};

/// The size of the smallest read, in bytes, and of the first one if the size of the input is unknown. A small trace
/// then takes little memory.
const FIRST_READ: usize = 16 << 10;
/// The size of the largest read, in bytes: for files at least as large, and after reads that filled their buffer.
const READ_SIZE: usize = 1 << 20;
/// The size of a read whose bytes are recoded, in bytes. Recoding adds half as many at most.
const RECODED_READ: usize = 64 << 10;

/// A cursor over the bytes of a file or stream.
#[derive(Debug)]
pub struct Input {
    origin: Box<dyn Origin>,
    buffer: Buffer,
    offset: u64,
    /// The size of the next read, in bytes.
    ask: usize,
    ended: bool,
    /// The first bytes, until they show whether the input is compressed; `None` after that.
    head: Option<Vec<u8>>,
    /// How the unpacking ended, if the bytes are compressed.
    ending: Option<Ending>,
    /// Restores the trace's bytes, if something has changed them on their way.
    recoder: Option<Box<Recoder>>,
    progress: Progress,
    mapping: Mapping,
}

impl Input {
    /// Reads `reader`, which is assumed never to block.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self::new(Once(reader))
    }

    /// Reads `bytes`, which can be read at any position. Compressed bytes are unpacked.
    pub fn from_anywhere(bytes: Arc<dyn ReadAt>) -> Self {
        Self {
            head: Some(Vec::new()),
            ..Self::new(RandomAccess(bytes))
        }
    }

    /// Reads `bytes`, which can be read at any position, and does not unpack them.
    pub(crate) fn from_copy(bytes: Arc<dyn ReadAt>) -> Self {
        Self::new(RandomAccess(bytes))
    }

    /// Makes an input whose window is all of `bytes`.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            buffer: Buffer::holding(bytes.into()),
            ended: true,
            ..Self::new(Once(io::empty()))
        }
    }

    /// Replaces the input by a copy of `bytes`, whose first byte gets the position `offset`.
    ///
    /// The memory of the previous window is reused unless a slice of it exists.
    pub(crate) fn replace(&mut self, bytes: &[u8], offset: u64) {
        self.origin = Box::new(Once(io::empty()));
        self.buffer.replace(bytes);
        self.offset = offset;
        self.ended = true;
    }

    fn new(origin: impl Origin + 'static) -> Self {
        Self::of_origin(Box::new(origin))
    }

    fn of_origin(origin: Box<dyn Origin>) -> Self {
        Self {
            origin,
            buffer: Buffer::default(),
            offset: 0,
            ask: FIRST_READ,
            ended: false,
            head: None,
            ending: None,
            recoder: None,
            progress: Progress::default(),
            mapping: Mapping::default(),
        }
    }

    /// Recodes all bytes of the input, in the window and after it. No bytes may have been taken before.
    pub(crate) fn recode(&mut self, recoding: Recoding) {
        debug_assert_eq!(self.offset, 0);
        let mut recoder = Recoder::new(recoding);
        let mut bytes = Vec::new();
        recoder.feed(self.window(), self.ended, &mut bytes);
        self.buffer = Buffer::holding(bytes);
        self.recoder = Some(Box::new(recoder));
    }

    /// How the bytes are recoded, if they are.
    pub(crate) fn recoding(&self) -> Option<&Recoding> {
        self.recoder.as_deref().map(Recoder::recoding)
    }

    /// Counts the bytes that are read in `progress`.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// The position of the window's first byte in the input.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, as far as they have been read.
    #[inline]
    pub fn window(&self) -> &[u8] {
        self.buffer.window()
    }

    /// Whether the window reaches to the end of the input.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the bytes of the window in `range`, without a copy, and drops those before them.
    ///
    /// # Panics
    /// When the window is too short.
    #[inline]
    pub fn take(&mut self, range: Range<usize>) -> &[u8] {
        self.offset += range.end as u64;
        self.buffer.take(range)
    }

    /// Drops the first `n` bytes of the window.
    ///
    /// # Panics
    /// When the window is too short.
    #[inline]
    pub fn skip(&mut self, n: usize) {
        self.offset += n as u64;
        self.buffer.skip(n);
    }

    /// Whether [`ahead`](Self::ahead) can read bytes after the window.
    pub(crate) fn can_look_ahead(&self) -> bool {
        self.ended || self.origin.can_look_ahead()
    }

    /// Makes it possible to look ahead in a compressed file. It is unpacked a second time for that.
    pub(crate) fn unpack_aside(&mut self) {
        self.origin.unpack_aside();
    }

    /// Whether the input is compressed; false until its first bytes have shown it.
    pub(crate) fn is_compressed(&self) -> bool {
        self.origin.is_compressed()
    }

    /// How the unpacking ended; `None` before that, and for an input that is not compressed.
    pub(crate) const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Sets how the unpacking ended, on an input that is a copy of a compressed one.
    pub(crate) fn set_ending(&mut self, ending: Option<Ending>) {
        self.ending = ending;
    }

    /// Reads bytes after the window, which stays where it is.
    pub(crate) fn ahead(&self) -> Ahead<'_> {
        Ahead::new(self)
    }

    /// A second cursor, which begins at the position of this one; `None` if the bytes cannot be read twice.
    pub(crate) fn beside(&self) -> Option<Self> {
        Some(Self {
            offset: self.offset,
            ..Self::of_origin(self.origin.beside()?)
        })
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        self.ended || self.origin.is_ready()
    }

    /// Waits for more bytes, and adds them to the window. At the end of the input, sets [`ended`](Self::ended).
    ///
    /// # Errors
    /// Those of reading. A stream also returns those of [`Wait`]; no other input waits.
    pub fn fill(&mut self, wait: &Wait<'_>) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.head.is_some() && self.begin(wait)? {
            return Ok(());
        }
        self.origin.wait(wait)?;
        #[cfg(feature = "cli")]
        if self.fill_by_map()? {
            return Ok(());
        }
        // A window that grows holds an event larger than it: the next read is larger.
        let at_hand = self.window().len();
        let ask = at_hand.clamp(self.ask, READ_SIZE);
        let recoder = self.recoder.as_ref();
        let position = recoder.map_or(self.offset + at_hand as u64, |recoder| recoder.taken());
        let origin = &mut self.origin;
        let mut read = |room: &mut [u8]| origin.read(room, position);
        if let Some(recoder) = &mut self.recoder {
            let (mut room, mut bytes) = (vec![0; RECODED_READ], Vec::new());
            let read = read(&mut room)?;
            recoder.feed(&room[..read], read == 0, &mut bytes);
            let filled = self.buffer.fill(bytes.len(), |room| {
                room.copy_from_slice(&bytes);
                Ok::<_, io::Error>(bytes.len())
            });
            return filled.and_then(|_| self.count(read));
        }
        let read = self.buffer.fill(ask, read)?;
        if read == ask {
            self.ask = (self.ask * 2).min(READ_SIZE);
        }
        self.count(read)
    }

    /// Counts the bytes that were read. None at all mean the end.
    fn count(&mut self, read: usize) -> io::Result<()> {
        self.ended = read == 0;
        if !self.origin.is_compressed() {
            self.progress.add(read as u64);
        } else if self.ended {
            self.ending = self.origin.ending()?;
        }
        Ok(())
    }

    /// Finds out whether the input is compressed. Returns true if [`fill`](Self::fill) has nothing more to do.
    #[cold]
    fn begin(&mut self, wait: &Wait<'_>) -> io::Result<bool> {
        self.origin.wait(wait)?;
        let head = self.head.get_or_insert_default();
        match self.origin.begin(head, &self.progress)? {
            // The window stays empty until that is known.
            Begun::Short => return Ok(true),
            Begun::Packed(origin) => self.origin = origin,
            Begun::Plain { ended } => {
                self.ended = ended;
                let head = self.head.take().unwrap_or_default();
                if ended || !head.is_empty() {
                    self.buffer = Buffer::holding(head);
                    return Ok(true);
                }
            }
        }
        self.head = None;
        Ok(false)
    }
}

/// The events that end a wait for a stream's next bytes early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait<'a> {
    /// Ends the wait with `Interrupted` once it is readable. A signal that arrives during the wait does so too.
    pub wake: Option<BorrowedFd<'a>>,
    /// A pipe or socket that the caller writes to: ends the wait with `BrokenPipe` once its reader has closed it.
    pub hangup: Option<BorrowedFd<'a>>,
    /// Ends the wait with `TimedOut` once it has passed. Bytes that have arrived are read first.
    pub deadline: Option<Instant>,
}
