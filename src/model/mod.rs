//! What all modules share: events, warnings about them, and what the first bytes of a connection say.

pub mod event;
pub mod protocol;
pub mod warning;
