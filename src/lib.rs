//! Turns the tap traces that Envoy records into captures that Wireshark opens.
//!
//! This is the library of the command `capture2pcap`. It converts traces in memory, in any encoding and of any release
//! of Envoy, to captures in memory:
//!
//! ```
//! use capture2pcap::{Converter, Format, Trace};
//!
//! // A connection that received `hi`, as Envoy's admin interface prints it.
//! let trace = br#"{"socket_buffered_trace": {"trace_id": "7", "events": [
//!     {"timestamp": "2024-05-01T12:00:00Z", "read": {"data": {"as_bytes": "aGk="}}}
//! ]}}"#;
//! let trace = Trace::new("tap.json", trace.to_vec());
//! let converted = Converter::new().format(Format::Pcapng).convert(&trace, Vec::new())?;
//! assert!(converted.capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
//! assert_eq!(converted.summary.frames, 1);
//! for warning in converted.warnings.tallies() {
//!     eprintln!("{warning}");
//! }
//! # Ok::<(), capture2pcap::Failure>(())
//! ```
//!
//! [`Converter::merge`] makes one capture of many traces, [`Converter::inspect`] describes a trace without making a
//! capture, and [`ReadAt`] reads traces that are not in memory. With `default-features = false`, the crate uses no files,
//! descriptors, threads or signals, and compiles for `wasm32-unknown-unknown`; the feature `unpack` then adds traces that
//! are compressed with gzip or zstd. The feature `cli`, which is on by default, adds the command.
//!
//! # Inside
//!
//! ```text
//! bytes ──▶ events ──▶ events of connections ──▶ segments ──▶ frames ──▶ capture file
//! input     trace      sequence                  synth        synth      capture
//! ```
//!
//! Data goes one way. A module imports the types of its left neighbour and nothing to its right:
//!
//! - `input` reads bytes: memory, a file or a stream;
//! - `trace` decodes them into events, in any encoding and schema;
//! - `sequence` decides which connection each event belongs to, and in which order the events happened;
//! - `redact` overwrites secret values in them, on request;
//! - `synth` makes Ethernet frames of events: addresses, sequence numbers, headers;
//! - `capture` writes frames to a file, and gives the complete file its name;
//! - `convert` runs one conversion, `merge` writes many traces into one capture, `batch` plans many conversions, and
//!   `info` reports the contents of a trace without a capture. One loop, `pump`, carries the events in all of them;
//! - `describe` formats the results as messages and JSON.
//!
//! `model` holds the types that all modules share: the events, the warnings that report every loss, and the rules that
//! recognize a protocol and the client's side. `words` searches short texts.
//! `interrupt` requests an early end, and `progress` reports how much has been read.
//!
//! The modules are public only for the command, the page in the browser, the benchmarks and the fuzzer. They are
//! hidden here, and may change in any release.

mod align;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod capture;
#[doc(hidden)]
pub mod convert;
mod converter;
#[doc(hidden)]
pub mod describe;
mod descriptor;
#[cfg(test)]
mod encoded;
mod evicted;
#[doc(hidden)]
pub mod info;
#[doc(hidden)]
pub mod input;
#[doc(hidden)]
pub mod interrupt;
#[doc(hidden)]
pub mod merge;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod progress;
#[cfg(test)]
mod properties;
mod pump;
#[doc(hidden)]
pub mod redact;
#[doc(hidden)]
pub mod sequence;
#[doc(hidden)]
pub mod synth;
#[doc(hidden)]
pub mod trace;
#[cfg(test)]
#[cfg(feature = "cli")]
mod truncation_tests;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod wireshark;
mod words;

use std::fmt;
use std::path::Path;

pub use capture::{Format, Precision};
pub use convert::{Failure, Summary};
pub use converter::{Converted, Converter, Trace};
pub use info::Info;
pub use input::ReadAt;
pub use merge::Merged;
pub use model::event::Timestamp;
pub use model::protocol::Role;
pub use model::warning::Warnings;
pub use synth::{AddressOverride, ConnectionSummary, Handshake};
pub use trace::Encoding;

#[cfg(all(feature = "cli", not(unix)))]
compile_error!(
    "the feature `cli` needs a Unix: the command waits for descriptors and signals; the library does without, with \
     default-features = false"
);

/// A number with commas between groups of three digits.
#[doc(hidden)]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `noun` as it follows the number `n`: with an `s`, unless the number is 1.
#[doc(hidden)]
pub fn plural(n: u64, noun: &str) -> String {
    format!("{noun}{}", if n == 1 { "" } else { "s" })
}

/// A path for a terminal: on one line, with all control characters escaped.
#[doc(hidden)]
pub fn display_path(path: &Path) -> impl fmt::Display {
    escaped(&path.to_string_lossy(), |c| c.escape_unicode().to_string())
}

/// Text with `escape` in place of each character that controls a terminal.
#[doc(hidden)]
pub fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_terminal_control(c) {
            true => shown.push_str(&escape(c)),
            false => shown.push(c),
        }
    }
    shown
}

/// Whether a character has an effect on a terminal, or is invisible: control characters, line separators, and
/// characters that change the direction of writing (Unicode's classes Cc, Zl, Zp, and the part of Cf that names do
/// not need).
pub(crate) fn is_terminal_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
