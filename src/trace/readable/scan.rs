//! The common part of the lexers of text and JSON: a view of the window, words and strings.
//!
//! Implements neither grammar. Invariant: what was consumed in a [`View`] is consumed from the input once the view is
//! dropped.

use memchr::{memchr2, memchr3};

use crate::input::Input;

use crate::trace::error::{Damage, Fault};
use crate::trace::readable::dense;
use crate::trace::readable::escape::{self, Stop};
use crate::trace::readable::lexer::{Step, Token};

/// After more than this many consecutive short stretches between escapes, a string is assumed to consist mostly of escapes.
const DENSE_ESCAPES: usize = 4;
/// A stretch of fewer bytes than this is short.
const SHORT_STRETCH: usize = 8;

/// Whether `word` is a truth value or a plain decimal number, in JSON and in the text format.
#[inline]
pub(in crate::trace) fn is_usual_word(word: &[u8]) -> bool {
    match word {
        b"true" | b"false" | b"0" => true,
        [b'1'..=b'9', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// How much of a string was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Stretch {
    /// All of it.
    Whole,
    /// Up to the end of a line.
    Line,
    /// Up to the end of the window.
    Short,
}

/// The window of an [`Input`], and the position in it.
pub(in crate::trace) struct View<'a> {
    window: &'a [u8],
    pub(in crate::trace) at: usize,
    offset: u64,
    pub(in crate::trace) ended: bool,
}

impl<'a> View<'a> {
    /// Calls `step` with a view of the window of `input`, and consumes what it read.
    pub(in crate::trace) fn advance<T>(
        input: &mut Input,
        step: impl FnOnce(&mut View<'_>) -> T,
    ) -> T {
        let (window, offset, ended) = (input.window(), input.offset(), input.ended());
        let mut view = View {
            window,
            at: 0,
            offset,
            ended,
        };
        let result = step(&mut view);
        let read = view.at;
        input.skip(read);
        result
    }

    /// The bytes from the position on.
    #[inline]
    pub(in crate::trace) fn rest(&self) -> &'a [u8] {
        &self.window[self.at..]
    }

    /// Consumes the window up to `rest`, which is the end of it.
    #[inline]
    pub(in crate::trace) fn advance_to(&mut self, rest: &[u8]) {
        self.at = self.window.len() - rest.len();
    }

    /// The offset in the input of `rest`, which is the end of the window.
    #[inline]
    pub(in crate::trace) fn offset_of(&self, rest: &[u8]) -> u64 {
        self.offset + (self.window.len() - rest.len()) as u64
    }

    /// The byte at the position.
    pub(in crate::trace) fn peek(&self) -> Option<u8> {
        self.window.get(self.at).copied()
    }

    /// The position as an offset in the input.
    pub(in crate::trace) fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// Consumes all of the window.
    pub(in crate::trace) fn exhaust(&mut self) {
        self.at = self.window.len();
    }

    /// Skips to the first byte that is not `blank`.
    pub(in crate::trace) fn skip(&mut self, blank: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest
            .iter()
            .position(|&byte| !blank(byte))
            .unwrap_or(rest.len());
    }

    /// Appends the bytes up to the first that is not `part` of a word. Returns false if the window has no such
    /// byte.
    pub(in crate::trace) fn word(&mut self, text: &mut Vec<u8>, part: impl Fn(u8) -> bool) -> bool {
        let rest = self.rest();
        self.skip(part);
        text.extend_from_slice(&rest[..rest.len() - self.rest().len()]);
        self.peek().is_some()
    }

    /// Appends the contents of a string in `quote`s up to its end, or if it `IS_TEXT` up to the end of a line.
    ///
    /// `IS_TEXT` is true for the text format, and false for JSON.
    pub(in crate::trace) fn string<const IS_TEXT: bool>(
        &mut self,
        quote: u8,
        text: &mut Vec<u8>,
    ) -> Result<Stretch, Damage> {
        let mut short_stretches = 0;
        loop {
            let rest = self.rest();
            // Escapes often follow each other directly, so searching for the next one would not pay.
            if rest.first() != Some(&b'\\') {
                let found = match IS_TEXT {
                    true => memchr3(quote, b'\\', b'\n', rest),
                    false => memchr2(quote, b'\\', rest),
                };
                let plain = found.unwrap_or(rest.len());
                text.extend_from_slice(&rest[..plain]);
                self.at += plain;
                match found {
                    None => return self.more("a string").map(|_| Stretch::Short),
                    Some(end) if rest[end] == quote => {
                        self.at += 1;
                        return Ok(Stretch::Whole);
                    }
                    Some(end) if IS_TEXT && rest[end] == b'\n' => {
                        self.at += 1;
                        text.push(b'\n');
                        return Ok(Stretch::Line);
                    }
                    Some(end) if end >= SHORT_STRETCH => short_stretches = 0,
                    Some(_) => {}
                }
            }
            short_stretches += 1;
            if IS_TEXT && short_stretches > DENSE_ESCAPES {
                short_stretches = 0;
                let read = dense::decode(self.rest(), text);
                self.at += read;
                if read > 0 {
                    continue;
                }
            }
            let decoded = match IS_TEXT {
                true => escape::text(self.rest(), text),
                false => escape::json(self.rest(), text),
            };
            match decoded {
                Ok(length) => self.at += length,
                Err(Stop::Short) => return self.more("a string").map(|_| Stretch::Short),
                Err(Stop::Wrong) => return Err(self.expected("another escape in a string")),
            }
        }
    }

    /// Whether `mark` is at the position; `None` if the window is too short.
    pub(in crate::trace) fn starts_with(&self, mark: &[u8]) -> Option<bool> {
        let rest = self.rest();
        match mark.strip_prefix(&rest[..rest.len().min(mark.len())]) {
            Some([]) => Some(true),
            Some(_) => None,
            None => Some(false),
        }
    }

    /// Requests more input to finish `what`.
    ///
    /// # Errors
    /// If the input has ended.
    pub(in crate::trace) fn more(&self, what: &'static str) -> Result<Step<Token>, Damage> {
        if !self.ended {
            return Ok(Step::More);
        }
        let offset = self.offset + self.window.len() as u64;
        let missing = None;
        Err(Damage::new(offset, Fault::Cut { what, missing }))
    }

    /// The damage that `expected` was not found at the position.
    pub(in crate::trace) fn expected(&self, expected: &'static str) -> Damage {
        syntax(self.position(), expected)
    }
}

/// The damage that `expected` was not found at `offset`.
pub(in crate::trace) fn syntax(offset: u64, expected: &'static str) -> Damage {
    Damage::new(offset, Fault::Syntax { expected })
}

#[cfg(test)]
pub(in crate::trace) mod tests {
    use std::fmt::Write;
    use std::io::{self, Read};

    use super::*;
    use crate::trace::readable::lexer::{Foreign, Lexer, Passed};

    /// A reader that returns its bytes in pieces of a fixed size.
    pub(in crate::trace) struct Pieces(pub(in crate::trace) Vec<u8>, pub(in crate::trace) usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    /// The tokens of `bytes`, read `size` at a time, as a line.
    pub(in crate::trace) fn line(lexer: &mut impl Lexer, bytes: &[u8], size: usize) -> String {
        let mut input = Input::from_reader(Pieces(bytes.to_vec(), size));
        let mut text = Vec::new();
        line_of(lexer, &mut input, &mut text, size)
    }

    /// The tokens of what is left of an input that comes in pieces of `size`, up to the first damage.
    pub(in crate::trace) fn line_of(
        lexer: &mut impl Lexer,
        input: &mut Input,
        text: &mut Vec<u8>,
        size: usize,
    ) -> String {
        let mut line = String::new();
        loop {
            let step = View::advance(input, |view| lexer.next(view, text));
            assert!(
                input.window().len() < size + 80,
                "{} bytes wait",
                input.window().len()
            );
            let string = text.escape_ascii();
            match step {
                Ok(Step::More) => {
                    input.fill(&crate::input::Wait::default()).unwrap();
                    continue;
                }
                Ok(Step::End) => return line.trim_end().to_owned(),
                Ok(Step::Item(Token::Field)) => write!(line, "{string}: "),
                Ok(Step::Item(Token::Open)) => write!(line, "{{ "),
                Ok(Step::Item(Token::Close)) => write!(line, "}} "),
                Ok(Step::Item(Token::Quoted)) => write!(line, "'{string}' "),
                Ok(Step::Item(Token::Bare)) => write!(line, "{string} "),
                Ok(Step::Item(Token::Null)) => write!(line, "~ "),
                Ok(Step::Item(Token::Failed(at))) => write!(line, "failed@{at} "),
                Ok(Step::Item(Token::Passed)) => {
                    let Passed { from, to, what, .. } = lexer.passed();
                    let what = match what {
                        Foreign::Text => "text",
                        Foreign::Fragment => "fragment",
                        Foreign::Note => "note",
                    };
                    write!(line, "{what}@{from}-{to} ")
                }
                Err(damage) => {
                    let offset = damage.offset;
                    return match *damage.fault {
                        Fault::Syntax { expected } => line + &format!("!{offset} {expected}"),
                        Fault::Cut { what, .. } => line + &format!("!{offset} cut in {what}"),
                        Fault::Overtaken { what } => line + &format!("!{offset} overtaken {what}"),
                        _ => line + &damage.to_string(),
                    };
                }
            }
            .unwrap();
        }
    }

    /// Checks the tokens of each input, whatever the pieces it comes in and wherever it ends.
    pub(in crate::trace) fn check<L: Lexer + Default>(table: &[(&[u8], &str)]) {
        for (bytes, expected) in table {
            let shown = bytes.escape_ascii();
            for size in 1..=bytes.len() + 1 {
                let line = line(&mut L::default(), bytes, size);
                assert_eq!(line, *expected, "{shown} in pieces of {size}");
            }
            for end in 0..bytes.len() {
                let cut = line(&mut L::default(), &bytes[..end], 100);
                let read = cut.split('!').next().unwrap_or_default().trim_end();
                // Bytes that are not a message are skipped up to the end of the input.
                let (before, last) = read.rsplit_once(' ').unwrap_or(("", read));
                let is_last = last.contains('@') && last.ends_with(&format!("-{end}"));
                let read = if is_last { before } else { read };
                assert!(expected.starts_with(read), "{shown} cut at {end}: {cut}");
                if let Some((_, offset)) = cut.split_once("cut in").and(cut.split_once('!')) {
                    assert!(
                        offset.starts_with(&format!("{end} ")),
                        "{shown} cut at {end}: {cut}"
                    );
                }
            }
            for at in 0..bytes.len() {
                for byte in [b'\\', b'"', b'[', b'}', b'F', 0, 0xff] {
                    let mut bytes = bytes.to_vec();
                    bytes[at] = byte;
                    let line = |size| line(&mut L::default(), &bytes, size);
                    assert_eq!(line(1), line(100), "{}", bytes.escape_ascii());
                }
            }
        }
    }
}
