//! Cuts the protobuf text format into tokens: fields one after the other, those of the messages of
//! the outermost level among them.
//!
//! Knows the grammar as Envoy and protoc write it and people edit it, and none of the names or types
//! of a trace. <https://protobuf.dev/reference/protobuf/textformat-spec/> has the rules.
//!
//! Invariant: as in [`crate::trace::readable::json`], what a call looked at without coming to a token is taken and
//! remembered, or shorter than a few words.

use memchr::memchr;

use crate::input::Input;

use crate::trace::detect::Generation;
use crate::trace::element::Level;
use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::{Foreign, Lexer, Passed, Step, Token};
use crate::trace::readable::scan::{Nesting, Stop, Stretch, View, hex, push, syntax, unicode};
use crate::trace::readable::seek::{self, Beginning, Found, Grammar, Seeker};

/// The lexer of the text format.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Text {
    generation: Generation,
    /// Whether a name is that of a field of the outermost level and no other.
    knows: fn(Generation, &[u8]) -> bool,
    state: State,
    nesting: Nesting,
    /// Inside a comment.
    comment: bool,
    seeker: Seeker,
    /// Where what is no message begins.
    from: u64,
    passed: Passed,
    /// Where the message begins that is being read.
    begins: u64,
    /// Whether the last message was found after something else: what would close the ones around it may
    /// follow.
    is_found: bool,
    /// A message that begins inside another, which was cut there.
    inner: Option<Inner>,
}

/// The beginning of a message.
#[derive(Clone, Copy, Debug)]
struct Inner {
    /// Where it is.
    at: u64,
    name: &'static [u8],
    /// What closes it, where what opens it has been read as well.
    closing: Option<u8>,
}

/// Why the next message is looked for.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The one before is damaged.
    Damage,
    /// Something else stands in its place.
    Foreign,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a name or the end of the message; after a field that a comma may follow.
    Name { separable: bool },
    /// Inside a name.
    NameWord,
    /// Inside the name of an extension or the URL of an Any, which begins at this offset.
    NameBracket { from: u64 },
    /// After a name of the outermost level that begins at this offset and may be any word, and a colon perhaps.
    Unknown { from: u64, colon: bool },
    /// In something that is no message.
    Seeking(Mode),
    /// Before a message that begins inside another.
    Inner(Inner),
    /// After the name of a message that was found, and what opens it unless that is none.
    Found(Option<u8>),
    /// The same, once the name has been returned.
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
    /// After a string, which another may continue.
    AfterString,
}

impl Default for State {
    fn default() -> Self {
        Self::Name { separable: false }
    }
}

impl Lexer for Text {
    fn next(&mut self, input: &mut Input, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        View::advance(input, |view| self.step(view, text))
    }

    fn seek(&mut self, _: &[u8], at: u64) {
        self.nesting.clear();
        match self.inner.take() {
            Some(inner) => self.state = State::Inner(inner),
            None => self.look(at, Mode::Damage),
        }
    }

    fn passed(&self) -> Passed {
        self.passed
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn restart_after_name(&mut self, name: &[u8]) {
        self.nesting.clear();
        self.nesting.name(name);
        self.state = State::Colon;
        self.is_found = true;
    }

    fn overtaking(&self, name: &[u8], _: bool, _: u64, end: u64) -> Option<(u64, usize)> {
        let known = self.generation.ending(name)?;
        let (cut, _) = name.split_at(name.len() - known.len());
        // Between messages, it was a name that was cut. A longer one may be a name of the future.
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

/// How an Any's URL begins, after its bracket.
const URL: &[u8] = b"[type.";

/// A name that is cut to so many bytes or more is no word of another language.
const MIN_CUT: usize = 6;

/// So many blanks may stand around what opens a message that begins inside a string.
const MAX_BLANKS: usize = 16;

/// Whether `word` is the beginning of a name of the outermost level.
fn is_cut(generation: Generation, word: &[u8]) -> bool {
    let names = generation.level().schema().fields.iter();
    let taps = Level::Taps.schema().fields.iter();
    let mut names = names.chain(taps).map(|field| field.name.as_bytes());
    !word.is_empty() && names.any(|name| name.starts_with(word))
}

/// Whether `word` is the end of a trace's name whose beginning is lost.
fn is_end(generation: Generation, word: &[u8]) -> bool {
    let mut names = generation.level().schema().fields.iter();
    let is_end = |name: &[u8]| name.len() > word.len() && name.ends_with(word);
    word.len() >= MIN_CUT
        && names.any(|field| seek::is_trace(field) && is_end(field.name.as_bytes()))
}

/// Whether only a field of the outermost level has this name, or a message that was cut may end in it.
fn knows(generation: Generation, name: &[u8]) -> bool {
    generation.beginning(name) == Some(Beginning::Sure) || generation.ending(name).is_some()
}

#[cfg(test)]
impl Default for Text {
    /// One that takes all names for known ones.
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
            seeker: Seeker::new(Grammar::Text, generation),
            from: 0,
            passed: Passed::default(),
            begins: 0,
            is_found: false,
            inner: None,
        }
    }

    fn step(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            match self.state {
                State::String { quote } => match view.string::<true>(quote, text, escape)? {
                    Stretch::Short => return Ok(Step::More),
                    Stretch::Line => {
                        if let Some(inner) = self.opening(text, view.position()) {
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
                    return Ok(self.named(text));
                }
                State::Unknown { from, colon } => {
                    view.pass(|byte| matches!(byte, b' ' | b'\t'));
                    match view.peek() {
                        None if !view.ended => return Ok(Step::More),
                        Some(b':') if !colon => {
                            view.at += 1;
                            self.state = State::Unknown { from, colon: true };
                        }
                        Some(byte) if self.goes_on(text, colon, byte) => {
                            self.begin(from);
                            let step = self.named(text);
                            if colon {
                                self.state = State::Value;
                            }
                            return Ok(step);
                        }
                        _ => {
                            self.look(from, Mode::Foreign);
                            let is_part = text.len() >= MIN_CUT
                                && (is_cut(self.generation, text) || is_end(self.generation, text));
                            self.seeker.passage.is_fragment |= is_part;
                            self.seeker.feed(text, from);
                            self.seeker.feed(if colon { b":" } else { b" " }, from);
                        }
                    }
                    continue;
                }
                State::Seeking(mode) => match self.seeking(view, mode, text) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::Inner(inner) => {
                    text.clear();
                    text.extend_from_slice(inner.name);
                    self.restart_after_name(text);
                    self.begins = inner.at;
                    self.passed = Passed {
                        to: inner.at,
                        ..Passed::default()
                    };
                    self.state = State::Found(inner.closing);
                    return Ok(Step::Item(Token::Passed));
                }
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
                    self.state = self.valued();
                    return Ok(Step::Item(Token::Bare));
                }
                _ => {}
            }

            self.pass_blank(view);
            let Some(byte) = view.peek() else {
                return match self.state {
                    State::AfterString if self.may_end(view) => Ok(self.quoted()),
                    State::Name { .. } if self.may_end(view) => Ok(Step::End),
                    State::NameBracket { from } if self.may_end(view) && !text.starts_with(URL) => {
                        self.look(from, Mode::Foreign);
                        continue;
                    }
                    State::NameBracket { .. } => view.more("a field's name"),
                    _ => view.more("a message"),
                };
            };
            let in_list = self.nesting.in_list();
            // An arm that gives no state reads the byte itself, or leaves it to the next round.
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
                    (self.valued(), Some(Token::Close))
                }
                (State::Name { .. }, b'}' | b'>') if self.is_found && self.nesting.is_empty() => {
                    (State::Name { separable: true }, None)
                }
                (State::Name { .. }, _) if self.nesting.is_empty() => {
                    self.look(view.position(), Mode::Foreign);
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
                    return Ok(self.named(text));
                }
                (State::NameBracket { .. }, _) if is_url(byte) => {
                    view.word(text, is_url);
                    continue;
                }
                (State::NameBracket { from }, _) if self.nesting.is_empty() => {
                    self.look(from, Mode::Foreign);
                    continue;
                }
                (State::NameBracket { .. }, _) => return Err(view.expected("a type's name")),
                (State::Colon, b':') => (State::Value, None),
                (State::Colon | State::Value, b'{' | b'<') => {
                    let closing = if byte == b'{' { b'}' } else { b'>' };
                    self.nesting.enter_message(closing, view)?;
                    (State::Name { separable: false }, Some(Token::Open))
                }
                // The colon may be left out before a list of messages. That it is not one of values
                // is left unchecked: nothing depends on it.
                (State::Colon | State::Value, b'[') if !in_list => {
                    self.nesting.enter_list(view)?;
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
                    (self.valued(), Some(Token::Null))
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
                    (self.valued(), None)
                }
                (State::AfterItem, _) => return Err(view.expected("a comma or ]")),
                (State::AfterString, b'"' | b'\'') => (State::String { quote: byte }, None),
                // Only AfterString is left.
                _ => return Ok(self.quoted()),
            };
            view.at += 1;
            self.state = state;
            if let Some(token) = token {
                return Ok(Step::Item(token));
            }
        }
    }

    /// The message that begins at the end of `text`, a string that has been read up to the offset `end`.
    ///
    /// Envoy escapes the ends of lines in a string. One that holds one, after what a message begins with, was
    /// cut.
    fn opening(&self, text: &[u8], end: u64) -> Option<Inner> {
        let before = |text: &'_ [u8], blanks: &[u8]| {
            let last = text.iter().rev().take(MAX_BLANKS);
            text.len() - last.take_while(|byte| blanks.contains(byte)).count()
        };
        let (&open, rest) = text[..before(text, b" \t\r\n")].split_last()?;
        let rest = &rest[..before(rest, b" \t:")];
        let name = self
            .generation
            .ending(rest)
            .filter(|_| matches!(open, b'{' | b'<'))?;
        let length = text.len() - rest.len() + name.len();
        Some(Inner {
            at: end.saturating_sub(length as u64),
            name,
            closing: Some(seek::closing(open)),
        })
    }

    /// The damage that a message begins inside `what`.
    fn overtaken(&mut self, inner: Inner, what: &'static str) -> Damage {
        self.inner = Some(inner);
        Damage::new(inner.at, Fault::Overtaken { what })
    }

    /// Looks for the next message from `from` on.
    fn look(&mut self, from: u64, mode: Mode) {
        self.seeker.restart(true);
        self.from = from;
        self.comment = false;
        self.state = State::Seeking(mode);
    }

    /// Passes over what is no message. None where something else comes next.
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
        self.passed = Passed {
            from: self.from,
            to: found.map_or(view.position(), |_| self.seeker.at),
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
                self.begins = self.seeker.at;
                self.state = State::Found(Some(self.seeker.closing));
            }
            // Envoy's own lines stand in JSON alone.
            Some(Found::Failure | Found::Note) | None => self.state = State::default(),
        }
        Some(Step::Item(Token::Passed)).filter(|_| {
            matches!(mode, Mode::Damage) || passage.is_text || self.from < self.passed.to
        })
    }

    /// Whether a field of the outermost level goes on with `byte` after a `name` that others use as well, and a
    /// colon perhaps: all of those are messages but a trace id.
    fn goes_on(&self, name: &[u8], colon: bool, byte: u8) -> bool {
        let is_known = || self.generation.beginning(name).is_some();
        match byte {
            b'{' | b'<' => is_known() || !is_end(self.generation, name),
            _ => colon && is_word_start(byte) && is_known(),
        }
    }

    /// A field begins at the offset `at`. Between messages, it is the first of one.
    fn begin(&mut self, at: u64) {
        if self.nesting.is_empty() {
            self.begins = at;
            self.is_found = false;
        }
    }

    /// A field's name is complete.
    fn named(&mut self, name: &[u8]) -> Step<Token> {
        self.nesting.name(name);
        self.state = State::Colon;
        Step::Item(Token::Field)
    }

    /// A string is complete.
    fn quoted(&mut self) -> Step<Token> {
        self.state = self.valued();
        Step::Item(Token::Quoted)
    }

    /// What comes behind a value.
    fn valued(&self) -> State {
        if self.nesting.in_list() {
            State::AfterItem
        } else {
            State::Name { separable: true }
        }
    }

    /// Whether the end of the window may end a value. Inside a message, what ends there is cut.
    fn may_end(&self, view: &View<'_>) -> bool {
        view.ended && self.nesting.is_empty()
    }

    /// Passes over white space and comments.
    fn pass_blank(&mut self, view: &mut View<'_>) {
        loop {
            if self.comment {
                let Some(line) = memchr(b'\n', view.rest()) else {
                    return view.exhaust();
                };
                view.at += line;
                self.comment = false;
            }
            view.pass(|byte| matches!(byte, b' ' | b'\t'..=b'\r'));
            if view.peek() != Some(b'#') {
                return;
            }
            self.comment = true;
        }
    }
}

/// What may stand in a name. A number is one as well: C++ writes a field that its schema lacks so.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What may stand in the brackets of an extension's name or an Any's URL.
fn is_url(byte: u8) -> bool {
    is_name(byte) || b"./-~%!$&()*+=".contains(&byte)
}

/// What a number or name may begin with.
fn is_word_start(byte: u8) -> bool {
    is_name(byte) || byte == b'.'
}

/// What may stand in a number or name.
fn is_word(byte: u8) -> bool {
    is_word_start(byte) || matches!(byte, b'+' | b'-')
}

/// Whether `word` is a number or name, perhaps behind a minus.
fn is_value(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"-").unwrap_or(word);
    if let [b'0', b'x' | b'X', digits @ ..] = word {
        return !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    }
    if word
        .first()
        .is_some_and(|first| !first.is_ascii_digit() && *first != b'.')
    {
        return word.iter().copied().all(is_name);
    }
    // Octal numbers pass for decimal ones here, and their value is not for this room to find.
    let float = word
        .strip_suffix(b"f")
        .or(word.strip_suffix(b"F"))
        .unwrap_or(word);
    std::str::from_utf8(float).is_ok_and(|float| float.parse::<f64>().is_ok())
}

/// Adds what the text format's escape at the front of `rest` stands for, and gives its length.
fn escape(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    text.push(match *rest.get(1).ok_or(Stop::Short)? {
        b'0'..=b'7' => return octal(rest, text),
        b'x' | b'X' => {
            let digits = rest[2..]
                .iter()
                .take(2)
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            if digits < 2 && rest.len() == 2 + digits {
                return Err(Stop::Short);
            }
            if digits == 0 {
                return Err(Stop::Wrong);
            }
            text.push(hex(&rest[2..], digits)? as u8);
            return Ok(2 + digits);
        }
        b'u' => return unicode(rest, text),
        b'U' => {
            let point = hex(&rest[2..], 8)?;
            if point > u32::from(char::MAX) {
                return Err(Stop::Wrong);
            }
            // What is left that is no character is a surrogate.
            push(
                char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
                text,
            );
            return Ok(10);
        }
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        byte @ (b'?' | b'\'' | b'"' | b'\\') => byte,
        _ => return Err(Stop::Wrong),
    });
    Ok(2)
}

/// Adds the byte of one to three octal digits, which are most of what Envoy escapes.
fn octal(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    let mut value = 0;
    let mut length = 1;
    for byte in rest.iter().skip(1).take(3) {
        if !matches!(byte, b'0'..=b'7') {
            break;
        }
        value = value << 3 | u32::from(byte - b'0');
        length += 1;
    }
    if length < 4 && length == rest.len() {
        return Err(Stop::Short);
    }
    text.push(u8::try_from(value).map_err(|_| Stop::Wrong)?);
    Ok(length)
}

#[cfg(test)]
mod tests;
