//! Splits JSON as Envoy writes it into tokens: objects one after the other, or in one array.
//!
//! Implements the grammar of JSON, and does not depend on the names or types of a trace.
//!
//! Invariant: the bytes that a call examined without reaching a token are consumed and remembered in `self` and
//! `text`, or they are few. So the window stays short, no byte is examined more than twice, and the tokens do not
//! depend on the pieces in which the input arrives.

mod usual;
mod word;

use crate::trace::detect::Generation;
use crate::trace::error::Damage;
use crate::trace::readable::begin::Beginning;
use crate::trace::readable::lexer::{Foreign, Lexer, Passed, Step, Token};
use crate::trace::readable::nesting::Nesting;
use crate::trace::readable::scan::{Stretch, View, syntax};
use crate::trace::readable::search::{Search, Why};
use crate::trace::readable::seek::{Found, Grammar};

use word::{is_blank, is_number, is_word};

/// The mark that some programs write at the beginning of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lexer of JSON.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Json {
    generation: Generation,
    state: State,
    nesting: Nesting,
    /// Whether the objects are in an array.
    array: bool,
    /// The offset after the last string.
    string_end: u64,
    search: Search,
    /// A line of Envoy's that is reported next.
    note: Option<Note>,
    /// The offset of the current object of the outermost level.
    begins: u64,
    /// Whether the last object was found by a search. Closing brackets of enclosing messages may then follow it.
    is_found: bool,
}

/// A line that Envoy wrote.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// A message failed at this offset.
    Failure(u64),
    /// Another line, between these offsets.
    Line(u64, u64),
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between objects of the outermost level.
    #[default]
    Outside,
    /// After a brace or bracket of the outermost level at this offset, which may begin an object or an array.
    Opened { bracket: bool, at: u64 },
    /// In bytes that are not an object.
    Seeking,
    /// After the first name of an object that was found.
    FoundName,
    /// Before a name or the end of the object.
    Name,
    /// Before the colon.
    Colon,
    /// Before a value.
    Value,
    /// Before a value of a list, or its end.
    Item { first: bool },
    /// Inside a string.
    String { name: bool },
    /// Inside a number, truth value or null.
    Word { start: u64 },
    /// After a value.
    After,
}

impl Lexer for Json {
    #[inline]
    fn usual(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Token> {
        self.usual_token(view, text)
    }

    fn general(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            if let Some(token) = self.take_note() {
                return Ok(Step::Item(token));
            }
            match self.state {
                State::String { name } => {
                    if view.string::<false>(b'"', text)? == Stretch::Short {
                        return Ok(Step::More);
                    }
                    self.string_end = view.position();
                    if name {
                        self.state = State::Colon;
                        return Ok(Step::Item(Token::Field));
                    }
                    self.state = State::After;
                    return Ok(Step::Item(Token::Quoted));
                }
                State::Word { start } => {
                    if !view.word(text, is_word) {
                        return view.more("a JSON object");
                    }
                    self.state = State::After;
                    let token = match text.as_slice() {
                        b"null" => Token::Null,
                        b"true" | b"false" => Token::Bare,
                        word if is_number(word) => Token::Bare,
                        _ => return Err(syntax(start, "a JSON value")),
                    };
                    return Ok(Step::Item(token));
                }
                State::Opened { bracket, at } => {
                    if !self.opened(view, bracket, at)? {
                        return Ok(Step::More);
                    }
                    continue;
                }
                State::Seeking => match self.continue_search(view, text) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::FoundName => {
                    self.state = State::Colon;
                    return Ok(Step::Item(Token::Field));
                }
                _ => {}
            }

            view.skip(is_blank);
            let Some(byte) = view.peek() else {
                return match (self.state, self.array) {
                    (State::Outside, false) if view.ended => Ok(Step::End),
                    (State::Outside, true) => view.more("a JSON array"),
                    _ => view.more("a JSON object"),
                };
            };
            let in_list = self.nesting.in_list();
            // An arm without a new state has consumed the byte itself, or leaves it to the next iteration.
            let (state, token) = match (self.state, byte) {
                (State::Outside, b'{' | b'[') if byte == b'{' || !self.array => {
                    let (bracket, at) = (byte == b'[', view.position());
                    (State::Opened { bracket, at }, None)
                }
                (State::Outside, b',') => (State::Outside, None),
                (State::Outside, b']') if self.array => {
                    self.array = false;
                    (State::Outside, None)
                }
                (State::Outside, b'}' | b']') if self.is_found => (State::Outside, None),
                (State::Outside, _) => {
                    match view.starts_with(BYTE_ORDER_MARK) {
                        Some(true) => view.at += BYTE_ORDER_MARK.len(),
                        None if !view.ended => return Ok(Step::More),
                        _ => self.begin_search(view.position(), Why::Foreign),
                    }
                    continue;
                }
                (State::Name, b'"') => {
                    text.clear();
                    (State::String { name: true }, None)
                }
                // A closing brace may follow a comma: it does where a trace was shortened by hand.
                (State::Name, b'}') => self.leave(),
                (State::Name, _) => return Err(view.expected("a name in quotes")),
                (State::Colon, b':') => (State::Value, None),
                (State::Colon, _) => return Err(view.expected("a colon")),
                (State::Item { first }, b']') => {
                    self.nesting.leave();
                    (State::After, first.then_some(Token::Null))
                }
                (State::Item { first }, _) => {
                    if !matches!(byte, b'"' | b'{') && !is_word(byte) {
                        return Err(view.expected("a JSON value"));
                    }
                    self.state = State::Value;
                    if first {
                        continue;
                    }
                    self.nesting.repeat(text);
                    return Ok(Step::Item(Token::Field));
                }
                (State::Value, b'"') => {
                    text.clear();
                    (State::String { name: false }, None)
                }
                (State::Value, b'{') => {
                    self.nesting.enter_message(b'}', view)?;
                    (State::Name, Some(Token::Open))
                }
                (State::Value, b'[') if !in_list => {
                    self.nesting.enter_list(text, view)?;
                    (State::Item { first: true }, None)
                }
                (State::Value, _) if is_word(byte) => {
                    text.clear();
                    let start = view.position();
                    self.state = State::Word { start };
                    continue;
                }
                (State::Value, _) => return Err(view.expected("a JSON value")),
                (State::After, b',') if in_list => (State::Item { first: false }, None),
                (State::After, b']') if in_list => {
                    self.nesting.leave();
                    (State::After, None)
                }
                (State::After, b',') => (State::Name, None),
                (State::After, b'}') if !in_list => self.leave(),
                (State::After, _) if in_list => return Err(view.expected("a comma or ]")),
                // Only After is left.
                _ => return Err(view.expected("a comma or }")),
            };
            view.at += 1;
            self.state = state;
            if let Some(token) = token {
                return Ok(Step::Item(token));
            }
        }
    }

    fn seek(&mut self, text: &[u8], at: u64) {
        // A truncated string continues to the first quote of the next message, which follows a brace.
        let before = text.trim_ascii_end();
        let blanks = (text.len() - before.len()) as u64;
        let brace = at.checked_sub(blanks + 2);
        self.nesting.clear();
        self.begin_search(at, Why::Damage);
        if let Some(brace) = brace
            && at == self.string_end
            && before.ends_with(b"{")
        {
            self.search.seeker.restart_in_name(brace);
        }
    }

    fn passed(&self) -> Passed {
        self.search.passed
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn restart_after_name(&mut self) {
        self.nesting.restart(b'}');
        self.state = State::Colon;
        self.is_found = true;
    }

    fn overtaking(&self, name: &[u8], first: bool, opened: u64, _: u64) -> Option<(u64, usize)> {
        let sure = self.generation.beginning(name) == Some(Beginning::Sure);
        (first && sure).then(|| (opened.saturating_sub(1), 0))
    }

    fn restart_at_value(&mut self) {
        self.state = State::Value;
        self.nesting.restart(b'}');
        self.array = false;
    }
}

#[cfg(test)]
impl Default for Json {
    fn default() -> Self {
        Self::new(Generation::Tap)
    }
}

impl Json {
    pub(in crate::trace) fn new(generation: Generation) -> Self {
        Self {
            generation,
            state: State::Outside,
            nesting: Nesting::default(),
            array: false,
            string_end: 0,
            search: Search::new(Grammar::Json, generation),
            note: None,
            begins: 0,
            is_found: false,
        }
    }

    /// Ends the innermost object. The end of an outermost object has no token.
    fn leave(&mut self) -> (State, Option<Token>) {
        self.nesting.leave();
        if self.nesting.is_empty() {
            (State::Outside, None)
        } else {
            (State::After, Some(Token::Close))
        }
    }

    /// The token of a line of Envoy's that was found.
    fn take_note(&mut self) -> Option<Token> {
        Some(match self.note.take()? {
            Note::Failure(at) => Token::Failed(at),
            Note::Line(from, to) => {
                self.search.passed = Passed {
                    from,
                    to,
                    what: Foreign::Note,
                    is_last: false,
                };
                Token::Passed
            }
        })
    }

    /// Searches for the next object from the offset `from` on.
    fn begin_search(&mut self, from: u64, why: Why) {
        self.search.begin(from, why);
        self.state = State::Seeking;
    }

    /// Begins an object or an array after a brace or bracket of the outermost level at `at`, if it is one. Returns
    /// false if the window is too short to decide that.
    fn opened(&mut self, view: &mut View<'_>, bracket: bool, at: u64) -> Result<bool, Damage> {
        view.skip(is_blank);
        match (view.peek(), bracket) {
            (None, _) if !view.ended => return Ok(false),
            (None, false) => return view.more("a JSON object").map(|_| false),
            (None, true) => return view.more("a JSON array").map(|_| false),
            (Some(b'"' | b'}'), false) => {
                self.nesting.enter_message(b'}', view)?;
                self.state = State::Name;
                self.begins = at;
                self.is_found = false;
            }
            (Some(b'{' | b']'), true) => {
                self.array = true;
                self.state = State::Outside;
            }
            _ => {
                self.begin_search(at, Why::Foreign);
                let opening: &[u8] = if bracket { b"[" } else { b"{" };
                self.search.seeker.feed(opening, at);
            }
        }
        Ok(true)
    }

    /// Skips what is not an object. Returns `None` if what follows has its own token.
    fn continue_search(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Step<Token>> {
        let found = match self.search.advance(view) {
            Step::Item(found) => Some(found),
            Step::More => return Some(Step::More),
            Step::End => None,
        };
        let (passage, why) = (self.search.seeker.passage, self.search.why);
        let (at, end) = (self.search.passed.to, view.position());
        match found {
            Some(Found::Message) => {
                text.clear();
                text.extend_from_slice(self.search.seeker.name());
                self.restart_after_name();
                self.begins = at;
                self.state = State::FoundName;
            }
            Some(Found::Failure) => {
                self.begin_search(end, Why::Reason);
                self.note = Some(Note::Failure(at));
            }
            Some(Found::Note) => {
                self.state = State::Outside;
                self.note = Some(Note::Line(at, end));
            }
            None => self.state = State::Outside,
        }
        let is_reported = passage.is_fragment
            || match why {
                Why::Damage => true,
                Why::Foreign => passage.is_text,
                Why::Reason => false,
            };
        is_reported.then_some(Step::Item(Token::Passed))
    }
}

#[cfg(test)]
mod tests;
