//! The outermost level of a text trace: where its messages begin, and the search for the next one.
//!
//! Invariant: after a search, the state is that before a message, or after the name of the one that was found.

use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::{Lexer as _, Passed, Step, Token};
use crate::trace::readable::scan::View;
use crate::trace::readable::search::Why;
use crate::trace::readable::seek::Found;

use super::cut::{Inner, MIN_CUT, is_cut, is_end};
use super::word::is_word_start;
use super::{State, Text};

impl Text {
    /// The damage that a message begins inside `what`.
    pub(super) fn overtaken(&mut self, inner: Inner, what: &'static str) -> Damage {
        self.inner = Some(inner);
        Damage::new(inner.at, Fault::Overtaken { what })
    }

    /// Searches for the next message from the offset `from` on.
    pub(super) fn begin_search(&mut self, from: u64, why: Why) {
        self.search.begin(from, why);
        self.comment = false;
        self.state = State::Seeking;
    }

    /// Skips what is not a message. Returns `None` if what follows has its own token.
    pub(super) fn continue_search(
        &mut self,
        view: &mut View<'_>,
        text: &mut Vec<u8>,
    ) -> Option<Step<Token>> {
        let found = match self.search.advance(view) {
            Step::Item(found) => Some(found),
            Step::More => return Some(Step::More),
            Step::End => None,
        };
        let Passed { from, to, .. } = self.search.passed;
        match found {
            Some(Found::Message) => {
                text.clear();
                text.extend_from_slice(self.search.seeker.name());
                self.restart_after_name();
                self.begins = to;
                self.state = State::Found(Some(self.search.seeker.closing));
            }
            // Only JSON contains lines of Envoy's.
            Some(Found::Failure | Found::Note) | None => self.state = State::default(),
        }
        let is_text = self.search.seeker.passage.is_text;
        (self.search.why == Why::Damage || is_text || from < to)
            .then_some(Step::Item(Token::Passed))
    }

    /// Decides whether the word `text`, which begins at the offset `from`, is a name, perhaps by the colon after it.
    /// Returns `None` if there is no token yet.
    pub(super) fn unknown(
        &mut self,
        view: &mut View<'_>,
        text: &[u8],
        from: u64,
        colon: bool,
    ) -> Option<Step<Token>> {
        view.skip(|byte| matches!(byte, b' ' | b'\t'));
        match view.peek() {
            None if !view.ended => return Some(Step::More),
            Some(b':') if !colon => {
                view.at += 1;
                self.state = State::Unknown { from, colon: true };
            }
            Some(byte) if self.is_continued(text, colon, byte) => {
                self.begin(from);
                let step = self.end_name();
                if colon {
                    self.state = State::Value;
                }
                return Some(step);
            }
            _ => {
                self.begin_search(from, Why::Foreign);
                let is_part = text.len() >= MIN_CUT
                    && (is_cut(self.generation, text) || is_end(self.generation, text));
                self.search.seeker.passage.is_fragment |= is_part;
                self.search.seeker.feed(text, from);
                self.search
                    .seeker
                    .feed(if colon { b":" } else { b" " }, from);
            }
        }
        None
    }

    /// Continues with a message that begins inside another: the bytes before it are passed over.
    pub(super) fn enter_inner(&mut self, inner: Inner, text: &mut Vec<u8>) -> Step<Token> {
        text.clear();
        text.extend_from_slice(inner.name);
        self.restart_after_name();
        self.begins = inner.at;
        self.search.passed = Passed {
            to: inner.at,
            ..Passed::default()
        };
        self.state = State::Found(inner.closing);
        Step::Item(Token::Passed)
    }

    /// Whether `byte` continues a field of the outermost level, after a `name` that is also used elsewhere, and perhaps
    /// a colon. All such fields are messages, except for a trace id.
    pub(super) fn is_continued(&self, name: &[u8], colon: bool, byte: u8) -> bool {
        let is_known = || self.generation.beginning(name).is_some();
        match byte {
            b'{' | b'<' => is_known() || !is_end(self.generation, name),
            _ => colon && is_word_start(byte) && is_known(),
        }
    }

    /// Begins a field at the offset `at`, which is the first of a message if none is open.
    pub(super) fn begin(&mut self, at: u64) {
        if self.nesting.is_empty() {
            self.begins = at;
            self.is_found = false;
        }
    }
}
