//! Bytes that can be read at any position, compressed or not.

use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(any(feature = "cli", feature = "unpack"))]
use super::origin::Begun;
use super::origin::{Origin, ReadAt};

/// Bytes that can be read at any position.
pub(super) struct RandomAccess(pub(super) Arc<dyn ReadAt>);

impl fmt::Debug for RandomAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomAccess")
    }
}

impl Origin for RandomAccess {
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

    #[cfg(any(feature = "cli", feature = "unpack"))]
    fn begin(
        &mut self,
        _: &mut Vec<u8>,
        progress: &crate::progress::Progress,
    ) -> io::Result<Begun> {
        Ok(match packed::is_packed(&*self.0)? {
            true => Begun::Packed(Box::new(packed::Packed::new(&self.0, progress))),
            false => Begun::Plain { ended: false },
        })
    }
}

#[cfg(any(feature = "cli", feature = "unpack"))]
mod packed {
    use std::io::{self, Read};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::super::compressed::{Ending, MAGIC_LEN, Magic};
    use super::super::decoder::Decoder;
    use super::super::origin::{Origin, ReadAt};
    use crate::progress::Progress;

    /// The number of bytes that are unpacked at once when they are skipped.
    const PASSED: usize = 64 << 10;

    /// Whether bytes are compressed.
    pub(super) fn is_packed(bytes: &dyn ReadAt) -> io::Result<bool> {
        let mut head = [0; MAGIC_LEN];
        let mut len = 0;
        while len < head.len() {
            match bytes.read_at(&mut head[len..], len as u64) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(matches!(Magic::of(&head[..len], true), Magic::Is(_)))
    }

    /// Compressed bytes, unpacked as they are read.
    pub(super) struct Packed {
        bytes: Arc<dyn ReadAt>,
        cursor: Cursor,
        /// A second cursor for looking ahead, if the caller has requested it.
        aside: Option<Mutex<Cursor>>,
    }

    impl Packed {
        pub(super) fn new(bytes: &Arc<dyn ReadAt>, progress: &Progress) -> Self {
            Self {
                bytes: Arc::clone(bytes),
                cursor: Cursor::new(bytes, progress.clone()),
                aside: None,
            }
        }
    }

    impl std::fmt::Debug for Packed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Packed")
        }
    }

    impl Origin for Packed {
        fn read(&mut self, room: &mut [u8], position: u64) -> io::Result<usize> {
            self.cursor.read_at(room, position)
        }

        fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
            let Some(aside) = &self.aside else {
                return Err(io::ErrorKind::NotSeekable.into());
            };
            let mut aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
            if position < aside.at {
                *aside = Cursor::new(&self.bytes, Progress::default());
            }
            aside.read_at(room, position)
        }

        fn can_look_ahead(&self) -> bool {
            self.aside.is_some()
        }

        fn beside(&self) -> Option<Box<dyn Origin>> {
            self.aside.as_ref()?;
            Some(Box::new(Self::new(&self.bytes, &Progress::default())))
        }

        fn is_compressed(&self) -> bool {
            true
        }

        fn ending(&mut self) -> io::Result<Option<Ending>> {
            Ok(Some(self.cursor.decoder.ending()))
        }

        fn unpack_aside(&mut self) {
            if self.aside.is_none() {
                let cursor = Cursor::new(&self.bytes, Progress::default());
                self.aside = Some(Mutex::new(cursor));
            }
        }
    }

    /// A cursor over the unpacked bytes, which only moves forward.
    struct Cursor {
        decoder: Decoder,
        at: u64,
    }

    impl Cursor {
        fn new(bytes: &Arc<dyn ReadAt>, progress: Progress) -> Self {
            let whole = Whole {
                bytes: Arc::clone(bytes),
                at: 0,
            };
            Self {
                decoder: Decoder::new(Vec::new(), Box::new(whole), progress),
                at: 0,
            }
        }

        /// Reads bytes from `position` on, which must not be before the cursor.
        fn read_at(&mut self, room: &mut [u8], position: u64) -> io::Result<usize> {
            let mut passed = Vec::new();
            while self.at < position {
                let left = position - self.at;
                passed.resize(left.min(PASSED as u64) as usize, 0);
                match self.decoder.unpack(&mut passed)? {
                    0 => return Ok(0),
                    given => self.at += given as u64,
                }
            }
            let given = self.decoder.unpack(room)?;
            self.at += given as u64;
            Ok(given)
        }
    }

    /// A reader of all the bytes.
    struct Whole {
        bytes: Arc<dyn ReadAt>,
        at: u64,
    }

    impl Read for Whole {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let read = self.bytes.read_at(room, self.at)?;
            self.at += read as u64;
            Ok(read)
        }
    }
}
