//! What the two readable encodings, text proto and JSON, have in common: a stream of tokens.

use crate::input::Input;

use crate::trace::error::Damage;

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
pub(in crate::trace) enum Token {
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
    /// Something that is no message has been passed over; [`Lexer::passed`] has the rest. Between messages
    /// only.
    Passed,
    /// A field that has no value after all (JSON's null or empty list).
    Null,
}

/// What is no message, and has been passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) struct Passed {
    /// Where it begins and ends.
    pub(in crate::trace) from: u64,
    pub(in crate::trace) to: u64,
    pub(in crate::trace) what: Foreign,
    /// Whether the input ends there.
    pub(in crate::trace) is_last: bool,
}

/// What stands where a message is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) enum Foreign {
    /// Text of which nothing says that it is part of a message.
    #[default]
    Text,
    /// A part of a message.
    Fragment,
    /// A line of Envoy's own.
    Note,
}

/// Cuts a readable encoding into tokens.
pub(in crate::trace) trait Lexer: Clone {
    /// The next token. Its text, where it has one, replaces what `text` held.
    ///
    /// [`Step::End`] comes only between messages of the outermost level. After [`Step::More`] the
    /// caller passes `text` as it was left: it may hold the beginning of a token that arrives in
    /// pieces, so that a long string is searched once and the window stays short.
    fn next(&mut self, input: &mut Input, text: &mut Vec<u8>) -> Result<Step<Token>, Damage>;

    /// Leaves what is damaged, and looks for the next message from here on: the next token is
    /// [`Token::Passed`]. `text` is as the last call left it, and `at` is how far the input has been read.
    fn seek(&mut self, text: &[u8], at: u64);

    /// What the last [`Token::Passed`] stands for.
    fn passed(&self) -> Passed;

    /// Where the message of the outermost level begins that is being read, or the last one.
    fn begins(&self) -> u64;

    /// Goes on as if the field that was returned last were the first of a message of the outermost level.
    fn restart_after_name(&mut self, name: &[u8]);

    /// The offset at which a message of the outermost level begins whose first field has just been returned,
    /// if there is one: `name` is that field's, and `opened` is where the token before it ended, which was
    /// [`Token::Open`] where `first`.
    fn overtaking(&self, name: &[u8], first: bool, opened: u64, end: u64) -> Option<(u64, usize)>;

    /// Begins anew before a value that is a message, inside another message.
    fn restart_at_value(&mut self);
}
