//! Cuts JSON as Envoy writes it into tokens: objects one after the other, or in one array.
//!
//! Knows the grammar of JSON, and none of the names or types of a trace.
//!
//! Invariant: what a call looked at without coming to a token is taken and remembered in `self` and
//! `text`, or shorter than a few words. So the window stays short, no byte is searched twice, and
//! the tokens do not depend on where the input was cut into pieces.

use crate::input::Input;

use crate::trace::detect::Generation;
use crate::trace::error::Damage;
use crate::trace::readable::lexer::{Foreign, Lexer, Passed, Step, Token};
use crate::trace::readable::scan::{Nesting, Stop, Stretch, View, syntax, unicode};
use crate::trace::readable::seek::{Beginning, Found, Grammar, Seeker};

/// The mark that some programs put at the beginning of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lexer of JSON.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Json {
    generation: Generation,
    state: State,
    nesting: Nesting,
    /// Inside an array around the objects.
    array: bool,
    /// Where the last string ended.
    string_end: u64,
    seeker: Seeker,
    /// Where what is no object begins.
    from: u64,
    passed: Passed,
    /// A line of Envoy's own that comes next.
    note: Option<Note>,
    /// Where the object of the outermost level begins that is being read.
    begins: u64,
    /// Whether the last object was found after something else: what would close the ones around it may
    /// follow.
    is_found: bool,
}

/// Why the next object is looked for.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The one before is damaged.
    Damage,
    /// Something else stands in its place.
    Foreign,
    /// The reason of a failure comes first.
    Reason,
}

/// A line of Envoy's own.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// That a message failed, at this offset.
    Failure(u64),
    /// Another, between these.
    Line(u64, u64),
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between objects of the outermost level.
    #[default]
    Outside,
    /// After a brace or bracket between them, at this offset, which may begin an object or an array.
    Opened { bracket: bool, at: u64 },
    /// In something that is no object.
    Seeking(Mode),
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
    fn next(&mut self, input: &mut Input, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        View::advance(input, |view| self.step(view, text))
    }

    fn seek(&mut self, text: &[u8], at: u64) {
        // A string that was cut goes on to the first quote of the next message, which follows a brace.
        let before = text.trim_ascii_end();
        let blanks = (text.len() - before.len()) as u64;
        let brace = at.checked_sub(blanks + 2);
        self.nesting.clear();
        self.look(at, Mode::Damage);
        if let Some(brace) = brace
            && at == self.string_end
            && before.ends_with(b"{")
        {
            self.seeker.restart_in_name(brace);
        }
    }

    fn passed(&self) -> Passed {
        self.passed
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn restart_after_name(&mut self, name: &[u8]) {
        self.nesting.restart(b'}');
        self.nesting.name(name);
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
            seeker: Seeker::new(Grammar::Json, generation),
            from: 0,
            passed: Passed::default(),
            note: None,
            begins: 0,
            is_found: false,
        }
    }

    fn step(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            if let Some(token) = self.noted() {
                return Ok(Step::Item(token));
            }
            match self.state {
                State::String { name } => {
                    if view.string::<false>(b'"', text, escape)? == Stretch::Short {
                        return Ok(Step::More);
                    }
                    self.string_end = view.position();
                    if name {
                        self.nesting.name(text);
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
                State::Seeking(mode) => match self.seeking(view, mode, text) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::FoundName => {
                    self.state = State::Colon;
                    return Ok(Step::Item(Token::Field));
                }
                _ => {}
            }

            view.pass(is_blank);
            let Some(byte) = view.peek() else {
                return match (self.state, self.array) {
                    (State::Outside, false) if view.ended => Ok(Step::End),
                    (State::Outside, true) => view.more("a JSON array"),
                    _ => view.more("a JSON object"),
                };
            };
            let in_list = self.nesting.in_list();
            // An arm that gives no state reads the byte itself, or leaves it to the next round.
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
                    match view.mark(BYTE_ORDER_MARK) {
                        Some(true) => view.at += BYTE_ORDER_MARK.len(),
                        None if !view.ended => return Ok(Step::More),
                        _ => self.look(view.position(), Mode::Foreign),
                    }
                    continue;
                }
                (State::Name, b'"') => {
                    text.clear();
                    (State::String { name: true }, None)
                }
                // Behind a comma as well: people leave those when they cut a trace down.
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
                    self.nesting.enter_list(view)?;
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

    /// Ends the innermost object. The outermost one has no token.
    fn leave(&mut self) -> (State, Option<Token>) {
        self.nesting.leave();
        if self.nesting.is_empty() {
            (State::Outside, None)
        } else {
            (State::After, Some(Token::Close))
        }
    }

    /// The token of a line of Envoy's own, where one was found.
    fn noted(&mut self) -> Option<Token> {
        Some(match self.note.take()? {
            Note::Failure(at) => Token::Failed(at),
            Note::Line(from, to) => {
                self.passed = Passed {
                    from,
                    to,
                    what: Foreign::Note,
                    is_last: false,
                };
                Token::Passed
            }
        })
    }

    /// Looks for the next object from `from` on.
    fn look(&mut self, from: u64, mode: Mode) {
        self.seeker.restart(true);
        self.from = from;
        self.state = State::Seeking(mode);
    }

    /// After a brace or bracket of the outermost level at `at`: begins an object or array if it is one. False
    /// when the window does not show that.
    fn opened(&mut self, view: &mut View<'_>, bracket: bool, at: u64) -> Result<bool, Damage> {
        view.pass(is_blank);
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
                self.look(at, Mode::Foreign);
                self.seeker.feed(if bracket { b"[" } else { b"{" }, at);
            }
        }
        Ok(true)
    }

    /// Passes over what is no object. None where something else comes next.
    fn seeking(
        &mut self,
        view: &mut View<'_>,
        mode: Mode,
        text: &mut Vec<u8>,
    ) -> Option<Step<Token>> {
        let (taken, found) = self.seeker.feed(view.rest(), view.position());
        view.at += taken;
        if found.is_none() {
            if !view.ended {
                return Some(Step::More);
            }
            self.seeker.end();
        }
        let passage = self.seeker.passage;
        let end = view.position();
        let at = found.map_or(end, |_| self.seeker.at);
        self.passed = Passed {
            from: self.from,
            to: at,
            what: match passage.is_fragment {
                true => Foreign::Fragment,
                false => Foreign::Text,
            },
            is_last: found.is_none(),
        };
        match found {
            Some(Found::Message) => {
                text.clear();
                text.extend_from_slice(self.seeker.name());
                self.restart_after_name(text);
                self.begins = at;
                self.state = State::FoundName;
            }
            Some(Found::Failure) => {
                self.look(end, Mode::Reason);
                self.note = Some(Note::Failure(at));
            }
            Some(Found::Note) => {
                self.state = State::Outside;
                self.note = Some(Note::Line(at, end));
            }
            None => self.state = State::Outside,
        }
        let is_told = passage.is_fragment
            || match mode {
                Mode::Damage => true,
                Mode::Foreign => passage.is_text,
                Mode::Reason => false,
            };
        is_told.then_some(Step::Item(Token::Passed))
    }
}

/// What JSON takes for blanks.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What may stand in a number, truth value or null.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Whether `word` is a number of RFC 8259, section 6.
fn is_number(word: &[u8]) -> bool {
    let digits = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let mut parts = word
        .strip_prefix(b"-")
        .unwrap_or(word)
        .splitn(2, |b| matches!(b, b'e' | b'E'));
    let mut mantissa = parts.next().unwrap_or_default().splitn(2, |&b| b == b'.');
    let whole = mantissa.next().unwrap_or_default();
    digits(whole)
        && (whole.len() == 1 || whole[0] != b'0')
        && mantissa.next().is_none_or(digits)
        && parts.next().is_none_or(|exponent| {
            digits(
                exponent
                    .strip_prefix(b"-")
                    .or(exponent.strip_prefix(b"+"))
                    .unwrap_or(exponent),
            )
        })
}

/// Adds what JSON's escape at the front of `rest` stands for, and gives its length.
fn escape(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    text.push(match rest.get(1).ok_or(Stop::Short)? {
        b'u' => return unicode(rest, text),
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        &byte @ (b'"' | b'\\' | b'/') => byte,
        _ => return Err(Stop::Wrong),
    });
    Ok(2)
}

#[cfg(test)]
mod tests;
