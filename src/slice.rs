//! Bytes that are held by whoever needs them, without a copy.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, LazyLock};

/// Memory that slices are parts of.
pub enum Backing {
    /// The program's own.
    Own(Vec<u8>),
    /// A part of a file.
    #[cfg(feature = "cli")]
    Map(crate::input::map::Map),
}

impl Backing {
    /// How many bytes of the program's memory it takes, those that are not in use included.
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

/// A part of a piece of memory, which stays as it is while any part of it is held.
///
/// Unlike `bytes::Bytes` it lets the owner of the memory use it again, with all that it holds, once
/// nobody else does.
#[derive(Clone, Default)]
pub struct Slice {
    /// None where there are no bytes: an empty slice holds nothing.
    memory: Option<Arc<Backing>>,
    range: Range<usize>,
}

impl Slice {
    /// How many bytes there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of `bytes`, which holds on to nothing else.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

/// A part of a piece of memory that somebody else holds, and that may be held too.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    memory: &'a Arc<Backing>,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The bytes of `memory` that lie in `range`.
    ///
    /// # Panics
    /// When they lie outside.
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

    /// Has `slice` hold `part` of its memory.
    ///
    /// Mostly it holds another part of the same memory, which takes no counting of holders then.
    ///
    /// # Panics
    /// When `part` lies elsewhere.
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
    /// The memory that it is a part of, to be used again; an empty one where it is held elsewhere.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        match self.memory.and_then(Arc::into_inner) {
            Some(Backing::Own(bytes)) => bytes,
            _ => Vec::new(),
        }
    }

    /// All of it, to be decoded.
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
