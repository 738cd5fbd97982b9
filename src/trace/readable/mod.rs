//! The human-readable encodings: protobuf's text format and its JSON.
//!
//! Both lexers return the same tokens, and one transcoder turns these into binary messages for the decoder.

pub(super) mod begin;
mod builder;
mod dense;
mod escape;
pub(super) mod json;
pub(super) mod lexer;
mod nesting;
pub(super) mod scalar;
pub(super) mod scan;
mod search;
pub(super) mod seek;
mod swar;
pub(super) mod text;
pub(super) mod transcode;

#[cfg(test)]
mod tests;
