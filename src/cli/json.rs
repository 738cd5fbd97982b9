//! `--json`: an object per line. Owns standard output.

use std::io::{self, Write as _};

use capture2pcap::capture::{Output, Target};
use capture2pcap::convert::Source;
use capture2pcap::describe::objects::path;
use capture2pcap::interrupt::Interrupt;
use serde_json::Value;

/// Standard output, one object per line.
#[derive(Debug)]
pub(crate) struct Lines(Output);

impl Lines {
    /// Opens standard output.
    ///
    /// # Errors
    /// When the process has no standard output.
    pub(crate) fn new(interrupt: &Interrupt) -> io::Result<Self> {
        Output::create(&Target::Stdout, None, interrupt.wake()).map(Self)
    }

    /// Prints an object.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn print(&mut self, object: &Value) -> io::Result<()> {
        // Control characters occur only inside JSON strings, so a JSON escape can replace each.
        let mut line = capture2pcap::escaped(&object.to_string(), |c| {
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units).iter();
            units.map(|unit| format!("\\u{unit:04x}")).collect()
        });
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

/// The `path` member of an input.
pub(crate) fn source_path(source: &Source) -> Value {
    match source {
        Source::Stdin => "-".into(),
        Source::File(file) => path(file),
        Source::Live(tap) => tap.to_string().into(),
    }
}
