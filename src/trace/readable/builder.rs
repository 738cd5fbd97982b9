//! Builds messages in the binary encoding, token by token.
//!
//! Names become numbers by the schema. Unknown names are skipped, as unknown numbers are in a binary trace.

use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::Token;
use crate::trace::readable::scalar;
use crate::trace::schema::{Field, Kind, Message};

/// How a readable encoding spells bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum BytesForm {
    /// As they are, with escapes (text).
    Plain,
    /// In base64 (JSON).
    Base64,
}

/// How much memory is kept for the next message, in bytes. Few messages are larger.
const KEPT: usize = 1 << 20;

/// The room for a length that is not yet known, in bytes: enough for any length, as varints may be padded.
const LEN_BYTES: usize = 5;

/// A message that is being built in the binary encoding.
#[derive(Clone, Debug)]
pub(super) struct MessageBuilder {
    bytes_form: BytesForm,
    out: Vec<u8>,
    /// The open messages, and the position of the length of each.
    open: Vec<(&'static Message, usize)>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Between fields.
    Fields,
    /// After the name of this field.
    Value(&'static Field),
    /// Inside the value of an unknown field, in this many messages; 0: before the value.
    Skipping(usize),
}

impl MessageBuilder {
    pub(super) fn new(bytes_form: BytesForm) -> Self {
        Self {
            bytes_form,
            out: Vec::new(),
            open: Vec::new(),
            state: State::Fields,
        }
    }

    /// Begins a message, of which the opening token has been read.
    pub(super) fn begin(&mut self, message: &'static Message) {
        self.out.clear();
        self.out.shrink_to(KEPT);
        self.open.clear();
        self.open.push((message, 0));
        self.state = State::Fields;
    }

    /// The number of open messages.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The complete message.
    pub(super) fn message(&self) -> &[u8] {
        &self.out
    }

    /// Adds one token, which follows the offset `offset`. Returns whether the message is complete.
    ///
    /// # Errors
    /// If a value does not have the type of its field.
    #[inline]
    pub(super) fn token(&mut self, token: Token, text: &[u8], offset: u64) -> Result<bool, Damage> {
        let Some(&(message, start)) = self.open.last() else {
            return Ok(true);
        };
        match (&mut self.state, token) {
            (State::Fields, Token::Field) => {
                self.state = match message.named(text) {
                    Some(field) => State::Value(field),
                    None => {
                        check_name(text, offset)?;
                        State::Skipping(0)
                    }
                };
            }
            (State::Fields, Token::Close) => {
                self.open.pop();
                if self.open.is_empty() {
                    return Ok(true);
                }
                self.set_len(start, offset)?;
            }
            (State::Value(field), Token::Open) => {
                if let Kind::Message(inner) = field.kind {
                    let number = field.number;
                    self.state = State::Fields;
                    let start = self.begin_len(number);
                    self.open.push((inner, start));
                } else {
                    self.state = State::Skipping(1);
                }
            }
            (State::Value(_), Token::Null) => self.state = State::Fields,
            (State::Value(field), Token::Quoted | Token::Bare) => {
                let field = *field;
                self.state = State::Fields;
                self.scalar(field, text, offset)?;
            }
            (State::Skipping(depth), token) => {
                if skip(depth, token) {
                    self.state = State::Fields;
                }
            }
            (State::Fields | State::Value(_), _) => {
                let expected = "a field name";
                return Err(Damage::new(offset, Fault::Syntax { expected }));
            }
        }
        Ok(false)
    }

    /// Adds a value that is not a message in the readable encoding.
    fn scalar(&mut self, field: &'static Field, text: &[u8], offset: u64) -> Result<(), Damage> {
        let damage = |expected| {
            let field = field.name;
            Damage::new(offset, Fault::Value { field, expected })
        };
        match field.kind {
            Kind::Integer | Kind::Bool | Kind::Enum(_) => {
                let number = scalar::number(field, text, offset)?;
                self.number(field.number, number);
            }
            Kind::String => self.bytes(field.number, text),
            Kind::Bytes if self.bytes_form == BytesForm::Plain => self.bytes(field.number, text),
            Kind::Bytes => {
                let start = self.begin_len(field.number);
                if !scalar::decode_base64(text, &mut self.out) {
                    return Err(damage("base64"));
                }
                self.set_len(start, offset)?;
            }
            // JSON spells a Timestamp, and no other message, as a string.
            Kind::Message(message) if message.name == "Timestamp" => {
                let time = scalar::rfc3339(text);
                let (seconds, nanos) = time.ok_or_else(|| damage("an RFC 3339 time"))?;
                let start = self.begin_len(field.number);
                self.number(1, seconds as u64);
                self.number(2, i64::from(nanos) as u64);
                self.set_len(start, offset)?;
            }
            Kind::Message(_) => return Err(damage("a message")),
        }
        Ok(())
    }

    /// Appends a field of a varint.
    fn number(&mut self, number: u32, value: u64) {
        match (number, value) {
            (1..16, 0..0x80) => self
                .out
                .extend_from_slice(&[(number << 3) as u8, value as u8]),
            _ => prost::encoding::uint64::encode(number, &value, &mut self.out),
        }
    }

    /// Appends a field of bytes.
    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.key(number);
        prost::encoding::encode_varint(bytes.len() as u64, &mut self.out);
        self.out.extend_from_slice(bytes);
    }

    /// Appends the key of a field with a length.
    #[inline]
    fn key(&mut self, number: u32) {
        let wire = prost::encoding::WireType::LengthDelimited;
        match number {
            1..16 => self.out.push((number << 3) as u8 | wire as u8),
            _ => prost::encoding::encode_key(number, wire, &mut self.out),
        }
    }

    /// Appends the key of a field and room for its length. Returns the position of that room.
    #[inline]
    fn begin_len(&mut self, number: u32) -> usize {
        self.key(number);
        self.out.extend_from_slice(&[0; LEN_BYTES]);
        self.out.len() - LEN_BYTES
    }

    /// Fills in the length whose room begins at `start`: that of all bytes after the room.
    fn set_len(&mut self, start: usize, offset: u64) -> Result<(), Damage> {
        let len = self.out.len() - start - LEN_BYTES;
        let Ok(short) = u32::try_from(len) else {
            let fault = Fault::TooLarge {
                what: "a value",
                claimed: len as u64,
            };
            return Err(Damage::new(offset, fault));
        };
        let padded: [u8; LEN_BYTES] = std::array::from_fn(|i| {
            let more = if i + 1 < LEN_BYTES { 0x80 } else { 0 };
            (short >> (7 * i)) as u8 & 0x7f | more
        });
        self.out[start..start + LEN_BYTES].copy_from_slice(&padded);
        Ok(())
    }
}

/// Fails unless an unknown field may have this name. Later releases have such fields, but damage rarely looks like
/// one.
pub(super) fn check_name(name: &[u8], offset: u64) -> Result<(), Damage> {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.@/$:".contains(byte);
    // The lexer of the text format has checked names in brackets.
    if name.starts_with(b"[") || name.iter().all(is_usual) {
        return Ok(());
    }
    let expected = "a field's name";
    Err(Damage::new(offset, Fault::Syntax { expected }))
}

/// Skips a token of an unknown field's value, `depth` messages deep. Returns whether the value is complete.
pub(super) fn skip(depth: &mut usize, token: Token) -> bool {
    match token {
        Token::Open => *depth += 1,
        Token::Close => *depth = depth.saturating_sub(1),
        Token::Field => return false,
        Token::Quoted | Token::Bare | Token::Null | Token::Failed(_) | Token::Passed => {}
    }
    *depth == 0
}
