//! The names and numbers of all fields that a trace may have, generated from proto/.
//!
//! They serve to detect binary traces, and to read text and JSON traces.

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// A field of a message type.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// The name in camelCase, which JSON may use too.
    pub(super) json_name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
}

/// The type of a field.
#[derive(Debug)]
pub(super) enum Kind {
    Message(&'static Message),
    Bytes,
    String,
    Bool,
    Integer,
    /// The names and numbers of its values.
    Enum(&'static [(&'static str, i32)]),
}

impl Message {
    /// The field of this number.
    pub(super) fn number(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// The field of this name, in snake_case or camelCase.
    pub(super) fn named(&self, name: &[u8]) -> Option<&'static Field> {
        self.fields
            .iter()
            .find(|field| field.name.as_bytes() == name || field.json_name.as_bytes() == name)
    }
}

#[allow(
    dead_code,
    reason = "a message that only binary traces hold has no use for its names"
)]
mod table {
    use super::{Field, Kind, Message};

    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}
pub(super) use table::*;
