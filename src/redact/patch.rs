//! The bytes of an event, copied when the first of them is overwritten.

use std::ops::Range;

use crate::model::protocol::Parsed;

/// The replacement of each byte of a value.
pub(super) const STAND_IN: u8 = b'*';

/// The bytes of an event, and their changed copy.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    original: &'a [u8],
    changed: &'a mut Vec<u8>,
    is_changed: bool,
    /// The number of bytes overwritten because their meaning is unknown.
    pub(super) whole: u64,
    /// What was found of the event's HTTP.
    pub(super) parsed: Option<Parsed>,
}

impl<'a> Patch<'a> {
    /// Unchanged bytes; a copy, if one is needed, goes into `changed`.
    pub(super) fn new(original: &'a [u8], changed: &'a mut Vec<u8>) -> Self {
        Self {
            original,
            changed,
            is_changed: false,
            whole: 0,
            parsed: None,
        }
    }

    /// The recorded bytes.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.original
    }

    /// Whether anything was overwritten.
    pub(super) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Some bytes of the copy, for the caller to overwrite.
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

    /// Overwrites bytes of unknown meaning, and counts them.
    pub(super) fn overwrite_whole(&mut self, range: Range<usize>, by: u8) {
        if !range.is_empty() {
            self.whole += range.len() as u64;
            self.part(range).fill(by);
        }
    }
}
