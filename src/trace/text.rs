//! Cuts the protobuf text format into tokens: fields one after the other, those of the messages of
//! the outermost level among them.
//!
//! Knows the grammar as Envoy and protoc write it and people edit it, and none of the names or types
//! of a trace. <https://protobuf.dev/reference/protobuf/textformat-spec/> has the rules.
//!
//! Invariant: as in [`super::json`], what a call looked at without coming to a token is taken and
//! remembered, or shorter than a few words.

use memchr::memchr;

use crate::input::Input;

use super::error::Damage;
use super::scan::{Nesting, Stop, View, hex, push, syntax, unicode};
use super::token::{Lexer, Step, Token};

/// The lexer of the text format.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    state: State,
    nesting: Nesting,
    /// Inside a comment.
    comment: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a name or the end of the message; behind a field that a comma may follow.
    Name { separable: bool },
    /// Inside a name.
    NameWord,
    /// Inside the name of an extension or the URL of an Any.
    NameBracket,
    /// Before a colon or value.
    Colon,
    /// Before a value.
    Value,
    /// Before a value of a list, or its end.
    Item { first: bool },
    /// Behind a value of a list.
    AfterItem,
    /// Behind a minus.
    Sign,
    /// Inside a number or name.
    Word { start: u64 },
    /// Inside a string.
    String { quote: u8 },
    /// Behind a string, which another may continue.
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

    fn restart_at_value(&mut self) {
        self.state = State::Value;
        self.nesting.restart(b'}');
        self.comment = false;
    }
}

impl Text {
    fn step(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            match self.state {
                State::String { quote } => {
                    if !view.string(quote, text, escape)? {
                        return Ok(Step::More);
                    }
                    self.state = State::AfterString;
                }
                State::NameWord => {
                    if !view.word(text, is_name) {
                        return view.more("a field's name");
                    }
                    return Ok(self.named(text));
                }
                State::Word { start } => {
                    if !view.word(text, is_word) && !self.may_end(view) {
                        return view.more("a message");
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
                    State::NameBracket => view.more("a field's name"),
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
                    (State::NameBracket, None)
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
                (State::Name { .. }, _) => return Err(view.expected("a field's name")),
                (State::NameBracket, b']') if text.len() > 1 => {
                    text.push(byte);
                    view.at += 1;
                    return Ok(self.named(text));
                }
                (State::NameBracket, _) if is_url(byte) => {
                    view.word(text, is_url);
                    continue;
                }
                (State::NameBracket, _) => return Err(view.expected("a type's name")),
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
mod tests {
    use super::super::scan::tests::check;
    use super::*;

    #[test]
    fn fields_messages_and_lists() {
        check::<Text>(&[
            (b"", ""),
            (b" # nothing", ""),
            (b"a {\n  b: 1\n  c {\n  }\n}\n", "a: { b: 1 c: { } }"),
            (b"a:{b:1,c:2;d<e:x>}", "a: { b: 1 c: 2 d: { e: x } }"),
            (b"a: 1 a { } a: \"x\"", "a: 1 a: { } a: 'x'"),
            (b"a: # 1\n2 # {\n#\n# }\nb: 3#", "a: 2 b: 3"),
            (
                b"a: -1 b: -inf c: - # x\n .5 d: 1e-5f e: 1. f: 0x1F g: 017 h: -nan",
                { "a: -1 b: -inf c: -.5 d: 1e-5f e: 1. f: 0x1F g: 017 h: -nan" },
            ),
            (b"a: [1, x,\n'y' 'z'] b: [] c [{d: [2]}, <>]", {
                "a: 1 a: x a: 'yz' b: ~ c: { d: 2 } c: { }"
            }),
            (
                b"[a.b]: 1 [ x.y/a-b ] { 7: 2 }",
                "[a.b]: 1 [x.y/a-b]: { 7: 2 }",
            ),
        ]);
    }

    #[test]
    fn strings_are_free_of_escapes_and_of_any_bytes() {
        check::<Text>(&[
            (
                br#"a: "\n\r\t\a\b\f\v\?\'\"\\""#,
                r#"a: '\n\r\t\x07\x08\x0c\x0b?\'\"\\'"#,
            ),
            (br#"a: '"\0\18\0019\377'"#, r#"a: '\"\x00\x018\x019\xff'"#),
            (br#"a: "\x1\xfff\X41""#, r"a: '\x01\xfffA'"),
            (br#"a: "\u00e4\U0001F600\ud83d\ude00\ud83d""#, {
                r"a: '\xc3\xa4\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xef\xbf\xbd'"
            }),
            (b"a{b: \"x\" # y\n'z'\"\" c: ''}", "a: { b: 'xz' c: '' }"),
            (b"a: \"\x00\n\xc3\xff\"", r"a: '\x00\n\xc3\xff'"),
        ]);
    }

    #[test]
    fn what_breaks_the_grammar_is_found_where_it_is() {
        check::<Text>(&[
            (b"{", "!0 a field's name"),
            (b"a: 1 }", "a: 1 !5 a field's name"),
            (b"a: 1,,", "a: 1 !5 a field's name"),
            (b"a { b: 1 >", "a: { b: 1 !9 a field's name"),
            (b"a 1", "a: !2 a colon or a message"),
            (b"a: }", "a: !3 a value"),
            (b"a{b: 10b }", "a: { b: !5 a value"),
            (b"a{b: x.y }", "a: { b: !5 a value"),
            (b"a: - }", "a: !5 a number"),
            (b"a: [1 2]", "a: 1 !6 a comma or ]"),
            (b"a: [1,]", "a: 1 !6 a value"),
            (b"a: [[", "a: !4 a value"),
            (b"[] {", "!1 a type's name"),
            (br#"a: "x\q""#, "a: !5 another escape in a string"),
            (br#"a: "\400""#, "a: !4 another escape in a string"),
            (br#"a: "\xg""#, "a: !4 another escape in a string"),
            (br#"a: "\U00110000""#, "a: !4 another escape in a string"),
        ]);
    }

    #[test]
    fn an_input_that_is_cut_says_so_at_its_end() {
        check::<Text>(&[
            (b"abc", "!3 cut in a field's name"),
            (b"[abc", "!4 cut in a field's name"),
            (b"a:", "a: !2 cut in a message"),
            (b"a { b: 1", "a: { b: !8 cut in a message"),
            (b"a { b: 1 ", "a: { b: 1 !9 cut in a message"),
            (br#"a: "x"#, "a: !5 cut in a string"),
            (br#"a: "\1"#, "a: !6 cut in a string"),
            (br#"a { b: "x""#, "a: { b: !10 cut in a message"),
            (b"a: [1,", "a: 1 !6 cut in a message"),
        ]);
    }
}
