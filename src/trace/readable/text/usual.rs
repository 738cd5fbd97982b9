//! The fast path of the lexer: tokens as Envoy spells them. Strings are left to the general path.

use crate::trace::readable::lexer::{MIN_OVERTAKING, Token};
use crate::trace::readable::scan::{View, is_usual_word};
use crate::trace::readable::swar;

use super::word::{is_name, is_word};
use super::{State, Text};

impl Text {
    /// The same as [`usual`](crate::trace::readable::lexer::Lexer::usual).
    #[inline]
    pub(super) fn usual_token(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Token> {
        if self.comment {
            return None;
        }
        let rest = view.rest();
        match self.state {
            State::Name { .. } => {
                let closing = self.nesting.closing()?;
                let rest = swar::after_indent(rest);
                if let [byte, rest @ ..] = rest
                    && *byte == closing
                {
                    self.nesting.leave();
                    self.state = self.after_value();
                    view.advance_to(rest);
                    return Some(Token::Close);
                }
                let mut short = rest.iter().take(MIN_OVERTAKING);
                let end = short.position(|&byte| !is_name(byte))?;
                let (name, rest) = rest.split_at_checked(end).filter(|_| end > 0)?;
                text.clear();
                text.extend_from_slice(name);
                self.state = State::Colon;
                view.advance_to(rest);
                Some(Token::Field)
            }
            State::Colon => {
                let value = match rest {
                    [b' ', b'{', rest @ ..] => {
                        self.nesting.enter_message(b'}', view).ok()?;
                        self.state = State::Name { separable: false };
                        view.advance_to(rest);
                        return Some(Token::Open);
                    }
                    [b':', b' ', value @ ..] => value,
                    _ => return None,
                };
                let end = value.iter().position(|&byte| !is_word(byte))?;
                let (word, rest) = value.split_at(end);
                if !is_usual_word(word) {
                    return None;
                }
                text.clear();
                text.extend_from_slice(word);
                self.state = self.after_value();
                view.advance_to(rest);
                Some(Token::Bare)
            }
            _ => None,
        }
    }
}
