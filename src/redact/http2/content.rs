//! The content of frames: header blocks, settings and data.

use std::ops::Range;

use super::super::hpack::Lost;
use super::super::names::Names;
use super::super::patch::{Patch, STAND_IN};
use super::Frames;
use super::frame::{
    ALTSVC, CONTINUATION, DATA, HEADERS, ORIGIN, PRIORITY, PRIORITY_UPDATE, PUSH_PROMISE, SETTINGS,
    WINDOW_UPDATE,
};

/// The replacement of each byte of a header block that cannot be decoded: an empty `max-forwards` from the static
/// table. The block stays valid at any length, and changes no table.
const EMPTY_FIELD: u8 = 0x80 | 47;

/// The setting of a table's size (RFC 9113, section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;

impl Frames {
    /// Takes bytes of a frame's content.
    pub(super) fn content(
        &mut self,
        range: Range<usize>,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
        table_size: &mut Option<u32>,
    ) {
        match self.frame.kind {
            DATA if has_bodies => patch.overwrite(range),
            HEADERS | PUSH_PROMISE | CONTINUATION => self.header_block(range, patch, names),
            SETTINGS => self.settings(&patch.bytes()[range], table_size),
            DATA | PRIORITY..=WINDOW_UPDATE | ALTSVC | ORIGIN | PRIORITY_UPDATE => {}
            // Envoy's METADATA, which is a header block of another kind, and unknown frames.
            _ => patch.overwrite_whole(range, STAND_IN),
        }
    }

    /// Takes bytes of a header block.
    #[inline]
    pub(super) fn header_block(
        &mut self,
        range: Range<usize>,
        patch: &mut Patch<'_>,
        names: &Names,
    ) {
        let mut lost = range.start;
        if self.has_blocks {
            match self.blocks.follow(range.start, range.end, patch, names) {
                Ok(()) => return,
                Err(Lost(at)) => lost = at,
            }
            self.has_blocks = false;
        }
        patch.overwrite_whole(lost..range.end, EMPTY_FIELD);
    }

    fn settings(&mut self, bytes: &[u8], table_size: &mut Option<u32>) {
        for &byte in bytes {
            self.begun[usize::from(self.have)] = byte;
            self.have += 1;
            if self.have < 6 {
                continue;
            }
            self.have = 0;
            let [a, b, c, d, e, f, ..] = self.begun;
            if u16::from_be_bytes([a, b]) == HEADER_TABLE_SIZE {
                *table_size = Some(u32::from_be_bytes([c, d, e, f])).max(*table_size);
            }
        }
    }
}
