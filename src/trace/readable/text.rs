//! Splits the protobuf text format into tokens: fields one after the other, also at the outermost level.
//!
//! Implements the grammar of <https://protobuf.dev/reference/protobuf/textformat-spec/>, as Envoy and protoc write it
//! and people edit it. It depends on the names of a trace only where a message begins.
//!
//! Invariant: as in [`crate::trace::readable::json`], the bytes that a call examined without reaching a token are
//! consumed and remembered, or they are few.

mod cut;
mod outermost;
mod usual;
mod word;

use memchr::memchr;

use crate::trace::detect::Generation;
use crate::trace::error::Damage;
use crate::trace::readable::lexer::{Lexer, Passed, Step, Token};
use crate::trace::readable::nesting::Nesting;
use crate::trace::readable::scan::{Stretch, View, syntax};
use crate::trace::readable::search::{Search, Why};
use crate::trace::readable::seek::Grammar;

use cut::{Inner, is_cut, knows};
use word::{URL, is_name, is_url, is_value, is_word, is_word_start};

/// The lexer of the text format.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Text {
    generation: Generation,
    /// Whether only a field of the outermost level has this name.
    knows: fn(Generation, &[u8]) -> bool,
    state: State,
    nesting: Nesting,
    /// Whether the position is inside a comment.
    comment: bool,
    search: Search,
    /// The offset of the current message of the outermost level.
    begins: u64,
    /// Whether the last message was found by a search. Closing braces of enclosing messages may then follow it.
    is_found: bool,
    /// A message that begins inside the current one, which was cut there.
    inner: Option<Inner>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a name or the end of the message; after a field that a comma may follow.
    Name { separable: bool },
    /// Inside a name.
    NameWord,
    /// Inside the name of an extension or the URL of an Any, which begins at this offset.
    NameBracket { from: u64 },
    /// After a word of the outermost level, which begins at this offset and may be a name, and perhaps a colon.
    Unknown { from: u64, colon: bool },
    /// In bytes that are not a message.
    Seeking,
    /// Before a message that begins inside another.
    Inner(Inner),
    /// After the name of a message that was found, and its opening brace if that has a closing one.
    Found(Option<u8>),
    /// The same, after the name was returned.
    FoundOpen(u8),
    /// Before a colon or value.
    Colon,
    /// Before a value.
    Value,
    /// Before a value of a list, or its end.
    Item { first: bool },
    /// After a value of a list.
    AfterItem,
    /// After a minus.
    Sign,
    /// Inside a number or name.
    Word { start: u64 },
    /// Inside a string.
    String { quote: u8 },
    /// After a string, which may continue in another string.
    AfterString,
}

impl Default for State {
    fn default() -> Self {
        Self::Name { separable: false }
    }
}

impl Lexer for Text {
    #[inline]
    fn usual(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Option<Token> {
        self.usual_token(view, text)
    }

    fn general(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            match self.state {
                State::String { quote } => match view.string::<true>(quote, text)? {
                    Stretch::Short => return Ok(Step::More),
                    Stretch::Line => {
                        if let Some(inner) = cut::opening(self.generation, text, view.position()) {
                            return Err(self.overtaken(inner, "a string"));
                        }
                        continue;
                    }
                    Stretch::Whole => self.state = State::AfterString,
                },
                State::NameWord => {
                    if !view.word(text, is_name) {
                        let is_known = (self.knows)(self.generation, text);
                        let is_foreign = !is_known && !is_cut(self.generation, text);
                        if !(view.ended && is_foreign && self.nesting.is_empty()) {
                            return view.more("a field's name");
                        }
                    }
                    if self.nesting.is_empty() && !(self.knows)(self.generation, text) {
                        let from = view.position() - text.len() as u64;
                        self.state = State::Unknown { from, colon: false };
                        continue;
                    }
                    self.begin(view.position() - text.len() as u64);
                    return Ok(self.end_name());
                }
                State::Unknown { from, colon } => match self.unknown(view, text, from, colon) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::Seeking => match self.continue_search(view, text) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::Inner(inner) => return Ok(self.enter_inner(inner, text)),
                State::Found(closing) => {
                    self.state = closing.map_or(State::Colon, State::FoundOpen);
                    return Ok(Step::Item(Token::Field));
                }
                State::FoundOpen(closing) => {
                    self.nesting.enter_message(closing, view)?;
                    self.state = State::Name { separable: false };
                    return Ok(Step::Item(Token::Open));
                }
                State::Word { start } => {
                    if !view.word(text, is_word) && !self.may_end(view) {
                        return view.more("a message");
                    }
                    if let Some(name) = self.generation.ending(text) {
                        let inner = Inner {
                            at: view.position() - name.len() as u64,
                            name,
                            closing: None,
                        };
                        return Err(self.overtaken(inner, "a value"));
                    }
                    if !is_value(text) {
                        return Err(syntax(start, "a value"));
                    }
                    self.state = self.after_value();
                    return Ok(Step::Item(Token::Bare));
                }
                _ => {}
            }

            self.skip_blank(view);
            let Some(byte) = view.peek() else {
                return match self.state {
                    State::AfterString if self.may_end(view) => Ok(self.end_string()),
                    State::Name { .. } if self.may_end(view) => Ok(Step::End),
                    State::NameBracket { from } if self.may_end(view) && !text.starts_with(URL) => {
                        self.begin_search(from, Why::Foreign);
                        continue;
                    }
                    State::NameBracket { .. } => view.more("a field's name"),
                    _ => view.more("a message"),
                };
            };
            let in_list = self.nesting.in_list();
            // An arm without a new state has consumed the byte itself, or leaves it to the next iteration.
            let (state, token) = match (self.state, byte) {
                (State::Name { separable: true }, b',' | b';') => {
                    (State::Name { separable: false }, None)
                }
                (State::Name { .. }, b'[') => {
                    text.clear();
                    text.push(byte);
                    let from = view.position();
                    (State::NameBracket { from }, None)
                }
                (State::Name { .. }, _) if is_name(byte) => {
                    text.clear();
                    self.state = State::NameWord;
                    continue;
                }
                (State::Name { .. }, _) if self.nesting.closing() == Some(byte) => {
                    self.nesting.leave();
                    (self.after_value(), Some(Token::Close))
                }
                (State::Name { .. }, b'}' | b'>') if self.is_found && self.nesting.is_empty() => {
                    (State::Name { separable: true }, None)
                }
                (State::Name { .. }, _) if self.nesting.is_empty() => {
                    self.begin_search(view.position(), Why::Foreign);
                    continue;
                }
                (State::Name { .. }, _) => return Err(view.expected("a field's name")),
                (State::NameBracket { from }, b']') if text.len() > 1 => {
                    text.push(byte);
                    view.at += 1;
                    if self.nesting.is_empty() && !(self.knows)(self.generation, text) {
                        self.state = State::Unknown { from, colon: false };
                        continue;
                    }
                    return Ok(self.end_name());
                }
                (State::NameBracket { .. }, _) if is_url(byte) => {
                    view.word(text, is_url);
                    continue;
                }
                (State::NameBracket { from }, _) if self.nesting.is_empty() => {
                    self.begin_search(from, Why::Foreign);
                    continue;
                }
                (State::NameBracket { .. }, _) => return Err(view.expected("a type's name")),
                (State::Colon, b':') => (State::Value, None),
                (State::Colon | State::Value, b'{' | b'<') => {
                    let closing = if byte == b'{' { b'}' } else { b'>' };
                    self.nesting.enter_message(closing, view)?;
                    (State::Name { separable: false }, Some(Token::Open))
                }
                // Only a list of messages may follow without a colon. A list of values is accepted as well, since
                // nothing depends on the difference.
                (State::Colon | State::Value, b'[') if !in_list => {
                    self.nesting.enter_list(text, view)?;
                    (State::Item { first: true }, None)
                }
                (State::Colon, _) => return Err(view.expected("a colon or a message")),
                (State::Value, b'"' | b'\'') => {
                    text.clear();
                    (State::String { quote: byte }, None)
                }
                (State::Value, b'-') => {
                    text.clear();
                    text.push(byte);
                    (State::Sign, None)
                }
                (State::Value | State::Sign, _) if is_word_start(byte) => {
                    if let State::Value = self.state {
                        text.clear();
                    }
                    let start = view.position();
                    self.state = State::Word { start };
                    continue;
                }
                (State::Value, _) => return Err(view.expected("a value")),
                (State::Sign, _) => return Err(view.expected("a number")),
                (State::Item { first: true }, b']') => {
                    self.nesting.leave();
                    (self.after_value(), Some(Token::Null))
                }
                (State::Item { first }, _) => {
                    let value = matches!(byte, b'"' | b'\'' | b'-' | b'{' | b'<');
                    if !value && !is_word_start(byte) {
                        return Err(view.expected("a value"));
                    }
                    self.state = State::Value;
                    if first {
                        continue;
                    }
                    self.nesting.repeat(text);
                    return Ok(Step::Item(Token::Field));
                }
                (State::AfterItem, b',') => (State::Item { first: false }, None),
                (State::AfterItem, b']') => {
                    self.nesting.leave();
                    (self.after_value(), None)
                }
                (State::AfterItem, _) => return Err(view.expected("a comma or ]")),
                (State::AfterString, b'"' | b'\'') => (State::String { quote: byte }, None),
                // Only AfterString is left.
                _ => return Ok(self.end_string()),
            };
            view.at += 1;
            self.state = state;
            if let Some(token) = token {
                return Ok(Step::Item(token));
            }
        }
    }

    fn seek(&mut self, _: &[u8], at: u64) {
        self.nesting.clear();
        match self.inner.take() {
            Some(inner) => self.state = State::Inner(inner),
            None => self.begin_search(at, Why::Damage),
        }
    }

    fn passed(&self) -> Passed {
        self.search.passed
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn restart_after_name(&mut self) {
        self.nesting.clear();
        self.state = State::Colon;
        self.is_found = true;
    }

    fn overtaking(&self, name: &[u8], _: bool, _: u64, end: u64) -> Option<(u64, usize)> {
        let known = self.generation.ending(name)?;
        let (cut, _) = name.split_at(name.len() - known.len());
        // Between messages, only a name can have been cut. Other longer names may be those of later releases.
        if self.nesting.is_empty() && !is_cut(self.generation, cut) {
            return None;
        }
        Some((end.saturating_sub(known.len() as u64), cut.len()))
    }

    fn restart_at_value(&mut self) {
        self.state = State::Value;
        self.nesting.restart(b'}');
        self.comment = false;
    }
}

#[cfg(test)]
impl Default for Text {
    /// A lexer that accepts all names as known.
    fn default() -> Self {
        Self {
            knows: |_, _| true,
            ..Self::new(Generation::Tap)
        }
    }
}

impl Text {
    pub(in crate::trace) fn new(generation: Generation) -> Self {
        Self {
            generation,
            knows,
            state: State::default(),
            nesting: Nesting::default(),
            comment: false,
            search: Search::new(Grammar::Text, generation),
            begins: 0,
            is_found: false,
            inner: None,
        }
    }

    /// Ends a field's name.
    fn end_name(&mut self) -> Step<Token> {
        self.state = State::Colon;
        Step::Item(Token::Field)
    }

    /// Ends a string.
    fn end_string(&mut self) -> Step<Token> {
        self.state = self.after_value();
        Step::Item(Token::Quoted)
    }

    /// The state after a value.
    fn after_value(&self) -> State {
        if self.nesting.in_list() {
            State::AfterItem
        } else {
            State::Name { separable: true }
        }
    }

    /// Whether a value may end at the end of the window. Inside a message, it would be cut.
    fn may_end(&self, view: &View<'_>) -> bool {
        view.ended && self.nesting.is_empty()
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self, view: &mut View<'_>) {
        loop {
            if self.comment {
                let Some(line) = memchr(b'\n', view.rest()) else {
                    return view.exhaust();
                };
                view.at += line;
                self.comment = false;
            }
            view.skip(|byte| matches!(byte, b' ' | b'\t'..=b'\r'));
            if view.peek() != Some(b'#') {
                return;
            }
            self.comment = true;
        }
    }
}

#[cfg(test)]
mod tests;
