//! The fast path of the lexer: tokens as Envoy spells them.

use crate::trace::readable::lexer::{MIN_OVERTAKING, Token};
use crate::trace::readable::scan::{View, is_usual_word};
use crate::trace::readable::swar;

use super::word::is_word;
use super::{Json, State};

impl Json {
    /// The same as [`usual`](crate::trace::readable::lexer::Lexer::usual).
    #[inline]
    pub(super) fn usual_token(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Token> {
        let rest = view.rest();
        let (token, state, rest) = match self.state {
            State::Colon => self.usual_value(rest.strip_prefix(b":")?, view, text)?,
            State::Value => self.usual_value(rest, view, text)?,
            State::Name | State::After => {
                let is_after = matches!(self.state, State::After);
                let in_list = self.nesting.in_list();
                let comma = rest.strip_prefix(b",").filter(|_| is_after);
                let may_name = comma.is_some() || !is_after;
                match swar::after_indent(comma.unwrap_or(rest)) {
                    [b'"', name @ ..] if may_name && !in_list => {
                        let end =
                            swar::quote_or_backslash(&name[..name.len().min(MIN_OVERTAKING)])?;
                        let (name, rest) = name.split_at(end);
                        let rest = rest.strip_prefix(b"\"")?;
                        text.clear();
                        text.extend_from_slice(name);
                        self.string_end = view.offset_of(rest);
                        (Token::Field, State::Colon, rest)
                    }
                    // The end of the outermost object has no token.
                    [b'}', rest @ ..] if !in_list && self.nesting.depth() > 1 => {
                        if comma.is_some() {
                            return None;
                        }
                        self.nesting.leave();
                        (Token::Close, State::After, rest)
                    }
                    rest @ [b'{', ..] if in_list && comma.is_some() => {
                        if self.nesting.list_name().len() >= MIN_OVERTAKING {
                            return None;
                        }
                        self.nesting.repeat(text);
                        (Token::Field, State::Value, rest)
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        self.state = state;
        view.advance_to(rest);
        Some(token)
    }

    /// The value at the front of `rest` after white space, the state after it, and what follows it.
    #[inline]
    fn usual_value<'a>(
        &mut self,
        rest: &'a [u8],
        view: &View<'a>,
        text: &mut Vec<u8>,
    ) -> Option<(Token, State, &'a [u8])> {
        match swar::after_indent(rest) {
            [b'"', string @ ..] => {
                let end = usual_string(string, text)?;
                let rest = &string[end + 1..];
                self.string_end = view.offset_of(rest);
                Some((Token::Quoted, State::After, rest))
            }
            [b'{', rest @ ..] => {
                self.nesting.enter_message(b'}', view).ok()?;
                Some((Token::Open, State::Name, rest))
            }
            word => {
                let end = word.iter().position(|&byte| !is_word(byte))?;
                let (word, rest) = word.split_at(end);
                if !is_usual_word(word) {
                    return None;
                }
                text.clear();
                text.extend_from_slice(word);
                Some((Token::Bare, State::After, rest))
            }
        }
    }
}

/// Replaces `text` by the string at the front of `rest`, if it has no escapes and its closing quote is in `rest`.
/// Returns the position of the quote.
#[inline]
fn usual_string(rest: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let end = swar::quote_or_backslash(rest)?;
    if rest[end] != b'"' {
        return None;
    }
    text.clear();
    text.extend_from_slice(&rest[..end]);
    Some(end)
}
