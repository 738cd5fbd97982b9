//! Messages on standard error, and the exit status.
//!
//! Owns the wording of all messages except those on usage. The objects of `--json` pass through here as well,
//! since both report on the same traces.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use capture2pcap::batch::TRACE_EXTENSIONS;
use capture2pcap::capture::Target;
use capture2pcap::convert::{Failure, Source, Summary};
pub(crate) use capture2pcap::describe::reason;
use capture2pcap::describe::{self, WarningGroups, objects};
use capture2pcap::grouped;
use capture2pcap::info::{Info, quoted, tshark_command};
use capture2pcap::input::Compression;
use capture2pcap::input::admin::Tap;
use capture2pcap::merge::{Merged, Outcome};
use capture2pcap::model::protocol::{self, DecodeAs};
use capture2pcap::model::warning::{Warning, WarningKind, Warnings};
use capture2pcap::progress::Progress;
use capture2pcap::wireshark;
use serde_json::Value;

use crate::cli::args::Verbosity;
use crate::cli::json::{self, Lines};
use crate::cli::progress_bar::{Bar, Long};
use crate::cli::run::FAILURE;
use crate::cli::viewer::{self, Viewer};

/// How much of a capture is searched for gRPC, in bytes.
const MAX_GRPC_LOOK: u64 = 1 << 20;

/// The hint for an empty pipe: with `-s` alone, curl prints no errors.
const EMPTY_PIPE: &str =
    "the command before the pipe may have failed: curl -sSN shows its errors, curl -sN hides them";

/// Reports conversions as they end, and counts them.
#[derive(Debug)]
pub(crate) struct Reporter {
    verbosity: Verbosity,
    terminal: bool,
    bar: Bar,
    started: Instant,
    groups: WarningGroups,
    /// The hints to print, each once, in the order of the kinds.
    hints: BTreeSet<(WarningKind, &'static str)>,
    counts: Counts,
    /// The capture with the lowest trace number that has packets, and the `-d` options for it.
    opens: Option<(usize, PathBuf, Vec<DecodeAs>)>,
    lines: Option<Lines>,
    /// Whether `--verbose` prints a line for each trace.
    many: bool,
    /// Whether the reader of the objects or of a merge's capture has closed its end.
    reader_gone: bool,
    /// The folder with the user's .proto files.
    proto_path: Option<PathBuf>,
    /// Whether the capture is temporary. Its name is then left out of messages.
    is_temporary: bool,
}

#[derive(Debug, Default)]
struct Counts {
    /// Traces that were started.
    traces: u64,
    captures: u64,
    /// Captures that a signal ended early.
    partial: u64,
    /// Traces that could not be converted.
    failed_traces: u64,
    /// All failures, of traces, folders and outputs.
    failures: u64,
    damaged: u64,
    warnings: u64,
    connections: u64,
    events: u64,
    frames: u64,
    received: u64,
    sent: u64,
}

impl Counts {
    fn add(&mut self, summary: &Summary) {
        self.connections += summary.connections;
        self.events += summary.events;
        self.frames += summary.frames;
        self.received += summary.bytes_read;
        self.sent += summary.bytes_written;
    }

    /// What the captures hold, e.g. `8 packets of 1 connection, 8 events (259 bytes received, 36,872 sent)`.
    fn packets(&self) -> String {
        format!("{} of {}", plural(self.frames, "packet"), self.contents())
    }

    fn contents(&self) -> String {
        format!(
            "{}, {} ({} received, {} sent)",
            plural(self.connections, "connection"),
            plural(self.events, "event"),
            plural(self.received, "byte"),
            grouped(self.sent)
        )
    }
}

impl Reporter {
    /// Starts a run; `lines` prints an object for each trace, if requested.
    pub(crate) fn new(
        verbosity: Verbosity,
        lines: Option<Lines>,
        proto_path: Option<PathBuf>,
    ) -> Self {
        Self {
            verbosity,
            terminal: io::stderr().is_terminal(),
            bar: Bar::hidden(),
            started: Instant::now(),
            groups: WarningGroups::default(),
            hints: BTreeSet::new(),
            counts: Counts::default(),
            opens: None,
            lines,
            many: false,
            reader_gone: false,
            proto_path,
            is_temporary: false,
        }
    }

    /// Leaves out the name of the capture and the command that opens it.
    pub(crate) const fn hide_name(&mut self) {
        self.is_temporary = true;
    }

    /// Shows the counts of a live tap on a terminal until the work ends.
    pub(crate) fn follow(&mut self, tap: &Arc<Tap>) {
        if self.terminal && self.verbosity != Verbosity::Quiet {
            self.bar = Bar::of_tap(tap);
        }
    }

    /// Shows the progress of the work on a terminal; returns the callback that advances it.
    pub(crate) fn progress(&mut self, work: Long) -> Progress {
        if !self.terminal || self.verbosity == Verbosity::Quiet {
            return Progress::default();
        }
        let (bar, progress) = Bar::of(work);
        self.bar.clear();
        self.bar = bar;
        progress
    }

    /// Prepares for many captures.
    pub(crate) const fn expect_many(&mut self) {
        self.many = true;
    }

    /// Creates the collector of a conversion's warnings.
    pub(crate) fn warnings(&self, source: &Source) -> Warnings {
        if self.verbosity != Verbosity::Verbose {
            return Warnings::default();
        }
        let (name, bar) = (source_name(source), self.bar.clone());
        Warnings::with_listener(move |warning: &Warning| {
            if !warning.kind.is_of_each_event() {
                bar.suspend(|| say(&format!("{name}: {warning}")));
            }
        })
    }

    /// Prints a message, above the progress bar where there is one.
    fn say(&self, message: &str) {
        // Redrawing the bar takes longer than converting a small trace.
        self.bar.suspend(|| say(message));
    }

    /// Prints a message that is not an error, unless `--quiet` is given.
    pub(crate) fn warn(&self, message: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.say(message);
        }
    }

    /// Prints an object.
    ///
    /// # Errors
    /// When standard output cannot be written. A closed pipe is not an error.
    fn print(&mut self, object: &Value) -> io::Result<()> {
        let Some(lines) = self.lines.as_mut().filter(|_| !self.reader_gone) else {
            return Ok(());
        };
        match self.bar.suspend(|| lines.print(object)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_gone = true;
                Ok(())
            }
            // After a signal, a reader that does not read is not waited for.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            printed => printed,
        }
    }

    /// Prints an object, and reports a failure to do so.
    fn object(&mut self, object: impl FnOnce() -> Value) {
        if self.lines.is_some()
            && let Err(error) = self.print(&object())
        {
            self.unwritten(&error);
        }
    }

    /// Reports that standard output cannot be written.
    pub(crate) fn unwritten(&mut self, error: &io::Error) {
        self.lines = None;
        let why = reason(error);
        self.failed("standard output", &format!("cannot write: {why}"));
    }

    /// Whether the reader of the objects has closed its end, which ends the work.
    pub(crate) const fn reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// Adds the hint for an input that is recognized as something other than a trace.
    fn hint_about(&mut self, failure: &Failure) {
        if let Some(hint) = describe::hint(failure) {
            self.hints.insert((WarningKind::ThroughTerminal, hint));
        }
    }

    fn failed(&mut self, name: &str, why: &str) {
        self.counts.failures += 1;
        self.say(&format!("{name}: {why}"));
    }

    /// Reports the outcome of a conversion. `number` is its index among all traces.
    pub(crate) fn finished(
        &mut self,
        number: usize,
        source: &Source,
        target: &Target,
        warnings: &Warnings,
        result: Result<Summary, Failure>,
    ) {
        self.counts.traces += 1;
        match result {
            Ok(summary) => {
                if let Target::File(capture) = target {
                    self.object(|| {
                        objects::of_conversion(
                            json::source_path(source),
                            capture,
                            &summary,
                            warnings,
                        )
                    });
                }
                self.converted(number, source, target, warnings, summary);
            }
            Err(failure) => {
                self.counts.failed_traces += 1;
                self.failure(source, target, &failure);
            }
        }
        self.bar.count(self.counts.traces);
    }

    /// Reports that a trace could not be converted.
    fn failure(&mut self, source: &Source, target: &Target, failure: &Failure) {
        let why = reason(failure.error());
        self.object(|| objects::of_failure(&json::source_path(source), &why));
        match failure {
            Failure::Trace(_) => {
                self.failed(&source_name(source), &why);
                self.hint_about(failure);
            }
            Failure::Capture(_) => self.failed(&target_name(target), &why),
        }
    }

    fn converted(
        &mut self,
        number: usize,
        source: &Source,
        target: &Target,
        warnings: &Warnings,
        summary: Summary,
    ) {
        // The reader closed the capture, or a signal arrived before the first event.
        if !summary.written {
            return;
        }
        self.trace(number, source, warnings, &summary);
        if self.many && self.verbosity == Verbosity::Verbose {
            let mut counts = Counts::default();
            counts.add(&summary);
            let (name, capture) = (source_name(source), target_name(target));
            self.say(&format!("{name}: {} in {capture}", counts.packets()));
        }
        self.counts.captures += 1;
        self.counts.partial += u64::from(summary.signal.is_some());
        self.counts.add(&summary);
        if let Target::File(capture) = target {
            self.opened_by(number, capture, summary.frames, summary.decode_as);
        }
    }

    /// Reports the warnings and the damage of a trace that is in a capture.
    fn trace(&mut self, number: usize, source: &Source, warnings: &Warnings, summary: &Summary) {
        let name = source_name(source);
        for tally in warnings.tallies() {
            let kind = tally.first.kind;
            self.counts.warnings += 1;
            match self.verbosity {
                Verbosity::Quiet => {}
                Verbosity::Normal => self.groups.add(number, &name, tally),
                Verbosity::Verbose if kind.is_of_each_event() => {
                    self.say(&format!("{name}: {tally}"));
                }
                // The listener has printed each of them.
                Verbosity::Verbose => {}
            }
            let empty_pipe = kind == WarningKind::Empty && *source == Source::Stdin;
            let hint = if empty_pipe {
                Some(EMPTY_PIPE)
            } else {
                kind.hint()
            };
            self.hints.extend(hint.map(|hint| (kind, hint)));
        }
        for line in describe::damage(&name, summary) {
            self.say(&line);
        }
        let impossible = warnings.tallies().any(|tally| tally.first.kind.is_damage());
        let damaged = summary.damage.is_some() || summary.unread.is_some() || impossible;
        self.counts.damaged += u64::from(damaged);
    }

    /// Remembers a capture for the command that opens one.
    fn opened_by(&mut self, number: usize, capture: &Path, frames: u64, decode_as: Vec<DecodeAs>) {
        let first = self.opens.as_ref().map(|(first, ..)| *first);
        if frames > 0 && first.is_none_or(|first| number < first) {
            self.opens = Some((number, capture.to_owned(), decode_as));
        }
    }

    /// Reports the outcome of a merge: each trace, then the capture.
    pub(crate) fn merged(&mut self, target: &Target, merged: Merged, interrupted: bool) {
        self.bar.clear();
        if merged.reader_gone {
            self.reader_gone = true;
            return;
        }
        if let Target::File(capture) = target {
            self.object(|| objects::of_merge(capture, &merged, interrupted));
        }
        let traces = merged.traces;
        self.counts.traces = traces.len() as u64;
        for (number, outcome) in traces.into_iter().enumerate() {
            let Outcome {
                path,
                warnings,
                result,
            } = outcome;
            let source = Source::File(path);
            match result {
                Ok(summary) => {
                    self.trace(number, &source, &warnings, &summary);
                    self.counts.add(&summary);
                }
                Err(failure) => {
                    self.failed(&source_name(&source), &reason(failure.error()));
                    self.hint_about(&failure);
                }
            }
        }
        self.counts.connections = merged.connections;
        self.counts.frames = merged.frames;
        self.counts.captures = u64::from(merged.written);
        if let Target::File(capture) = target {
            self.opened_by(0, capture, merged.frames, merged.decode_as);
        }
    }

    /// Reports that a merge failed as a whole.
    pub(crate) fn failed_all(&mut self, target: &Target, failure: &Failure) {
        self.bar.clear();
        let why = reason(failure.error());
        self.object(|| objects::of_failure(&Value::Null, &why));
        match failure {
            Failure::Trace(_) => self.failed("merge", &why),
            Failure::Capture(_) => self.failed(&target_name(target), &why),
        }
    }

    /// Reports that threads could not be started.
    pub(crate) fn unstarted(&mut self, error: &anyhow::Error) {
        self.failed("threads", &reason(error));
    }

    /// Reports the outcome of inspecting a trace. `capture` is the path that its capture would have.
    ///
    /// # Errors
    /// When an object cannot be printed.
    pub(crate) fn inspected(
        &mut self,
        source: &Source,
        capture: Option<&Path>,
        warnings: &Warnings,
        result: Result<&Info, &Failure>,
    ) -> io::Result<()> {
        self.bar.clear();
        match result {
            Ok(info) => {
                let impossible = warnings.tallies().any(|tally| tally.first.kind.is_damage());
                let damaged = info.damage.is_some() || info.unread.is_some() || impossible;
                self.counts.damaged += u64::from(damaged);
                match self.lines {
                    Some(_) => self.print(&objects::of_info(
                        json::source_path(source),
                        capture,
                        info,
                        warnings,
                    )),
                    None => Ok(()),
                }
            }
            Err(failure) => {
                let why = reason(failure.error());
                self.failed(&source_name(source), &why);
                self.hint_about(failure);
                match self.lines {
                    Some(_) => self.print(&objects::of_failure(&json::source_path(source), &why)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Reports that there is nothing to convert.
    pub(crate) fn none_found(&mut self, inputs: &[OsString]) {
        let extensions = TRACE_EXTENSIONS
            .map(|extension| format!(".{extension}"))
            .join(", ");
        let compressed = Compression::EXTENSIONS.map(|extension| format!(".{extension}"));
        let compressed = compressed.join(", ");
        let why = format!(
            "no traces found: no file ends in {extensions}, compressed ({compressed}) or not"
        );
        let shown = |input: &OsString| capture2pcap::display_path(Path::new(input)).to_string();
        let names: Vec<_> = inputs.iter().map(shown).collect();
        self.failed(&names.join(", "), &why);
        for input in inputs {
            self.object(|| objects::of_failure(&objects::path(Path::new(input)), &why));
        }
    }

    /// Reports a folder that could not be searched.
    pub(crate) fn unread(&mut self, path: &Path, error: &io::Error) {
        let why = format!("cannot read: {}", reason(error));
        self.failed(&capture2pcap::display_path(path).to_string(), &why);
        self.object(|| objects::of_failure(&objects::path(path), &why));
    }

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
    const fn is_talkative(&self) -> bool {
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
        if self.is_talkative() && self.counts.captures > 0 {
            say(&format!(
                "{}: {}",
                target_name(target),
                self.counts.packets()
            ));
            self.command("it");
        }
    }

    /// Reports what a signal left of a capture, unless the capture went to a reader of standard output.
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
            let mut line = format!("interrupted: {} not converted", plural(left, "trace"));
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
        if let Some((_, capture, decode_as)) = self.opens.as_ref().filter(|_| self.is_talkative()) {
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
    fn hint_at_proto_path(&self, capture: &Path, decode_as: &[DecodeAs]) {
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

    /// Shows the capture, and waits until the viewer exits.
    pub(crate) fn show(&mut self, viewer: Viewer, capture: &Path) {
        let decode_as = self.opens.take().map(|(.., decode_as)| decode_as);
        let decode_as = decode_as.unwrap_or_default();
        self.hint_at_proto_path(capture, &decode_as);
        let shown = viewer::show(viewer, capture, &decode_as, self.proto_path.as_deref());
        if let Err(why) = shown {
            self.failed(viewer.program(), &why);
        }
    }

    /// Reports that no temporary folder can be created.
    pub(crate) fn unopened(&mut self, error: &io::Error) {
        let why = format!("cannot create a folder: {}", reason(error));
        let folder = std::env::temp_dir();
        self.failed(&capture2pcap::display_path(&folder).to_string(), &why);
    }

    /// Reports that a live tap failed, with a hint.
    pub(crate) fn failed_live(&mut self, message: &str, hint: Option<String>) {
        self.counts.failures += 1;
        self.say(message);
        if let Some(hint) = hint {
            say_hint(&hint);
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
            plural(counts.captures, "capture"),
            plural(traces, "trace"),
            counts.contents()
        );
        for (count, what) in [
            (counts.warnings, "warning"),
            (counts.damaged, "damaged trace"),
            (counts.failures, "failure"),
        ] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(line, ", {}", plural(count, what));
            }
        }
        say(&format!(
            "{line}, {:.2} s",
            self.started.elapsed().as_secs_f64()
        ));
    }

    /// The exit status.
    pub(crate) const fn code(&self) -> u8 {
        if self.counts.failures > 0 || self.counts.damaged > 0 {
            FAILURE
        } else {
            0
        }
    }
}

fn source_name(source: &Source) -> String {
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

fn plural(n: u64, what: &str) -> String {
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
