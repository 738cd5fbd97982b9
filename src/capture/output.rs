//! The output of a capture: a file that gets its name when it is complete, a device, or a stream.
//!
//! Invariant: a regular file never holds an incomplete capture under its final name. As in cp and tcpdump there
//! is no fsync, so the state after a crash of the machine depends on the file system.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::stream::{Stream, open_non_blocking};

/// The maximum number of symbolic links that are followed to a file that does not exist yet, as in Linux.
const MAX_LINKS: usize = 40;
/// Space is preallocated for captures larger than this, in bytes. For smaller ones, it takes longer than it saves.
const AHEAD_FROM: u64 = 1 << 20;
/// The maximum size of one preallocation, in bytes.
const MAX_AHEAD: u64 = 64 << 20;
/// How often a FIFO is polled for a reader.
const FIFO_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
/// The permissions of a new capture, before the umask, if its trace is not a file.
const DEFAULT_MODE: u32 = 0o666;

/// The user's choice of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A path.
    File(PathBuf),
}

impl Target {
    /// The output that an argument names. `-` is standard output, and so are its names in the file system: the
    /// target of a redirection must not be replaced.
    pub fn of(argument: &OsStr) -> Self {
        match argument.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Self::Stdout,
            _ => Self::File(PathBuf::from(argument)),
        }
    }

    /// The metadata of the output.
    ///
    /// # Errors
    /// When it cannot be read; `NotFound` if nothing is there.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata(),
            Self::File(path) => fs::metadata(path),
        }
    }

    /// Standard output, if it is the output. Before it is opened, it shows whether its reader has closed it.
    pub const fn stream(&self) -> Option<BorrowedFd<'static>> {
        match self {
            Self::Stdout => Some(rustix::stdio::stdout()),
            Self::File(_) => None,
        }
    }
}

/// A capture being written.
#[derive(Debug)]
pub struct Output(OutputKind);

#[derive(Debug)]
enum OutputKind {
    /// A device, or standard output redirected to a file: written in place.
    InPlace(File),
    /// A pipe, FIFO or socket.
    Stream(Stream),
    /// A regular file under a temporary name until it is complete.
    Replace {
        temporary: NamedTempFile,
        path: PathBuf,
        room: Room,
    },
}

/// The space of a file being written, preallocated in one piece. Without it, the file system allocates page by
/// page, which takes a third of the time of a write.
#[derive(Debug, Default)]
struct Room {
    written: u64,
    /// The end of the preallocated space.
    end: u64,
    /// Whether the file system has refused a preallocation.
    refused: bool,
}

impl Room {
    /// Preallocates space for `len` bytes and for as many as are written already. An error, for instance of a
    /// full file system, is ignored: the write itself reports it.
    fn ahead(&mut self, file: &File, bytes: usize) {
        let need = self.written + bytes as u64;
        if self.refused || need <= self.end || self.written < AHEAD_FROM {
            return;
        }
        let more = need.min(MAX_AHEAD);
        self.end = need + more;
        let taken = fallocate(file, FallocateFlags::empty(), need, more);
        self.refused = taken.is_err();
    }

    /// Releases the preallocated space after the end of the capture.
    fn trim(&self, file: &File) -> io::Result<()> {
        match self.end {
            0 => Ok(()),
            // Needed after a refusal, too: part of the space may have been allocated.
            _ => file.set_len(self.written),
        }
    }
}

impl Output {
    /// Opens the output of a capture.
    ///
    /// `traces` is the metadata of those traces that are files: like a copy, a capture is never more readable
    /// than one of them.
    ///
    /// # Errors
    /// When it cannot be opened; `InvalidInput` if the output is the trace itself; `Interrupted` if `wake` became
    /// readable while a FIFO had no reader.
    pub fn create(
        target: &Target,
        traces: impl IntoIterator<Item = fs::Metadata>,
        wake: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let path = match target {
            Target::Stdout => {
                let fd: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
                let file = File::from(fd);
                let metadata = file.metadata()?;
                if traces.into_iter().any(|trace| is_same(&metadata, &trace)) {
                    return Err(same_file());
                }
                return Ok(Self(match Stream::of_stdout(file, wake)? {
                    Ok(stream) => OutputKind::Stream(stream),
                    Err(file) => OutputKind::InPlace(file),
                }));
            }
            Target::File(path) => path,
        };
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut mode = existing
            .as_ref()
            .map_or(DEFAULT_MODE, |file| DEFAULT_MODE & file.mode());
        for trace in traces {
            if existing
                .as_ref()
                .is_some_and(|existing| is_same(existing, &trace))
            {
                return Err(same_file());
            }
            mode &= trace.mode();
        }
        match &existing {
            Some(existing) if existing.is_dir() => {
                Err(io::Error::from_raw_os_error(Errno::ISDIR.raw_os_error()))
            }
            Some(existing) if existing.file_type().is_socket() => {
                let socket: OwnedFd = UnixStream::connect(path)?.into();
                Ok(Self(OutputKind::Stream(Stream::of_socket(socket, wake)?)))
            }
            Some(existing) if existing.file_type().is_fifo() => {
                let fifo = open_fifo(path, wake)?;
                Ok(Self(OutputKind::Stream(Stream::of_fifo(fifo, wake)?)))
            }
            Some(existing) if !existing.is_file() => Ok(Self(OutputKind::InPlace(
                OpenOptions::new().write(true).open(path)?,
            ))),
            _ => {
                let path = follow(path)?;
                Self::replace(path, mode)
            }
        }
    }

    fn replace(path: PathBuf, mode: u32) -> io::Result<Self> {
        if path.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // The system's error does not say what is missing.
        fs::metadata(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let folder = crate::display_path(folder);
                io::Error::new(error.kind(), format!("there is no folder {folder}"))
            }
            _ => error,
        })?;
        let temporary = tempfile::Builder::new()
            .prefix(".capture2pcap-")
            .suffix(".tmp")
            // Without write permission, the owner could not reopen the file by its name.
            .permissions(Permissions::from_mode(mode | 0o200))
            .tempfile_in(folder)
            .map_err(|error| refused(folder, &error))?;
        Ok(Self(OutputKind::Replace {
            temporary,
            path,
            room: Room::default(),
        }))
    }

    /// Gives the complete capture its name.
    ///
    /// # Errors
    /// When its size or name cannot be set. A file that had the name before is then unchanged.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {
            OutputKind::InPlace(_) | OutputKind::Stream(_) => Ok(()),
            OutputKind::Replace {
                temporary,
                path,
                room,
            } => {
                room.trim(temporary.as_file())?;
                temporary.persist(&path).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }

    /// A second descriptor of an output that is written in place, which shows whether its reader has closed it.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn stream(&self) -> io::Result<Option<OwnedFd>> {
        match &self.0 {
            OutputKind::InPlace(file) => Ok(Some(file.as_fd().try_clone_to_owned()?)),
            OutputKind::Stream(stream) => Ok(Some(stream.as_fd().try_clone_to_owned()?)),
            OutputKind::Replace { .. } => Ok(None),
        }
    }

    /// Whether the output may be read while it is written.
    pub const fn is_stream(&self) -> bool {
        matches!(self.0, OutputKind::InPlace(_) | OutputKind::Stream(_))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            OutputKind::InPlace(file) => file.write(bytes),
            OutputKind::Stream(stream) => stream.write(bytes),
            OutputKind::Replace {
                temporary, room, ..
            } => {
                let file = temporary.as_file_mut();
                room.ahead(file, bytes.len());
                let n = file.write(bytes)?;
                room.written += n as u64;
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether both are the same file.
pub fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn same_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is the trace itself")
}

/// Follows symbolic links from a path; the last target need not exist.
///
/// # Errors
/// When there are too many links.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // Not a link: the path does not exist, or it is the target of the links.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Opens a FIFO when it has a reader.
fn open_fifo(path: &Path, wake: Option<BorrowedFd<'_>>) -> io::Result<File> {
    loop {
        match open_non_blocking(path) {
            // There is no reader yet, and no way to wait for one.
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {}
            opened => return opened,
        }
        let mut fds: ArrayVec<_, 1> = wake
            .iter()
            .map(|wake| PollFd::new(wake, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&FIFO_INTERVAL)) {
            // Another signal, such as SIGCONT, does not end the wait.
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Err(io::ErrorKind::Interrupted.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Why no file can be created in `folder`. The caller names the capture, so the temporary name is left out of the
/// message; the folder is named if it is the cause.
fn refused(folder: &Path, error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    };
    if reason.kind() != io::ErrorKind::PermissionDenied {
        return reason;
    }
    let folder = crate::display_path(folder);
    io::Error::new(
        reason.kind(),
        format!("no file can be made in {folder}: {reason}"),
    )
}
