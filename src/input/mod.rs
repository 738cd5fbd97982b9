//! Bytes: a file or stream that is read as it comes.
//!
//! An [`Input`] is a cursor over bytes at hand, its [`window`](Input::window). Whoever decodes looks
//! at the window and takes from its front; when it is too short, [`fill`](Input::fill) brings more.
//! The buffers behind it are used again and again, so that the memory in use does not grow with the
//! input.
//!
//! Files are read, unless the caller says that its work can begin again (`Input::may_map`) and most bytes are passed
//! over: then a binary trace is mapped after its first bytes, as it is decoded in place, and what nobody looks at is
//! not even read. A mapped file that is cut short meanwhile is noticed (`Input::is_torn`).
//!
//! Compressed files and streams are recognised by their first bytes, and unpacked: offsets are those of what they
//! hold. Bytes in memory are taken as they are.
//!
//! Invariant: `offset` counts every byte that was ever taken or skipped, so that the first byte of
//! the window is the input's byte number `offset`.

#[cfg(feature = "cli")]
pub mod admin;
mod ahead;
mod buffer;
mod compressed;
#[cfg(feature = "cli")]
mod decoder;
#[cfg(feature = "cli")]
mod file;
#[cfg(feature = "cli")]
pub(crate) mod map;
mod origin;
mod recode;
#[cfg(feature = "cli")]
mod unpack;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::descriptor::BorrowedFd;
use crate::progress::Progress;
use crate::slice::Piece;

pub(crate) use ahead::Ahead;
use buffer::Buffer;
pub(crate) use compressed::Ending;
pub use compressed::{Compression, Unpackable};
pub use origin::ReadAt;
use origin::{Anywhere, Begun, Once, Origin};
use recode::Recoder;
pub(crate) use recode::{Match, Prefix, Recoding, Utf16};

/// The least that is asked, in bytes, and what is asked at first where nothing tells a size: a small trace
/// takes little memory.
const FIRST_READ: usize = 16 << 10;
/// The most that is asked, once reads come full or where a file is as large.
const READ_SIZE: usize = 1 << 20;
/// How much of a file is mapped at once, in bytes.
#[cfg(feature = "cli")]
const MAP_SIZE: usize = 4 << 20;
/// What is asked where the bytes are recoded: they grow by half at most.
const RECODED_READ: usize = 64 << 10;

/// A cursor over the bytes of a file or stream.
#[derive(Debug)]
pub struct Input {
    origin: Box<dyn Origin>,
    buffer: Buffer,
    offset: u64,
    /// How much to ask for next.
    ask: usize,
    ended: bool,
    /// The first bytes, until they show whether they are compressed.
    head: Option<Vec<u8>>,
    /// How the unpacking ended, if the bytes are compressed.
    ending: Option<Ending>,
    /// What changes the bytes back, where something has changed them on their way.
    recoder: Option<Box<Recoder>>,
    progress: Progress,
    #[cfg(feature = "cli")]
    mapping: Mapping,
}

/// Whether an input is mapped.
#[cfg(feature = "cli")]
#[derive(Debug, Default)]
enum Mapping {
    /// It is not, and will not be.
    #[default]
    Never,
    /// It may be, once its first bytes have shown what it is.
    Allowed,
    /// It is.
    Begun {
        tears: map::Tears,
        /// Up to where it was mapped, in bytes of the input.
        end: u64,
    },
}

impl Input {
    /// Reads `reader`, which is taken to have bytes ready at any time.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self::new(Once(reader))
    }

    /// Reads `bytes`, which lie at hand anywhere: in another program's memory, say.
    pub fn from_anywhere(bytes: Arc<dyn ReadAt>) -> Self {
        Self::new(Anywhere(bytes))
    }

    /// Has all of `bytes` at hand.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            buffer: Buffer::holding(bytes.into()),
            ended: true,
            ..Self::new(Once(io::empty()))
        }
    }

    /// Has a copy of `bytes` at hand and nothing else, as if they began at byte number `offset`.
    ///
    /// The memory of what was at hand before is used again unless it is held.
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
            #[cfg(feature = "cli")]
            mapping: Mapping::default(),
        }
    }

    /// Allows the input to be mapped: the work can begin again, and does so where it [is torn](Self::is_torn).
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn may_map(self) -> Self {
        Self {
            mapping: Mapping::Allowed,
            ..self
        }
    }

    /// Maps what comes from here on, if that is allowed and possible.
    pub(crate) fn begin_mapping(&mut self) {
        #[cfg(feature = "cli")]
        if matches!(self.mapping, Mapping::Allowed)
            && self.recoder.is_none()
            && self.origin.begin_mapping()
        {
            self.mapping = Mapping::Begun {
                tears: map::Tears::none_yet(),
                end: 0,
            };
        }
    }

    /// Whether bytes that were mapped may have been none of the file's: nothing that was made of them counts.
    #[cfg(feature = "cli")]
    pub(crate) fn is_torn(&self) -> bool {
        match self.mapping {
            // Zeros at the end of a file's last page are not even noticed.
            Mapping::Begun { tears, end } => {
                tears.happened() || self.origin.size().is_none_or(|size| size < end)
            }
            Mapping::Never | Mapping::Allowed => false,
        }
    }

    /// Maps the next window; false where it has to be read.
    #[cfg(feature = "cli")]
    fn fill_by_map(&mut self) -> io::Result<bool> {
        let Mapping::Begun { end, .. } = &mut self.mapping else {
            return Ok(false);
        };
        let at_hand = self.buffer.window().len();
        // Of a large event, twice as much each time.
        let len = MAP_SIZE.max(at_hand.saturating_mul(2));
        let Some((map, lead)) = self.origin.map(self.offset, len)? else {
            return Ok(false);
        };
        let mapped = map.len() - lead;
        *end = (*end).max(self.offset + mapped as u64);
        if mapped <= at_hand {
            // The file has nothing more, or less than it had.
            return Ok(false);
        }
        let range = lead..map.len();
        self.buffer.show(map, range);
        self.progress.add((mapped - at_hand) as u64);
        Ok(true)
    }

    /// Recodes the bytes at hand, of which none may have been taken, and all that come after them.
    pub(crate) fn recode(&mut self, recoding: Recoding) {
        debug_assert_eq!(self.offset, 0);
        let mut recoder = Recoder::new(recoding);
        let mut bytes = Vec::new();
        recoder.feed(self.window(), self.ended, &mut bytes);
        self.buffer = Buffer::holding(bytes);
        self.recoder = Some(Box::new(recoder));
    }

    /// What changes the bytes, if anything does.
    pub(crate) fn recoding(&self) -> Option<&Recoding> {
        self.recoder.as_deref().map(Recoder::recoding)
    }

    /// Has `progress` called for each piece that is read.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// The position of the window's first byte in the input.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes at hand.
    #[inline]
    pub fn window(&self) -> &[u8] {
        self.buffer.window()
    }

    /// Whether nothing comes behind the window.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the bytes of the window that lie in `range`, without a copy, and drops those before them.
    ///
    /// # Panics
    /// When the window is shorter.
    #[inline]
    pub fn take(&mut self, range: Range<usize>) -> Piece<'_> {
        self.offset += range.end as u64;
        self.buffer.take(range)
    }

    /// The bytes of the window that lie in `range`, which stay in it.
    ///
    /// # Panics
    /// When the window is shorter.
    pub fn piece(&self, range: Range<usize>) -> Piece<'_> {
        self.buffer.piece(range)
    }

    /// Drops the first `n` bytes of the window.
    ///
    /// # Panics
    /// When the window is shorter.
    #[inline]
    pub fn skip(&mut self, n: usize) {
        self.offset += n as u64;
        self.buffer.skip(n);
    }

    /// Whether bytes after the window can be looked at while it stays where it is.
    pub(crate) fn can_look_ahead(&self) -> bool {
        self.ended || self.origin.can_look_ahead()
    }

    /// Makes it possible to look ahead in a compressed file, at a cost: it is unpacked once more.
    pub(crate) fn unpack_aside(&mut self) {
        self.origin.unpack_aside();
    }

    /// Whether the bytes are compressed, as far as the first of them have shown.
    pub(crate) fn is_compressed(&self) -> bool {
        self.origin.is_compressed()
    }

    /// How the unpacking ended, if the bytes are compressed and have ended.
    pub(crate) const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Makes the input end as the compressed one did of which it is a copy.
    #[cfg(feature = "cli")]
    pub(crate) fn set_ending(&mut self, ending: Option<Ending>) {
        self.ending = ending;
    }

    /// Looks at bytes after the window, which stays where it is.
    pub(crate) fn ahead(&self) -> Ahead<'_> {
        Ahead::new(self)
    }

    /// A second cursor, which begins where this one is; none where the bytes cannot be read twice.
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

    /// Waits until the stream has more, and adds it to the window; or finds that it has ended.
    ///
    /// # Errors
    /// Those of reading, and those of [`Wait`], which a stream alone returns: nothing else waits.
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
        // A window that grows is an event larger than the window: ask for more at once.
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
        if read == ask && origin.asks_for_more() {
            self.ask = (self.ask * 2).min(READ_SIZE);
        }
        self.count(read)
    }

    /// Takes note of how much was read.
    fn count(&mut self, read: usize) -> io::Result<()> {
        self.ended = read == 0;
        if !self.origin.is_compressed() {
            self.progress.add(read as u64);
        } else if self.ended {
            self.ending = self.origin.ending()?;
        }
        Ok(())
    }

    /// Finds out whether the bytes are compressed. Returns whether there is nothing more to do for now.
    #[cold]
    fn begin(&mut self, wait: &Wait<'_>) -> io::Result<bool> {
        self.origin.wait(wait)?;
        let head = self.head.get_or_insert_default();
        match self.origin.begin(head, &self.progress)? {
            // The window stays empty until it is known what the bytes are.
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

/// What ends the wait for a stream's next bytes before they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait<'a> {
    /// Ends the wait with `Interrupted` once it is readable. A signal that arrives during the wait does so too.
    pub wake: Option<BorrowedFd<'a>>,
    /// Ends the wait with `BrokenPipe` once the reader at its other end has gone: a pipe or socket that is
    /// written to.
    pub hangup: Option<BorrowedFd<'a>>,
    /// Ends the wait with `TimedOut` once it has passed. Bytes that are there already are read first.
    pub deadline: Option<Instant>,
}
