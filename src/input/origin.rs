//! The trait that all sources of an input's bytes implement.
//!
//! The default methods are those of a stream that never blocks. Files and descriptors override them.

use std::fmt;
use std::io::{self, Read};

use super::Wait;
use super::compressed::Ending;
use crate::progress::Progress;

/// Bytes that can be read at any position, by any thread.
pub trait ReadAt: Send + Sync {
    /// Reads bytes from `position` on into `room`, and returns how many; 0 only at the end.
    ///
    /// # Errors
    /// Those of reading.
    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize>;
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let mut rest = self.get(start..).unwrap_or_default();
        rest.read(room)
    }
}

/// The source that an [`Input`](super::Input) reads.
pub(super) trait Origin: fmt::Debug + Send {
    /// Reads the next bytes, which begin at `position`.
    fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize>;

    /// Reads bytes from `position` on, and leaves the cursor where it is.
    fn read_at(&self, _room: &mut [u8], _position: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    /// Whether [`read_at`](Self::read_at) works.
    fn can_look_ahead(&self) -> bool {
        false
    }

    /// The same bytes for a second cursor; `None` if they cannot be read twice.
    fn beside(&self) -> Option<Box<dyn Origin>> {
        None
    }

    /// Whether [`wait`](Self::wait) would return at once.
    fn is_ready(&self) -> bool {
        true
    }

    /// Waits until there are bytes to read, or the end.
    fn wait(&self, _wait: &Wait<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Prepares for calls of [`map`](Self::map). After it, [`read`](Self::read) reads from the `position` that it is
    /// passed. Returns false if the bytes cannot be mapped.
    #[cfg(feature = "cli")]
    fn begin_mapping(&mut self) -> bool {
        false
    }

    /// Maps `len` bytes from `position` on, or fewer at the end. Returns the map and the index of the first byte in
    /// it, or `None` if the bytes have to be read instead.
    #[cfg(feature = "cli")]
    fn map(&self, _position: u64, _len: usize) -> io::Result<Option<(super::map::Map, usize)>> {
        Ok(None)
    }

    /// The current size in bytes, if it is known.
    #[cfg(feature = "cli")]
    fn size(&self) -> Option<u64> {
        None
    }

    /// Finds out whether the bytes are compressed. `head` holds the bytes that earlier calls have read.
    fn begin(&mut self, _head: &mut Vec<u8>, _progress: &Progress) -> io::Result<Begun> {
        Ok(Begun::Plain { ended: false })
    }

    /// Whether the bytes are unpacked. The unpacking then counts what it reads.
    fn is_compressed(&self) -> bool {
        false
    }

    /// How the unpacking ended. Called once the bytes have ended.
    fn ending(&mut self) -> io::Result<Option<Ending>> {
        Ok(None)
    }

    /// Makes it possible to look ahead in a compressed file. It is unpacked a second time for that.
    fn unpack_aside(&mut self) {}
}

/// What the first bytes of an origin show about its compression.
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a stream alone may be too short to say")
)]
pub(super) enum Begun {
    /// The input is not compressed. `ended` if there are no further bytes.
    Plain { ended: bool },
    /// More bytes are needed to decide.
    Short,
    /// The input is compressed. Reads from this origin return the unpacked bytes.
    Packed(Box<dyn Origin>),
}

/// A reader whose bytes can be read only once.
pub(super) struct Once<R>(pub(super) R);

impl<R> fmt::Debug for Once<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl<R: Read + Send> Origin for Once<R> {
    fn read(&mut self, room: &mut [u8], _: u64) -> io::Result<usize> {
        self.0.read(room)
    }
}
