//! Names and numbers in messages, and the printing of messages.

use std::io::{self, Write as _};
use std::path::Path;

use capture2pcap::capture::Target;
use capture2pcap::convert::Source;
use capture2pcap::grouped;

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

pub(super) fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
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
