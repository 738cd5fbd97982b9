//! The end of the work: grouped warnings, hints, the line of counts, and the command that opens a capture.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use capture2pcap::capture::Target;
use capture2pcap::grouped;
use capture2pcap::info::{quoted, tshark_command};
use capture2pcap::model::protocol::{self, DecodeAs};
use capture2pcap::wireshark;

use super::{MAX_GRPC_LOOK, Reporter, counted, say, say_hint, target_name};
use crate::cli::args::Verbosity;
use crate::cli::viewer;

impl Reporter {
    /// Ends the work: prints the grouped warnings of all traces, then the hints.
    fn end(&mut self) {
        self.bar.clear();
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        for line in std::mem::take(&mut self.groups).lines() {
            say(&line);
        }
        let mut given = BTreeSet::new();
        for (_, hint) in std::mem::take(&mut self.hints) {
            if given.insert(hint) {
                say_hint(hint);
            }
        }
    }

    /// Whether to print the line of counts and the command.
    const fn prints_summary(&self) -> bool {
        match self.verbosity {
            _ if self.is_temporary => false,
            Verbosity::Quiet => false,
            Verbosity::Normal => self.terminal,
            Verbosity::Verbose => true,
        }
    }

    /// Ends the conversion of one trace: prints the warnings, a line of counts and the command that opens the
    /// capture.
    pub(crate) fn end_one(&mut self, target: &Target, signal: Option<u8>) {
        self.end();
        self.interrupted(target, signal);
        if self.prints_summary() && self.counts.captures > 0 {
            say(&format!(
                "{}: {}",
                target_name(target),
                self.counts.packets()
            ));
            self.command("it");
        }
    }

    /// Reports how much of a capture was written before a signal, unless the capture went to standard output.
    fn interrupted(&self, target: &Target, signal: Option<u8>) {
        if signal.is_none() || self.is_temporary || *target == Target::Stdout {
            return;
        }
        let name = target_name(target);
        self.warn(&match self.counts.captures {
            0 => format!("interrupted before the first event: {name} not written"),
            _ => format!("interrupted: {name} holds everything before the signal"),
        });
    }

    /// Ends many conversions: prints the warnings, a line of counts and the command that opens a capture.
    pub(crate) fn end_many(&mut self, traces: u64, signal: Option<u8>) {
        self.end();
        self.summary(traces);
        if signal.is_some() {
            let ended = self.counts.captures + self.counts.failed_traces;
            let left = traces.saturating_sub(ended);
            let mut line = format!("interrupted: {} not converted", counted(left, "trace"));
            if self.counts.partial > 0 {
                let _ = write!(line, ", {} in part", grouped(self.counts.partial));
            }
            self.warn(&line);
        }
        let open = if self.counts.captures == 1 {
            "it"
        } else {
            "one"
        };
        self.command(open);
    }

    /// Prints the command that opens a capture, if it is to be printed.
    fn command(&self, open: &str) {
        if let Some((_, capture, decode_as)) = self.opens.as_ref().filter(|_| self.prints_summary())
        {
            let mut command = tshark_command(capture, &wireshark::needed(decode_as));
            for option in viewer::proto_options(self.proto_path.as_deref()) {
                command.push(' ');
                command.push_str(&quoted(Path::new(&option)));
            }
            say(&format!("open {open} with: {command}"));
            self.hint_at_proto_path(capture, decode_as);
        }
    }

    /// Prints the hint about `--proto-path` if a capture contains gRPC.
    pub(super) fn hint_at_proto_path(&self, capture: &Path, decode_as: &[DecodeAs]) {
        if self.proto_path.is_some() || decode_as.is_empty() || self.verbosity == Verbosity::Quiet {
            return;
        }
        // Opening a FIFO would wait for a writer.
        if !capture.is_file() {
            return;
        }
        // The content type is in the headers, which come first. Searching the finished capture costs the
        // conversion nothing.
        let mut start = Vec::new();
        let read =
            File::open(capture).and_then(|file| file.take(MAX_GRPC_LOOK).read_to_end(&mut start));
        if read.is_ok() && protocol::is_grpc(&start) {
            say_hint(
                "--proto-path DIR, the folder of your .proto files, makes the viewer show gRPC fields",
            );
        }
    }

    /// Ends a merge: prints the warnings, a line of counts and the command that opens the capture.
    pub(crate) fn end_merge(&mut self, target: &Target, traces: u64, signal: Option<u8>) {
        if self.reader_gone {
            return;
        }
        if traces == 1 {
            return self.end_one(target, signal);
        }
        self.end();
        self.interrupted(target, signal);
        self.summary(traces);
        self.command("it");
    }

    /// Prints the line of counts for all traces.
    fn summary(&self, traces: u64) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let counts = &self.counts;
        let mut line = format!(
            "{} of {}, {}",
            counted(counts.captures, "capture"),
            counted(traces, "trace"),
            counts.contents()
        );
        for (count, what) in [
            (counts.warnings, "warning"),
            (counts.damaged, "damaged trace"),
            (counts.failures, "failure"),
        ] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(line, ", {}", counted(count, what));
            }
        }
        say(&format!(
            "{line}, {:.2} s",
            self.started.elapsed().as_secs_f64()
        ));
    }
}
