//! Where a capture goes: a file that gets its name once it is whole, a device, a stream.
//!
//! Invariant: a regular file never holds half a capture under its name. There is no fsync, as in cp
//! and tcpdump: what a crash of the machine leaves is the file system's matter.

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

/// How many symbolic links are followed to a file that does not exist yet; Linux follows as many.
const MAX_LINKS: usize = 40;
/// How large a capture gets before room is taken ahead of it, in bytes. A small one is written before
/// that would pay.
const AHEAD_FROM: u64 = 1 << 20;
/// The most room that is taken at once, in bytes.
const MAX_AHEAD: u64 = 64 << 20;
/// How long to wait before a FIFO is asked again whether somebody reads from it.
const FIFO_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
/// What a new capture may be, before the umask, when its trace is no file that says otherwise.
const DEFAULT_MODE: u32 = 0o666;

/// What the user names as the place of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A path.
    File(PathBuf),
}

impl Target {
    /// The place that an argument names; `-` is standard output, and so are its names in the file system:
    /// whatever it was redirected to is not to be replaced.
    pub fn of(argument: &OsStr) -> Self {
        match argument.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Self::Stdout,
            _ => Self::File(PathBuf::from(argument)),
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// Those of looking; `NotFound` where nothing is.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata(),
            Self::File(path) => fs::metadata(path),
        }
    }

    /// Standard output where it is the place: before it is opened, it shows whether its reader has gone.
    pub const fn stream(&self) -> Option<BorrowedFd<'static>> {
        match self {
            Self::Stdout => Some(rustix::stdio::stdout()),
            Self::File(_) => None,
        }
    }
}

/// A capture being written.
#[derive(Debug)]
pub struct Output(Kind);

#[derive(Debug)]
enum Kind {
    /// A device, or the file that standard output is: written in place.
    InPlace(File),
    /// A pipe, FIFO or socket.
    Stream(Stream),
    /// A regular file to be, under a name of its own until it is whole.
    Replace {
        temporary: NamedTempFile,
        path: PathBuf,
        room: Room,
    },
}

/// The room of a file being written, taken from the file system ahead of the writing and in one piece:
/// found page by page, it takes a third of the time of a write.
#[derive(Debug, Default)]
struct Room {
    written: u64,
    /// Where the room that was asked for ends.
    end: u64,
    /// Whether the file system has refused to give more.
    refused: bool,
}

impl Room {
    /// Makes room for so many bytes, and for as many as there are already. A file system that cannot
    /// do that, or is full, is no matter: whether there is room for a byte, the write itself will tell.
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

    /// Gives back what was not needed.
    fn trim(&self, file: &File) -> io::Result<()> {
        match self.end {
            0 => Ok(()),
            // After a refusal as well: some of it may have been given.
            _ => file.set_len(self.written),
        }
    }
}

impl Output {
    /// Opens the place of a capture.
    ///
    /// `traces` is the metadata of its traces, as far as they are files: a capture is never more
    /// readable than one of them, as a copy would not be.
    ///
    /// # Errors
    /// Those of opening, and `InvalidInput` when the place is the trace itself; `Interrupted` when `wake`
    /// became readable while nobody read from the FIFO that it is.
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
                    Ok(stream) => Kind::Stream(stream),
                    Err(file) => Kind::InPlace(file),
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
                Ok(Self(Kind::Stream(Stream::of_socket(socket, wake)?)))
            }
            Some(existing) if existing.file_type().is_fifo() => {
                let fifo = open_fifo(path, wake)?;
                Ok(Self(Kind::Stream(Stream::of_fifo(fifo, wake)?)))
            }
            Some(existing) if !existing.is_file() => Ok(Self(Kind::InPlace(
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
        // The system's words leave open what is missing.
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
            // Without the owner's right to write, the file could not be opened again by its name.
            .permissions(Permissions::from_mode(mode | 0o200))
            .tempfile_in(folder)
            .map_err(|error| refused(folder, &error))?;
        Ok(Self(Kind::Replace {
            temporary,
            path,
            room: Room::default(),
        }))
    }

    /// Gives the capture its name, now that it is whole.
    ///
    /// # Errors
    /// Those of giving it its size and name. The file that had the name before is untouched then.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {
            Kind::InPlace(_) | Kind::Stream(_) => Ok(()),
            Kind::Replace {
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

    /// A second descriptor of what is written in place: it shows whether its reader has gone.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn stream(&self) -> io::Result<Option<OwnedFd>> {
        match &self.0 {
            Kind::InPlace(file) => Ok(Some(file.as_fd().try_clone_to_owned()?)),
            Kind::Stream(stream) => Ok(Some(stream.as_fd().try_clone_to_owned()?)),
            Kind::Replace { .. } => Ok(None),
        }
    }

    /// Whether somebody may be reading it while it is written.
    pub const fn is_stream(&self) -> bool {
        matches!(self.0, Kind::InPlace(_) | Kind::Stream(_))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::InPlace(file) => file.write(bytes),
            Kind::Stream(stream) => stream.write(bytes),
            Kind::Replace {
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

/// Whether they are of one file.
pub fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn same_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is the trace itself")
}

/// The path that symbolic links lead to, whose last need not exist.
///
/// # Errors
/// When there are too many of them.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // Not a link: it does not exist, or is what the links lead to.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Opens a FIFO once somebody reads from it.
fn open_fifo(path: &Path, wake: Option<BorrowedFd<'_>>) -> io::Result<File> {
    loop {
        match open_non_blocking(path) {
            // Nobody does yet, and nothing tells when somebody will.
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {}
            opened => return opened,
        }
        let mut fds: ArrayVec<_, 1> = wake
            .iter()
            .map(|wake| PollFd::new(wake, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&FIFO_INTERVAL)) {
            // Whatever else came while it waited, such as a SIGCONT, asks for nothing.
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Err(io::ErrorKind::Interrupted.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Why there is no file in `folder`: the caller says which capture it was for, and that the file was to have
/// another name at first is nobody's matter, unless the folder is why.
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
