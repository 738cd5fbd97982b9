//! The headers of frames of HTTP/2, and how frames are recognized.

use std::ops::Range;

/// The length of a frame's header (RFC 9113, section 4.1), in bytes.
pub(super) const HEADER: usize = 9;

/// The maximum length of a frame without a setting (RFC 9113, section 4.2), in bytes.
const USUAL_LENGTH: u32 = 16_384;

/// The largest stream id of a frame that is recognized anywhere.
const USUAL_STREAM: u32 = (1 << 24) - 1;

/// Frame types (RFC 9113, section 6; RFC 7838, 8336 and 9218).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ALTSVC: u8 = 10;
pub(super) const ORIGIN: u8 = 12;
pub(super) const PRIORITY_UPDATE: u8 = 16;

/// Frame flags (RFC 9113, section 6).
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const HAS_PRIORITY: u8 = 0x20;

/// The current frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The number of bytes that have not arrived, without padding.
    pub(super) left: u32,
    pub(super) padding: u32,
}

impl Frame {
    /// Parses the header of a frame; `None` if it is invalid.
    #[inline]
    pub(super) fn of(header: &[u8; HEADER]) -> Option<Self> {
        let [a, b, c, kind, flags, id @ ..] = *header;
        let left = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(id);
        // The reserved bit is always sent as 0.
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

    /// Whether most frames have such a header, and few other bytes do.
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

/// Whether the bytes of an event are frames of the usual kinds, the last of which may continue in the next event.
///
/// With `has_headers`, one of them has to hold a header block.
#[inline]
pub(in super::super) fn are_frames(bytes: &[u8], has_headers: bool) -> bool {
    let first = bytes.first_chunk().and_then(Frame::of);
    first.is_some_and(|frame| frame.is_usual()) && are_usual_frames(bytes, has_headers)
}

/// Whether the first frame is complete. A header that is parsed at a wrong position, for example one byte too late,
/// mostly has a length far beyond the event.
pub(super) fn is_whole_frame(bytes: &[u8]) -> bool {
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

/// A complete frame that holds nothing but data, or nothing but a complete header block: most frames are like that.
pub(super) struct PlainFrame {
    pub(super) kind: u8,
    /// The range of its content in the bytes that it was found in.
    pub(super) content: Range<usize>,
}

impl PlainFrame {
    /// The frame at the index `at` of `bytes`; `None` if there is another one.
    #[inline(always)]
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let (header, rest) = bytes.get(at..)?.split_first_chunk::<HEADER>()?;
        let [a, b, c, kind, flags, id @ ..] = *header;
        let len = (u32::from_be_bytes([a, b, c, kind]) >> 8) as usize;
        let is_plain = match kind {
            DATA => flags & PADDED == 0,
            HEADERS => flags & (END_HEADERS | PADDED | HAS_PRIORITY) == END_HEADERS,
            _ => false,
        };
        let is_stream = (1..=i32::MAX as u32).contains(&u32::from_be_bytes(id));
        let begin = at + HEADER;
        (is_plain && is_stream && len <= rest.len()).then_some(Self {
            kind,
            content: begin..begin + len,
        })
    }
}
