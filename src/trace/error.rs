//! Errors in a trace, and their positions.

use std::fmt;

use crate::input::{Compression, Unpackable};
use crate::plural;

/// The position at which a trace becomes invalid, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset of the error in the (unpacked, decoded) input, in bytes.
    pub offset: u64,
    /// The reason. Boxed, so that results without damage stay small.
    pub fault: Box<Fault>,
}

/// The reason for damage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not a trace of any Envoy.
    Unrecognised {
        /// The text of the input or its beginning: usually an error message in place of a trace.
        text: Option<Excerpt>,
        /// The kind of the input, if recognized.
        is: Option<Instead>,
    },
    /// The input ends inside `what`.
    Cut {
        /// What was being read.
        what: &'static str,
        /// The number of missing bytes, if known.
        missing: Option<u64>,
    },
    /// The trace is compressed, and cannot be unpacked any further.
    Packed {
        /// How it is compressed.
        by: Compression,
        /// The unpacker's reason.
        why: Unpackable,
    },
    /// Another message begins inside `what`, which was cut there.
    Overtaken {
        /// What was being read.
        what: &'static str,
    },
    /// A message without gRPC's five bytes before it, or a compressed one.
    Frame,
    /// A varint of more than ten bytes, or above 64 bits.
    Varint,
    /// A field number that protobuf does not allow, such as 0.
    FieldNumber,
    /// A wire type that no tap uses.
    WireType(u8),
    /// A field that exceeds the enclosing message.
    Overrun {
        /// What was being read.
        what: &'static str,
        /// The length of the field, in bytes.
        claimed: u64,
        /// The number of bytes left in the enclosing message.
        left: u64,
    },
    /// A field larger than protobuf allows (2 GiB).
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The length of the field, in bytes.
        claimed: u64,
    },
    /// A message whose fields do not decode.
    Message {
        /// The message.
        what: &'static str,
        /// The decoder's reason.
        why: String,
    },
    /// Text or JSON that breaks its grammar.
    Syntax {
        /// What the grammar expects here.
        expected: &'static str,
    },
    /// A value that its field cannot hold.
    Value {
        /// The field's name.
        field: &'static str,
        /// The values that the field can hold.
        expected: &'static str,
    },
}

/// Text found in place of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, with its control characters escaped.
    pub text: String,
    /// Whether the text continues.
    pub is_cut: bool,
}

/// The kind of an input that is not a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instead {
    /// A description.
    pub what: &'static str,
    /// A hint.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognised { text, is } => {
                f.write_str("not an Envoy tap trace in any encoding")?;
                match (is, text) {
                    (Some(Instead { what, .. }), _) => write!(f, ": it is {what}"),
                    (None, Some(Excerpt { text, is_cut })) => {
                        let verb = if *is_cut { "begins with" } else { "says" };
                        write!(f, ": it {verb} \"{text}\"")
                    }
                    (None, None) => Ok(()),
                }
            }
            Self::Cut {
                what,
                missing: Some(1),
            } => write!(f, "{what} needs one byte more"),
            Self::Cut {
                what,
                missing: Some(n),
            } => write!(f, "{what} needs {n} bytes more"),
            Self::Cut {
                what,
                missing: None,
            } => write!(f, "it ends inside {what}"),
            Self::Packed { by, why } => write!(f, "the {by} data {why}"),
            Self::Overtaken { what } => write!(f, "another message begins inside {what}"),
            Self::Frame => f.write_str("expected the five bytes that gRPC puts before a message"),
            Self::Varint => f.write_str("a varint longer than 64 bits"),
            Self::FieldNumber => f.write_str("a field number that protobuf does not allow"),
            Self::WireType(n) => write!(f, "wire type {n}, which no tap writes"),
            Self::Overrun {
                what,
                claimed,
                left,
            } => {
                let unit = plural(*claimed, "byte");
                write!(
                    f,
                    "{what} claims {claimed} {unit} where the message around it has {left} left"
                )
            }
            Self::TooLarge { what, claimed } => {
                write!(
                    f,
                    "{what} claims {claimed} bytes, more than protobuf allows"
                )
            }
            Self::Message { what, why } => write!(f, "{what} does not decode: {why}"),
            Self::Syntax { expected } => write!(f, "expected {expected}"),
            Self::Value { field, expected } => write!(f, "{field} is not {expected}"),
        }
    }
}

impl Damage {
    pub(crate) fn new(offset: u64, fault: Fault) -> Self {
        let fault = Box::new(fault);
        Self { offset, fault }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match *self.fault {
            Fault::Unrecognised { .. } => "not recognized",
            Fault::Cut { .. } | Fault::Overtaken { .. } => "cut",
            Fault::Packed {
                why: Unpackable::Cut,
                ..
            } => "cut",
            _ => "damaged",
        };
        let of = match *self.fault {
            Fault::Packed { .. } => " of the unpacked trace",
            _ => "",
        };
        write!(f, "{what} at offset {}{of}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for Damage {}
