//! Where the traces of a merge are, and how parts of them are read.
//!
//! Invariant: both passes use the same offsets. Those of an unpacked trace are the offsets in its copy.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::input::{Ending, Input, ReadAt};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::trace::Encoding;
use crate::trace::plain_copy::plain_copy;

#[cfg(feature = "cli")]
pub(super) use files::Files;
#[cfg(not(feature = "cli"))]
pub(super) use memory::Files;

/// A copy of a trace that is not a file, while it is written: the trace unpacked, or in its original form.
pub trait Scratch: Write {
    /// Ends the copy, and returns a reader of it.
    fn finish(self: Box<Self>) -> Arc<dyn ReadAt>;
}

impl Scratch for Vec<u8> {
    fn finish(self: Box<Self>) -> Arc<dyn ReadAt> {
        Arc::new(*self)
    }
}

/// A function that creates an empty copy.
pub type NewScratch = fn() -> Box<dyn Scratch>;

/// The place of a trace.
pub(super) enum Place {
    /// Bytes that can be read at any position, and a function that creates copies of them.
    Bytes(Arc<dyn ReadAt>, NewScratch),
    /// A copy of such a trace.
    Copied(Copied),
    /// A file.
    #[cfg(feature = "cli")]
    File(std::path::PathBuf),
    /// A temporary file, which is removed with this value.
    #[cfg(feature = "cli")]
    Temporary(files::Copy),
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
            Self::Bytes(bytes, _) => Ok(Input::from_anywhere(Arc::clone(bytes))),
            Self::Copied(copy) => Ok(copy.open()),
            #[cfg(feature = "cli")]
            Self::File(path) => files::open(path),
            #[cfg(feature = "cli")]
            Self::Temporary(copy) => copy.open(),
        }
    }

    /// Copies the trace in its original form, if it is compressed or its bytes were changed in transit.
    pub(super) fn plain_copy(
        &self,
        path: &Path,
        wanted: Option<Encoding>,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> io::Result<Option<Self>> {
        match self {
            Self::Copied(_) => Ok(None),
            Self::Bytes(_, begin) => {
                let (counted, progress) = (Arc::new(AtomicU64::new(0)), progress.clone());
                let count = Arc::clone(&counted);
                let counting = Progress::new(move |bytes| {
                    count.fetch_add(bytes, Ordering::Relaxed);
                    progress.add(bytes);
                });
                let open = || Ok(self.open()?.with_progress(counting.clone()));
                let copy = plain_copy(open, path, wanted, interrupt, || Ok(begin()))?;
                Ok(copy.map(|copy| {
                    Self::Copied(Copied {
                        bytes: copy.to.finish(),
                        sizes: (counted.load(Ordering::Relaxed), copy.len),
                        ending: copy.ending,
                    })
                }))
            }
            #[cfg(feature = "cli")]
            Self::File(_) | Self::Temporary(_) => {
                let begin = tempfile::NamedTempFile::new;
                let open = || self.open();
                let copy = plain_copy(open, path, wanted, interrupt, begin)?;
                let len = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                // Counted at once: making the copy takes most of the time.
                if copy.is_some() {
                    progress.add(len);
                }
                Ok(copy.map(|copy| Self::Temporary(files::Copy::new(copy, len))))
            }
        }
    }
}

impl Place {
    /// The callback that counts the bytes of events. Those of a copy count as the bytes of the trace that they replace.
    pub(super) fn progress(&self, progress: &Progress) -> Progress {
        match self {
            #[cfg(feature = "cli")]
            Self::Temporary(copy) => progress.scaled(copy.sizes),
            Self::Copied(copy) => progress.scaled(copy.sizes),
            _ => progress.clone(),
        }
    }

    /// Whether it is a copy. The first pass over it was counted while the copy was made.
    pub(super) const fn is_copy(&self) -> bool {
        match self {
            #[cfg(feature = "cli")]
            Self::Temporary(_) => true,
            Self::Copied(_) => true,
            _ => false,
        }
    }
}

/// A copy of a trace that is not a file.
pub(super) struct Copied {
    bytes: Arc<dyn ReadAt>,
    /// The length of the trace and of the copy, in bytes.
    sizes: (u64, u64),
    ending: Option<Ending>,
}

impl Copied {
    /// Opens the copy, which ends as the trace does.
    fn open(&self) -> Input {
        let mut input = Input::from_copy(Arc::clone(&self.bytes));
        input.set_ending(self.ending.clone());
        input
    }
}

/// Reads from `offset` on, until `room` is full or the bytes end. Returns the number of bytes read.
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
    use super::{Copied, Place, io, read_all};

    /// Without the feature `cli` there are no files.
    #[derive(Default)]
    pub(in crate::merge) struct Files {}

    impl Files {
        /// Reads a trace from `offset` on, until `room` is full or the trace ends. Returns the number of bytes read.
        pub(in crate::merge) fn read(
            &mut self,
            _source: u32,
            place: &Place,
            room: &mut [u8],
            offset: u64,
        ) -> io::Result<usize> {
            let (Place::Bytes(bytes, _) | Place::Copied(Copied { bytes, .. })) = place;
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

    use super::{Copied, Place, read_all};
    use crate::input::{Ending, Input};
    use crate::trace::plain_copy::PlainCopy;

    /// How many files are kept open.
    const MAX_OPEN: usize = 24;

    /// A copy in a temporary file, which is removed with this value.
    pub(in crate::merge) struct Copy {
        pub(super) path: tempfile::TempPath,
        /// The length of the trace and of the copy, in bytes.
        pub(super) sizes: (u64, u64),
        ending: Option<Ending>,
    }

    impl Copy {
        pub(super) fn new(copy: PlainCopy<tempfile::NamedTempFile>, len: u64) -> Self {
            Self {
                path: copy.to.into_temp_path(),
                sizes: (len, copy.len),
                ending: copy.ending,
            }
        }

        /// Opens the copy, which ends as the trace does.
        pub(super) fn open(&self) -> io::Result<Input> {
            let mut input = open(&self.path)?;
            input.set_ending(self.ending.clone());
            Ok(input)
        }
    }

    /// Opens a trace.
    pub(super) fn open(path: &Path) -> io::Result<Input> {
        // Checked before it is opened, because opening a FIFO waits for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other(
                "it is not a regular file, and a merge reads each trace twice",
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
        /// Reads a trace from `offset` on, until `room` is full or the trace ends. Returns the number of bytes read.
        pub(in crate::merge) fn read(
            &mut self,
            source: u32,
            place: &Place,
            room: &mut [u8],
            offset: u64,
        ) -> io::Result<usize> {
            let path: &Path = match place {
                Place::Bytes(bytes, _) | Place::Copied(Copied { bytes, .. }) => {
                    return read_all(&**bytes, room, offset);
                }
                Place::File(path) => path,
                Place::Temporary(copy) => &copy.path,
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
