//! Messages on standard error, and the exit status.
//!
//! Owns the wording of all messages except those on usage. The objects of `--json` pass through here as well,
//! since both report on the same traces.

mod counts;
mod ending;
mod failures;
mod messages;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use capture2pcap::capture::Target;
use capture2pcap::convert::{Failure, Source, Summary};
pub(crate) use capture2pcap::describe::reason;
use capture2pcap::describe::{self, WarningGroups, objects};
use capture2pcap::info::Info;
use capture2pcap::input::admin::Tap;
use capture2pcap::merge::{Merged, Outcome};
use capture2pcap::model::protocol::DecodeAs;
use capture2pcap::model::warning::{Warning, WarningKind, Warnings};
use capture2pcap::progress::Progress;
use serde_json::Value;

use crate::cli::args::Verbosity;
use crate::cli::json::{self, Lines};
use crate::cli::progress_bar::{Bar, Workload};
use crate::cli::run::FAILURE;
use crate::cli::viewer::{self, Viewer};

use counts::Counts;
use messages::source_name;
pub(crate) use messages::{counted, say, say_hint, target_name};

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
    /// Whether the reader of the objects, or of a merge's capture, has closed the pipe.
    reader_gone: bool,
    /// The folder with the user's .proto files.
    proto_path: Option<PathBuf>,
    /// Whether the capture is temporary. Its name is then left out of messages.
    is_temporary: bool,
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
    pub(crate) fn progress(&mut self, work: Workload) -> Progress {
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
            self.failed_stdout(&error);
        }
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
                // Each of them was printed when it occurred.
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

    /// The exit status.
    pub(crate) const fn code(&self) -> u8 {
        if self.counts.failures > 0 || self.counts.damaged > 0 {
            FAILURE
        } else {
            0
        }
    }
}
