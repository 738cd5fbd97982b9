//! What has to hold whatever the input is.
//!
//! A function a fuzz target; each takes the bytes that the fuzzer makes and panics where a property does
//! not hold. They are ordinary functions, so `cargo test` replays what was ever found without a fuzzer.
//!
//! They go by the program's public API, and judge captures by the reader that its tests have for that,
//! which shares no code with what writes them.

mod convert;
mod decode;
mod delivered;
mod knobs;
mod memory;
mod merge;
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

/// A fuzz target: its name, and what it does with an input.
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
