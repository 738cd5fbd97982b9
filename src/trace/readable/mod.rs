//! The encodings that a person can read: protobuf's text format and its JSON.
//!
//! Both lexers give the same tokens, and one transcoder turns these into the messages that the decoder takes.

pub(super) mod json;
pub(super) mod lexer;
pub(super) mod scan;
pub(super) mod seek;
pub(super) mod text;
pub(super) mod transcode;
