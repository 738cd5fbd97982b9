//! The binary encodings: protobuf's wire format, one message or many, with and without length prefixes.

pub(super) mod look_ahead;
pub(super) mod socket;
pub(super) mod walk;
pub(super) mod wire;

#[cfg(test)]
mod tests;
