//! Bytes: a file or stream that is read as it comes.
//!
//! An [`Input`] is a cursor over bytes at hand, its [`window`](Input::window). Whoever decodes looks
//! at the window and takes from its front; when it is too short, [`fill`](Input::fill) brings more.
//! The buffers behind it are used again and again, so that the memory in use does not grow with the
//! input.
//!
//! Files are read, not mapped: a mapped file that somebody cuts short ends the process with SIGBUS, and
//! the copy costs little more than the page faults would.
//!
//! Invariant: `offset` counts every byte that was ever taken or skipped, so that the first byte of
//! the window is the input's byte number `offset`.

pub mod admin;
mod ahead;
mod buffer;
mod recode;

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Instant;

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::align::PAGE;
use crate::progress::Progress;
use crate::slice::Piece;

pub(crate) use ahead::Ahead;
use buffer::Buffer;
use recode::Recoder;
pub(crate) use recode::{Match, Prefix, Recoding, Utf16};

/// The least that is asked, in bytes, and what is asked at first where nothing tells a size: a small trace
/// takes little memory.
const FIRST_READ: usize = 16 << 10;
/// The most that is asked, once reads come full or where a file is as large.
const READ_SIZE: usize = 1 << 20;
/// What is asked where the bytes are recoded: they grow by half at most.
const RECODED_READ: usize = 64 << 10;

/// A cursor over the bytes of a file or stream.
#[derive(Debug)]
pub struct Input {
    source: Source,
    buffer: Buffer,
    offset: u64,
    /// How much to ask for next.
    ask: usize,
    ended: bool,
    /// What changes the bytes back, where something has changed them on their way.
    recoder: Option<Box<Recoder>>,
    progress: Progress,
}

enum Source {
    /// A descriptor that can be asked whether it would block.
    Stream(File),
    /// A regular file, which never does, and where in it the input begins.
    File(File, u64),
    /// The same, read without regard to where others read in it.
    Beside(File, u64),
    /// A regular file that is open only while it is read from, so that there can be thousands.
    Path(PathBuf),
    Other(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(file) | Self::File(file, _) | Self::Beside(file, _) => file.fmt(f),
            Self::Path(path) => path.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

impl Input {
    /// Reads `file`.
    ///
    /// # Errors
    /// A directory is refused.
    pub fn from_file(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(Errno::ISDIR.raw_os_error()));
        }
        Ok(Self::of(file, &metadata))
    }

    /// Reads the regular file at `path` from the byte number `offset` on, and keeps it open only while
    /// it does.
    pub fn from_path(path: PathBuf, offset: u64) -> Self {
        Self {
            offset,
            ..Self::new(Source::Path(path))
        }
    }

    /// Reads standard input, and tells what it is.
    ///
    /// # Errors
    /// When the process has none.
    pub fn stdin() -> io::Result<(Self, Metadata)> {
        let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        Ok((Self::of(file, &metadata), metadata))
    }

    fn of(file: File, metadata: &Metadata) -> Self {
        if !metadata.is_file() {
            return Self::new(Source::Stream(file));
        }
        let start = (&file).stream_position().unwrap_or_default();
        // All of a small file at once, and a byte more: a read that comes full makes the next one larger.
        let ask = metadata.len().saturating_add(1);
        let ask = usize::try_from(ask).unwrap_or(READ_SIZE);
        Self {
            // In whole pages, lest all that follows is read from within one where the file grows.
            ask: ask.clamp(FIRST_READ, READ_SIZE).next_multiple_of(PAGE),
            ..Self::new(Source::File(file, start))
        }
    }

    /// Reads `reader`, which is taken to have bytes ready at any time.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self::new(Source::Other(Box::new(reader)))
    }

    /// Has all of `bytes` at hand.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            buffer: Buffer::holding(bytes.into()),
            ended: true,
            ..Self::new(Source::Other(Box::new(io::empty())))
        }
    }

    /// Has a copy of `bytes` at hand and nothing else, as if they began at byte number `offset`.
    ///
    /// The memory of what was at hand before is used again unless it is held.
    pub(crate) fn replace(&mut self, bytes: &[u8], offset: u64) {
        self.source = Source::Other(Box::new(io::empty()));
        self.buffer.replace(bytes);
        self.offset = offset;
        self.ended = true;
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            buffer: Buffer::default(),
            offset: 0,
            ask: FIRST_READ,
            ended: false,
            recoder: None,
            progress: Progress::default(),
        }
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
        self.ended || !matches!(self.source, Source::Stream(_) | Source::Other(_))
    }

    /// Looks at bytes after the window, which stays where it is.
    pub(crate) fn ahead(&self) -> Ahead<'_> {
        Ahead::new(self)
    }

    /// A second cursor, which begins where this one is; none where the bytes cannot be read twice.
    pub(crate) fn beside(&self) -> Option<Self> {
        let source = match &self.source {
            Source::File(file, start) | Source::Beside(file, start) => {
                Source::Beside(file.try_clone().ok()?, *start)
            }
            Source::Path(path) => Source::Path(path.clone()),
            Source::Stream(_) | Source::Other(_) => return None,
        };
        Some(Self {
            offset: self.offset,
            ..Self::new(source)
        })
    }

    /// Reads bytes of a file from the byte number `position` on, wherever the window is.
    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        match &self.source {
            Source::File(file, start) | Source::Beside(file, start) => {
                file.read_at(room, start.saturating_add(position))
            }
            Source::Path(path) => File::open(path)?.read_at(room, position),
            Source::Stream(_) | Source::Other(_) => Err(io::ErrorKind::NotSeekable.into()),
        }
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        match &self.source {
            Source::Stream(file) if !self.ended => {
                let mut fds = [PollFd::new(file, PollFlags::IN)];
                // Whatever keeps poll from answering shows in the read that follows.
                poll(
                    &mut fds,
                    Some(&Timespec {
                        tv_sec: 0,
                        tv_nsec: 0,
                    }),
                )
                .map_or(true, |n| n > 0)
            }
            _ => true,
        }
    }

    /// Waits until the stream has more, and adds it to the window; or finds that it has ended.
    ///
    /// # Errors
    /// Those of reading, and those of [`Wait`], which a stream alone returns: nothing else waits.
    pub fn fill(&mut self, wait: &Wait<'_>) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        if let Source::Stream(file) = &self.source {
            wait.for_bytes(file)?;
        }
        // A window that grows is an event larger than the window: ask for more at once.
        let at_hand = self.window().len();
        let ask = at_hand.clamp(self.ask, READ_SIZE);
        let recoder = self.recoder.as_ref();
        let position = recoder.map_or(self.offset + at_hand as u64, |recoder| recoder.taken());
        let source = &mut self.source;
        let mut read = |room: &mut [u8]| match source {
            Source::Stream(file) | Source::File(file, _) => file.read(room),
            Source::Beside(file, start) => file.read_at(room, start.saturating_add(position)),
            Source::Path(path) => File::open(path)?.read_at(room, position),
            Source::Other(reader) => reader.read(room),
        };
        if let Some(recoder) = &mut self.recoder {
            let (mut room, mut bytes) = (vec![0; RECODED_READ], Vec::new());
            let read = read(&mut room)?;
            self.ended = read == 0;
            self.progress.add(read as u64);
            recoder.feed(&room[..read], self.ended, &mut bytes);
            return self
                .buffer
                .fill(bytes.len(), |room| {
                    room.copy_from_slice(&bytes);
                    Ok(bytes.len())
                })
                .map(drop);
        }
        let read = self.buffer.fill(ask, read)?;
        self.ended = read == 0;
        self.progress.add(read as u64);
        if read == ask && !matches!(source, Source::Path(_)) {
            self.ask = (self.ask * 2).min(READ_SIZE);
        }
        Ok(())
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

impl Wait<'_> {
    /// Returns once `stream` has bytes or has ended.
    fn for_bytes(&self, stream: &File) -> io::Result<()> {
        let mut fds: ArrayVec<_, 3> = ArrayVec::new();
        fds.push(PollFd::new(stream, PollFlags::IN));
        let wake = self.wake.as_ref();
        fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        let hangup = self.hangup.as_ref();
        // Errors and hang-ups are reported unasked. Whether it can be written to does not matter here.
        fds.extend(hangup.map(|output| PollFd::new(output, PollFlags::empty())));
        // Unlike read(2), poll(2) is never restarted when a signal arrives.
        poll(&mut fds, self.timeout().as_ref())?;
        let mut happened = fds.iter().map(PollFd::revents);
        let input = happened.next();
        let woken = wake.and_then(|_| happened.next());
        let output = hangup.and_then(|_| happened.next());
        if woken.is_some_and(|events| events.contains(PollFlags::IN)) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if output.is_some_and(|events| events.intersects(PollFlags::ERR | PollFlags::HUP)) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match input {
            Some(events) if events.is_empty() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// The time to the deadline, as poll(2) takes it.
    fn timeout(&self) -> Option<Timespec> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        // A deadline beyond the clock's range is none.
        Timespec::try_from(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::Slice;

    #[test]
    fn all_ways_of_reading_give_the_same_bytes() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(path.path(), &bytes).unwrap();

        let inputs = [
            Input::from_file(File::open(path.path()).unwrap()).unwrap(),
            Input::from_path(path.path().to_owned(), 0),
            Input::from_reader(io::Cursor::new(bytes.clone())),
            Input::from_bytes(bytes.clone()),
        ];
        for mut input in inputs {
            let mut taken = Vec::new();
            for step in [1, 7, 70_000, 800_000] {
                while input.window().len() < step {
                    input.fill(&Wait::default()).unwrap();
                }
                // Held while the window moves on, as an event may be.
                taken.push(Slice::from(input.take(0..step)));
                assert_eq!(
                    input.offset(),
                    taken.iter().map(|t| t.len() as u64).sum::<u64>()
                );
            }
            while !input.ended() {
                input.fill(&Wait::default()).unwrap();
            }
            taken.push(Slice::copy_of(input.window()));
            let taken: Vec<_> = taken
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            assert!(taken == bytes, "{:?}", input.source);
        }
    }

    #[test]
    fn a_file_is_read_from_any_place() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), b"0123456789").unwrap();
        for (offset, rest) in [(0, "0123456789"), (9, "9"), (10, ""), (11, "")] {
            let mut input = Input::from_path(path.path().to_owned(), offset);
            while !input.ended() {
                input.fill(&Wait::default()).unwrap();
            }
            assert_eq!(input.window(), rest.as_bytes());
            assert_eq!(input.offset(), offset);
        }
    }

    #[test]
    fn an_empty_file_is_a_stream_that_ends_at_once() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut input = Input::from_file(path.reopen().unwrap()).unwrap();
        input.fill(&Wait::default()).unwrap();
        assert!(input.ended());
        assert!(input.window().is_empty());
    }

    #[test]
    fn a_file_is_asked_for_its_size() {
        let sizes = [
            (100, FIRST_READ),
            (100_000, 102_400),
            (5 * PAGE, 6 * PAGE),
            (READ_SIZE - 1, READ_SIZE),
            (READ_SIZE, READ_SIZE),
            (5 << 20, READ_SIZE),
        ];
        for (size, ask) in sizes {
            let path = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(path.path(), vec![7; size]).unwrap();
            let mut input = Input::from_file(path.reopen().unwrap()).unwrap();
            assert_eq!(input.ask, ask, "{size}");
            input.fill(&Wait::default()).unwrap();
            assert_eq!(input.window().len(), size.min(READ_SIZE));
            // What it has grown by since is there, too.
            let grown = path.reopen().unwrap();
            grown.set_len(size as u64 + 300_000).unwrap();
            while !input.ended() {
                input.fill(&Wait::default()).unwrap();
            }
            assert_eq!(input.window().len(), size + 300_000);
        }
    }

    /// A file of /proc says that it has no bytes.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_hides_its_size_is_read_in_large_pieces() {
        let file = File::open("/proc/self/maps").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        let input = Input::from_file(file).unwrap();
        assert_eq!(input.ask, FIRST_READ);
    }

    #[test]
    fn a_directory_is_refused() {
        let kind = Input::from_file(File::open("/").unwrap())
            .unwrap_err()
            .kind();
        assert_eq!(kind, io::ErrorKind::IsADirectory);
    }

    /// What each end of a wait looks like, alone and together with bytes that are there.
    #[test]
    fn a_wait_ends_with_what_happened() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut input = Input::new(Source::Stream(File::from(OwnedFd::from(reader))));
        let kind = |input: &mut Input, wait: &Wait<'_>| input.fill(wait).unwrap_err().kind();

        let soon = Wait {
            deadline: Some(Instant::now()),
            ..Wait::default()
        };
        assert_eq!(kind(&mut input, &soon), io::ErrorKind::TimedOut);

        let (read_from, written_to) = io::pipe().unwrap();
        let hangup = Wait {
            hangup: Some(written_to.as_fd()),
            ..soon
        };
        assert_eq!(kind(&mut input, &hangup), io::ErrorKind::TimedOut);
        drop(read_from);
        let hangup = Wait {
            deadline: None,
            ..hangup
        };
        assert_eq!(kind(&mut input, &hangup), io::ErrorKind::BrokenPipe);

        let (woken, mut wakes) = io::pipe().unwrap();
        let wake = Wait {
            wake: Some(woken.as_fd()),
            ..hangup
        };
        io::Write::write_all(&mut wakes, b"!").unwrap();
        assert_eq!(kind(&mut input, &wake), io::ErrorKind::Interrupted);

        // Bytes go before a deadline, and after the other two.
        io::Write::write_all(&mut writer, b"bytes").unwrap();
        assert_eq!(kind(&mut input, &wake), io::ErrorKind::Interrupted);
        assert_eq!(kind(&mut input, &hangup), io::ErrorKind::BrokenPipe);
        input.fill(&soon).unwrap();
        assert_eq!(input.window(), b"bytes");
    }
}
