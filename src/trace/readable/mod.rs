//! The human-readable encodings: protobuf's text format and its JSON.
//!
//! Both lexers return the same tokens, and one transcoder turns these into binary messages for the decoder.

pub(super) mod json;
pub(super) mod lexer;
pub(super) mod scan;
pub(super) mod seek;
pub(super) mod text;
pub(super) mod transcode;
