//! Text and JSON traces: their tokens, brought into the binary encoding part by part.
//!
//! Names become numbers by the schema's table, and what comes out is what the binary walker gives,
//! so that everything behind it exists once. Unknown names are skipped, as unknown numbers are.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::input::Input;
use crate::model::event::{Skip, SkipKind};
use crate::slice::{Backing, Piece};

use crate::trace::binary::look_ahead::{Found, Sink};
use crate::trace::decode::{Decoder, Place};
use crate::trace::detect::Generation;
use crate::trace::element::{Action, Level, Part};
use crate::trace::error::{Damage, Fault};
use crate::trace::hold::Taken;
use crate::trace::readable::lexer::{Foreign, Lexer, Passed, Step, Token};
use crate::trace::schema::{Field, Kind, Message};

/// How a readable encoding writes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum BytesForm {
    /// As they are, behind escapes (text).
    Plain,
    /// In base64 (JSON).
    Base64,
}

/// Reads a trace in a readable encoding.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Transcoder<L> {
    pub(in crate::trace) lexer: L,
    bytes_form: BytesForm,
    text: Vec<u8>,
    /// The messages that are entered, the innermost last; never empty.
    open: Vec<Level>,
    state: State,
    build: Build,
    /// Where the token before the next one ends. The window's start is no measure: it lies inside a
    /// token that arrives in pieces.
    before: u64,
    /// The offset of the last field's name.
    offset: u64,
    /// The offset at which the value of the last part begins.
    value: u64,
    /// The offset at which the last value ended that has been taken or passed over.
    taken: u64,
    /// Whether the token before was [`Token::Open`].
    opened: bool,
    /// What is damaged, until the place is known where the trace goes on.
    lost: Option<Lost>,
    /// What was skipped before anything came that only a trace holds, and where that begins.
    held: Option<(u64, Skip)>,
    /// Whether the last token, a field's name, comes once more.
    again: bool,
}

/// Damage that the trace goes on after.
#[derive(Clone, Debug)]
struct Lost {
    /// Where what is lost begins, and the message around it.
    from: u64,
    begins: u64,
    damage: Damage,
}

#[derive(Clone, Debug)]
enum State {
    /// Between the fields of an entered message.
    Fields,
    /// Behind a field's name.
    Value(Action, &'static Field),
    /// Inside something that nobody wants, this many messages deep; 0 stands before its value.
    Skipping(usize),
    /// Inside a message that is taken whole.
    Part(Part),
}

/// A message being brought into the binary encoding.
#[derive(Debug, Default)]
struct Build {
    out: Vec<u8>,
    /// The open messages, and where the length of each stands.
    open: Vec<(&'static Message, usize)>,
    state: BuildState,
    /// The message before it, whose memory is used again once nobody holds a part of it.
    whole: Arc<Backing>,
}

impl Clone for Build {
    /// A copy that keeps no memory from being used again.
    fn clone(&self) -> Self {
        Self {
            out: self.out.clone(),
            open: self.open.clone(),
            state: self.state.clone(),
            whole: Arc::default(),
        }
    }
}

#[derive(Clone, Debug, Default)]
enum BuildState {
    #[default]
    Fields,
    Value(&'static Field),
    Skipping(usize),
}

/// How much memory is kept to be used again, in bytes: what seldom is so large is given back.
const KEPT: usize = 1 << 20;

/// No name that another message begins with is shorter, in bytes.
const MIN_OVERTAKING: usize = 17;

/// How many bytes a length takes that is only known later: enough for any, padded as varints may be.
const LEN_BYTES: usize = 5;

impl<L: Lexer> Transcoder<L> {
    /// Reads tokens of `lexer` as the fields of `level`.
    pub(in crate::trace) fn new(lexer: L, bytes_form: BytesForm, level: Level) -> Self {
        Self {
            lexer,
            bytes_form,
            text: Vec::new(),
            open: vec![level],
            state: State::Fields,
            build: Build::default(),
            before: 0,
            offset: 0,
            value: 0,
            taken: 0,
            opened: false,
            lost: None,
            held: None,
            again: false,
        }
    }

    /// The next event that `decoder` makes of the parts on the way.
    pub(in crate::trace) fn next(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<Step<()>, Damage> {
        // Its memory is used again.
        decoder.release();
        loop {
            if decoder.recognised
                && let Some((from, skip)) = self.held.take()
            {
                decoder.skipped(from, skip);
                decoder.advance();
                return Ok(Step::Item(()));
            }
            let step = match std::mem::take(&mut self.again) {
                true => Ok(Step::Item(Token::Field)),
                false => self.lexer.next(input, &mut self.text),
            };
            let token = match step {
                Ok(Step::Item(token)) => token,
                Ok(Step::More) => return Ok(Step::More),
                Ok(Step::End) => return Ok(Step::End),
                Err(damage) => {
                    if self.seek(damage, input.offset(), decoder)? {
                        return Ok(Step::Item(()));
                    }
                    continue;
                }
            };
            let before = std::mem::replace(&mut self.before, input.offset());
            let is_told = match token {
                Token::Failed(offset) => {
                    decoder.failed(offset);
                    true
                }
                Token::Passed => self.passed(decoder)?,
                _ => match self.token(token, before, decoder) {
                    Ok(is_told) => is_told,
                    Err(damage) => self.unfit(damage, decoder),
                },
            };
            self.opened = token == Token::Open;
            if is_told {
                return Ok(Step::Item(()));
            }
            if decoder.holds() && self.give_full(input, decoder)? {
                return Ok(Step::Item(()));
            }
        }
    }

    /// Gives what is held of a message where that is too much to hold, and reports whether an event comes of
    /// it.
    #[cold]
    fn give_full(&self, input: &mut Input, decoder: &mut Decoder) -> Result<bool, Damage> {
        if !decoder.is_full(true) {
            return Ok(false);
        }
        if decoder.is_full(false) {
            input.unpack_aside();
        }
        let found = match input.beside() {
            Some(beside) => Some(self.clone().look(beside, decoder.generation)),
            None if decoder.is_full(false) => None,
            None => return Ok(false),
        };
        decoder.give_full(found, self.before)?;
        Ok(decoder.advance())
    }

    /// Reads on up to the end of the message that is open, for what it says of its connection.
    fn look(mut self, mut input: Input, generation: Generation) -> Found {
        let mut found = Found {
            is_bare: generation == Generation::Capture,
            ..Found::default()
        };
        while !found.is_done {
            let token = match self.lexer.next(&mut input, &mut self.text) {
                Ok(Step::Item(token)) => token,
                Ok(Step::More) => match input.fill(&crate::input::Wait::default()) {
                    Ok(()) => continue,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                },
                // The walk comes to whatever there is.
                _ => break,
            };
            let before = std::mem::replace(&mut self.before, input.offset());
            if matches!(token, Token::Failed(_) | Token::Passed)
                || self.token(token, before, &mut found).is_err()
            {
                break;
            }
        }
        found.end = self.before;
        found
    }

    /// Leaves a message that is damaged, to go on with the next that the input holds.
    ///
    /// # Errors
    /// Where the input ends in the message, there is none.
    #[cold]
    fn seek(&mut self, damage: Damage, at: u64, sink: &mut impl Sink) -> Result<bool, Damage> {
        if let Fault::Cut { .. } = *damage.fault {
            return Err(damage);
        }
        self.lose(damage);
        self.lexer.seek(&self.text, at);
        Ok(self.leave(sink))
    }

    /// Leaves the messages that are open, of which nothing more comes. Reports whether an event comes of that:
    /// what is whole of a message is given.
    fn leave(&mut self, sink: &mut impl Sink) -> bool {
        let is_open = self.open.iter().any(|level| level.form().is_some());
        self.open.truncate(1);
        self.state = State::Fields;
        // What does not decode is part of what is lost.
        is_open && sink.end().unwrap_or(false)
    }

    /// Remembers what is lost, unless it is part of what is lost already.
    fn lose(&mut self, damage: Damage) {
        let from = match self.state {
            State::Fields => self.taken,
            _ => self.offset,
        };
        self.lose_from(from, damage);
    }

    fn lose_from(&mut self, from: u64, damage: Damage) {
        let begins = self.lexer.begins();
        self.lost.get_or_insert(Lost {
            // Blanks before a message are no part of it.
            from: from.max(begins),
            begins,
            damage,
        });
    }

    /// Takes a part that cannot be decoded, and reports whether an event comes of that. The lexer knows where
    /// it ends, so that what follows in its message is read.
    #[cold]
    fn unfit(&mut self, damage: Damage, sink: &mut impl Sink) -> bool {
        let depth = match (&self.state, &*damage.fault) {
            (State::Part(_), Fault::Value { .. }) => Some(self.build.open.len()),
            // All of it has been read.
            (State::Fields, Fault::Message { .. }) => Some(0),
            // Nothing is known of what follows a bad trace id.
            _ => None,
        };
        self.lose_from(self.offset, damage);
        match depth {
            Some(0) => return self.go_on(self.before, sink, false),
            Some(depth) => self.state = State::Skipping(depth),
            None => {
                self.lexer.seek(&self.text, self.before);
                return self.leave(sink);
            }
        }
        false
    }

    /// The trace goes on at the offset `to`. Reports whether an event comes of that.
    fn go_on(&mut self, to: u64, sink: &mut impl Sink, is_given: bool) -> bool {
        let Some(Lost {
            from,
            begins,
            damage,
        }) = self.lost.take()
        else {
            return is_given;
        };
        // Where all of a message was taken up to the cut, what is missing of it is not there.
        let from = if from < to { from } else { begins.min(to) };
        let kind = SkipKind::Damage(damage.to_string());
        self.skip((from, to), kind, sink, is_given)
    }

    /// The bytes from `from` to `to` were skipped. Reports whether an event comes of that.
    fn skip(
        &mut self,
        (from, to): (u64, u64),
        kind: SkipKind,
        sink: &mut impl Sink,
        is_given: bool,
    ) -> bool {
        match &mut self.held {
            // It is all one place, where nothing of it was a trace.
            Some((_, held)) if !sink.is_recognised() => held.to = to,
            _ => self.held = Some((from, Skip { to, kind })),
        }
        if !sink.is_recognised() {
            return is_given;
        }
        if let Some((from, skip)) = self.held.take() {
            sink.skipped(from, skip);
        }
        // What is given already comes before it.
        is_given || sink.advance()
    }

    /// Takes something that is no message, and reports whether an event comes of it.
    #[cold]
    fn passed(&mut self, sink: &mut impl Sink) -> Result<bool, Damage> {
        let passed = self.lexer.passed();
        let Passed { from, to, .. } = passed;
        let is_given = self.leave(sink);
        if let Some(lost) = &self.lost {
            if passed.is_last && !is_given {
                return Err(lost.damage.clone());
            }
            return Ok(self.go_on(to, sink, is_given));
        }
        let expected = "a message";
        let damage = Damage::new(from, Fault::Syntax { expected });
        let kind = match passed.what {
            Foreign::Note => SkipKind::Note,
            Foreign::Fragment if passed.is_last && !is_given => return Err(damage),
            Foreign::Fragment => SkipKind::Damage(damage.to_string()),
            // What a shell or curl writes before and after a trace is no loss.
            Foreign::Text if passed.is_last || !sink.is_recognised() => return Ok(is_given),
            Foreign::Text => SkipKind::Text,
        };
        Ok(self.skip((from, to), kind, sink, is_given))
    }

    /// Decodes the one message at the front of `input`, and reports whether an event comes of it.
    pub(in crate::trace) fn message(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
        part: Part,
        message: &'static Message,
        place: Place,
    ) -> Result<bool, Damage> {
        self.lexer.restart_at_value();
        self.build.begin(message);
        self.before = input.offset();
        let mut is_open = false;
        loop {
            let Step::Item(token) = self.lexer.next(input, &mut self.text)? else {
                return Ok(false);
            };
            let before = std::mem::replace(&mut self.before, input.offset());
            match (is_open, token) {
                (true, _) => {
                    let (build, form) = (&mut self.build, self.bytes_form);
                    if build.token(token, &self.text, form, before)? {
                        return decoder.part(Taken {
                            part,
                            level: Level::Batch,
                            bytes: build.whole(),
                            place,
                            is_last: true,
                            whole: place,
                        });
                    }
                }
                (false, Token::Open) => is_open = true,
                (false, _) => return Ok(false),
            }
        }
    }

    /// Whether a message of the outermost level begins with the field whose name was just returned: another
    /// one was cut before it. Reports whether an event comes of that.
    #[cold]
    fn overtaken(&mut self, offset: u64, sink: &mut impl Sink) -> Option<bool> {
        let (at, cut) = self
            .lexer
            .overtaking(&self.text, self.opened, offset, self.before)?;
        let what = match self.state {
            State::Part(part) => part.name(),
            _ => self.open.last().unwrap_or(&Level::Wrapper).name(),
        };
        self.lose(Damage::new(at, Fault::Overtaken { what }));
        self.text.drain(..cut);
        self.lexer.restart_after_name(&self.text);
        let is_given = self.leave(sink);
        self.again = true;
        Some(self.go_on(at, sink, is_given))
    }

    fn token(&mut self, token: Token, offset: u64, sink: &mut impl Sink) -> Result<bool, Damage> {
        let level = *self.open.last().unwrap_or(&Level::Wrapper);
        // All names that another message begins with are longer than is usual.
        let is_suspect = self.text.len() >= MIN_OVERTAKING;
        match (&mut self.state, token) {
            (State::Fields, Token::Field) => {
                let known = level.named(&self.text);
                if known.is_none() {
                    if let Some(is_told) = self.overtaken(offset, sink) {
                        return Ok(is_told);
                    }
                    check_name(&self.text, offset)?;
                }
                self.offset = offset;
                self.state = known.map_or(State::Skipping(0), |(action, field)| {
                    State::Value(action, field)
                });
            }
            (State::Part(_) | State::Skipping(_), Token::Field) if is_suspect => {
                if let Some(is_told) = self.overtaken(offset, sink) {
                    return Ok(is_told);
                }
                return self.inside(token, offset, sink);
            }
            (State::Fields, Token::Close) => {
                self.open.pop();
                self.taken = self.before;
                if level.form().is_some() {
                    return sink.end();
                }
            }
            (State::Value(Action::Enter(inner), field), Token::Open) => {
                let (inner, number) = (*inner, field.number);
                self.open.push(inner);
                self.state = State::Fields;
                if let Some(form) = inner.form() {
                    sink.begin(number, Some(form));
                }
            }
            (State::Value(Action::Take(part), field), Token::Open) => {
                if level == Level::Wrapper && *part != Part::SampleRate {
                    sink.begin(field.number, None);
                }
                if let Kind::Message(message) = field.kind
                    && sink.wants(*part)
                {
                    self.build.begin(message);
                    // The token is the one byte that opens the message.
                    self.value = self.before.saturating_sub(1);
                    self.state = State::Part(*part);
                } else {
                    self.state = State::Skipping(1);
                }
            }
            (State::Value(Action::Take(part), field), Token::Bare | Token::Quoted) => {
                let (part, field) = (*part, *field);
                self.state = State::Fields;
                self.taken = self.before;
                let number = number(field, &self.text, offset)?;
                return Ok(sink.number(part, number, self.offset));
            }
            (State::Value(..), Token::Open) => self.state = State::Skipping(1),
            (State::Value(..), _) => {
                self.state = State::Fields;
                self.taken = self.before;
            }
            (State::Skipping(_) | State::Part(_), token) => {
                return self.inside(token, offset, sink);
            }
            // No lexer gives a value without a name before it.
            (State::Fields, _) => {
                let expected = "a field name";
                return Err(Damage::new(offset, Fault::Syntax { expected }));
            }
        }
        Ok(false)
    }

    /// Takes a token of a part, or of something that is unknown.
    fn inside(&mut self, token: Token, offset: u64, sink: &mut impl Sink) -> Result<bool, Damage> {
        match &mut self.state {
            State::Skipping(depth) => {
                if skip(depth, token) {
                    self.state = State::Fields;
                    self.taken = self.before;
                    return Ok(self.go_on(self.before, sink, false));
                }
            }
            State::Part(part) => {
                let (build, part) = (&mut self.build, *part);
                if build.token(token, &self.text, self.bytes_form, offset)? {
                    self.state = State::Fields;
                    self.taken = self.before;
                    let place = Place {
                        offset: self.offset,
                        value: self.value,
                        len: self.before.saturating_sub(self.value),
                    };
                    if let Some((from, skip)) = self.held.take() {
                        sink.skipped(from, skip);
                    }
                    let level = *self.open.last().unwrap_or(&Level::Wrapper);
                    return sink.part(Taken {
                        part,
                        level,
                        bytes: build.whole(),
                        place,
                        is_last: part != Part::Event,
                        whole: place,
                    });
                }
            }
            State::Fields | State::Value(..) => {}
        }
        Ok(false)
    }
}

/// Fails unless a field that is not known may have this name: one of the future has, what is damaged has not.
fn check_name(name: &[u8], offset: u64) -> Result<(), Damage> {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.@/$:".contains(byte);
    // The text format has seen to what stands in brackets.
    if name.starts_with(b"[") || name.iter().all(is_usual) {
        return Ok(());
    }
    let expected = "a field's name";
    Err(Damage::new(offset, Fault::Syntax { expected }))
}

/// Passes over a token of an unwanted value; true after the value's last.
fn skip(depth: &mut usize, token: Token) -> bool {
    match token {
        Token::Open => *depth += 1,
        Token::Close => *depth = depth.saturating_sub(1),
        Token::Field => return false,
        Token::Quoted | Token::Bare | Token::Null | Token::Failed(_) | Token::Passed => {}
    }
    *depth == 0
}

impl Build {
    /// Begins a message.
    fn begin(&mut self, message: &'static Message) {
        self.out.clear();
        self.out.shrink_to(KEPT);
        if self.whole.capacity() > KEPT {
            self.whole = Arc::default();
        }
        self.open.clear();
        self.open.push((message, 0));
        self.state = BuildState::Fields;
    }

    /// The message that is whole.
    fn whole(&mut self) -> Piece<'_> {
        match Arc::get_mut(&mut self.whole) {
            Some(Backing::Own(free)) => std::mem::swap(free, &mut self.out),
            _ => self.whole = Arc::new(Backing::Own(std::mem::take(&mut self.out))),
        }
        Piece::of(&self.whole, 0..self.whole.len())
    }

    /// Takes one token; true when the message is whole.
    fn token(
        &mut self,
        token: Token,
        text: &[u8],
        bytes_form: BytesForm,
        offset: u64,
    ) -> Result<bool, Damage> {
        let Some(&(message, start)) = self.open.last() else {
            return Ok(true);
        };
        match (&mut self.state, token) {
            (BuildState::Fields, Token::Field) => {
                self.state = match message.named(text) {
                    Some(field) => BuildState::Value(field),
                    None => {
                        check_name(text, offset)?;
                        BuildState::Skipping(0)
                    }
                };
            }
            (BuildState::Fields, Token::Close) => {
                self.open.pop();
                if self.open.is_empty() {
                    return Ok(true);
                }
                self.close(start, offset)?;
            }
            (BuildState::Value(field), Token::Open) => {
                if let Kind::Message(inner) = field.kind {
                    let number = field.number;
                    self.state = BuildState::Fields;
                    let start = self.open_len(number);
                    self.open.push((inner, start));
                } else {
                    self.state = BuildState::Skipping(1);
                }
            }
            (BuildState::Value(_), Token::Null) => self.state = BuildState::Fields,
            (BuildState::Value(field), Token::Quoted | Token::Bare) => {
                let field = *field;
                self.state = BuildState::Fields;
                self.scalar(field, text, bytes_form, offset)?;
            }
            (BuildState::Skipping(depth), token) => {
                if skip(depth, token) {
                    self.state = BuildState::Fields;
                }
            }
            (BuildState::Fields | BuildState::Value(_), _) => {
                let expected = "a field name";
                return Err(Damage::new(offset, Fault::Syntax { expected }));
            }
        }
        Ok(false)
    }

    fn scalar(
        &mut self,
        field: &'static Field,
        text: &[u8],
        bytes_form: BytesForm,
        offset: u64,
    ) -> Result<(), Damage> {
        match field.kind {
            Kind::Integer | Kind::Bool | Kind::Enum(_) => {
                let number = number(field, text, offset)?;
                prost::encoding::uint64::encode(field.number, &number, &mut self.out);
            }
            Kind::String => self.bytes(field.number, text),
            Kind::Bytes if bytes_form == BytesForm::Plain => self.bytes(field.number, text),
            Kind::Bytes => {
                let start = self.open_len(field.number);
                let engine = base64_engine(text);
                if engine.decode_vec(text, &mut self.out).is_err() {
                    // Some programs break it into lines.
                    self.out.truncate(start + LEN_BYTES);
                    let mut text = text.to_vec();
                    text.retain(|byte| !byte.is_ascii_whitespace());
                    engine.decode_vec(&text, &mut self.out).map_err(|_| {
                        let fault = Fault::Value {
                            field: field.name,
                            expected: "base64",
                        };
                        Damage::new(offset, fault)
                    })?;
                }
                self.close(start, offset)?;
            }
            // JSON writes a Timestamp, alone of all messages, as a string.
            Kind::Message(message) if message.name == "Timestamp" => {
                let (seconds, nanos) = rfc3339(text).ok_or_else(|| {
                    let fault = Fault::Value {
                        field: field.name,
                        expected: "an RFC 3339 time",
                    };
                    Damage::new(offset, fault)
                })?;
                let start = self.open_len(field.number);
                prost::encoding::int64::encode(1, &seconds, &mut self.out);
                prost::encoding::int32::encode(2, &nanos, &mut self.out);
                self.close(start, offset)?;
            }
            Kind::Message(_) => {
                let fault = Fault::Value {
                    field: field.name,
                    expected: "a message",
                };
                return Err(Damage::new(offset, fault));
            }
        }
        Ok(())
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        let wire = prost::encoding::WireType::LengthDelimited;
        prost::encoding::encode_key(number, wire, &mut self.out);
        prost::encoding::encode_varint(bytes.len() as u64, &mut self.out);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a field's key and room for its length, and tells where that is.
    fn open_len(&mut self, number: u32) -> usize {
        let wire = prost::encoding::WireType::LengthDelimited;
        prost::encoding::encode_key(number, wire, &mut self.out);
        self.out.extend_from_slice(&[0; LEN_BYTES]);
        self.out.len() - LEN_BYTES
    }

    /// Fills in the length whose room begins at `start`.
    fn close(&mut self, start: usize, offset: u64) -> Result<(), Damage> {
        let len = self.out.len() - start - LEN_BYTES;
        let Ok(mut len) = u32::try_from(len).map(u64::from) else {
            let fault = Fault::TooLarge {
                what: "a value",
                claimed: len as u64,
            };
            return Err(Damage::new(offset, fault));
        };
        for byte in &mut self.out[start..start + LEN_BYTES - 1] {
            *byte = 0x80 | (len & 0x7f) as u8;
            len >>= 7;
        }
        self.out[start + LEN_BYTES - 1] = len as u8;
        Ok(())
    }
}

const PADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
static BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PADDED);
static BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PADDED);

/// What decodes `text`, which is in either of the alphabets of base64.
pub(in crate::trace) fn base64_engine(text: &[u8]) -> &'static GeneralPurpose {
    match memchr::memchr2(b'-', b'_', text) {
        Some(_) => &BASE64_URL,
        None => &BASE64,
    }
}

/// A number, truth value or enum name as its varint.
fn number(field: &Field, text: &[u8], offset: u64) -> Result<u64, Damage> {
    let damage = |expected| {
        let field = field.name;
        Damage::new(offset, Fault::Value { field, expected })
    };
    let text = std::str::from_utf8(text).ok();
    let integer = || {
        let text = text?;
        let (negative, digits) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let value = match digits
            .strip_prefix("0x")
            .or_else(|| digits.strip_prefix("0X"))
        {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        Some(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    };
    match field.kind {
        Kind::Bool => match text {
            Some("true" | "True" | "t" | "1") => Ok(1),
            Some("false" | "False" | "f" | "0") => Ok(0),
            _ => Err(damage("a truth value")),
        },
        Kind::Enum(values) => {
            let named = values.iter().find(|(name, _)| Some(*name) == text);
            // A name of the future is unknown, as its number would be.
            Ok(named.map(|&(_, n)| n as u64).or_else(integer).unwrap_or(0))
        }
        _ => integer().ok_or_else(|| damage("an integer")),
    }
}

/// Seconds and nanoseconds since the epoch of an RFC 3339 time.
fn rfc3339(text: &[u8]) -> Option<(i64, i32)> {
    let text = std::str::from_utf8(text).ok()?;
    let since_epoch = match text.strip_suffix(['Z', 'z']) {
        // Read as a civil time, for protobuf's last day lies beyond jiff's last timestamp.
        Some(utc) => {
            let time: jiff::civil::DateTime = utc.parse().ok()?;
            time.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0))
        }
        None => text.parse::<jiff::Timestamp>().ok()?.as_duration(),
    };
    // jiff's nanoseconds have the sign of its seconds, protobuf's are never negative.
    let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    let borrow = i64::from(nanos < 0);
    Some((seconds - borrow, nanos + borrow as i32 * 1_000_000_000))
}

#[cfg(test)]
mod tests;
