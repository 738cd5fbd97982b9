//! Properties that hold for every input.
//!
//! There is a function for each fuzz target. It takes the fuzzer's bytes, and panics if a property does not hold. They are
//! ordinary functions, so that `cargo test` replays all findings without a fuzzer.
//!
//! They use the program's public API, and check captures with the reader of its tests, which shares no code with the
//! writers.

mod convert;
mod decode;
mod delivered;
mod memory;
mod merge;
mod options;
mod oracle;
mod places;
mod redact;
mod sequence;
mod stream;
mod strings;

use support::pcap;

pub use convert::convert;
pub use decode::{binary, json, text};
pub use merge::merge;
pub use redact::redact;
pub use sequence::sequence;
pub use stream::stream;

/// A fuzz target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their folders.
pub const TARGETS: [Target; 8] = [
    ("binary", binary),
    ("text", text),
    ("json", json),
    ("convert", convert),
    ("sequence", sequence),
    ("stream", stream),
    ("merge", merge),
    ("redact", redact),
];
