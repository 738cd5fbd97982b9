//! How the bytes of a trace were changed in transit: UTF-16, and the carriage returns of a terminal.
//!
//! This only recognizes the change; [`crate::input`] reverts it. Prefixes of lines are recognized where the first
//! message is searched for.
//!
//! Invariant: bytes that may turn out to be UTF-16 are not recognized as anything else.

use crate::input::Utf16;

use super::{PREFIX, is_text};

/// The character encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8 or a similar encoding, after a mark of this length.
    Utf8 {
        mark: usize,
    },
    Utf16(Utf16),
    /// More bytes are needed.
    Short,
}

/// The number of characters that identify a text as UTF-16.
const SHOWN_UNITS: usize = 4;

/// The character encoding of a text that begins with `window`; `ended`: these are all of its bytes.
pub(super) fn charset(window: &[u8], ended: bool) -> Charset {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if window.starts_with(MARK) {
        return Charset::Utf8 { mark: MARK.len() };
    }
    if !window.is_empty() && MARK.starts_with(window) && !ended {
        return Charset::Short;
    }
    for (order, mark) in [(Utf16::Little, [0xff, 0xfe]), (Utf16::Big, [0xfe, 0xff])] {
        // A mark alone may be the length of a delimited message.
        let after = window.strip_prefix(&mark);
        let units: Vec<_> = after
            .unwrap_or(window)
            .chunks(2)
            .take(SHOWN_UNITS)
            .collect();
        let is_ascii = |unit: &&[u8]| match **unit {
            [a, b] => {
                u8::try_from(order.unit([a, b])).is_ok_and(|byte| byte < 0x80 && is_text(byte))
            }
            [a] => order == Utf16::Big && a == 0 || order == Utf16::Little && is_text(a),
            _ => false,
        };
        let whole = units.iter().filter(|unit| unit.len() == 2).count();
        let ascii = units.iter().filter(|unit| is_ascii(unit)).count();
        let first = units.first().is_some_and(is_ascii);
        let fits = match after {
            // After a mark, a prompt may begin with a character of any kind.
            Some(_) => ascii + 1 >= units.len(),
            None => ascii == units.len(),
        };
        let is_shown = whole == SHOWN_UNITS || (after.is_some() && first && whole > 0);
        if fits && (is_shown || (ended && whole > 1)) {
            return Charset::Utf16(order);
        }
        if fits && !ended && !window.is_empty() {
            return Charset::Short;
        }
    }
    Charset::Utf8 { mark: 0 }
}

/// Decodes the available characters of UTF-16.
pub(super) fn decoded(order: Utf16, window: &[u8]) -> String {
    let unit = |pair: &[u8]| order.unit([pair[0], pair[1]]);
    let mut units: Vec<u16> = window.chunks_exact(2).map(unit).collect();
    // The first half of a surrogate pair may be incomplete.
    units.pop_if(|last| (0xd800..0xdc00).contains(last));
    let units = units.strip_prefix(&[0xfeff]).unwrap_or(&units);
    char::decode_utf16(units.iter().copied())
        .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The `window` before a terminal added a carriage return before each line feed, if that is possible.
pub(super) fn without_carriage_returns(window: &[u8]) -> Option<Vec<u8>> {
    let window = &window[..window.len().min(PREFIX)];
    let mut feeds = memchr::memchr_iter(b'\n', window).peekable();
    feeds.peek()?;
    if !feeds.all(|at| at > 0 && window[at - 1] == b'\r') {
        return None;
    }
    let mut bytes = Vec::with_capacity(window.len());
    for (i, &byte) in window.iter().enumerate() {
        if byte != b'\r' || window.get(i + 1) != Some(&b'\n') {
            bytes.push(byte);
        }
    }
    Some(bytes)
}
