//! The tokens that text proto and JSON share.

use crate::trace::error::Damage;
use crate::trace::readable::scan::View;

/// The result of a step of reading.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// One item.
    Item(T),
    /// The window is too short: it has to be filled, and the step repeated.
    More,
    /// The input has ended, and nothing is missing.
    End,
}

/// A token of a message in a readable encoding.
///
/// A repeated field becomes a [`Token::Field`] before each of its values, however the encoding writes lists. A
/// value is [`Token::Open`] … [`Token::Close`], [`Token::Quoted`] or [`Token::Bare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Token {
    /// A field's name, in `text`.
    Field,
    /// A message begins.
    Open,
    /// The innermost open message ends.
    Close,
    /// A value in quotes, in `text`: without quotes and escapes, any bytes.
    Quoted,
    /// A number, name or truth value without quotes, in `text`.
    Bare,
    /// A note of Envoy's at this offset that it failed to write a message. Only between messages.
    Failed(u64),
    /// Skipped bytes that are not part of a message; [`Lexer::passed`] has the details. Only between messages.
    Passed,
    /// The last field has no value (JSON's null or empty list).
    Null,
}

/// Skipped bytes that are not part of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) struct Passed {
    /// Their range.
    pub(in crate::trace) from: u64,
    pub(in crate::trace) to: u64,
    pub(in crate::trace) what: Foreign,
    /// Whether the input ends there.
    pub(in crate::trace) is_last: bool,
}

/// What was found where a message is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) enum Foreign {
    /// Text that does not look like part of a message.
    #[default]
    Text,
    /// A part of a message.
    Fragment,
    /// A line that Envoy wrote.
    Note,
}

/// The minimum length of a name that begins a message inside a cut one (see [`Lexer::overtaking`]), in bytes.
pub(in crate::trace) const MIN_OVERTAKING: usize = 17;

/// Splits a readable encoding into tokens.
pub(in crate::trace) trait Lexer: Clone {
    /// The next token in `view`. If the token has text, it replaces what is in `text`.
    ///
    /// Returns [`Step::End`] only between messages of the outermost level. The caller does not change `text` between
    /// calls. After [`Step::More`], it contains the beginning of a token that arrives in pieces, so that a long
    /// string is searched once and the window stays short. After a field's name, it contains the name until its
    /// value.
    #[inline]
    fn next(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        match self.usual(view, text) {
            Some(token) => Ok(Step::Item(token)),
            None => self.general(view, text),
        }
    }

    /// The fast path of [`next`](Self::next): the next token, if it is inside a message, in the window as a whole, and
    /// spelled as Envoy spells it. A name is shorter than [`MIN_OVERTAKING`]. Otherwise nothing changes.
    ///
    /// Wherever it returns a token, [`general`](Self::general) would return the same one, and have the same state
    /// afterwards.
    fn usual(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Token>;

    /// The next token, however it is spelled: [`next`](Self::next) without its fast path.
    fn general(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage>;

    /// Leaves the damaged message, and searches for the next one from here: the next token is [`Token::Passed`].
    /// `text` is as the last call left it, and `at` is the position in the input.
    fn seek(&mut self, text: &[u8], at: u64);

    /// Details of the last [`Token::Passed`].
    fn passed(&self) -> Passed;

    /// The offset of the current or last outermost message.
    fn begins(&self) -> u64;

    /// Continues as if the field whose name is in `text` were the first of an outermost message.
    fn restart_after_name(&mut self);

    /// Decides whether a message of the outermost level begins with the field `name`, which was just returned. The open
    /// message was then cut. Returns the offset at which the new one begins, and how many bytes at the front of `name`
    /// belong to the cut one.
    ///
    /// `name` ends at the offset `end`. The token before it ended at the offset `opened`, and `first` if that token was
    /// [`Token::Open`].
    fn overtaking(&self, name: &[u8], first: bool, opened: u64, end: u64) -> Option<(u64, usize)>;

    /// Restarts before a value that is a message, inside another message.
    fn restart_at_value(&mut self);
}
