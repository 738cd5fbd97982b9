//! Where the traces of a merge lie, and how their parts are read.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::input::{Input, ReadAt};
use crate::trace::{Encoding, plain_copy};

#[cfg(feature = "cli")]
pub(super) use files::Files;
#[cfg(not(feature = "cli"))]
pub(super) use memory::Files;

/// Where a trace lies.
pub(super) enum Place {
    /// Anywhere.
    Anywhere(Arc<dyn ReadAt>),
    /// A file.
    #[cfg(feature = "cli")]
    File(std::path::PathBuf),
    /// A temporary file, which goes with this.
    #[cfg(feature = "cli")]
    Temporary(tempfile::TempPath),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Place {
    /// Opens the trace.
    pub(super) fn open(&self) -> io::Result<Input> {
        match self {
            Self::Anywhere(bytes) => Ok(Input::from_anywhere(Arc::clone(bytes))),
            #[cfg(feature = "cli")]
            Self::File(path) => files::open(path),
            #[cfg(feature = "cli")]
            Self::Temporary(path) => files::open(path),
        }
    }

    /// Copies the trace as it was before something changed its bytes on their way, if anything has.
    pub(super) fn plain_copy(
        &self,
        path: &Path,
        wanted: Option<Encoding>,
    ) -> io::Result<Option<Self>> {
        match self {
            Self::Anywhere(_) => {
                let copy = plain_copy(|| self.open(), path, wanted, || Ok(Vec::new()))?;
                Ok(copy.map(|copy| Self::Anywhere(Arc::new(copy))))
            }
            #[cfg(feature = "cli")]
            Self::File(_) | Self::Temporary(_) => {
                let begin = tempfile::NamedTempFile::new;
                let copy = plain_copy(|| self.open(), path, wanted, begin)?;
                Ok(copy.map(|copy| Self::Temporary(copy.into_temp_path())))
            }
        }
    }
}

/// Reads from the byte number `offset` on until `room` is full or there is nothing more, and returns how much it was.
fn read_all(bytes: &dyn ReadAt, room: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = room.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match bytes.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(not(feature = "cli"))]
mod memory {
    use super::{Place, io, read_all};

    /// Nothing that has to be opened.
    #[derive(Default)]
    pub(in crate::merge) struct Files {}

    impl Files {
        /// Reads at `offset` of a trace until `room` is full or the trace ends, and returns how much it was.
        pub(in crate::merge) fn read(
            &mut self,
            _source: u32,
            place: &Place,
            room: &mut [u8],
            offset: u64,
        ) -> io::Result<usize> {
            let Place::Anywhere(bytes) = place;
            read_all(&**bytes, room, offset)
        }
    }
}

#[cfg(feature = "cli")]
mod files {
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    use foldhash::fast::RandomState;
    use indexmap::IndexMap;

    use super::{Place, read_all};
    use crate::input::Input;

    /// How many files are kept open.
    const MAX_OPEN: usize = 24;

    /// Opens a trace.
    pub(super) fn open(path: &Path) -> io::Result<Input> {
        // Asked before it is opened, for opening a FIFO waits for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other(
                "it is no regular file, and a merge reads each trace twice",
            ));
        }
        Input::from_file(File::open(path)?)
    }

    /// Files that are open.
    #[derive(Default)]
    pub(in crate::merge) struct Files {
        open: IndexMap<u32, File, RandomState>,
        /// The next one to be closed.
        hand: usize,
    }

    impl Files {
        /// Reads at `offset` of a trace until `room` is full or the trace ends, and returns how much it was.
        pub(in crate::merge) fn read(
            &mut self,
            source: u32,
            place: &Place,
            room: &mut [u8],
            offset: u64,
        ) -> io::Result<usize> {
            let path: &Path = match place {
                Place::Anywhere(bytes) => return read_all(&**bytes, room, offset),
                Place::File(path) => path,
                Place::Temporary(path) => path,
            };
            let file = match self.open.get_index_of(&source) {
                Some(at) => &self.open[at],
                None => {
                    if self.open.len() >= MAX_OPEN {
                        self.hand = (self.hand + 1) % MAX_OPEN;
                        self.open.swap_remove_index(self.hand);
                    }
                    let file = File::open(path)?;
                    let (at, _) = self.open.insert_full(source, file);
                    &self.open[at]
                }
            };
            read_all(file, room, offset)
        }
    }
}
