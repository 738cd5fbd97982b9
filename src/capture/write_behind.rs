//! A writer thread fed with full buffers, so that the disk and the conversion do not wait for each other. It also
//! completes the checksums of large packets, for which the other thread has less time.
//!
//! Invariant: bytes are written in order, in pieces of the size of a buffer except for flushes. An error is returned
//! by the next hand-over, flush or end.

mod buffer;

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use buffer::Buffer;

/// The number of buffers: one being filled, one being written, one waiting.
const BUFFERS: usize = 3;

/// A writer with a thread.
#[derive(Debug)]
pub(super) struct WriteBehind<W: Write + Send + 'static> {
    buffer: Buffer,
    worker: Worker<W>,
    /// Whether the thread had not written the last but one buffer when the last one was full.
    is_behind: bool,
}

#[derive(Debug)]
enum Worker<W> {
    /// No buffer has been full yet: a small capture needs no thread.
    Idle(W),
    Busy {
        full: SyncSender<Buffer>,
        written: Receiver<io::Result<Buffer>>,
        /// The number of buffers that are queued, being written, or written but not fetched.
        lent: usize,
        free: Vec<Buffer>,
        thread: JoinHandle<W>,
    },
    Gone,
}

impl<W: Write + Send + 'static> WriteBehind<W> {
    /// Reserves the next `len` bytes, which the caller has to write; returns `None` if they do not fit and must
    /// be written normally.
    #[inline]
    pub(super) fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        (len < self.buffer.room()).then(|| self.buffer.claim(len))
    }

    /// Leaves the checksum of the last claimed bytes, which are a packet with `payload` bytes at its end, to the
    /// thread, unless the caller would have to wait for the thread.
    pub(super) fn offload(&mut self, payload: usize) {
        match self.is_behind {
            true => self.buffer.complete(payload),
            false => self.buffer.offload(payload),
        }
    }

    pub(super) fn new(writer: W) -> Self {
        Self {
            buffer: Buffer::kept_or_new(),
            worker: Worker::Idle(writer),
            is_behind: false,
        }
    }

    /// Hands the buffer over, and takes an empty one.
    fn hand_over(&mut self) -> io::Result<()> {
        // The core without the feature `cli` has no threads.
        if !cfg!(feature = "cli")
            && let Worker::Idle(writer) = &mut self.worker
        {
            return self.buffer.write_to(writer);
        }
        if let Worker::Idle(_) = self.worker
            && let Worker::Idle(writer) = std::mem::replace(&mut self.worker, Worker::Gone)
        {
            self.worker = start(writer)?;
        }
        let Worker::Busy {
            full,
            written,
            lent,
            free,
            ..
        } = &mut self.worker
        else {
            return Err(ended());
        };
        self.is_behind = false;
        let empty = if let Some(empty) = free.pop() {
            empty
        } else if *lent + 1 < BUFFERS {
            Buffer::new()
        } else {
            *lent -= 1;
            let ready = written.try_recv();
            self.is_behind = ready.is_err();
            ready
                .or_else(|_| written.recv())
                .map_err(io::Error::other)??
        };
        let filled = std::mem::replace(&mut self.buffer, empty);
        *lent += 1;
        if full.send(filled).is_ok() {
            return Ok(());
        }
        // The thread ends early only after an error, which it has sent.
        let error = written.iter().find_map(Result::err);
        Err(error.unwrap_or_else(ended))
    }

    /// Waits until everything is written, and ends the thread.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        match std::mem::replace(&mut self.worker, Worker::Gone) {
            Worker::Idle(writer) => Ok(writer),
            Worker::Busy { full, thread, .. } => {
                drop(full);
                thread
                    .join()
                    .map_err(|_| io::Error::other("the writing thread has panicked"))
            }
            Worker::Gone => Err(ended()),
        }
    }
}

/// The error after the thread's own error has been returned.
fn ended() -> io::Error {
    io::Error::other("the writing thread has ended")
}

/// Starts the thread.
fn start<W: Write + Send + 'static>(mut writer: W) -> io::Result<Worker<W>> {
    let (full, to_write) = mpsc::sync_channel::<Buffer>(BUFFERS);
    let (done, written) = mpsc::sync_channel(BUFFERS);
    let thread = std::thread::Builder::new()
        .name("writer".into())
        .spawn(move || {
            for mut buffer in to_write {
                let result = buffer.write_to(&mut writer).map(|()| buffer);
                let failed = result.is_err();
                if done.send(result).is_err() || failed {
                    break;
                }
            }
            writer
        })?;
    let (lent, free) = (0, Vec::new());
    Ok(Worker::Busy {
        full,
        written,
        lent,
        free,
        thread,
    })
}

impl<W: Write + Send + 'static> Write for WriteBehind<W> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Buffers are filled completely, so that each write except a flush begins at a multiple of BUFFER.
        let n = bytes.len().min(self.buffer.room());
        self.buffer.push(&bytes[..n]);
        if self.buffer.room() == 0 {
            self.hand_over()?;
        }
        Ok(n)
    }

    #[inline]
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // The common case: it fits.
        if bytes.len() < self.buffer.room() {
            self.buffer.push(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            let n = self.write(bytes)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Worker::Idle(writer) = &mut self.worker {
            self.buffer.write_to(writer)?;
            return writer.flush();
        }
        if !self.buffer.bytes().is_empty() {
            self.hand_over()?;
        }
        if let Worker::Busy {
            written,
            lent,
            free,
            ..
        } = &mut self.worker
        {
            while *lent > 0 {
                *lent -= 1;
                free.push(written.recv().map_err(io::Error::other)??);
            }
        }
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for WriteBehind<W> {
    fn drop(&mut self) {
        // The caller may have to clean up what the thread holds before the process ends.
        if let Worker::Busy { full, thread, .. } = std::mem::replace(&mut self.worker, Worker::Gone)
        {
            drop(full);
            drop(thread.join());
        }
        self.buffer.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::buffer::{BUFFER, WRITE};
    use super::*;
    use crate::align::PAGE;

    /// Accepts this many bytes, then fails.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0 - self.1.len());
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_of_any_size_are_written_in_order() {
        let bytes: Vec<u8> = (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
        for size in [7_919, BUFFER - 1, BUFFER, 5 * BUFFER] {
            for flushed in [false, true] {
                let mut writer = WriteBehind::new(Vec::new());
                for piece in bytes.chunks(size) {
                    writer.write_all(piece).unwrap();
                    if flushed {
                        writer.flush().unwrap();
                    }
                }
                assert!(writer.finish().unwrap() == bytes, "{size} {flushed}");
            }
        }
    }

    /// Records the addresses and lengths of its writes.
    #[derive(Default)]
    struct Places(Vec<(usize, usize)>);

    impl Write for Places {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push((bytes.as_ptr().addr(), bytes.len()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_that_are_written_are_no_larger_than_said_and_begin_at_a_page() {
        for size in [BUFFER - 100_000, 10 * BUFFER - 100_000] {
            let mut writer = WriteBehind::new(Places::default());
            for piece in vec![1; size].chunks(77_777) {
                writer.write_all(piece).unwrap();
            }
            let Places(places) = writer.finish().unwrap();
            assert_eq!(places.len(), size.div_ceil(WRITE));
            for (address, len) in places {
                assert!(address % PAGE == 0 && len <= WRITE, "{address:x} {len}");
            }
        }
    }

    #[test]
    fn an_error_shows_by_the_end_and_keeps_its_kind() {
        for size in [0, 10, BUFFER, 4 * BUFFER] {
            let mut writer = WriteBehind::new(Full(size, Vec::new()));
            let mut result = Ok(());
            for _ in 0..100 {
                result = writer.write_all(&[1; 77_777]);
                if result.is_err() {
                    break;
                }
            }
            let error = result.and_then(|()| writer.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{size}");
        }
    }
}
