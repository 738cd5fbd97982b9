//! Looks for the next message in text that is none: what stands before a trace or between its messages, and what
//! is left of a message that is damaged.
//!
//! It knows how Envoy begins a message and nothing of what follows. Invariant: each byte is taken once, and
//! nothing but a name is remembered of what was taken, so that text of any length takes linear time and no memory.

use arrayvec::ArrayVec;

use crate::trace::detect::Generation;
use crate::trace::schema::{self, Field, Kind};

/// What Envoy writes in the place of a message that it could not turn into JSON; a reason follows.
pub(in crate::trace) const FAILURE: &[u8] = b"Failed to convert protobuf message to JSON string:";
/// What Envoy answers to a second client of `/tap`, which may go to the file of the first.
pub(in crate::trace) const ATTACHED: &[u8] =
    b"An attached /tap admin stream already exists. Detach it.";

/// Longer than every name in the schema, in bytes.
pub(in crate::trace) const MAX_NAME: usize = 64;

/// Names that are seldom seen elsewhere: where they stand between messages, they are what is left of one.
const TELLTALES: [&[u8]; 14] = [
    b"as_bytes",
    b"asBytes",
    b"as_string",
    b"asString",
    b"end_stream",
    b"endStream",
    b"headers_received_time",
    b"local_address",
    b"remote_address",
    b"localAddress",
    b"remoteAddress",
    b"port_value",
    b"portValue",
    b"seq_num",
];

/// A name that a message of the outermost level begins with, as far as it may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Beginning {
    /// No other message begins with it.
    Sure,
    /// Messages inside others begin with it, too.
    Likely,
}

impl Generation {
    /// Whether a message of the outermost level begins with the field `name`.
    pub(in crate::trace) fn beginning(self, name: &[u8]) -> Option<Beginning> {
        let likely = |known: bool| known.then_some(Beginning::Likely);
        match self {
            Self::Tap => match schema::TAP_TRACEWRAPPER.named(name) {
                Some(field) if is_trace(field) => Some(Beginning::Sure),
                Some(_) => Some(Beginning::Likely),
                None if name == b"@type" => Some(Beginning::Likely),
                None => likely(schema::TAP_STREAMTAPSREQUEST.named(name).is_some()),
            },
            Self::Capture => likely(schema::CAPTURE_TRACE.named(name).is_some()),
        }
    }

    /// The name of a message of the outermost level that stands at the end of `word`.
    pub(in crate::trace) fn ending(self, word: &[u8]) -> Option<&'static [u8]> {
        let fields = match self {
            Self::Tap => schema::TAP_TRACEWRAPPER.fields,
            // Its names are those of other fields, too.
            Self::Capture => &[],
        };
        let names = fields.iter().filter(|field| is_trace(field));
        let names = names.map(|field| field.name.as_bytes());
        // One name ends like another: the longest is it.
        names
            .filter(|name| word.ends_with(name))
            .max_by_key(|name| name.len())
    }
}

/// Whether a field of `TraceWrapper` holds a trace: no other field has such a name.
pub(in crate::trace) fn is_trace(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(_)) && field.name.contains("_trace")
}

/// What has been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Found {
    /// A message begins, and all up to its first field's name has been taken; `last` has the name. Of a text
    /// message, what opens the field's value has been taken as well.
    Message,
    /// Envoy failed to write a message. A reason follows.
    Failure,
    /// A line of Envoy's own is over.
    Note,
}

/// What stands before the place that has been found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::trace) struct Passage {
    /// Whether there was anything but blanks.
    pub(in crate::trace) is_text: bool,
    /// Whether some of it was a part of a message.
    pub(in crate::trace) is_fragment: bool,
    /// How many messages have begun in it and not ended.
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

/// Looks for the next message in a readable encoding.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Seeker {
    generation: Generation,
    grammar: Grammar,
    state: State,
    /// Whether there were only blanks in this line so far.
    line_is_blank: bool,
    /// The last bytes of the word or name that is being read.
    word: ArrayVec<u8, MAX_NAME>,
    /// Whether the word is longer than that.
    is_longer: bool,
    /// Whether the word began its line.
    begins_line: bool,
    /// Where the last message began that may be what is looked for.
    pub(in crate::trace) at: u64,
    /// What closes it, in the text format.
    pub(in crate::trace) closing: u8,
    /// The line of Envoy's own that may be under way, and how much of it has been seen.
    note: Option<(&'static [u8], usize)>,
    /// Where that began, and what stood before it.
    note_begins: (u64, Passage),
    pub(in crate::trace) passage: Passage,
    /// What stood before the message that may have begun.
    before: Passage,
}

/// The encoding, as far as it matters where messages begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Grammar {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    /// After a brace that opens, in JSON.
    Brace {
        begins_line: bool,
    },
    /// After a brace that closes. curl writes braces with blanks and a bracket after them.
    Closer {
        blank: bool,
    },
    /// Inside what may be a name, in JSON; after a brace where `first`.
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
    /// After what opens such a field. Something else than a new line makes it doubtful.
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

    /// Begins anew; `in_line` after something else in the same line.
    pub(in crate::trace) fn restart(&mut self, in_line: bool) {
        *self = Self {
            line_is_blank: !in_line,
            ..Self::new(self.grammar, self.generation)
        };
    }

    /// Begins anew inside a name, in JSON, of the message that began at `at`.
    pub(in crate::trace) fn restart_in_name(&mut self, at: u64) {
        self.restart(true);
        self.at = at;
        self.state = State::Name {
            first: true,
            begins_line: false,
        };
    }

    /// The name that has been found.
    pub(in crate::trace) fn name(&self) -> &[u8] {
        &self.word
    }

    /// Goes over `bytes`, which begin at the offset `from`, and gives how many it has taken and what comes next.
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

    /// No more comes.
    pub(in crate::trace) fn end(&mut self) {
        if let State::Closer { .. } = self.state {
            self.passage.close();
            self.state = State::Between;
        }
    }

    /// Looks for the lines of Envoy's own. They may begin anywhere, inside what looks like a name as well.
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
            // What curl says of the data that it gets.
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
                    // One that is too long is none, and so is what it is cut to.
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

    /// Takes a byte that is no part of anything yet.
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

    /// A message begins at `at`.
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
        self.passage.is_fragment |= TELLTALES.contains(&self.word.as_slice());
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

    /// A word of the text format ends before `byte`, which is at `at`.
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
            self.passage.is_fragment |= has_value && TELLTALES.contains(&self.word.as_slice());
            return;
        };
        self.at = at - name.len() as u64;
        let is_whole = name.len() == self.word.len() && !self.is_longer;
        let sure = is_whole && self.begins_line;
        self.before.is_text |= !is_whole;
        // What stands before the name is no part of it.
        self.word = name.iter().copied().collect();
        self.state = State::AfterName { sure, colon: false };
    }
}

/// What closes a message that `byte` opens.
pub(in crate::trace) const fn closing(byte: u8) -> u8 {
    match byte {
        b'<' => b'>',
        _ => b'}',
    }
}

/// What may stand in a name.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests;
