//! The frames of one direction of an HTTP/2 connection (RFC 9113), followed byte by byte.
//!
//! It fails closed. Where header blocks make no sense, all that follow are overwritten whole. Where frames make no
//! sense, everything is, up to an event that holds nothing but whole frames.

use std::ops::Range;

use crate::model::protocol::PREFACE;

use super::hpack::{HeaderBlocks, Lost};
use super::names::Names;
use super::patch::{Patch, STAND_IN};

/// The length of a frame's header (RFC 9113, section 4.1), in bytes.
const HEADER: usize = 9;
/// What stands in the place of each byte of a header block that cannot be followed: an empty `max-forwards` of the
/// static table. So the block stays one, whatever its length, and no table changes.
const EMPTY_FIELD: u8 = 0x80 | 47;

/// The largest frame that needs no setting (RFC 9113, section 4.2), in bytes.
const USUAL_LENGTH: u32 = 16_384;
/// The largest stream id of a frame that is recognized anywhere.
const USUAL_STREAM: u32 = (1 << 24) - 1;

/// Frame types (RFC 9113, section 6; RFC 7838, 8336 and 9218).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ALTSVC: u8 = 10;
const ORIGIN: u8 = 12;
const PRIORITY_UPDATE: u8 = 16;

/// Frame flags (RFC 9113, section 6).
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HAS_PRIORITY: u8 = 0x20;

/// The setting of a table's size (RFC 9113, section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;

/// The place in one direction.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    frame: Frame,
    /// The stream whose header block goes on in the next frame.
    open_block: Option<u32>,
    blocks: HeaderBlocks,
    /// Whether header blocks can be followed.
    has_blocks: bool,
    /// The first bytes of a frame's header, or of a setting.
    begun: [u8; HEADER],
    have: u8,
    /// Whether the first frame is still to come.
    is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes into the client's preface.
    Preface(u8),
    Header,
    PadLength,
    /// In fields of fixed length before what the frame holds.
    Fixed(u8),
    Content,
    Padding,
    /// Where frames begin is unknown.
    Unknown,
}

/// The frame that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// The bytes of it that are still to come, without padding.
    left: u32,
    padding: u32,
}

/// What the whole connection has to know of an event.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The largest table that the sender allows the other side.
    pub(super) table_size: Option<u32>,
}

impl Frames {
    /// The place at the beginning.
    pub(super) fn new(is_client: bool) -> Self {
        let place = if is_client {
            Place::Preface(0)
        } else {
            Place::Header
        };
        Self::at(place, true)
    }

    /// An unknown place: what came before is not known.
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

    /// Takes note of the largest table that the other side allows.
    pub(super) fn allow(&mut self, size: u32) {
        self.blocks.allow(size);
    }

    /// Loses the place.
    pub(super) fn lose(&mut self) {
        self.place = Place::Unknown;
        self.has_blocks = false;
        self.is_first = false;
        self.open_block = None;
    }

    /// Goes on over so many bytes that are not known.
    pub(super) fn skip(&mut self, missing: u64) {
        if missing == 0 || self.place == Place::Unknown {
            return;
        }
        let is_header_block = matches!(self.frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION);
        let is_inside = matches!(self.place, Place::Content | Place::Padding);
        let left = u64::from(self.frame.left) + u64::from(self.frame.padding);
        // Tables, settings and blocks that go on cannot be followed without all of their bytes.
        if !is_inside || missing > left || is_header_block || self.frame.kind == SETTINGS {
            self.lose();
            return;
        }
        let content = missing.min(self.frame.left.into()) as u32;
        self.frame.left -= content;
        self.frame.padding -= (missing - u64::from(content)) as u32;
        self.leave_content();
    }

    /// Goes on over an event's bytes, if all of them are certainly inside the data of one frame.
    #[inline]
    pub(super) fn is_inside(&mut self, bytes: &[u8]) -> bool {
        let is_inside = self.place == Place::Content
            && self.frame.kind == DATA
            && bytes.len() < self.frame.left as usize
            && !are_frames(bytes, true);
        if is_inside {
            self.frame.left -= bytes.len() as u32;
        }
        is_inside
    }

    /// Goes on over an event's bytes, from `at` on.
    pub(super) fn follow(
        &mut self,
        mut at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
    ) -> Told {
        let bytes = patch.bytes();
        let mut told = Told::default();
        match self.place {
            // Bytes may be missing that the trace says nothing of.
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
                    if self.have == 0
                        && let Some(end) = self.plain_frame(at, patch, names, has_bodies)
                    {
                        at = end;
                        continue;
                    }
                    at = self.header(bytes, at);
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
                    self.content(at..end, patch, names, has_bodies, &mut told);
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
        told
    }

    /// Takes a whole frame with data, or with a whole header block, and returns where it ends; none: another one
    /// comes, or as much of one.
    ///
    /// Nearly all frames are like that, and take few steps here.
    #[inline]
    fn plain_frame(
        &mut self,
        at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
    ) -> Option<usize> {
        let rest = &patch.bytes()[at..];
        let [a, b, c, kind, flags, id @ ..] = *rest.first_chunk::<HEADER>()?;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let is_stream = 1..=i32::MAX as u32;
        let is_plain = len <= rest.len() - HEADER
            && is_stream.contains(&u32::from_be_bytes(id))
            && self.open_block.is_none()
            && !self.is_first;
        let content = at + HEADER..at + HEADER + len;
        match kind {
            DATA if is_plain && flags & PADDED == 0 => {
                if has_bodies {
                    patch.overwrite(content.clone());
                }
            }
            HEADERS
                if is_plain
                    && self.has_blocks
                    && flags & (END_HEADERS | PADDED | HAS_PRIORITY) == END_HEADERS =>
            {
                self.blocks.begin();
                self.header_block(content.clone(), patch, names);
                self.has_blocks &= self.blocks.may_end();
            }
            _ => return None,
        }
        Some(content.end)
    }

    /// Takes the place at the beginning of an event that holds whole frames.
    const fn find(&mut self) {
        self.place = Place::Header;
        self.have = 0;
    }

    /// Takes bytes of a frame's header, and returns where they end.
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

    /// Takes a frame's header, and returns where it ends, or `at` where it is none: then it is overwritten.
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
            // Without what went before, a block may go on here.
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

    /// Goes on to the padding or the next frame, where the content has ended.
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
        // A block that ends inside a field makes no sense, nor does the table after it.
        self.has_blocks &= !is_end || self.blocks.may_end();
    }

    fn content(
        &mut self,
        range: Range<usize>,
        patch: &mut Patch<'_>,
        names: &Names,
        has_bodies: bool,
        told: &mut Told,
    ) {
        match self.frame.kind {
            DATA if has_bodies => patch.overwrite(range),
            HEADERS | PUSH_PROMISE | CONTINUATION => self.header_block(range, patch, names),
            SETTINGS => self.settings(&patch.bytes()[range], told),
            DATA | PRIORITY..=WINDOW_UPDATE | ALTSVC | ORIGIN | PRIORITY_UPDATE => {}
            // Envoy's METADATA, which is a header block of another kind, and what else there may be.
            _ => patch.overwrite_whole(range, STAND_IN),
        }
    }

    /// Takes bytes of a header block.
    #[inline]
    fn header_block(&mut self, range: Range<usize>, patch: &mut Patch<'_>, names: &Names) {
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

    fn settings(&mut self, bytes: &[u8], told: &mut Told) {
        for &byte in bytes {
            self.begun[usize::from(self.have)] = byte;
            self.have += 1;
            if self.have < 6 {
                continue;
            }
            self.have = 0;
            let [a, b, c, d, e, f, ..] = self.begun;
            if u16::from_be_bytes([a, b]) == HEADER_TABLE_SIZE {
                told.table_size = Some(u32::from_be_bytes([c, d, e, f])).max(told.table_size);
            }
        }
    }
}

impl Frame {
    /// The frame with this header, if there is such a frame.
    #[inline]
    fn of(header: &[u8; HEADER]) -> Option<Self> {
        let [a, b, c, kind, flags, id @ ..] = *header;
        let left = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(id);
        // A reserved bit is 0 in all that is sent.
        let is_frame = stream >> 31 == 0
            && match kind {
                DATA | HEADERS | PUSH_PROMISE | CONTINUATION => stream != 0,
                PRIORITY => stream != 0 && left == 5,
                RST_STREAM => stream != 0 && left == 4,
                SETTINGS => stream == 0 && left.is_multiple_of(6),
                PING => stream == 0 && left == 8,
                GOAWAY => stream == 0 && left >= 8,
                WINDOW_UPDATE => left == 4,
                _ => true,
            };
        is_frame.then_some(Self {
            kind,
            flags,
            stream,
            left,
            padding: 0,
        })
    }

    /// Whether nearly every frame is like it, and hardly any other bytes are.
    const fn is_usual(&self) -> bool {
        if self.left > USUAL_LENGTH || self.stream > USUAL_STREAM {
            return false;
        }
        match self.kind {
            DATA => self.flags & !(END_STREAM | PADDED) == 0,
            HEADERS => {
                self.left > 0
                    && self.flags & !(END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY) == 0
            }
            PUSH_PROMISE => self.left > 4 && self.flags & !(END_HEADERS | PADDED) == 0,
            CONTINUATION => self.left > 0 && self.flags & !END_HEADERS == 0,
            SETTINGS | PING => self.flags & !1 == 0,
            PRIORITY | RST_STREAM | GOAWAY | WINDOW_UPDATE => self.flags == 0,
            _ => false,
        }
    }
}

/// Whether an event's bytes are whole frames of the usual kinds, the last of which may go on in the next event.
///
/// `has_headers` asks for a header block among them.
#[inline]
pub(super) fn are_frames(bytes: &[u8], has_headers: bool) -> bool {
    let first = bytes.first_chunk().and_then(Frame::of);
    first.is_some_and(|frame| frame.is_usual()) && are_usual_frames(bytes, has_headers)
}

/// Whether the first frame is whole, so that what follows it shows that it is one. A header that is read from the
/// wrong place, as one byte too late, mostly has a length that goes far beyond the event.
fn is_whole_frame(bytes: &[u8]) -> bool {
    let frame = bytes.first_chunk().and_then(Frame::of);
    frame.is_some_and(|frame| HEADER + frame.left as usize <= bytes.len())
}

fn are_usual_frames(bytes: &[u8], has_headers: bool) -> bool {
    let (mut rest, mut found) = (bytes, !has_headers);
    while !rest.is_empty() {
        let Some(frame) = rest.first_chunk().and_then(Frame::of) else {
            return false;
        };
        if !frame.is_usual() {
            return false;
        }
        found |= matches!(frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION);
        rest = rest.get(HEADER + frame.left as usize..).unwrap_or_default();
    }
    found
}
