//! Messages of the text format that were cut, and those that begin inside them.
//!
//! When Envoy is killed, its last message ends anywhere, and the next run may append to the file.

use crate::trace::detect::Generation;
use crate::trace::element::Level;
use crate::trace::readable::begin::{self, Beginning};
use crate::trace::readable::seek::closing;

/// The beginning of a message inside another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    /// Its offset.
    pub(super) at: u64,
    /// The name of its first field.
    pub(super) name: &'static [u8],
    /// What closes that field's value, if the opening brace has been read as well.
    pub(super) closing: Option<u8>,
}

/// The minimum length of a part of a name, in bytes. Shorter ones are words of other languages.
pub(super) const MIN_CUT: usize = 6;

/// The maximum number of blanks on each side of the opening brace of a message inside a string.
const MAX_BLANKS: usize = 16;

/// Whether `word` is the beginning of a name of the outermost level.
pub(super) fn is_cut(generation: Generation, word: &[u8]) -> bool {
    let names = generation.level().schema().fields.iter();
    let taps = Level::Taps.schema().fields.iter();
    let mut names = names.chain(taps).map(|field| field.name.as_bytes());
    !word.is_empty() && names.any(|name| name.starts_with(word))
}

/// Whether `word` is the end of a trace's name, without its beginning.
pub(super) fn is_end(generation: Generation, word: &[u8]) -> bool {
    let mut names = generation.level().schema().fields.iter();
    let is_end = |name: &[u8]| name.len() > word.len() && name.ends_with(word);
    word.len() >= MIN_CUT
        && names.any(|field| begin::is_trace(field) && is_end(field.name.as_bytes()))
}

/// Whether only a field of the outermost level has this name, or a cut message may end in such a name.
pub(super) fn knows(generation: Generation, name: &[u8]) -> bool {
    generation.beginning(name) == Some(Beginning::Sure) || generation.ending(name).is_some()
}

/// The message that begins at the end of `text`, a string that has been read up to the offset `end` after a line
/// feed.
///
/// Envoy escapes line feeds in strings. If there is one after the beginning of a message, the string was cut before
/// that.
pub(super) fn opening(generation: Generation, text: &[u8], end: u64) -> Option<Inner> {
    let before = |text: &[u8], blanks: &[u8]| {
        let last = text.iter().rev().take(MAX_BLANKS);
        text.len() - last.take_while(|byte| blanks.contains(byte)).count()
    };
    let (&open, rest) = text[..before(text, b" \t\r\n")].split_last()?;
    let rest = &rest[..before(rest, b" \t:")];
    let name = generation
        .ending(rest)
        .filter(|_| matches!(open, b'{' | b'<'))?;
    let length = text.len() - rest.len() + name.len();
    Some(Inner {
        at: end.saturating_sub(length as u64),
        name,
        closing: Some(closing(open)),
    })
}
