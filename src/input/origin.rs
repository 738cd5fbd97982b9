//! Where the bytes of an input come from, as far as a cursor has to know.
//!
//! The methods have the answers of a stream whose bytes are there at any time; a file and a descriptor give their own.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::Wait;
use super::compressed::Ending;
use crate::progress::Progress;

/// Bytes that can be read at any place, by any thread.
pub trait ReadAt: Send + Sync {
    /// Reads bytes from the byte number `position` on into `room`, and returns how many; none at the end alone.
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

/// What an [`Input`](super::Input) reads.
pub(super) trait Origin: fmt::Debug + Send {
    /// Reads the next bytes, which begin at the byte number `position`.
    fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize>;

    /// Reads bytes from the byte number `position` on, wherever the cursor is.
    fn read_at(&self, _room: &mut [u8], _position: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    /// Whether [`read_at`](Self::read_at) works.
    fn can_look_ahead(&self) -> bool {
        false
    }

    /// The same bytes for a second cursor; none where they cannot be read twice.
    fn beside(&self) -> Option<Box<dyn Origin>> {
        None
    }

    /// Whether [`wait`](Self::wait) would return at once.
    fn is_ready(&self) -> bool {
        true
    }

    /// Waits until there are bytes.
    fn wait(&self, _wait: &Wait<'_>) -> io::Result<()> {
        Ok(())
    }

    /// From here on, reads are at the position that is named, and [`map`](Self::map) may be asked; false where the
    /// bytes cannot be mapped.
    #[cfg(feature = "cli")]
    fn begin_mapping(&mut self) -> bool {
        false
    }

    /// Maps `len` bytes from the byte number `position` on, or as many as there are. Returns the map and where in it
    /// they begin; none where they have to be read.
    #[cfg(feature = "cli")]
    fn map(&self, _position: u64, _len: usize) -> io::Result<Option<(super::map::Map, usize)>> {
        Ok(None)
    }

    /// How many bytes there are at the moment, where that is known.
    #[cfg(feature = "cli")]
    fn size(&self) -> Option<u64> {
        None
    }

    /// Finds out whether the bytes are compressed. `head` holds those that were read for that so far.
    fn begin(&mut self, _head: &mut Vec<u8>, _progress: &Progress) -> io::Result<Begun> {
        Ok(Begun::Plain { ended: false })
    }

    /// Whether the bytes are unpacked, and counted where that is done.
    fn is_compressed(&self) -> bool {
        false
    }

    /// How the unpacking ended, now that nothing more comes.
    fn ending(&mut self) -> io::Result<Option<Ending>> {
        Ok(None)
    }

    /// Makes it possible to look ahead in a compressed file, at a cost: it is unpacked once more.
    fn unpack_aside(&mut self) {}

    /// Whether more is asked for at once where reads come full.
    fn asks_for_more(&self) -> bool {
        true
    }
}

/// What the first bytes of an input have shown.
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "only files are unpacked")
)]
pub(super) enum Begun {
    /// They are not compressed; `ended` if there are no more than those at hand.
    Plain { ended: bool },
    /// It takes more of them to say.
    Short,
    /// They are, and this unpacks them.
    Packed(Box<dyn Origin>),
}

/// A reader.
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

/// Bytes that can be read at any place.
pub(super) struct Anywhere(pub(super) Arc<dyn ReadAt>);

impl fmt::Debug for Anywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anywhere")
    }
}

impl Origin for Anywhere {
    fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(room, position)
    }

    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(room, position)
    }

    fn can_look_ahead(&self) -> bool {
        true
    }

    fn beside(&self) -> Option<Box<dyn Origin>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }
}
