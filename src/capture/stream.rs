//! Writes to a pipe, FIFO or socket, whose reader may be slow, not read, or close its end.
//!
//! Owns the descriptor. Knows nothing of captures.
//!
//! Invariant: once the wake descriptor is readable, no write waits for the reader longer than [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::pipe::PIPE_BUF;

/// How long to wait, after a signal, for a reader that has stopped reading. A reader that is only slow gets all
/// packets.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// How a socket is written to: without blocking, and without a SIGPIPE if its reader has closed it.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// Apple's systems have no flag against SIGPIPE, but Rust's runtime ignores that signal in every program.
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// The writing end of a pipe, FIFO or socket.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    /// Readable when the work is to end.
    wake: Option<OwnedFd>,
    way: Way,
}

/// How a write is limited to the available space.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The open file belongs to this process alone, and is non-blocking.
    NonBlocking,
    /// A socket has a flag for each call.
    Socket,
    /// The open file is shared with other processes, and must not be changed for them. A pipe that poll(2)
    /// reports writable accepts this many bytes at once.
    Pieces,
}

impl Stream {
    /// Writes to standard output, if it is a pipe or socket; otherwise returns it.
    pub(super) fn of_stdout(
        file: File,
        wake: Option<BorrowedFd<'_>>,
    ) -> io::Result<Result<Self, File>> {
        let kind = file.metadata()?.file_type();
        if kind.is_socket() {
            return Self::new(file, wake, Way::Socket).map(Ok);
        }
        if !kind.is_fifo() {
            return Ok(Err(file));
        }
        // Linux opens the pipe again under this name, so the flag does not affect the other processes that have
        // it open. Opening another user's pipe is refused.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match open_non_blocking(path) {
            Ok(own) => Self::new(own, wake, Way::NonBlocking).map(Ok),
            Err(_) => Self::new(file, wake, Way::Pieces).map(Ok),
        }
    }

    /// Writes to a FIFO that [`open_non_blocking`] opened.
    pub(super) fn of_fifo(file: File, wake: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        Self::new(file, wake, Way::NonBlocking)
    }

    /// Writes to a connected socket.
    pub(super) fn of_socket(socket: OwnedFd, wake: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        Self::new(File::from(socket), wake, Way::Socket)
    }

    fn new(file: File, wake: Option<BorrowedFd<'_>>, way: Way) -> io::Result<Self> {
        let wake = wake.map(|wake| wake.try_clone_to_owned()).transpose()?;
        Ok(Self { file, wake, way })
    }

    /// Waits until there is space, or until the next write reports an error.
    fn wait(&self) -> io::Result<()> {
        let mut fds: ArrayVec<_, 2> = ArrayVec::new();
        fds.push(PollFd::new(&self.file, PollFlags::OUT));
        let wake = self.wake.as_ref();
        fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        retry(|| poll(&mut fds, None))?;
        if fds
            .first()
            .is_some_and(|output| !output.revents().is_empty())
        {
            return Ok(());
        }
        fds.truncate(1);
        match retry(|| poll(&mut fds, Some(&PATIENCE)))? {
            0 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "its reader takes nothing more",
            )),
            _ => Ok(()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match self.way {
                Way::NonBlocking => self.file.write(bytes),
                Way::Socket => send(&self.file, bytes, SEND).map_err(io::Error::from),
                Way::Pieces => {
                    self.wait()?;
                    return self.file.write(&bytes[..bytes.len().min(PIPE_BUF)]);
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the write end of a pipe or FIFO without blocking, now or later.
///
/// # Errors
/// When it cannot be opened; `ENXIO` if it has no reader.
pub(super) fn open_non_blocking(path: impl AsRef<std::path::Path>) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    /// Both ends of a pipe or socket, for each way of writing to it.
    fn all_ways(wake: BorrowedFd<'_>) -> Vec<(Stream, File)> {
        let pipe = || {
            let (reader, writer) = io::pipe().unwrap();
            (
                File::from(OwnedFd::from(reader)),
                File::from(OwnedFd::from(writer)),
            )
        };
        let (own_reader, own) = pipe();
        let (shared_reader, shared) = pipe();
        let (socket_reader, socket) = UnixStream::pair().unwrap();
        vec![
            (
                Stream::of_stdout(own, Some(wake)).unwrap().unwrap(),
                own_reader,
            ),
            (
                Stream::new(shared, Some(wake), Way::Pieces).unwrap(),
                shared_reader,
            ),
            (
                Stream::of_socket(socket.into(), Some(wake)).unwrap(),
                File::from(OwnedFd::from(socket_reader)),
            ),
        ]
    }

    #[test]
    fn a_slow_reader_gets_every_byte() {
        let (woken, mut wakes) = io::pipe().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for signalled in [false, true] {
            if signalled {
                wakes.write_all(b"!").unwrap();
            }
            for (mut stream, mut reader) in all_ways(woken.as_fd()) {
                let way = stream.way;
                let sent = bytes.clone();
                let writer = std::thread::spawn(move || stream.write_all(&sent));
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                writer.join().unwrap().unwrap();
                assert!(read == bytes, "{way:?} {signalled}");
            }
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_nothing_up_after_a_signal() {
        let (woken, mut wakes) = io::pipe().unwrap();
        wakes.write_all(b"!").unwrap();
        for (mut stream, reader) in all_ways(woken.as_fd()) {
            let error = stream.write_all(&vec![0; 4 << 20]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{:?}", stream.way);
            drop(reader);
            let error = stream.write_all(&[0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{:?}", stream.way);
        }
    }

    /// If the flag affected the pipe's other users, they would lose output.
    #[test]
    fn other_users_of_a_pipe_still_block() {
        let (_reader, writer) = io::pipe().unwrap();
        let shared = File::from(OwnedFd::from(writer));
        let flags = || rustix::fs::fcntl_getfl(&shared).unwrap();
        let before = flags();
        let ours = shared.try_clone().unwrap();
        let _stream = Stream::of_stdout(ours, None).unwrap().unwrap();
        assert_eq!(flags(), before);
    }
}
