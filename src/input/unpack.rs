//! A file or stream that is unpacked in a thread of its own, which writes into a pipe.
//!
//! The pipe is a stream like any other: its reader can wait for bytes, signals and hang-ups at once, and gets bytes as
//! soon as they are unpacked. The thread ends with its input, or once the pipe has no reader.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::thread::{self, JoinHandle};

use super::Wait;
use super::compressed::Ending;
use super::decoder::Decoder;
use super::file;
use super::origin::Origin;
use crate::progress::Progress;

/// How many bytes are unpacked at once.
const ROOM: usize = 128 << 10;
/// The requested size of the pipe, in bytes: how much is unpacked in advance while the reader works.
#[cfg(target_os = "linux")]
const PIPE: usize = 1 << 20;

/// Where compressed bytes come from.
#[derive(Debug)]
pub(super) enum Packed {
    Stream(File),
    /// A regular file, and the position at which they begin.
    File(File, u64),
}

/// Bytes that are unpacked as they are read.
#[derive(Debug)]
pub(super) struct Unpacking {
    pipe: File,
    thread: Option<JoinHandle<io::Result<Ending>>>,
    /// The compressed file and the position at which the bytes begin, if it is a regular file.
    file: Option<(File, u64)>,
    /// A copy of the unpacked contents, once [`unpack_aside`](Origin::unpack_aside) was called.
    copy: Option<File>,
}

impl Unpacking {
    /// Starts to unpack `packed`, of which `head` has been read already.
    ///
    /// # Errors
    /// When the system cannot create a pipe or a thread.
    pub(super) fn start(packed: Packed, head: Vec<u8>, progress: Progress) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        #[cfg(target_os = "linux")]
        // If the system refuses, unpacking only takes longer.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
        let (file, packed): (_, Box<dyn Read + Send>) = match packed {
            Packed::Stream(stream) => {
                let output = File::from(OwnedFd::from(writer.try_clone()?));
                (None, Box::new(Waiting { stream, output }))
            }
            Packed::File(file, start) => {
                let kept = (file.try_clone()?, start);
                let at = start;
                (Some(kept), Box::new(FileReader { file, at }))
            }
        };
        let decoder = Decoder::new(head, packed, progress);
        let pump = move || pump(decoder, &mut File::from(OwnedFd::from(writer)));
        let thread = thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(pump)?;
        Ok(Self {
            pipe: File::from(OwnedFd::from(reader)),
            thread: Some(thread),
            file,
            copy: None,
        })
    }

    /// How the unpacking ended. Called once, after the end of the pipe.
    ///
    /// # Errors
    /// Those of reading the compressed bytes.
    fn end(&mut self) -> io::Result<Ending> {
        let Some(thread) = self.thread.take() else {
            return Ok(Ending::Whole);
        };
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the decoder panicked")))
    }

    /// Unpacks a regular file a second time, into an unnamed file.
    ///
    /// # Errors
    /// When the unnamed file cannot be created or written, or the compressed file cannot be read.
    fn copy_aside(&mut self) -> io::Result<()> {
        let Some((file, start)) = self.file.as_ref().filter(|_| self.copy.is_none()) else {
            return Ok(());
        };
        let (file, at) = (file.try_clone()?, *start);
        let packed = Box::new(FileReader { file, at });
        let mut copy = tempfile::tempfile()?;
        pump(
            Decoder::new(Vec::new(), packed, Progress::default()),
            &mut copy,
        )?;
        self.copy = Some(copy);
        Ok(())
    }
}

impl Origin for Unpacking {
    fn read(&mut self, room: &mut [u8], _: u64) -> io::Result<usize> {
        self.pipe.read(room)
    }

    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        match &self.copy {
            Some(copy) => copy.read_at(room, position),
            None => Err(io::ErrorKind::NotSeekable.into()),
        }
    }

    fn can_look_ahead(&self) -> bool {
        self.copy.is_some()
    }

    fn beside(&self) -> Option<Box<dyn Origin>> {
        file::beside(self.copy.as_ref()?, 0)
    }

    fn is_ready(&self) -> bool {
        // A file never has to be waited for.
        self.file.is_some() || file::is_ready(&self.pipe)
    }

    fn wait(&self, wait: &Wait<'_>) -> io::Result<()> {
        let deadline = wait.deadline.filter(|_| self.file.is_none());
        Wait { deadline, ..*wait }.for_bytes(&self.pipe)
    }

    fn is_compressed(&self) -> bool {
        true
    }

    fn ending(&mut self) -> io::Result<Option<Ending>> {
        self.end().map(Some)
    }

    fn unpack_aside(&mut self) {
        // If this fails, the only consequence is that the input cannot be searched ahead.
        let _ = self.copy_aside();
    }
}

/// Unpacks everything into `to`. Ends early if that is a pipe without a reader.
fn pump(mut decoder: Decoder, to: &mut File) -> io::Result<Ending> {
    let mut room = vec![0; ROOM];
    loop {
        match decoder.unpack(&mut room) {
            Ok(0) => return Ok(decoder.ending()),
            Ok(given) => match to.write_all(&room[..given]) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Ending::Whole);
                }
                written => written?,
            },
            // Another thread handles the signal.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The pipe has no reader.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ending::Whole),
            Err(error) => return Err(error),
        }
    }
}

/// A compressed stream. A wait for its bytes ends once the pipe for the unpacked bytes has no reader.
struct Waiting {
    stream: File,
    output: File,
}

impl Read for Waiting {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let wait = Wait {
            hangup: Some(self.output.as_fd()),
            ..Wait::default()
        };
        wait.for_bytes(&self.stream)?;
        self.stream.read(room)
    }
}

/// A reader of a regular file with its own position, which other readers of the file do not affect.
struct FileReader {
    file: File,
    at: u64,
}

impl Read for FileReader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(room, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
