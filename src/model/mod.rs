//! Types that all modules share: events, warnings about them, and the protocols that a connection's first bytes
//! show.

pub mod event;
pub mod protocol;
pub mod warning;
