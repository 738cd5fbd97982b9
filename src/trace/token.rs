//! What the two readable encodings, text proto and JSON, have in common: a stream of tokens.

use crate::input::Input;

use super::error::Damage;

/// What a step of reading came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// One more.
    Item(T),
    /// The window is too short: fill it and ask again.
    More,
    /// The input is over, and nothing is missing.
    End,
}

/// A piece of a message in a readable encoding.
///
/// A repeated field comes as a [`Token::Field`] before each of its values, whatever the encoding's
/// way to write lists. A value is [`Token::Open`] … [`Token::Close`], [`Token::Quoted`] or
/// [`Token::Bare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A field's name; `text` has it.
    Field,
    /// A message begins.
    Open,
    /// The innermost open message ends.
    Close,
    /// A value in quotes; `text` has it, free of quotes and escapes, as bytes of any kind.
    Quoted,
    /// A number, name or truth value without quotes; `text` has it.
    Bare,
    /// At this offset stands a note that Envoy failed to write a message. Between messages only.
    Failed(u64),
    /// A field that has no value after all (JSON's null or empty list).
    Null,
}

/// Cuts a readable encoding into tokens.
pub(super) trait Lexer: Clone {
    /// The next token. Its text, where it has one, replaces what `text` held.
    ///
    /// [`Step::End`] comes only between messages of the outermost level. After [`Step::More`] the
    /// caller passes `text` as it was left: it may hold the beginning of a token that arrives in
    /// pieces, so that a long string is searched once and the window stays short.
    fn next(&mut self, input: &mut Input, text: &mut Vec<u8>) -> Result<Step<Token>, Damage>;

    /// Begins anew before a value that is a message, inside another message.
    fn restart_at_value(&mut self);
}
