//! Transcodes text and JSON traces: the tokens of each part become a message in the binary encoding.
//!
//! The result is what the binary walker returns, so that one decoder serves all encodings.

mod look_ahead;
mod recover;

use crate::input::Input;
use crate::model::event::Skip;

use crate::trace::binary::look_ahead::PartSink;
use crate::trace::decode::{Decoder, Place};
use crate::trace::element::{Action, Level, TracePart};
use crate::trace::error::{Damage, Fault};
use crate::trace::hold::Taken;
use crate::trace::readable::builder::{MessageBuilder, check_name, skip};
use crate::trace::readable::lexer::{Lexer, MIN_OVERTAKING, Step, Token};
use crate::trace::readable::scalar;
use crate::trace::readable::scan::View;
use crate::trace::schema::{Field, Kind, Message};

pub(in crate::trace) use crate::trace::readable::builder::BytesForm;
use recover::Lost;

/// Reads a trace in a readable encoding.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Transcoder<L> {
    pub(in crate::trace) lexer: L,
    text: Vec<u8>,
    /// The open messages that are read field by field, the innermost last; never empty.
    open: Vec<Level>,
    state: State,
    builder: MessageBuilder,
    /// The offset after the last token. It differs from the start of the window, which is inside the next token if
    /// that arrives in pieces.
    token_end: u64,
    /// The offset before the last field's name.
    field_start: u64,
    /// The offset of the last part's value.
    value_start: u64,
    /// The offset after the last complete value.
    value_end: u64,
    /// Whether the last token was [`Token::Open`].
    opened: bool,
    /// The current damage, until the place is found where the trace continues.
    lost: Option<Lost>,
    /// Skipped bytes before anything was found that only a trace contains, and their offset.
    held_skip: Option<(u64, Skip)>,
    /// Whether the last token, a field's name, has to be read once more.
    again: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// Between the fields of an open message.
    Fields,
    /// After a field's name.
    Value(Action, &'static Field),
    /// Inside the value of an unknown field, in this many messages; 0: before the value.
    Skipping(usize),
    /// Inside a message that is built as a whole.
    Part(TracePart),
}

/// Why reading tokens stops before the end of the window.
enum Pause {
    /// An event is current.
    Event,
    /// Events are held back, and may have become too many.
    Held,
    /// The window is too short.
    More,
    /// The input has ended.
    End,
}

impl<L: Lexer> Transcoder<L> {
    /// Reads the tokens of `lexer` as the fields of `level`.
    pub(in crate::trace) fn new(lexer: L, bytes_form: BytesForm, level: Level) -> Self {
        Self {
            lexer,
            text: Vec::new(),
            open: vec![level],
            state: State::Fields,
            builder: MessageBuilder::new(bytes_form),
            token_end: 0,
            field_start: 0,
            value_start: 0,
            value_end: 0,
            opened: false,
            lost: None,
            held_skip: None,
            again: false,
        }
    }

    /// Advances to the next event of `decoder`.
    ///
    /// # Errors
    /// The damage after which no message follows.
    pub(in crate::trace) fn next(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<Step<()>, Damage> {
        decoder.release();
        loop {
            match View::advance(input, |view| self.tokens(view, decoder))? {
                Pause::Event => return Ok(Step::Item(())),
                Pause::More => return Ok(Step::More),
                Pause::End => return Ok(Step::End),
                Pause::Held => {
                    if self.give_full(input, decoder)? {
                        return Ok(Step::Item(()));
                    }
                }
            }
        }
    }

    /// Reads the tokens in `view` up to the next event.
    fn tokens(&mut self, view: &mut View<'_>, decoder: &mut Decoder) -> Result<Pause, Damage> {
        loop {
            if decoder.recognised
                && let Some((from, skip)) = self.held_skip.take()
            {
                decoder.skipped(from, skip);
                decoder.advance();
                return Ok(Pause::Event);
            }
            let is_event = match self.usual_tokens(view) {
                Some(built) => {
                    let given = built.and_then(|part| self.finish_part(part, decoder));
                    given.unwrap_or_else(|damage| self.skip_part(damage, decoder))
                }
                None => match self.read_token(view) {
                    Ok(Step::Item(token)) => self.any_token(token, view.position(), decoder)?,
                    Ok(Step::More) => return Ok(Pause::More),
                    Ok(Step::End) => return Ok(Pause::End),
                    Err(damage) => {
                        if self.seek(damage, view.position(), decoder)? {
                            return Ok(Pause::Event);
                        }
                        continue;
                    }
                },
            };
            if is_event {
                return Ok(Pause::Event);
            }
            if decoder.holds() {
                return Ok(Pause::Held);
            }
        }
    }

    /// Inside a part, adds tokens to it, as long as they are spelled as usual. Returns the part once it is complete,
    /// or its damage.
    #[inline]
    fn usual_tokens(&mut self, view: &mut View<'_>) -> Option<Result<TracePart, Damage>> {
        let State::Part(part) = self.state else {
            return None;
        };
        loop {
            let token = self.lexer.usual(view, &mut self.text)?;
            let start = std::mem::replace(&mut self.token_end, view.position());
            self.opened = token == Token::Open;
            match self.builder.token(token, &self.text, start) {
                Ok(false) => {}
                Ok(true) => return Some(Ok(part)),
                Err(damage) => return Some(Err(damage)),
            }
        }
    }

    /// Reads the next token after [`usual_tokens`](Self::usual_tokens).
    fn read_token(&mut self, view: &mut View<'_>) -> Result<Step<Token>, Damage> {
        if std::mem::take(&mut self.again) {
            return Ok(Step::Item(Token::Field));
        }
        match self.state {
            State::Part(_) => self.lexer.general(view, &mut self.text),
            _ => self.lexer.next(view, &mut self.text),
        }
    }

    /// Takes a token that ends at the offset `end`. Returns whether an event is current.
    fn any_token(&mut self, token: Token, end: u64, decoder: &mut Decoder) -> Result<bool, Damage> {
        let start = std::mem::replace(&mut self.token_end, end);
        let is_event = match token {
            Token::Failed(offset) => {
                decoder.failed(offset);
                true
            }
            Token::Passed => self.passed(decoder)?,
            _ => match self.token(token, start, decoder) {
                Ok(is_event) => is_event,
                Err(damage) => self.skip_part(damage, decoder),
            },
        };
        self.opened = token == Token::Open;
        Ok(is_event)
    }

    /// Decodes the single message at the front of `input`. Returns whether it produced an event.
    ///
    /// # Errors
    /// If the message cannot be decoded.
    pub(in crate::trace) fn message(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
        part: TracePart,
        message: &'static Message,
        place: Place,
    ) -> Result<bool, Damage> {
        self.lexer.restart_at_value();
        // In a list, the lexer would repeat it as the name.
        self.text.clear();
        self.builder.begin(message);
        self.token_end = input.offset();
        let mut is_open = false;
        loop {
            let step = View::advance(input, |view| self.lexer.next(view, &mut self.text))?;
            let Step::Item(token) = step else {
                return Ok(false);
            };
            let start = std::mem::replace(&mut self.token_end, input.offset());
            match (is_open, token) {
                (true, _) => {
                    if self.builder.token(token, &self.text, start)? {
                        return decoder.part(Taken {
                            part,
                            level: Level::Batch,
                            bytes: self.builder.message(),
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

    /// Takes a token, which follows the offset `start`. Returns whether it produced an event.
    fn token(
        &mut self,
        token: Token,
        start: u64,
        sink: &mut impl PartSink,
    ) -> Result<bool, Damage> {
        let level = *self.open.last().unwrap_or(&Level::Wrapper);
        let is_suspect = self.text.len() >= MIN_OVERTAKING;
        match (&mut self.state, token) {
            (State::Part(_) | State::Skipping(_), Token::Field) if is_suspect => {
                if let Some(is_event) = self.overtaken(start, sink) {
                    return Ok(is_event);
                }
                return self.inside(token, start, sink);
            }
            (State::Skipping(_) | State::Part(_), token) => {
                return self.inside(token, start, sink);
            }
            (State::Fields, Token::Field) => {
                let known = level.named(&self.text);
                if known.is_none() {
                    if let Some(is_event) = self.overtaken(start, sink) {
                        return Ok(is_event);
                    }
                    check_name(&self.text, start)?;
                }
                self.field_start = start;
                self.state = known.map_or(State::Skipping(0), |(action, field)| {
                    State::Value(action, field)
                });
            }
            (State::Fields, Token::Close) => {
                self.open.pop();
                self.value_end = self.token_end;
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
                if level == Level::Wrapper && *part != TracePart::SampleRate {
                    sink.begin(field.number, None);
                }
                if let Kind::Message(message) = field.kind
                    && sink.wants(*part)
                {
                    self.builder.begin(message);
                    // The token is the single byte that opens the message.
                    self.value_start = self.token_end.saturating_sub(1);
                    self.state = State::Part(*part);
                } else {
                    self.state = State::Skipping(1);
                }
            }
            (State::Value(Action::Take(part), field), Token::Bare | Token::Quoted) => {
                let (part, field) = (*part, *field);
                self.state = State::Fields;
                self.value_end = self.token_end;
                let number = scalar::number(field, &self.text, start)?;
                return Ok(sink.number(part, number, self.field_start));
            }
            (State::Value(..), Token::Open) => self.state = State::Skipping(1),
            (State::Value(..), _) => {
                self.state = State::Fields;
                self.value_end = self.token_end;
            }
            // No lexer returns a value without a name before it.
            (State::Fields, _) => {
                let expected = "a field name";
                return Err(Damage::new(start, Fault::Syntax { expected }));
            }
        }
        Ok(false)
    }

    /// Takes a token inside a part or the value of an unknown field. Returns whether it produced an event.
    #[inline]
    fn inside(
        &mut self,
        token: Token,
        start: u64,
        sink: &mut impl PartSink,
    ) -> Result<bool, Damage> {
        match &mut self.state {
            State::Skipping(depth) => {
                if skip(depth, token) {
                    self.state = State::Fields;
                    self.value_end = self.token_end;
                    return Ok(self.resume(self.token_end, sink, false));
                }
            }
            State::Part(part) => {
                let part = *part;
                if self.builder.token(token, &self.text, start)? {
                    return self.finish_part(part, sink);
                }
            }
            State::Fields | State::Value(..) => {}
        }
        Ok(false)
    }

    /// Passes the complete part to `sink`. Returns whether it produced an event.
    fn finish_part(&mut self, part: TracePart, sink: &mut impl PartSink) -> Result<bool, Damage> {
        self.state = State::Fields;
        self.value_end = self.token_end;
        let place = Place {
            offset: self.field_start,
            value: self.value_start,
            len: self.token_end.saturating_sub(self.value_start),
        };
        if let Some((from, skip)) = self.held_skip.take() {
            sink.skipped(from, skip);
        }
        sink.part(Taken {
            part,
            level: *self.open.last().unwrap_or(&Level::Wrapper),
            bytes: self.builder.message(),
            place,
            is_last: part != TracePart::Event,
            whole: place,
        })
    }
}

#[cfg(test)]
mod tests;
