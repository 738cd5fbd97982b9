//! Searches for the next message in other text: text before a trace or between its messages, and the rest of a damaged
//! message.
//!
//! It recognizes how Envoy begins a message, and does not depend on what follows. Invariant: each byte is examined
//! once, and only a name is remembered, so that text of any length takes linear time and constant memory.

use arrayvec::ArrayVec;

use crate::trace::detect::Generation;
use crate::trace::readable::begin::{ATTACHED, Beginning, DISTINCTIVE_NAMES, FAILURE, MAX_NAME};

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Found {
    /// The beginning of a message. The name of its first field has been consumed, and is in [`Seeker::name`]; in the
    /// text format, the opening brace of the field's value as well.
    Message,
    /// A note of Envoy's that it failed to write a message. A reason follows.
    Failure,
    /// A complete line that Envoy wrote.
    Note,
}

/// The bytes before the position of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) struct Passage {
    /// Whether they contain anything but white space.
    pub(in crate::trace) is_text: bool,
    /// Whether they contain a part of a message.
    pub(in crate::trace) is_fragment: bool,
    /// How many messages are open.
    depth: u64,
}

impl Passage {
    fn open(&mut self) {
        self.depth += 1;
    }

    fn close(&mut self) {
        self.is_fragment |= self.depth == 0;
        self.depth = self.depth.saturating_sub(1);
    }
}

/// A search for the next message in a readable encoding.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Seeker {
    generation: Generation,
    grammar: Grammar,
    state: State,
    /// Whether the current line contains only white space so far.
    line_is_blank: bool,
    /// The last bytes of the current word or name.
    word: ArrayVec<u8, MAX_NAME>,
    /// Whether the word is longer than the bytes that are kept.
    is_longer: bool,
    /// Whether the word is the first of its line.
    begins_line: bool,
    /// The offset of the last candidate for a message.
    pub(in crate::trace) at: u64,
    /// The closing brace of the candidate, in the text format.
    pub(in crate::trace) closing: u8,
    /// The line of Envoy's that may have begun, and how many bytes of it have been seen.
    note: Option<(&'static [u8], usize)>,
    /// The offset of that line, and the bytes before it.
    note_begins: (u64, Passage),
    pub(in crate::trace) passage: Passage,
    /// The bytes before the candidate.
    before: Passage,
}

/// The grammar of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Grammar {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    /// After an opening brace, in JSON.
    Brace {
        begins_line: bool,
    },
    /// After a closing brace. curl prints braces that are followed by a space and a bracket.
    Closer {
        blank: bool,
    },
    /// Inside a string that may be a name, in JSON; `first` after an opening brace.
    Name {
        first: bool,
        begins_line: bool,
    },
    /// Inside a word, in the text format.
    Word,
    /// After a name that begins a message, in the text format.
    AfterName {
        sure: bool,
        colon: bool,
    },
    /// After the opening brace of such a field. It is a message if a new line follows.
    Opened,
}

impl Seeker {
    pub(in crate::trace) fn new(grammar: Grammar, generation: Generation) -> Self {
        Self {
            generation,
            grammar,
            state: State::Between,
            line_is_blank: true,
            word: ArrayVec::new(),
            is_longer: false,
            begins_line: false,
            at: 0,
            closing: b'}',
            note: None,
            note_begins: (0, Passage::default()),
            passage: Passage::default(),
            before: Passage::default(),
        }
    }

    /// Restarts the search. `in_line`: other bytes of the same line come before it.
    pub(in crate::trace) fn restart(&mut self, in_line: bool) {
        *self = Self {
            line_is_blank: !in_line,
            ..Self::new(self.grammar, self.generation)
        };
    }

    /// Restarts the search inside the first name, in JSON, of the message at the offset `at`.
    pub(in crate::trace) fn restart_in_name(&mut self, at: u64) {
        self.restart(true);
        self.at = at;
        self.state = State::Name {
            first: true,
            begins_line: false,
        };
    }

    /// The name that was found.
    pub(in crate::trace) fn name(&self) -> &[u8] {
        &self.word
    }

    /// Searches `bytes`, which begin at the offset `from`. Returns how many it consumed, and what it found after them.
    pub(in crate::trace) fn feed(&mut self, bytes: &[u8], from: u64) -> (usize, Option<Found>) {
        for (i, &byte) in bytes.iter().enumerate() {
            let found = match self.grammar {
                Grammar::Json => self.json(byte, from + i as u64),
                Grammar::Text => self.text(byte, from + i as u64),
            };
            if found.is_some() {
                return (i + 1, found);
            }
        }
        (bytes.len(), None)
    }

    /// Ends the search at the end of the input.
    pub(in crate::trace) fn end(&mut self) {
        if let State::Closer { .. } = self.state {
            self.passage.close();
            self.state = State::Between;
        }
    }

    /// Searches for the lines that Envoy writes. They may begin anywhere, also inside what looks like a name.
    fn note(&mut self, byte: u8, at: u64) -> Option<Found> {
        let (line, seen) = match self.note.take() {
            Some((line, seen)) if line.get(seen) == Some(&byte) => (line, seen),
            _ if byte == FAILURE[0] => (FAILURE, 0),
            _ if byte == ATTACHED[0] => (ATTACHED, 0),
            _ => return None,
        };
        if seen == 0 {
            self.note_begins = (at, self.passage);
        }
        if seen + 1 < line.len() {
            self.note = Some((line, seen + 1));
            return None;
        }
        (self.at, self.passage) = self.note_begins;
        self.state = State::Between;
        Some(match line == FAILURE {
            true => Found::Failure,
            false => Found::Note,
        })
    }

    fn json(&mut self, byte: u8, at: u64) -> Option<Found> {
        let found = self.note(byte, at);
        if found.is_some() {
            return found;
        }
        match self.state {
            State::Brace { .. } if byte.is_ascii_whitespace() => {
                self.line_is_blank |= byte == b'\n';
                return None;
            }
            State::Brace { begins_line } if byte == b'"' => {
                self.begin_name(true, begins_line);
                return None;
            }
            // curl reports received data as `{ [5 bytes data]`.
            State::Brace { .. } if byte == b'[' => {
                self.passage.depth = self.passage.depth.saturating_sub(1);
            }
            State::Closer { .. } if byte == b' ' => {
                self.state = State::Closer { blank: true };
                return None;
            }
            State::Closer { blank } if !(blank && byte == b'[') => self.passage.close(),
            State::Name { first, begins_line } => {
                if byte == b'"' {
                    return self.end_name(first, begins_line);
                }
                if is_name(byte) || byte == b'@' {
                    // A longer string is not a name, and neither is its beginning.
                    self.is_longer |= self.word.try_push(byte).is_err();
                    return None;
                }
            }
            _ => {}
        }
        self.state = State::Between;
        self.between(byte, at);
        None
    }

    /// Examines a byte that does not continue anything.
    fn between(&mut self, byte: u8, at: u64) {
        let begins_line = self.line_is_blank;
        match byte {
            b'\n' => self.line_is_blank = true,
            b' ' | b'\t' | b'\r' => {}
            _ => {
                self.before = self.passage;
                self.passage.is_text = true;
                self.line_is_blank = false;
            }
        }
        match byte {
            b'{' => {
                self.passage.open();
                if self.grammar == Grammar::Json {
                    self.at = at;
                    self.state = State::Brace { begins_line };
                }
            }
            b'}' => self.state = State::Closer { blank: false },
            b'"' if self.grammar == Grammar::Json => self.begin_name(false, false),
            _ => {}
        }
    }

    /// Reports a message at the offset `at`.
    fn found(&mut self, at: u64) -> Option<Found> {
        (self.at, self.passage) = (at, self.before);
        Some(Found::Message)
    }

    fn begin_name(&mut self, first: bool, begins_line: bool) {
        self.word.clear();
        self.is_longer = false;
        self.state = State::Name { first, begins_line };
    }

    fn end_name(&mut self, first: bool, begins_line: bool) -> Option<Found> {
        self.state = State::Between;
        if self.is_longer {
            return None;
        }
        let beginning = self.generation.beginning(&self.word).filter(|_| first);
        let found = match beginning {
            Some(Beginning::Sure) => true,
            Some(Beginning::Likely) => begins_line,
            None => false,
        };
        if found {
            return self.found(self.at);
        }
        self.passage.is_fragment |= DISTINCTIVE_NAMES.contains(&self.word.as_slice());
        None
    }

    fn text(&mut self, byte: u8, at: u64) -> Option<Found> {
        match self.state {
            State::Word if is_name(byte) => {
                if self.word.is_full() {
                    self.word.remove(0);
                    self.is_longer = true;
                }
                self.word.push(byte);
                return None;
            }
            State::Word => self.end_word(byte, at),
            _ => {}
        }
        match (self.state, byte) {
            (State::AfterName { .. } | State::Opened, b' ' | b'\t') => return None,
            (State::AfterName { sure, colon: false }, b':') => {
                self.state = State::AfterName { sure, colon: true };
                return None;
            }
            (State::AfterName { sure, .. }, b'{' | b'<') => {
                self.closing = closing(byte);
                if sure {
                    return self.found(self.at);
                }
                self.passage.open();
                self.state = State::Opened;
                return None;
            }
            (State::Opened, b'\r') => return None,
            (State::Opened, b'\n') => return self.found(self.at),
            (State::Closer { .. }, b' ') => {
                self.state = State::Closer { blank: true };
                return None;
            }
            (State::Closer { blank }, _) if !(blank && byte == b'[') => self.passage.close(),
            _ => {}
        }
        self.state = State::Between;
        if is_name(byte) {
            self.begins_line = self.line_is_blank;
            self.line_is_blank = false;
            self.before = self.passage;
            self.passage.is_text = true;
            self.word.clear();
            self.word.push(byte);
            self.is_longer = false;
            self.state = State::Word;
            return None;
        }
        self.between(byte, at);
        None
    }

    /// Ends a word of the text format before `byte`, whose offset is `at`.
    fn end_word(&mut self, byte: u8, at: u64) {
        self.state = State::Between;
        let Some(name) = self.generation.ending(&self.word) else {
            let likely = !self.is_longer && self.begins_line;
            if likely && self.generation.beginning(&self.word).is_some() {
                self.at = at - self.word.len() as u64;
                self.state = State::AfterName {
                    sure: true,
                    colon: false,
                };
            }
            let has_value = matches!(byte, b':' | b' ' | b'{');
            self.passage.is_fragment |=
                has_value && DISTINCTIVE_NAMES.contains(&self.word.as_slice());
            return;
        };
        self.at = at - name.len() as u64;
        let is_whole = name.len() == self.word.len() && !self.is_longer;
        let sure = is_whole && self.begins_line;
        self.before.is_text |= !is_whole;
        // Other text may precede the name directly.
        self.word = name.iter().copied().collect();
        self.state = State::AfterName { sure, colon: false };
    }
}

/// The closing brace of a message that `byte` opens.
pub(in crate::trace) const fn closing(byte: u8) -> u8 {
    match byte {
        b'<' => b'>',
        _ => b'}',
    }
}

/// Whether a name may contain `byte`.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests;
