//! Fields of protobuf messages, encoded for unit tests.

use prost::encoding::encode_varint;

/// A field that contains `bytes`.
pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(number << 3 | 2, &mut field);
    encode_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

/// A field that is a number.
pub(crate) fn number(number: u64, value: u64) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(number << 3, &mut field);
    encode_varint(value, &mut field);
    field
}
