//! Writing behind the back of whoever fills the buffer: by a thread of its own, so that the disk and
//! the conversion need not wait for each other.
//!
//! Invariant: everything is written in order, handed over in pieces of [`BUFFER`] bytes but for
//! those that a flush asks for; an error shows at the next hand-over, flush or end.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

/// How much is gathered before it is handed over, in bytes. Each hand-over wakes a thread.
const BUFFER: usize = 1 << 20;
/// How much is written at once, in bytes.
///
/// Writes of 8 KiB take twice the time. From 512 KiB on, Linux takes the page cache's memory in pieces so large
/// that a virtual machine may have given them back to its host, and waits for them: up to ten times as long.
const WRITE: usize = 256 << 10;
/// How many buffers there are: one being filled, one being written, one waiting.
const BUFFERS: usize = 3;

/// A writer that a thread serves.
#[derive(Debug)]
pub(super) struct WriteBehind<W: Write + Send + 'static> {
    buffer: Vec<u8>,
    worker: Worker<W>,
}

#[derive(Debug)]
enum Worker<W> {
    /// There has not been a full buffer: a small capture is not worth a thread.
    Idle(W),
    Busy {
        full: SyncSender<Vec<u8>>,
        written: Receiver<io::Result<Vec<u8>>>,
        /// Buffers that wait for the thread, are being written or have been and were not fetched.
        lent: usize,
        free: Vec<Vec<u8>>,
        thread: JoinHandle<W>,
    },
    Gone,
}

impl<W: Write + Send + 'static> WriteBehind<W> {
    /// Writes what lies in three places, as a record does.
    #[inline]
    pub(super) fn write_three(&mut self, a: &[u8], b: &[u8], c: &[u8]) -> io::Result<()> {
        // Nearly always it fits, and there is one question to ask.
        if a.len() + b.len() + c.len() < BUFFER - self.buffer.len() {
            self.buffer.extend_from_slice(a);
            self.buffer.extend_from_slice(b);
            self.buffer.extend_from_slice(c);
            return Ok(());
        }
        self.write_all(a)?;
        self.write_all(b)?;
        self.write_all(c)
    }

    pub(super) fn new(writer: W) -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER),
            worker: Worker::Idle(writer),
        }
    }

    /// Hands the buffer over, and takes an empty one.
    fn hand_over(&mut self) -> io::Result<()> {
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
        let empty = if let Some(empty) = free.pop() {
            empty
        } else if *lent + 1 < BUFFERS {
            Vec::with_capacity(BUFFER)
        } else {
            *lent -= 1;
            written.recv().map_err(io::Error::other)??
        };
        let filled = std::mem::replace(&mut self.buffer, empty);
        *lent += 1;
        if full.send(filled).is_ok() {
            return Ok(());
        }
        // The thread ends early for one reason only, which it has told.
        let told = written.iter().find_map(Result::err);
        Err(told.unwrap_or_else(ended))
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

/// The error that remains where the thread's own has been told.
fn ended() -> io::Error {
    io::Error::other("the writing thread has ended")
}

/// Starts the thread.
fn start<W: Write + Send + 'static>(mut writer: W) -> io::Result<Worker<W>> {
    let (full, to_write) = mpsc::sync_channel::<Vec<u8>>(BUFFERS);
    let (done, written) = mpsc::sync_channel(BUFFERS);
    let thread = std::thread::Builder::new()
        .name("writer".into())
        .spawn(move || {
            for mut buffer in to_write {
                let written = buffer
                    .chunks(WRITE)
                    .try_for_each(|piece| writer.write_all(piece));
                let result = written.map(|()| {
                    buffer.clear();
                    buffer
                });
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
        // Filled to the last byte, so that each write but a flushed one begins at a multiple of BUFFER.
        let n = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == BUFFER {
            self.hand_over()?;
        }
        Ok(n)
    }

    #[inline]
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // Nearly always it fits.
        if bytes.len() < BUFFER - self.buffer.len() {
            self.buffer.extend_from_slice(bytes);
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
            writer.write_all(&self.buffer)?;
            self.buffer.clear();
            return writer.flush();
        }
        if !self.buffer.is_empty() {
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
        // What the thread holds may have to be cleaned up before the process ends.
        if let Worker::Busy { full, thread, .. } = std::mem::replace(&mut self.worker, Worker::Gone)
        {
            drop(full);
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
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
    fn everything_is_written_in_order_whatever_the_pieces() {
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
