//! What is said on standard error, and how it went: the exit status remembers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Instant;

use capture2pcap::batch::TRACE_EXTENSIONS;
use capture2pcap::capture::Target;
use capture2pcap::convert::{Failure, Source, Summary};
use capture2pcap::info::{Info, tshark_command};
use capture2pcap::merge::{Merged, Outcome};
use capture2pcap::notice::{Notice, Notices};
use capture2pcap::protocol::DecodeAs;
use capture2pcap::trace::{Damage, Fault};
use indicatif::{ProgressBar, ProgressStyle};

use crate::FAILURE;
use crate::cli::Verbosity;

/// Tells of conversions as they end, and counts them.
#[derive(Debug)]
pub(crate) struct Reporter {
    verbosity: Verbosity,
    terminal: bool,
    progress: ProgressBar,
    started: Instant,
    /// The hints that have been given: each helps once.
    hints: BTreeSet<&'static str>,
    counts: Counts,
    /// What a reader has to be told to find the HTTP/2 in the last capture.
    decode_as: Vec<DecodeAs>,
}

#[derive(Debug, Default)]
struct Counts {
    captures: u64,
    failures: u64,
    damaged: u64,
    warnings: u64,
    connections: u64,
    events: u64,
    frames: u64,
    bytes_read: u64,
    bytes_written: u64,
}

impl Reporter {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            terminal: io::stderr().is_terminal(),
            progress: ProgressBar::hidden(),
            started: Instant::now(),
            hints: BTreeSet::new(),
            counts: Counts::default(),
            decode_as: Vec::new(),
        }
    }

    /// Shows how many of so many traces are done, where somebody may be looking.
    pub(crate) fn expect(&mut self, traces: u64) {
        if !self.terminal || self.verbosity == Verbosity::Quiet {
            return;
        }
        let template = "{wide_bar} {human_pos}/{human_len} traces, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.progress = ProgressBar::new(traces).with_style(style);
        }
    }

    /// What collects the notices of a conversion.
    pub(crate) fn notices(&self, source: &Source) -> Notices {
        if self.verbosity != Verbosity::Verbose {
            return Notices::default();
        }
        let (name, progress) = (source_name(source), self.progress.clone());
        Notices::with_listener(move |notice: &Notice| {
            progress.suspend(|| say(&format!("{name}: {notice}")));
        })
    }

    /// Tells how a conversion went.
    pub(crate) fn finished(
        &mut self,
        source: &Source,
        target: &Target,
        notices: &Notices,
        result: Result<Summary, Failure>,
    ) {
        match result {
            Ok(summary) => self.converted(source, notices, summary),
            Err(Failure::Trace(error)) => self.failed(&source_name(source), &error),
            Err(Failure::Capture(error)) => self.failed(&target_name(target), &error),
        }
        self.progress.inc(1);
    }

    /// Prints a message, above the progress bar where there is one.
    fn say(&self, message: &str) {
        // To draw the bar again takes longer than to convert a small trace.
        self.progress.suspend(|| say(message));
    }

    /// Prints what a person can do, once.
    pub(crate) fn hint(&mut self, hint: &'static str) {
        if self.verbosity != Verbosity::Quiet && self.hints.insert(hint) {
            self.progress.suspend(|| say_hint(hint));
        }
    }

    fn failed(&mut self, name: &str, error: &anyhow::Error) {
        self.counts.failures += 1;
        self.say(&format!("{name}: {}", reason(error)));
        let damage = error.downcast_ref::<Damage>().map(|damage| &*damage.fault);
        if let Some(Fault::Unrecognised { is: Some(is), .. }) = damage
            && let Some(hint) = is.hint
        {
            self.hint(hint);
        }
    }

    fn converted(&mut self, source: &Source, notices: &Notices, summary: Summary) {
        // Whoever read the capture has seen enough.
        if summary.reader_gone {
            return;
        }
        let name = source_name(source);
        for tally in notices.tallies() {
            self.counts.warnings += 1;
            // Verbose, each of them has been told where it was found.
            if self.verbosity == Verbosity::Normal {
                self.say(&format!("{name}: {tally}"));
            }
        }
        for hint in notices
            .tallies()
            .filter_map(|tally| tally.first.kind.hint())
        {
            self.hint(hint);
        }
        let saved = match summary.events {
            1 => "the event before it is in the capture".to_owned(),
            n => format!("{n} events before it are in the capture"),
        };
        if let Some(damage) = &summary.damage {
            self.say(&format!("{name}: {damage}; {saved}"));
        }
        if let Some(error) = &summary.unread {
            self.say(&format!(
                "{name}: cannot read on: {}; {saved}",
                reason(error)
            ));
        }
        let impossible = notices.tallies().any(|tally| tally.first.kind.is_damage());
        let damaged = summary.damage.is_some() || summary.unread.is_some() || impossible;
        let counts = &mut self.counts;
        counts.captures += 1;
        counts.damaged += u64::from(damaged);
        counts.connections += summary.connections;
        counts.events += summary.events;
        counts.frames += summary.frames;
        counts.bytes_read += summary.bytes_read;
        counts.bytes_written += summary.bytes_written;
        self.decode_as = summary.decode_as;
    }

    /// Tells how a merge went, trace by trace and in all.
    pub(crate) fn merged(&mut self, target: &Target, merged: Merged) {
        if merged.reader_gone {
            return;
        }
        let traces = merged.traces.len() as u64;
        for Outcome {
            path,
            notices,
            result,
        } in merged.traces
        {
            self.finished(&Source::File(path), target, &notices, result);
        }
        self.counts.connections = merged.connections;
        self.counts.frames = merged.frames;
        self.decode_as = merged.decode_as;
        self.counts.captures = u64::from(merged.written);
        if traces != 1 {
            self.summary(traces);
        }
        self.told(target);
    }

    /// Tells that nothing came of all traces together.
    pub(crate) fn failed_all(&mut self, target: &Target, failure: &Failure) {
        match failure {
            Failure::Trace(error) => self.failed("merge", error),
            Failure::Capture(error) => self.failed(&target_name(target), error),
        }
    }

    /// Tells that threads could not be started.
    pub(crate) fn unstarted(&mut self, error: &anyhow::Error) {
        self.failed("threads", error);
    }

    /// Tells how the reading of a trace for its contents went.
    pub(crate) fn inspected(&mut self, source: &Source, result: Result<Info, Failure>) {
        match result {
            Ok(info) => {
                let damaged = info.damage.is_some() || info.unread.is_some() || info.is_impossible;
                self.counts.damaged += u64::from(damaged);
            }
            Err(Failure::Trace(error) | Failure::Capture(error)) => {
                self.failed(&source_name(source), &error);
            }
        }
    }

    /// Tells that there is nothing to convert.
    pub(crate) fn none_found(&mut self, inputs: &[OsString]) {
        self.counts.failures += 1;
        let shown = |input: &OsString| capture2pcap::shown(Path::new(input)).to_string();
        let names: Vec<_> = inputs.iter().map(shown).collect();
        let name = names.join(", ");
        let extensions = TRACE_EXTENSIONS
            .map(|extension| format!(".{extension}"))
            .join(", ");
        self.say(&format!(
            "{name}: no traces: no file there ends in {extensions}"
        ));
    }

    /// Tells of a folder that could not be searched.
    pub(crate) fn unread(&mut self, path: &Path, error: &io::Error) {
        self.counts.failures += 1;
        self.say(&format!(
            "{}: cannot read: {}",
            capture2pcap::shown(path),
            reason(error)
        ));
    }

    /// Tells of a folder that could not be made.
    pub(crate) fn unmade(&mut self, path: &Path, error: &io::Error) {
        self.counts.failures += 1;
        self.say(&format!(
            "{}: cannot make the folder: {}",
            capture2pcap::shown(path),
            reason(error)
        ));
    }

    /// Ends a lone conversion: one line of counts, and the command that opens the capture.
    pub(crate) fn told(&self, target: &Target) {
        let wanted = match self.verbosity {
            Verbosity::Quiet => false,
            Verbosity::Normal => self.terminal,
            Verbosity::Verbose => true,
        };
        if !wanted || self.counts.captures == 0 {
            return;
        }
        let name = target_name(target);
        let frames = plural(self.counts.frames, "packet");
        self.say(&format!("{name}: {frames} of {}", self.contents()));
        if let Target::File(path) = target {
            self.say(&format!(
                "open it with: {}",
                tshark_command(path, &self.decode_as)
            ));
        }
    }

    /// Ends many conversions: one line of counts.
    pub(crate) fn summary(&mut self, traces: u64) {
        self.progress.finish_and_clear();
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let counts = &self.counts;
        let mut line = format!(
            "{} of {}, {}",
            plural(counts.captures, "capture"),
            plural(traces, "trace"),
            self.contents()
        );
        for (count, what) in [
            (counts.warnings, "warning"),
            (counts.damaged, "damaged trace"),
            (counts.failures, "failure"),
        ] {
            // Writing to a string cannot fail.
            let _ = write!(line, ", {}", plural(count, what));
        }
        self.say(&format!(
            "{line}, {:.2} s",
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn contents(&self) -> String {
        let counts = &self.counts;
        format!(
            "{}, {} ({} bytes read, {} written)",
            plural(counts.connections, "connection"),
            plural(counts.events, "event"),
            counts.bytes_read,
            counts.bytes_written
        )
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
        Source::File(path) => capture2pcap::shown(path).to_string(),
    }
}

fn target_name(target: &Target) -> String {
    match target {
        Target::Stdout => "standard output".to_owned(),
        Target::File(path) => capture2pcap::shown(path).to_string(),
    }
}

fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What went wrong and why, without the numbers that only programmers know.
pub(crate) fn reason(error: &dyn Display) -> String {
    let text = format!("{error:#}");
    let system = text.rfind(" (os error ").filter(|_| text.ends_with(')'));
    text[..system.unwrap_or(text.len())].to_owned()
}

/// Prints a message.
pub(crate) fn say(message: &str) {
    // Where even the message cannot be written, the exit status has to do.
    let _ = writeln!(io::stderr(), "capture2pcap: {message}");
}

/// Prints what a person can do.
pub(crate) fn say_hint(hint: &str) {
    let _ = writeln!(io::stderr(), "hint: {hint}");
}
