//! Bytes that are held by whoever needs them, without a copy.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A part of a piece of memory, which stays as it is while any part of it is held.
///
/// Unlike `bytes::Bytes` it lets the owner of the memory use it again, with all that it holds, once
/// nobody else does.
#[derive(Clone, Default)]
pub struct Slice {
    /// None where there are no bytes: an empty slice holds nothing.
    memory: Option<Arc<Vec<u8>>>,
    range: Range<usize>,
}

impl Slice {
    /// The bytes of `memory` that lie in `range`.
    ///
    /// # Panics
    /// When they lie outside.
    #[inline]
    pub fn of(memory: &Arc<Vec<u8>>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= memory.len());
        if range.is_empty() {
            return Self::default();
        }
        let memory = Some(Arc::clone(memory));
        Self { memory, range }
    }

    /// A copy of `bytes`, which holds on to nothing else.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }

    /// Where in it `part` lies.
    ///
    /// # Panics
    /// When it lies elsewhere.
    #[inline]
    pub fn range_of(&self, part: &[u8]) -> Range<usize> {
        if part.is_empty() {
            return 0..0;
        }
        let start = part.as_ptr().addr().wrapping_sub(self.as_ptr().addr());
        assert!(start <= self.len() && part.len() <= self.len() - start);
        start..start + part.len()
    }

    /// The part of it that lies in `range`.
    ///
    /// # Panics
    /// When that lies outside.
    #[inline]
    #[must_use]
    pub fn narrow(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.range.len());
        if range.is_empty() {
            return Self::default();
        }
        let start = self.range.start;
        Self {
            memory: self.memory,
            range: start + range.start..start + range.end,
        }
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self::of(&Arc::new(bytes), range)
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
