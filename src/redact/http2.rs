//! The frames of one direction of an HTTP/2 connection (RFC 9113), followed byte by byte.
//!
//! It fails closed. After an invalid header block, all later blocks are overwritten. After an invalid frame, everything
//! is overwritten up to an event that begins with a complete frame and has nothing but frames.

mod content;
mod frame;

use std::ops::Range;

use crate::model::protocol::PREFACE;

use super::hpack::HeaderBlocks;

use super::names::Names;

use super::patch::{Patch, STAND_IN};
pub(super) use frame::are_frames;
use frame::{
    CONTINUATION, DATA, END_HEADERS, Frame, HAS_PRIORITY, HEADER, HEADERS, PADDED, PUSH_PROMISE,
    PlainFrame, SETTINGS, is_whole_frame,
};

/// The position in one direction.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    frame: Frame,
    /// The stream whose header block continues in the next frame.
    open_block: Option<u32>,
    blocks: HeaderBlocks,
    /// Whether header blocks can be followed.
    has_blocks: bool,
    /// The first bytes of a frame's header, or of a setting.
    begun: [u8; HEADER],
    have: u8,
    /// Whether no frame has arrived so far.
    is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After this many bytes of the client's preface.
    Preface(u8),
    Header,
    PadLength,
    /// In fields of fixed length before the content; the number of bytes left.
    Fixed(u8),
    Content,
    Padding,
    /// The position is lost.
    Unknown,
}

impl Frames {
    /// The position at the beginning of a direction.
    pub(super) fn new(is_client: bool) -> Self {
        let place = if is_client {
            Place::Preface(0)
        } else {
            Place::Header
        };
        Self::at(place, true)
    }

    /// A lost position.
    pub(super) fn unknown() -> Self {
        Self::at(Place::Unknown, false)
    }

    fn at(place: Place, has_blocks: bool) -> Self {
        Self {
            place,
            frame: Frame::default(),
            open_block: None,
            blocks: HeaderBlocks::new(),
            has_blocks,
            begun: [0; HEADER],
            have: 0,
            is_first: has_blocks,
        }
    }

    /// Notes the largest table that the other side allows.
    pub(super) fn allow(&mut self, size: u32) {
        self.blocks.allow(size);
    }

    /// Loses the position.
    pub(super) fn lose(&mut self) {
        self.place = Place::Unknown;
        self.has_blocks = false;
        self.is_first = false;
        self.open_block = None;
    }

    /// Advances over `missing` unknown bytes.
    pub(super) fn skip(&mut self, missing: u64) {
        if missing == 0 || self.place == Place::Unknown {
            return;
        }
        let is_header_block = matches!(self.frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION);
        let is_inside = matches!(self.place, Place::Content | Place::Padding);
        let left = u64::from(self.frame.left) + u64::from(self.frame.padding);
        // Header blocks and settings cannot be followed without all of their bytes.
        if !is_inside || missing > left || is_header_block || self.frame.kind == SETTINGS {
            self.lose();
            return;
        }
        let content = missing.min(self.frame.left.into()) as u32;
        self.frame.left -= content;
        self.frame.padding -= (missing - u64::from(content)) as u32;
        self.leave_content();
    }

    /// Whether the next byte is the first of a frame.
    pub(super) const fn is_between_frames(&self) -> bool {
        matches!(self.place, Place::Header) && self.have == 0
    }

    /// Advances over the bytes of an event, if they are certainly inside the data of a frame.
    #[inline]
    pub(super) fn pass(&mut self, bytes: &[u8]) -> bool {
        let is_inside = self.place == Place::Content
            && self.frame.kind == DATA
            && bytes.len() < self.frame.left as usize
            && !are_frames(bytes, true);
        if is_inside {
            self.frame.left -= bytes.len() as u32;
        }
        is_inside
    }

    /// Takes the frames from `at` on that are complete, and have data or a complete header block, and returns their end.
    ///
    /// Most frames are like that, and take a short path here.
    #[inline]
    pub(super) fn plain_frames(
        &mut self,
        mut at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
    ) -> usize {
        if !self.is_between_frames() || self.open_block.is_some() || self.is_first {
            return at;
        }
        while let Some(PlainFrame { kind, content }) = PlainFrame::at(patch.bytes(), at) {
            if kind == HEADERS && !self.has_blocks {
                break;
            }
            at = content.end;
            if kind == HEADERS {
                self.plain_block(content, patch, names);
            } else if has_bodies {
                patch.overwrite(content);
            }
        }
        at
    }

    /// Takes a complete header block.
    #[inline]
    fn plain_block(&mut self, block: Range<usize>, patch: &mut Patch<'_>, names: &Names) {
        self.blocks.begin();
        let at = self.blocks.whole_fields(block.clone(), patch, names);
        if at < block.end {
            self.header_block(at..block.end, patch, names);
            self.has_blocks &= self.blocks.may_end();
        }
    }

    /// Advances over the bytes of an event, from `at` on. Returns the largest table that they allow the other side.
    pub(super) fn follow(
        &mut self,
        mut at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
    ) -> Option<u32> {
        let bytes = patch.bytes();
        let mut table_size = None;
        match self.place {
            // Bytes may be missing that the trace does not mention.
            Place::Content if self.frame.kind == DATA && are_frames(&bytes[at..], true) => {
                self.lose();
            }
            _ => {}
        }
        if self.place == Place::Unknown
            && are_frames(&bytes[at..], false)
            && is_whole_frame(&bytes[at..])
        {
            self.find();
        }
        while at < bytes.len() {
            let rest = bytes.len() - at;
            match self.place {
                Place::Unknown => {
                    patch.overwrite_whole(at..bytes.len(), STAND_IN);
                    break;
                }
                Place::Preface(have) => {
                    let expected = &PREFACE[usize::from(have)..];
                    let len = rest.min(expected.len());
                    if bytes[at..at + len] != expected[..len] {
                        self.lose();
                        continue;
                    }
                    at += len;
                    self.place = match len == expected.len() {
                        true => Place::Header,
                        false => Place::Preface(have + len as u8),
                    };
                }
                Place::Header => {
                    at = match self.plain_frames(at, patch, names, has_bodies) {
                        none if none == at => self.header(bytes, at),
                        end => end,
                    };
                }
                Place::PadLength => {
                    let padding = u32::from(bytes[at]);
                    at += 1;
                    self.pad_length(padding);
                }
                Place::Fixed(left) => {
                    let len = rest.min(left.into());
                    at += len;
                    self.frame.left -= len as u32;
                    match left - len as u8 {
                        0 => self.enter_content(),
                        left => self.place = Place::Fixed(left),
                    }
                }
                Place::Content => {
                    let end = at + rest.min(self.frame.left as usize);
                    self.content(at..end, patch, names, has_bodies, &mut table_size);
                    self.frame.left -= (end - at) as u32;
                    at = end;
                    self.leave_content();
                }
                Place::Padding => {
                    let len = rest.min(self.frame.padding as usize);
                    self.frame.padding -= len as u32;
                    at += len;
                    self.leave_content();
                }
            }
        }
        table_size
    }

    /// Takes the position at the beginning of a frame.
    const fn find(&mut self) {
        self.place = Place::Header;
        self.have = 0;
    }

    /// Takes bytes of a frame's header, and returns their end.
    #[inline]
    fn header(&mut self, bytes: &[u8], at: usize) -> usize {
        let have = usize::from(self.have);
        if have == 0
            && let Some(header) = bytes[at..].first_chunk()
        {
            return self.whole_header(header, at);
        }
        let len = (bytes.len() - at).min(HEADER - have);
        self.begun[have..have + len].copy_from_slice(&bytes[at..at + len]);
        if have + len < HEADER {
            self.have += len as u8;
            return at + len;
        }
        self.have = 0;
        let header = self.begun;
        match self.whole_header(&header, at) {
            lost if lost == at => at,
            _ => at + len,
        }
    }

    /// Takes a frame's header, and returns its end, or `at` if it is invalid, so that it is overwritten.
    #[inline]
    fn whole_header(&mut self, header: &[u8; HEADER], at: usize) -> usize {
        match Frame::of(header) {
            Some(frame) if self.may_follow(&frame) => {
                self.is_first = false;
                self.frame = frame;
                self.frame_begins();
                at + HEADER
            }
            _ => {
                self.lose();
                at
            }
        }
    }

    /// Whether a frame may come here.
    fn may_follow(&self, frame: &Frame) -> bool {
        match self.open_block {
            Some(stream) => frame.kind == CONTINUATION && frame.stream == stream,
            None if self.is_first => frame.kind == SETTINGS,
            // The beginning of the block may be lost.
            None => frame.kind != CONTINUATION || !self.has_blocks,
        }
    }

    fn frame_begins(&mut self) {
        let frame = self.frame;
        if matches!(frame.kind, HEADERS | PUSH_PROMISE) {
            self.blocks.begin();
        }
        let is_paddable = matches!(frame.kind, DATA | HEADERS | PUSH_PROMISE);
        if is_paddable && frame.flags & PADDED != 0 {
            self.place = Place::PadLength;
            if frame.left == 0 {
                self.lose();
            }
            return;
        }
        self.fixed_begin();
    }

    fn pad_length(&mut self, padding: u32) {
        self.frame.left -= 1;
        if padding > self.frame.left {
            self.lose();
            return;
        }
        self.frame.left -= padding;
        self.frame.padding = padding;
        self.fixed_begin();
    }

    fn fixed_begin(&mut self) {
        let fixed = match self.frame.kind {
            HEADERS if self.frame.flags & HAS_PRIORITY != 0 => 5,
            PUSH_PROMISE => 4,
            _ => 0,
        };
        if u32::from(fixed) > self.frame.left {
            self.lose();
        } else if fixed > 0 {
            self.place = Place::Fixed(fixed);
        } else {
            self.enter_content();
        }
    }

    fn enter_content(&mut self) {
        self.place = Place::Content;
        self.leave_content();
    }

    /// Advances to the padding or the next frame at the end of the content.
    fn leave_content(&mut self) {
        if self.frame.left > 0 {
            return;
        }
        if self.frame.padding > 0 {
            self.place = Place::Padding;
            return;
        }
        self.place = Place::Header;
        if !matches!(self.frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            return;
        }
        let is_end = self.frame.flags & END_HEADERS != 0;
        self.open_block = (!is_end).then_some(self.frame.stream);
        // After a block that ends inside a field, the table is unknown.
        self.has_blocks &= !is_end || self.blocks.may_end();
    }
}
