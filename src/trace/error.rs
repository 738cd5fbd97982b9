//! What can be wrong with a trace, and where.

use std::fmt;

/// The place where a trace stops making sense, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The position of the fault in the (decoded) input, in bytes.
    pub offset: u64,
    /// What is wrong there. It is seldom told of, and takes no room in a result that has none.
    pub fault: Box<Fault>,
}

/// What is wrong with the bytes at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing that any Envoy writes.
    Unrecognised {
        /// The text that it is, or how that begins: an error message in a trace's place, most often.
        text: Option<Excerpt>,
        /// What it is instead, where that is known.
        is: Option<Instead>,
    },
    /// The input ends inside `what`.
    Cut {
        /// What was being read.
        what: &'static str,
        /// How many more bytes it needs, where that is known.
        missing: Option<u64>,
    },
    /// Another message begins inside `what`, which was cut there.
    Overtaken {
        /// What was being read.
        what: &'static str,
    },
    /// No five bytes of gRPC stand before a message, or they say that it is compressed.
    Frame,
    /// A varint of more than ten bytes, or above 64 bits.
    Varint,
    /// A field number of 0, or one that protobuf does not allow.
    FieldNumber,
    /// A wire type that no tap writes.
    WireType(u8),
    /// A field that ends behind the message around it.
    Overrun {
        /// What was being read.
        what: &'static str,
        /// The length that it claims, in bytes.
        claimed: u64,
        /// The bytes that are left for it in the message around it.
        left: u64,
    },
    /// A field larger than protobuf allows (2 GiB).
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The length that it claims, in bytes.
        claimed: u64,
    },
    /// A message whose fields do not decode.
    Message {
        /// Which one.
        what: &'static str,
        /// The decoder's reason.
        why: String,
    },
    /// Text or JSON that breaks its grammar.
    Syntax {
        /// What the grammar asks for here.
        expected: &'static str,
    },
    /// A value that its field cannot hold.
    Value {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        expected: &'static str,
    },
}

/// Text that stands in the place of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, with its control characters escaped.
    pub text: String,
    /// Whether there is more of it.
    pub is_cut: bool,
}

/// What stands in the place of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instead {
    /// What it is.
    pub what: &'static str,
    /// What helps.
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
                write!(
                    f,
                    "{what} claims {claimed} bytes where the message around it has {left} left"
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
            Fault::Unrecognised { .. } => "not recognised",
            Fault::Cut { .. } | Fault::Overtaken { .. } => "cut",
            _ => "damaged",
        };
        write!(f, "{what} at offset {}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for Damage {}
