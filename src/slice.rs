//! Ranges of shared buffers, which are kept without copying their bytes.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, LazyLock};

/// A buffer that slices share.
pub enum Backing {
    /// Memory of the program.
    Own(Vec<u8>),
    /// A mapped part of a file.
    #[cfg(feature = "cli")]
    Map(crate::input::map::Map),
}

impl Backing {
    /// The size of the program's memory that it uses, in bytes, including what is reserved.
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.capacity(),
            #[cfg(feature = "cli")]
            Self::Map(_) => 0,
        }
    }
}

impl Deref for Backing {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            #[cfg(feature = "cli")]
            Self::Map(map) => map,
        }
    }
}

impl Default for Backing {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl From<Vec<u8>> for Backing {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Own(bytes)
    }
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backing({} bytes)", self.len())
    }
}

/// A range of a shared buffer. The buffer does not change while a slice of it exists.
///
/// Unlike with `bytes::Bytes`, the owner of the buffer can reuse it, at its full capacity, once no slice of it is
/// left.
#[derive(Clone, Default)]
pub struct Slice {
    /// The buffer; `None` if the slice is empty, which keeps no buffer alive.
    memory: Option<Arc<Backing>>,
    range: Range<usize>,
}

impl Slice {
    /// The number of bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Whether it has no bytes.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `bytes` into a buffer of their own.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

/// A borrowed range of a shared buffer, which can become a [`Slice`].
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    memory: &'a Arc<Backing>,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The bytes of `memory` in `range`.
    ///
    /// # Panics
    /// If the range exceeds the buffer.
    #[inline]
    pub fn of(memory: &'a Arc<Backing>, range: Range<usize>) -> Self {
        Self {
            memory,
            bytes: &memory[range],
        }
    }

    /// The bytes.
    #[inline]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Makes `slice` the range of the buffer that `part` borrows.
    ///
    /// The slice is usually another range of the same buffer; then the reference count does not change.
    ///
    /// # Panics
    /// If `part` is not in the buffer.
    #[inline(always)]
    pub fn hold(self, part: &[u8], slice: &mut Slice) {
        if part.is_empty() {
            *slice = Slice::default();
            return;
        }
        let start = part
            .as_ptr()
            .addr()
            .wrapping_sub(self.memory.as_ptr().addr());
        assert!(start <= self.memory.len() && part.len() <= self.memory.len() - start);
        match &slice.memory {
            Some(memory) if Arc::ptr_eq(memory, self.memory) => {}
            _ => slice.memory = Some(Arc::clone(self.memory)),
        }
        slice.range = start..start + part.len();
    }
}

impl Slice {
    /// Returns the buffer for reuse, or an empty one if it is shared.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        match self.memory.and_then(Arc::into_inner) {
            Some(Backing::Own(bytes)) => bytes,
            _ => Vec::new(),
        }
    }

    /// Borrows all of it, for decoding.
    pub(crate) fn piece(&self) -> Piece<'_> {
        static NOTHING: LazyLock<Arc<Backing>> = LazyLock::new(Arc::default);
        match &self.memory {
            Some(memory) => Piece::of(memory, self.range.clone()),
            None => Piece::of(&NOTHING, 0..0),
        }
    }
}

impl From<Piece<'_>> for Slice {
    fn from(piece: Piece<'_>) -> Self {
        let mut slice = Self::default();
        piece.hold(piece.bytes, &mut slice);
        slice
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        let memory = (!range.is_empty()).then(|| Arc::new(Backing::Own(bytes)));
        Self { memory, range }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Some(memory) => &memory[self.range.clone()],
            None => &[],
        }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
