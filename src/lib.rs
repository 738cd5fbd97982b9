//! Turns the tap traces that Envoy records into captures that Wireshark opens.
//!
//! ```text
//! bytes ──▶ events ──▶ events of connections ──▶ segments ──▶ frames ──▶ capture file
//! input     trace      sequence                  synth        synth      capture
//! ```
//!
//! Data goes one way. A room imports the types of its left neighbour and nothing to its right:
//!
//! - [`input`] owns bytes: a file or stream, read as it comes;
//! - [`trace`] makes [events](event) of them, whatever encoding and schema they are in;
//! - [`sequence`] decides which connection each event belongs to, and in which order they happened;
//! - [`synth`] makes Ethernet frames of events: addresses, sequence numbers, headers;
//! - [`capture`] writes frames to a file and the file into its place;
//! - [`convert`] wires one conversion, [`merge`] many traces into one capture, [`batch`] plans many
//!   conversions, [`info`] looks into a trace without making a capture. One loop, `pump`, carries the events
//!   in all of them.
//!
//! [`slice`](mod@slice) is how bytes are passed on without a copy. What the rooms notice on the way, lost
//! bytes above all, goes into [`notice`]. [`protocol`] is the one rule by which all of them tell the
//! protocol and the client's side. [`interrupt`] is how a signal asks for the end, and [`progress`] reports how much has
//! been read.

pub mod batch;
pub mod capture;
pub mod convert;
pub mod event;
pub mod info;
pub mod input;
pub mod interrupt;
pub mod merge;
pub mod notice;
mod page;
mod ports;
pub mod progress;
pub mod protocol;
mod pump;
pub mod sequence;
pub mod slice;
pub mod synth;
pub mod trace;
pub mod wireshark;

use std::fmt;
use std::path::Path;

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
pub fn shown(path: &Path) -> impl fmt::Display {
    escaped(&path.to_string_lossy(), |c| c.escape_unicode().to_string())
}

/// Text with `escape` in place of each character that a terminal obeys.
pub fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            true => shown.push_str(&escape(c)),
            false => shown.push(c),
        }
    }
    shown
}

/// Whether a terminal does something with a character other than showing it: the control characters,
/// and those that end lines, turn the direction of writing, or cannot be seen (Unicode's classes Cc, Zl,
/// Zp and, of Cf, what no name needs).
pub(crate) fn is_obeyed(c: char) -> bool {
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
