//! Bytes: a mapped file, or a stream that is read as it comes.
//!
//! An [`Input`] is a cursor over bytes at hand, its [`window`](Input::window). Whoever decodes looks
//! at the window and takes from its front; when it is too short, [`fill`](Input::fill) brings more.
//! A mapped file is all window from the start. What lies behind the cursor is given back, so that
//! the memory in use does not grow with the input.
//!
//! Invariant: `offset` counts every byte that was ever taken or skipped, so that the first byte of
//! the window is the input's byte number `offset`.

mod map;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arrayvec::ArrayVec;
use bytes::{Buf, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use map::Map;

/// The least that is asked of a stream at once: what a Linux pipe holds.
const READ_SIZE: usize = 64 << 10;
/// The most that is asked of a stream at once.
const READ_SIZE_MAX: usize = 1 << 20;

/// A cursor over the bytes of a file or stream.
#[derive(Debug)]
pub struct Input {
    source: Source,
    offset: u64,
}

#[derive(Debug)]
enum Source {
    Mapped(Map),
    Stream {
        reader: Stream,
        buffer: BytesMut,
        ended: bool,
    },
}

enum Stream {
    /// A descriptor that can be asked whether it would block.
    File(File),
    Other(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

impl Input {
    /// Reads `file`: mapped when it is a regular file, else as a stream.
    ///
    /// # Errors
    /// Those of mapping it; a directory is refused.
    pub fn from_file(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(Errno::ISDIR.raw_os_error()));
        }
        // Files under /proc and the like say that they are empty, and are not.
        if metadata.is_file() && metadata.len() > 0 {
            return Ok(Self {
                source: Source::Mapped(Map::new(&file)?),
                offset: 0,
            });
        }
        Ok(Self::stream(Stream::File(file)))
    }

    /// Reads standard input, and tells what it is.
    ///
    /// # Errors
    /// When the process has none.
    pub fn stdin() -> io::Result<(Self, Metadata)> {
        let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        // Read, not mapped: where a shell has left the file's position is where it begins.
        Ok((Self::stream(Stream::File(file)), metadata))
    }

    /// Reads `reader`, which is taken to have bytes ready at any time.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self::stream(Stream::Other(Box::new(reader)))
    }

    /// Has all of `bytes` at hand.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self {
            source: Source::Mapped(Map::of_bytes(bytes)),
            offset: 0,
        }
    }

    fn stream(reader: Stream) -> Self {
        Self {
            source: Source::Stream {
                reader,
                buffer: BytesMut::new(),
                ended: false,
            },
            offset: 0,
        }
    }

    /// The position of the window's first byte in the input.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes at hand.
    pub fn window(&self) -> &[u8] {
        match &self.source {
            Source::Mapped(map) => map.window(),
            Source::Stream { buffer, .. } => buffer,
        }
    }

    /// Whether nothing comes behind the window.
    pub const fn ended(&self) -> bool {
        match &self.source {
            Source::Mapped(_) => true,
            Source::Stream { ended, .. } => *ended,
        }
    }

    /// Takes the first `n` bytes of the window, without a copy.
    ///
    /// # Panics
    /// When the window is shorter.
    pub fn take(&mut self, n: usize) -> Bytes {
        self.offset += n as u64;
        match &mut self.source {
            Source::Mapped(map) => map.take(n),
            Source::Stream { buffer, .. } => buffer.split_to(n).freeze(),
        }
    }

    /// Drops the first `n` bytes of the window.
    ///
    /// # Panics
    /// When the window is shorter.
    pub fn skip(&mut self, n: usize) {
        self.offset += n as u64;
        match &mut self.source {
            Source::Mapped(map) => map.skip(n),
            Source::Stream { buffer, .. } => buffer.advance(n),
        }
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        match &self.source {
            Source::Stream {
                reader: Stream::File(file),
                ended: false,
                ..
            } => {
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
    /// Those of reading; `Interrupted` when a signal came while it waited, or `wake` became readable.
    pub fn fill(&mut self, wake: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Source::Stream {
            reader,
            buffer,
            ended,
        } = &mut self.source
        else {
            return Ok(());
        };
        if *ended {
            return Ok(());
        }
        if let Stream::File(file) = reader {
            // Unlike read(2), poll(2) is never restarted behind our back when a signal arrives.
            let mut fds: ArrayVec<_, 2> = ArrayVec::new();
            fds.push(PollFd::new(&*file, PollFlags::IN));
            fds.extend(wake.as_ref().map(|wake| PollFd::new(wake, PollFlags::IN)));
            poll(&mut fds, None)?;
            if fds
                .get(1)
                .is_some_and(|wake| wake.revents().contains(PollFlags::IN))
            {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        // A window that grows is an event larger than the window: ask for more at once.
        let old = buffer.len();
        buffer.resize(old + old.clamp(READ_SIZE, READ_SIZE_MAX), 0);
        let read = match reader {
            Stream::File(file) => file.read(&mut buffer[old..]),
            Stream::Other(reader) => reader.read(&mut buffer[old..]),
        };
        buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        *ended = read? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_and_a_mapped_file_give_the_same_bytes() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(path.path(), &bytes).unwrap();

        let mut mapped = Input::from_file(File::open(path.path()).unwrap()).unwrap();
        let mut stream = Input::from_reader(io::Cursor::new(bytes.clone()));
        assert!(mapped.ended());
        for step in [1, 7, 70_000, 800_000] {
            while stream.window().len() < step {
                stream.fill(None).unwrap();
            }
            assert_eq!(mapped.take(step), stream.take(step));
            assert_eq!(mapped.offset(), stream.offset());
        }
        while !stream.ended() {
            stream.fill(None).unwrap();
        }
        assert_eq!(mapped.window(), stream.window());
        assert_eq!(
            mapped.offset() as usize + mapped.window().len(),
            bytes.len()
        );
    }

    #[test]
    fn an_empty_file_is_a_stream_that_ends_at_once() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut input = Input::from_file(path.reopen().unwrap()).unwrap();
        input.fill(None).unwrap();
        assert!(input.ended());
        assert!(input.window().is_empty());
    }

    #[test]
    fn a_directory_is_refused() {
        let kind = Input::from_file(File::open("/").unwrap())
            .unwrap_err()
            .kind();
        assert_eq!(kind, io::ErrorKind::IsADirectory);
    }
}
