//! Detects the encoding and the schema generation of a trace from its first bytes.
//!
//! JSON and text are recognized by the first name of a message ([`first_name`]), after any text that common tools put
//! before it ([`foreign_text`]). The binary layouts are compared by [`shape`].
//!
//! Invariant: the shortest sufficient prefix decides, and it may arrive in any pieces.

mod first_name;
mod foreign_text;
mod transit;

use std::fmt;
use std::path::Path;

use crate::input::Recoding;
use crate::trace::binary::walk::Framing;

use super::element::Level;
use super::shape::{self, Reach};
use first_name::{Start, start};
use foreign_text::ForeignTextSearch;
use transit::{Charset, charset, decoded, without_carriage_returns};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf messages without separators.
    Binary,
    /// Protobuf messages, each preceded by its length: a varint, or gRPC's five bytes.
    Delimited,
    /// Protobuf's text format.
    Text,
    /// JSON objects without separators.
    Json,
}

/// The messages of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Envoy 1.7 to 1.9: the bare `Trace` of the capture extension.
    Capture,
    /// Envoy 1.10 and later: `TraceWrapper`.
    Tap,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Delimited => "delimited",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Generation {
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Capture => Level::Bare,
            Self::Tap => Level::Wrapper,
        }
    }
}

/// The layout of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) encoding: Encoding,
    pub(super) generation: Generation,
    /// The type of the outermost messages.
    pub(super) root: Level,
    /// What precedes each message in a binary encoding.
    pub(super) framing: Framing,
    /// How the bytes were changed in transit.
    pub(super) recoding: Recoding,
    /// The length of a byte order mark at the start.
    pub(super) mark: usize,
}

impl Layout {
    pub(super) fn new(encoding: Encoding, generation: Generation) -> Self {
        Self {
            encoding,
            generation,
            root: generation.level(),
            framing: match encoding {
                Encoding::Delimited => Framing::Varint,
                _ => Framing::None,
            },
            recoding: Recoding::default(),
            mark: 0,
        }
    }
}

/// How much of a binary trace is examined, in bytes, long values apart; it includes the first one or two events.
pub(super) const PREFIX: usize = 64 << 10;
/// How much text may precede the first message, in bytes: the head of a response, and what curl prints each
/// second for an hour.
const MAX_FOREIGN: usize = 256 << 10;

/// The result of a detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    As(Box<Layout>),
    /// More bytes are needed.
    Short,
    /// Not a trace.
    Nothing,
}

impl Detected {
    pub(super) fn of(layout: Layout) -> Self {
        Self::As(Box::new(layout))
    }
}

/// The number of bytes after which to try again. At first that is every byte, because a live stream must not wait. Later
/// the intervals grow, so that all attempts together take little longer than one.
pub(super) const fn next_attempt(looked: usize) -> usize {
    looked + 1 + looked / 64
}

/// Examines the beginning of an input repeatedly while it arrives.
#[derive(Debug, Default)]
pub(super) struct Detector {
    search: ForeignTextSearch,
    /// How much of a binary trace is examined.
    reach: Reach,
}

impl Detector {
    /// Detects the layout of a trace from its first bytes, `window`; `ended`: these are all.
    ///
    /// `wanted` is the encoding set by the user; the name of `path` decides if the bytes allow more than one.
    pub(super) fn detect(
        &mut self,
        window: &[u8],
        ended: bool,
        wanted: Option<Encoding>,
        path: Option<&Path>,
    ) -> Detected {
        if self.reach.is_pointless(window, ended) {
            return Detected::Short;
        }
        let readable = match charset(window, ended) {
            Charset::Utf8 { mark } => {
                let found = self.readable(&window[mark..], ended);
                set(found, |layout| layout.mark = mark)
            }
            Charset::Utf16(order) => {
                let text = decoded(order, window);
                let found = self.readable(text.as_bytes(), ended);
                set(found, |layout| layout.recoding.utf16 = Some(order))
            }
            Charset::Short => Detected::Short,
        };
        match (wanted, readable) {
            (Some(Encoding::Text | Encoding::Json), Detected::Short) => Detected::Short,
            (Some(wanted @ (Encoding::Text | Encoding::Json)), found) => match found {
                Detected::As(layout) if layout.encoding == wanted => Detected::As(layout),
                _ => Detected::of(Layout::new(wanted, Generation::Tap)),
            },
            (None, found @ (Detected::As(_) | Detected::Short)) => found,
            _ => match shape::binary(window, ended, wanted, path, &mut self.reach) {
                Detected::Nothing => changed_by_terminal(window, ended, wanted, path),
                found => found,
            },
        }
    }

    /// Searches for the first name of a text or JSON trace.
    fn readable(&mut self, text: &[u8], ended: bool) -> Detected {
        // Blanks and comments alone are not a trace, however many there are.
        let ended = ended || text.len() >= MAX_FOREIGN;
        let start = start(text, ended);
        if let Start::As(encoding, generation) = start {
            return Detected::of(Layout::new(encoding, generation));
        }
        if start == Start::Short {
            return Detected::Short;
        }
        if !text.iter().copied().all(is_text) {
            return Detected::Nothing;
        }
        if let Some((encoding, prefix)) = self.search.continue_in(text) {
            let mut layout = Layout::new(encoding, Generation::Tap);
            layout.recoding.prefix = prefix;
            return Detected::of(layout);
        }
        match (ended, start) {
            (false, _) => Detected::Short,
            // A field of TraceWrapper that is newer than this program.
            (true, Start::Json) => Detected::of(Layout::new(Encoding::Json, Generation::Tap)),
            (true, _) => Detected::Nothing,
        }
    }
}

fn set(found: Detected, change: impl FnOnce(&mut Layout)) -> Detected {
    match found {
        Detected::As(mut layout) => {
            change(&mut layout);
            Detected::As(layout)
        }
        other => other,
    }
}

/// Detects the binary layout of a trace that went through a terminal.
fn changed_by_terminal(
    window: &[u8],
    ended: bool,
    wanted: Option<Encoding>,
    path: Option<&Path>,
) -> Detected {
    // A line feed may follow.
    if window.ends_with(b"\r") && !ended {
        return Detected::Short;
    }
    let Some(bytes) = without_carriage_returns(window) else {
        return Detected::Nothing;
    };
    // These are all the bytes that are examined, although they are fewer without the carriage returns.
    let ended = ended || window.len() >= PREFIX;
    let found = shape::binary(&bytes, ended, wanted, path, &mut Reach::default());
    set(found, |layout| layout.recoding.terminal = true)
}

/// Whether a byte may occur in text: in UTF-8 or an older encoding, including terminal controls.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b'\x1b' | b'\x07' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests;
