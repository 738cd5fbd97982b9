//! Runs `--info`.
//!
//! Invariant: the traces are shown in the order in which they were named.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;

use capture2pcap::batch;
use capture2pcap::capture::{Output, Target};
use capture2pcap::convert::Source;
use capture2pcap::info::inspect;
use capture2pcap::input::Wait;

use super::{Run, workload};
use crate::cli::table;
use crate::cli::usage::Misuse;

impl Run<'_> {
    /// Prints what each trace holds.
    pub(super) fn inspect(&mut self, inputs: &[OsString], json: bool) -> Result<(), Misuse> {
        let extension = self.options.capture.format.extension();
        let (sources, unread) = batch::sources(inputs, extension);
        for (path, error) in unread {
            self.reporter.failed_search(&path, &error);
        }
        if sources.is_empty() {
            self.reporter.no_traces(inputs);
        }
        let mut table = match Output::create(&Target::Stdout, None, self.interrupt.wake()) {
            Ok(output) => output,
            Err(error) => {
                self.reporter.failed_stdout(&error);
                return Ok(());
            }
        };
        for (source, capture) in sources {
            let shown = self.inspect_one(&source, capture.as_deref(), json);
            let shown = shown.and_then(|text| table.write_all(text.as_bytes()));
            match shown {
                Ok(()) if self.reporter.reader_gone() => break,
                Ok(()) if self.interrupt.signal().is_none() => {}
                Ok(()) => break,
                // The reader of standard output has closed the pipe, or does not read after a signal.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => {
                    self.reporter.failed_stdout(&error);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Inspects a trace; returns the table to print, which is empty with `--json`.
    fn inspect_one(
        &mut self,
        source: &Source,
        capture: Option<&Path>,
        json: bool,
    ) -> io::Result<String> {
        let mut warnings = self.reporter.warnings(source);
        self.options.progress = self.reporter.progress(workload(source));
        let wait = Wait {
            wake: self.interrupt.wake(),
            hangup: Target::Stdout.stream(),
            deadline: None,
        };
        let result = inspect(source, &self.options, &wait, self.interrupt, &mut warnings);
        let reported = self
            .reporter
            .inspected(source, capture, &warnings, result.as_ref());
        reported?;
        let info = match &result {
            Ok(info) if !json => info,
            _ => return Ok(String::new()),
        };
        let text = table::table(source, capture, info, &warnings, table::terminal_width());
        Ok(match anstream::AutoStream::choice(&io::stdout()) {
            anstream::ColorChoice::Never => anstream::adapter::strip_str(&text).to_string(),
            _ => text,
        })
    }
}
