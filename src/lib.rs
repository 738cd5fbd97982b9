//! Turns the tap traces that Envoy records into captures that Wireshark opens.
//!
//! ```text
//! bytes ──▶ events ──▶ events of connections ──▶ segments ──▶ frames ──▶ capture file
//! input     trace      sequence                  synth        synth      capture
//! ```
//!
//! Data goes one way. A module imports the types of its left neighbour and nothing to its right:
//!
//! - [`input`] owns bytes: a file or a stream, read as it comes;
//! - [`trace`] decodes them into [events](model::event), whatever their encoding and schema;
//! - [`sequence`] decides which connection each event belongs to, and in which order the events happened;
//! - [`synth`] makes Ethernet frames of events: addresses, sequence numbers, headers;
//! - [`capture`] writes frames to a file and moves the file into its place;
//! - [`convert`] runs one conversion, [`merge`] writes many traces into one capture, [`batch`] plans many
//!   conversions, [`info`] looks into a trace without making a capture. One loop, `pump`, carries the events
//!   in all of them.
//!
//! [`model`] holds what they all share: the events, the [warnings](model::warning) that report every loss, and
//! [the rules](model::protocol) that recognize a protocol and the client's side. [`slice`](mod@slice) passes bytes
//! on without a copy. [`interrupt`] asks for an early end, and [`progress`] reports how much has been read.

mod align;
#[cfg(feature = "cli")]
pub mod batch;
pub mod capture;
pub mod convert;
mod descriptor;
pub mod info;
pub mod input;
pub mod interrupt;
pub mod merge;
pub mod model;
pub mod progress;
mod pump;
pub mod sequence;
pub mod slice;
pub mod synth;
pub mod trace;
#[cfg(feature = "cli")]
pub mod wireshark;

use std::fmt;
use std::path::Path;

#[cfg(all(feature = "cli", not(unix)))]
compile_error!(
    "the feature `cli` needs a Unix: the command waits for descriptors and signals; the library does without, with \
     default-features = false"
);

/// A number with a comma between each three digits.
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

/// A path as it may be shown on a terminal: one line, and nothing in it that a terminal obeys.
pub fn display_path(path: &Path) -> impl fmt::Display {
    escaped(&path.to_string_lossy(), |c| c.escape_unicode().to_string())
}

/// Text with `escape` in place of each character that a terminal obeys.
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

/// Whether a terminal does something with a character other than showing it: the control characters,
/// and those that end lines, turn the direction of writing, or cannot be seen (Unicode's classes Cc, Zl,
/// Zp and, of Cf, what no name needs).
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
