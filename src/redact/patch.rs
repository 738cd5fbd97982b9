//! An event's bytes, of which a copy is made once something in them is overwritten.

use std::ops::Range;

/// What stands in the place of each byte of a value.
pub(super) const STAND_IN: u8 = b'*';

/// The bytes of an event on their way through the stage.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    original: &'a [u8],
    changed: &'a mut Vec<u8>,
    is_changed: bool,
    /// How many bytes were overwritten because what they are is unknown.
    pub(super) whole: u64,
}

impl<'a> Patch<'a> {
    /// Bytes as they are; `changed` is where a copy is made, if need be.
    pub(super) fn new(original: &'a [u8], changed: &'a mut Vec<u8>) -> Self {
        Self {
            original,
            changed,
            is_changed: false,
            whole: 0,
        }
    }

    /// The bytes as they were recorded.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.original
    }

    /// Whether anything was overwritten.
    pub(super) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Some of the bytes, to be overwritten.
    pub(super) fn part(&mut self, range: Range<usize>) -> &mut [u8] {
        if !self.is_changed {
            self.is_changed = true;
            self.changed.clear();
            self.changed.extend_from_slice(self.original);
        }
        self.changed.get_mut(range).unwrap_or_default()
    }

    /// Overwrites a value.
    pub(super) fn overwrite(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.part(range).fill(STAND_IN);
        }
    }

    /// Overwrites bytes of which nobody knows what they are.
    pub(super) fn overwrite_whole(&mut self, range: Range<usize>, by: u8) {
        if !range.is_empty() {
            self.whole += range.len() as u64;
            self.part(range).fill(by);
        }
    }
}
