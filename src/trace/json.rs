//! Cuts JSON as Envoy writes it into tokens: objects one after the other, or in one array.
//!
//! Knows the grammar of JSON, and none of the names or types of a trace.
//!
//! Invariant: what a call looked at without coming to a token is taken and remembered in `self` and
//! `text`, or shorter than a few words. So the window stays short, no byte is searched twice, and
//! the tokens do not depend on where the input was cut into pieces.

use memchr::memchr2;

use crate::input::Input;

use super::error::Damage;
use super::scan::{Nesting, Stop, View, syntax, unicode};
use super::token::{Lexer, Step, Token};

/// What Envoy writes in the place of a message that it could not turn into JSON; a reason follows.
pub(super) const FAILURE: &[u8] = b"Failed to convert protobuf message to JSON string:";

/// The lexer of JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Json {
    state: State,
    nesting: Nesting,
    /// Inside an array around the objects.
    array: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between objects of the outermost level.
    #[default]
    Outside,
    /// In Envoy's note of a failure, which ends where an object seems to begin.
    Failure,
    /// Behind a brace in such a note.
    FailureBrace,
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
    /// Behind a value.
    After,
}

impl Lexer for Json {
    fn next(&mut self, input: &mut Input, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        View::advance(input, |view| self.step(view, text))
    }

    fn restart_at_value(&mut self) {
        self.state = State::Value;
        self.nesting.restart(b'}');
        self.array = false;
    }
}

impl Json {
    fn step(&mut self, view: &mut View<'_>, text: &mut Vec<u8>) -> Result<Step<Token>, Damage> {
        loop {
            match self.state {
                State::String { name } => {
                    if !view.string(b'"', text, escape)? {
                        return Ok(Step::More);
                    }
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
                State::Failure => match self.failure(view) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                _ => {}
            }

            view.pass(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if let State::FailureBrace = self.state {
                self.state = match view.rest() {
                    [] | [b'"'] if !view.ended => return Ok(Step::More),
                    [b'"', letter, ..] if letter.is_ascii_alphabetic() => {
                        self.nesting.enter_message(b'}', view)?;
                        State::Name
                    }
                    _ => State::Failure,
                };
                continue;
            }
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
                (State::Outside, b'{') => {
                    self.nesting.enter_message(b'}', view)?;
                    (State::Name, None)
                }
                (State::Outside, b',') => (State::Outside, None),
                (State::Outside, b'[') if !self.array => {
                    self.array = true;
                    (State::Outside, None)
                }
                (State::Outside, b']') if self.array => {
                    self.array = false;
                    (State::Outside, None)
                }
                (State::Outside, _) => {
                    if view.rest().starts_with(FAILURE) {
                        self.state = State::Failure;
                        continue;
                    }
                    if FAILURE.starts_with(view.rest()) {
                        return view.more("a note of Envoy's");
                    }
                    return Err(view.expected("a JSON object"));
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

    /// Passes over Envoy's notes. None where an object may begin.
    fn failure(&mut self, view: &mut View<'_>) -> Option<Step<Token>> {
        loop {
            let rest = view.rest();
            let Some(found) = memchr2(b'{', FAILURE[0], rest) else {
                view.exhaust();
                return Some(if view.ended { Step::End } else { Step::More });
            };
            let (here, rest) = (view.position() + found as u64, &rest[found..]);
            view.at += found;
            if rest[0] == b'{' {
                view.at += 1;
                self.state = State::FailureBrace;
                return None;
            }
            if rest.starts_with(FAILURE) {
                view.at += FAILURE.len();
                return Some(Step::Item(Token::Failed(here)));
            } else if FAILURE.starts_with(rest) && !view.ended {
                return Some(Step::More);
            } else {
                view.at += 1;
            }
        }
    }
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
mod tests {
    use super::super::scan::MAX_DEPTH;
    use super::super::scan::tests::{Pieces, check, line};
    use super::*;

    #[test]
    fn objects_and_lists() {
        check::<Json>(&[
            (b"", ""),
            (b" \n", ""),
            (b"{}", ""),
            (br#"{"a":{"b":1,"c":{}}}"#, "a: { b: 1 c: { } }"),
            (
                b"{ \"a\" :\t\"x\" ,\r\n\"b\": -1.5e+3 }",
                "a: 'x' b: -1.5e+3",
            ),
            (
                br#"{"a":true,"b":false,"c":null,"d":0}"#,
                "a: true b: false c: ~ d: 0",
            ),
            (br#"{"a":1}{"a":2} {"a":3},{"a":4}"#, "a: 1 a: 2 a: 3 a: 4"),
            (br#"[{"a":1}, {"a":2}]"#, "a: 1 a: 2"),
            (
                br#"{"e":[{"f":[1,2]},{"g":3}],"h":4}"#,
                "e: { f: 1 f: 2 } e: { g: 3 } h: 4",
            ),
            (
                br#"{"e":[],"f":[null],"g":["x",null]}"#,
                "e: ~ f: ~ g: 'x' g: ~",
            ),
            (br#"{"e":[1,],"f":{"g":2,},}"#, "e: 1 f: { g: 2 }"),
        ]);
    }

    #[test]
    fn strings_are_free_of_escapes_and_of_any_bytes() {
        check::<Json>(&[
            (
                br#"{"a":"\"\\\/\b\f\n\r\t."}"#,
                r#"a: '\"\\/\x08\x0c\n\r\t.'"#,
            ),
            (
                br#"{"\u0061\u00e4":"\u0000\u20AC"}"#,
                r"a\xc3\xa4: '\x00\xe2\x82\xac'",
            ),
            (br#"{"a":"\ud83d\ude00"}"#, r"a: '\xf0\x9f\x98\x80'"),
            (br#"{"a":"\ud83d"}"#, r"a: '\xef\xbf\xbd'"),
            (
                br#"{"a":"\ud83d\n\ude00x"}"#,
                r"a: '\xef\xbf\xbd\n\xef\xbf\xbdx'",
            ),
            (
                br#"{"a":"\ud83d\ud83d\ude00"}"#,
                r"a: '\xef\xbf\xbd\xf0\x9f\x98\x80'",
            ),
            (b"{\"\xff\":\"\x00\n\xc3\xff\"}", r"\xff: '\x00\n\xc3\xff'"),
        ]);
    }

    #[test]
    fn what_breaks_the_grammar_is_found_where_it_is() {
        check::<Json>(&[
            (b"x", "!0 a JSON object"),
            (br#"{"a":1}]"#, "a: 1 !7 a JSON object"),
            (b"[[", "!1 a JSON object"),
            (b" Failed to connect", "!1 a JSON object"),
            (b"{a:1}", "!1 a name in quotes"),
            (br#"{"a" 1}"#, "a: !5 a colon"),
            (br#"{"a":}"#, "a: !5 a JSON value"),
            (br#"{"a":1 "b":2}"#, "a: 1 !7 a comma or }"),
            (br#"{"a":{]}"#, "a: { !6 a name in quotes"),
            (br#"{"a":[1}"#, "a: 1 !7 a comma or ]"),
            (br#"{"a":[1,,2]}"#, "a: 1 !8 a JSON value"),
            (br#"{"a":[[1]]}"#, "a: !6 a JSON value"),
            (br#"{"a": nul}"#, "a: !6 a JSON value"),
            (br#"{"a":01}"#, "a: !5 a JSON value"),
            (br#"{"a":"x\'"}"#, "a: !7 another escape in a string"),
            (br#"{"a":"\u12"}"#, "a: !6 another escape in a string"),
        ]);
    }

    #[test]
    fn an_input_that_is_cut_says_so_at_its_end() {
        check::<Json>(&[
            (b"{", "!1 cut in a JSON object"),
            (br#"{"a"#, "!3 cut in a string"),
            (br#"{"a":"\ud83d"#, "a: !12 cut in a string"),
            (br#"{"a":12"#, "a: !7 cut in a JSON object"),
            (br#"{"a":{}"#, "a: { } !7 cut in a JSON object"),
            (br#"[{"a":1}"#, "a: 1 !8 cut in a JSON array"),
            (b"Fai", "!3 cut in a note of Envoy's"),
        ]);
    }

    #[test]
    fn notes_of_failures_are_counted_and_passed_over() {
        let note = "Failed to convert protobuf message to JSON string: Far {} from { \"1";
        let input = format!("{{\"a\":1}}\n{note}{note}{{\n \"b\":2}}{note}");
        let (first, last) = (8, input.len() - note.len());
        let second = first + note.len();
        let tokens = format!("a: 1 failed@{first} failed@{second} b: 2 failed@{last}");
        check::<Json>(&[(input.as_bytes(), &tokens)]);
    }

    #[test]
    fn a_message_ends_with_its_brace() {
        let mut json = Json::default();
        let mut input = Input::from_reader(Pieces(br#"{"a":{"b":"\ud83d"}}"#.to_vec(), 1));
        let mut text = Vec::new();
        while json.next(&mut input, &mut text) != Ok(Step::Item(Token::Close)) {
            input.fill(&crate::input::Wait::default()).unwrap();
        }
        assert_eq!(input.offset(), 19);
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = |depth| format!("{{\"a\":[{}", "{\"a\":[".repeat(depth));
        let line = |depth| line(&mut Json::default(), deep(depth).as_bytes(), 100);
        assert!(line(MAX_DEPTH / 2 - 1).ends_with("!192 cut in a JSON object"));
        assert!(line(MAX_DEPTH / 2).ends_with("!192 messages that nest less deeply"));
        assert!(line(1 << 16).ends_with("!192 messages that nest less deeply"));
    }
}
