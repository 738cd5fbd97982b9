//! Files and descriptors as inputs, and the events that end a wait for a stream.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::compressed::{MAGIC_LEN, Magic};
use super::map::Map;
use super::origin::{Begun, Origin, ReadAt};
use super::unpack::{Packed, Unpacking};
use super::{FIRST_READ, Input, READ_SIZE, Wait};
use crate::align::PAGE;
use crate::progress::Progress;

impl ReadAt for File {
    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, room, position)
    }
}

/// A pipe, socket, terminal or device: reads may block, and poll(2) reports whether they would.
#[derive(Debug)]
struct Stream(File);

/// A regular file: reads never block.
#[derive(Debug)]
struct Regular {
    file: File,
    /// The position in the file at which the input begins.
    start: u64,
    /// Whether the file is mapped. Reads then pass their position, as the file's own position stands still.
    is_mapped: bool,
}

/// A regular file, read by position, so that several cursors can share the descriptor; and where the input begins.
#[derive(Debug)]
struct Beside(File, u64);

impl Origin for Stream {
    fn read(&mut self, room: &mut [u8], _: u64) -> io::Result<usize> {
        self.0.read(room)
    }

    fn is_ready(&self) -> bool {
        is_ready(&self.0)
    }

    fn wait(&self, wait: &Wait<'_>) -> io::Result<()> {
        wait.for_bytes(&self.0)
    }

    fn begin(&mut self, head: &mut Vec<u8>, progress: &Progress) -> io::Result<Begun> {
        let at = head.len();
        head.resize(at + FIRST_READ, 0);
        let read = self.0.read(&mut head[at..]);
        head.truncate(at + *read.as_ref().unwrap_or(&0));
        let read = read?;
        progress.add(read as u64);
        Ok(match Magic::of(head, read == 0) {
            Magic::Short => Begun::Short,
            Magic::Other => Begun::Plain { ended: read == 0 },
            Magic::Is(_) => {
                let packed = Packed::Stream(self.0.try_clone()?);
                let unpacking = Unpacking::start(packed, std::mem::take(head), progress.clone())?;
                Begun::Packed(Box::new(unpacking))
            }
        })
    }
}

/// Whether a read would return at once: the stream has bytes, or has ended.
pub(super) fn is_ready(stream: &File) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // If poll fails, the read that follows reports the error.
    poll(&mut fds, Some(&at_once)).map_or(true, |n| n > 0)
}

/// Reads the first bytes of a file, from the position `start` on, and finds out whether they are compressed.
fn begin(file: &File, start: u64, progress: &Progress) -> io::Result<Begun> {
    let mut head = [0; MAGIC_LEN];
    let mut len = 0;
    while len < head.len() {
        match FileExt::read_at(file, &mut head[len..], start + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The read that follows reports the error.
            Err(_) => break,
        }
    }
    Ok(match Magic::of(&head[..len], true) {
        Magic::Is(_) => {
            let packed = Packed::File(file.try_clone()?, start);
            let unpacking = Unpacking::start(packed, Vec::new(), progress.clone())?;
            Begun::Packed(Box::new(unpacking))
        }
        Magic::Short | Magic::Other => Begun::Plain { ended: false },
    })
}

/// A second cursor over an open file.
pub(super) fn beside(file: &File, start: u64) -> Option<Box<dyn Origin>> {
    Some(Box::new(Beside(file.try_clone().ok()?, start)))
}

impl Origin for Regular {
    fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize> {
        match self.is_mapped {
            true => Origin::read_at(self, room, position),
            false => self.file.read(room),
        }
    }

    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&self.file, room, self.start.saturating_add(position))
    }

    fn can_look_ahead(&self) -> bool {
        true
    }

    fn beside(&self) -> Option<Box<dyn Origin>> {
        beside(&self.file, self.start)
    }

    fn begin(&mut self, _: &mut Vec<u8>, progress: &Progress) -> io::Result<Begun> {
        begin(&self.file, self.start, progress)
    }

    fn begin_mapping(&mut self) -> bool {
        self.is_mapped = true;
        true
    }

    fn map(&self, position: u64, len: usize) -> io::Result<Option<(Map, usize)>> {
        Map::of(&self.file, self.start.saturating_add(position), len)
    }

    fn size(&self) -> Option<u64> {
        let size = self.file.metadata().ok()?.len();
        Some(size.saturating_sub(self.start))
    }
}

impl Origin for Beside {
    fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize> {
        Origin::read_at(self, room, position)
    }

    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, room, self.1.saturating_add(position))
    }

    fn can_look_ahead(&self) -> bool {
        true
    }

    fn beside(&self) -> Option<Box<dyn Origin>> {
        beside(&self.0, self.1)
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

    /// Reads standard input. Also returns its metadata.
    ///
    /// # Errors
    /// When the process has no standard input.
    pub fn stdin() -> io::Result<(Self, Metadata)> {
        let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        Ok((Self::of(file, &metadata), metadata))
    }

    fn of(file: File, metadata: &Metadata) -> Self {
        if !metadata.is_file() {
            return Self {
                head: Some(Vec::new()),
                ..Self::new(Stream(file))
            };
        }
        let start = (&file).stream_position().unwrap_or_default();
        // One byte more than the file has: a read that fills its buffer would make the next one larger.
        let ask = metadata.len().saturating_add(1);
        let ask = usize::try_from(ask).unwrap_or(READ_SIZE);
        Self {
            // In whole pages. If the file grows, later reads then still begin at a page boundary.
            ask: ask.clamp(FIRST_READ, READ_SIZE).next_multiple_of(PAGE),
            head: Some(Vec::new()),
            ..Self::new(Regular {
                file,
                start,
                is_mapped: false,
            })
        }
    }
}

impl Wait<'_> {
    /// Returns once `stream` has bytes or has ended.
    pub(super) fn for_bytes(&self, stream: &File) -> io::Result<()> {
        let mut fds: ArrayVec<_, 3> = ArrayVec::new();
        fds.push(PollFd::new(stream, PollFlags::IN));
        let wake = self.wake.as_ref();
        fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        let hangup = self.hangup.as_ref();
        // poll(2) always reports errors and hang-ups. No event is requested: being writable must not end the wait.
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

    /// The time left until the deadline, as a timeout for poll(2).
    fn timeout(&self) -> Option<Timespec> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        // A deadline beyond the range of the clock never passes.
        Timespec::try_from(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn all_ways_of_reading_give_the_same_bytes() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(path.path(), &bytes).unwrap();

        let inputs = [
            Input::from_file(File::open(path.path()).unwrap()).unwrap(),
            Input::from_reader(io::Cursor::new(bytes.clone())),
            Input::from_anywhere(Arc::new(bytes.clone())),
            Input::from_bytes(bytes.clone()),
        ];
        for mut input in inputs {
            let mut taken = Vec::new();
            for step in [1, 7, 70_000, 800_000] {
                while input.window().len() < step {
                    input.fill(&Wait::default()).unwrap();
                }
                // Kept while the window moves on, as an event may be.
                taken.push(input.take(0..step).to_vec());
                assert_eq!(
                    input.offset(),
                    taken.iter().map(|t| t.len() as u64).sum::<u64>()
                );
            }
            while !input.ended() {
                input.fill(&Wait::default()).unwrap();
            }
            taken.push(input.window().to_vec());
            let taken: Vec<_> = taken
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            assert!(taken == bytes, "{:?}", input.origin);
        }
    }

    #[test]
    fn an_empty_file_ends_at_once() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut input = Input::from_file(path.reopen().unwrap()).unwrap();
        input.fill(&Wait::default()).unwrap();
        assert!(input.ended());
        assert!(input.window().is_empty());
    }

    #[test]
    fn the_first_read_of_a_file_is_of_its_size() {
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
            // Bytes that are appended later are read, too.
            let grown = path.reopen().unwrap();
            grown.set_len(size as u64 + 300_000).unwrap();
            while !input.ended() {
                input.fill(&Wait::default()).unwrap();
            }
            assert_eq!(input.window().len(), size + 300_000);
        }
    }

    /// Files in /proc report a size of 0.
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

    /// Each event that ends a wait, without and with bytes to read.
    #[test]
    fn a_wait_ends_with_what_happened() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut input = Input::new(Stream(File::from(OwnedFd::from(reader))));
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

        // Bytes take precedence over a deadline, but not over a signal or a hang-up.
        io::Write::write_all(&mut writer, b"bytes").unwrap();
        assert_eq!(kind(&mut input, &wake), io::ErrorKind::Interrupted);
        assert_eq!(kind(&mut input, &hangup), io::ErrorKind::BrokenPipe);
        input.fill(&soon).unwrap();
        assert_eq!(input.window(), b"bytes");
    }
}
