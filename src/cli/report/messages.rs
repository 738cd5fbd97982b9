//! Names and numbers in messages, and the printing of messages.

use std::io::{self, Write as _};
use std::path::Path;

use capture2pcap::capture::Target;
use capture2pcap::convert::Source;
use capture2pcap::{grouped, plural};

pub(super) fn source_name(source: &Source) -> String {
    match source {
        Source::Stdin => "standard input".to_owned(),
        Source::File(path) => capture2pcap::display_path(path).to_string(),
        Source::Live(tap) => capture2pcap::display_path(Path::new(&tap.to_string())).to_string(),
    }
}

pub(crate) fn target_name(target: &Target) -> String {
    match target {
        Target::Stdout => "standard output".to_owned(),
        Target::File(path) => capture2pcap::display_path(path).to_string(),
    }
}

/// A number of things, as `1,234 bytes`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{} {}", grouped(n), plural(n, noun))
}

/// Prints a message.
pub(crate) fn say(message: &str) {
    // If standard error cannot be written, only the exit status is left.
    let _ = writeln!(io::stderr(), "capture2pcap: {message}");
}

/// Prints a hint.
pub(crate) fn say_hint(hint: &str) {
    let _ = writeln!(io::stderr(), "hint: {hint}");
}
