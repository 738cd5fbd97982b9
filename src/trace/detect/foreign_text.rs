//! Finds the first message of a text or JSON trace after other text: a prompt, the head of a response, the lines
//! of a log.
//!
//! If each line of the trace begins with a prefix, that is recognized as well; [`crate::input`] removes it.
//!
//! Invariant: each byte is passed to the search once, however often it continues.

use crate::input::{Match, Prefix};
use crate::trace::readable::begin::{Beginning, FAILURE};
use crate::trace::readable::seek::{Found, Grammar, Seeker};
use crate::trace::schema;

use super::{Encoding, Generation};

/// The search for the first message after other text.
#[derive(Debug)]
pub(super) struct ForeignTextSearch {
    json: Seeker,
    text: Seeker,
    /// The number of bytes searched.
    taken: usize,
    /// The offset of the last line.
    line: usize,
    /// The text before the brace at the end of the previous line, if it may be a prefix.
    prefix: Option<Prefix>,
}

impl Default for ForeignTextSearch {
    fn default() -> Self {
        let seeker = |grammar| Seeker::new(grammar, Generation::Tap);
        Self {
            json: seeker(Grammar::Json),
            text: seeker(Grammar::Text),
            taken: 0,
            line: 0,
            prefix: None,
        }
    }
}

impl ForeignTextSearch {
    /// Continues the search in `text`, whose beginning has been searched.
    pub(super) fn continue_in(&mut self, text: &[u8]) -> Option<(Encoding, Option<Prefix>)> {
        while let Some(&byte) = text.get(self.taken) {
            let at = self.taken as u64;
            self.taken += 1;
            let before = &text[..self.taken];
            match self.json.feed(&[byte], at).1 {
                Some(Found::Message) => {
                    let brace = self.json.at as usize;
                    let in_line = !text[brace..self.taken].contains(&b'\n');
                    let prefix = prefix(&text[..brace]).filter(|_| in_line);
                    return Some((Encoding::Json, prefix));
                }
                Some(Found::Failure) => return Some((Encoding::Json, None)),
                Some(Found::Note) => self.json.restart(true),
                None => {}
            }
            if self.text.feed(&[byte], at).1.is_some() {
                let prefix = prefix(&text[..self.text.at as usize]);
                return Some((Encoding::Text, prefix.filter(Self::is_no_field)));
            }
            match byte {
                b'\n' => {
                    let line = before[self.line..].trim_ascii_end();
                    self.prefix = line.strip_suffix(b"{").and_then(Prefix::of);
                    self.line = self.taken;
                }
                b'"' if self
                    .prefix
                    .as_ref()
                    .is_some_and(|prefix| begins_object(prefix, &before[self.line..])) =>
                {
                    return Some((Encoding::Json, self.prefix.take()));
                }
                _ => {}
            }
        }
        None
    }

    /// Whether a prefix is not a field of a text message on a line of its own.
    fn is_no_field(prefix: &Prefix) -> bool {
        let word = prefix.word();
        let mut fields = schema::TAP_MESSAGES
            .iter()
            .flat_map(|message| message.named(&word));
        // A field that is a message has a brace.
        fields.all(|field| matches!(field.kind, schema::Kind::Message(_)))
    }
}

/// The prefix in the last line of `text`.
fn prefix(text: &[u8]) -> Option<Prefix> {
    let line = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
    let line = &text[line..];
    // The message that Envoy writes in place of a trace message is counted elsewhere.
    match memchr::memmem::find(line, FAILURE) {
        Some(_) => None,
        None => Prefix::of(line),
    }
}

/// Whether `line` is the second line of an object whose first line is a prefix and a brace.
fn begins_object(prefix: &Prefix, line: &[u8]) -> bool {
    let Match::Yes(len) = prefix.matches(line, false) else {
        return false;
    };
    let name = line[len..].trim_ascii_start().strip_prefix(b"\"");
    let name = name.and_then(|name| name.strip_suffix(b"\""));
    name.is_some_and(|name| Generation::Tap.beginning(name) == Some(Beginning::Sure))
}
