//! Runs the command: reads the arguments, calls the library and chooses the exit status.
//!
//! Words no message: [`report`] and [`usage`] do that.
//!
//! Invariant: every failure is reported, and every end of a run has its exit status.

mod inspect;
mod many;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::ExitCode;

use capture2pcap::batch::{self, Plan};
use capture2pcap::capture::{Format, Target};
use capture2pcap::convert::{Options, Source, convert};
use capture2pcap::interrupt::Interrupt;
use capture2pcap::{merge, wireshark};
use clap::Parser as _;

use super::args::{Args, Command, List, Request};
use super::json::Lines;
use super::live::LiveTap;
use super::progress_bar::Workload;
use super::report::{self, Reporter};
use super::usage::{self, Misuse};
use super::viewer::{self, Viewer};
use super::{extcap, generate};

/// Something failed, or a damaged trace was converted in part.
pub(super) const FAILURE: u8 = 1;
/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_BASE: u8 = 128;

/// Runs the command that the arguments ask for.
pub(crate) fn main() -> ExitCode {
    // As an extcap program, this command has a different command line.
    if extcap::is_asked(std::env::args_os().skip(1)) {
        return ExitCode::from(extcap::run(std::env::args_os().skip(1)));
    }
    let code = match Args::try_parse_from(usage::joined(std::env::args_os())) {
        Ok(args) => match args.resolve() {
            Ok(Command::Generate(what)) => generated(generate::generate(what)),
            Ok(Command::InstallWireshark) => viewer::install(wireshark::install()),
            Ok(Command::UninstallWireshark) => viewer::install(wireshark::uninstall()),
            Ok(Command::Convert(request)) => run(*request, false),
            Ok(Command::Info(request)) => run(*request, true),
            Err(misuse) => misuse.report(),
        },
        Err(error) => usage::misparsed(&error),
    };
    ExitCode::from(code)
}

/// The exit status of what was printed to standard output.
fn generated(printed: io::Result<()>) -> u8 {
    match printed {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            report::say(&format!(
                "standard output: cannot write: {}",
                report::reason(&error)
            ));
            FAILURE
        }
    }
}

/// Converts or inspects the inputs of the request.
fn run(request: Request, info: bool) -> u8 {
    let Request {
        mut inputs,
        merge,
        output,
        list,
        mut options,
        jobs,
        verbosity,
        json,
        live,
        open,
        proto_path,
    } = request;
    if let Some(list) = list {
        match listed(&list) {
            Ok(listed) => inputs.extend(listed),
            Err(code) => return code,
        }
    }
    // If a list was split into shards, some of them may be empty. That is not a failure.
    if inputs.is_empty() && live.is_none() {
        report::say("the list of traces is empty");
        return 0;
    }
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            report::say(&format!("cannot catch signals: {}", report::reason(&error)));
            return FAILURE;
        }
    };
    if let Some(Err(code)) = open.map(viewer::find) {
        return code;
    }
    let lines = match json.then(|| Lines::new(&interrupt)).transpose() {
        Ok(lines) => lines,
        Err(error) => return generated(Err(error)),
    };
    options.summaries = json;
    let mut work = Run {
        threads: jobs.unwrap_or(0),
        options,
        interrupt: &interrupt,
        reporter: Reporter::new(verbosity, lines, proto_path),
    };
    let done = match (live, open) {
        (Some(tap), _) => work.live(tap, &output),
        (None, Some(viewer)) => work.open(viewer, &inputs),
        (None, None) if info => work.inspect(&inputs, json),
        (None, None) if merge => work.merge(&inputs, &output),
        (None, None) => work.convert(&inputs, &output),
    };
    match (done, interrupt.signal()) {
        (Err(misuse), _) => misuse.report(),
        (Ok(()), Some(signal)) => SIGNAL_BASE + signal,
        (Ok(()), None) => work.reporter.code(),
    }
}

/// Refuses to write a capture to a terminal.
fn check_terminal(target: &Target) -> Result<(), Misuse> {
    if *target == Target::Stdout && io::stdout().is_terminal() {
        return Err(
            Misuse::new("standard output is a terminal, and a capture is binary")
                .hint("write it to a file, or pipe it: capture2pcap INPUT - | tshark -r -"),
        );
    }
    Ok(())
}

/// One run of the command.
struct Run<'a> {
    /// Number of threads for many traces; 0: one per core.
    threads: usize,
    options: Options,
    interrupt: &'a Interrupt,
    reporter: Reporter,
}

impl Run<'_> {
    /// Converts each trace into a capture of its own.
    fn convert(&mut self, inputs: &[OsString], output: &OsStr) -> Result<(), Misuse> {
        let extension = self.options.capture.format.extension();
        let plan =
            batch::plan(inputs, output, extension).map_err(|error| usage::of_plan(&error))?;
        match plan {
            Plan::One(source, target) => {
                check_terminal(&target)?;
                self.check_name(&target);
                self.one(&source, &target);
            }
            Plan::Many { jobs, unread } => {
                for (path, error) in unread {
                    self.reporter.failed_search(&path, &error);
                }
                if jobs.is_empty() {
                    self.reporter.no_traces(inputs);
                } else {
                    self.many(&jobs);
                }
            }
        }
        Ok(())
    }

    /// Warns about an output that is named like a trace or like a capture of the other format.
    fn check_name(&self, target: &Target) {
        let Target::File(path) = target else { return };
        if batch::is_named_as_trace(path) {
            let path = capture2pcap::display_path(path);
            self.reporter.warn(&format!(
                "{path}: writing a capture to a file that is named like a trace"
            ));
        }
        let format = self.options.capture.format.extension();
        if let Some(named) = Format::of(path).map(Format::extension)
            && named != format
        {
            let path = capture2pcap::display_path(path);
            self.reporter.warn(&format!(
                "{path}: writing {format}, as --format says, although the name ends in .{named}"
            ));
        }
    }

    fn one(&mut self, source: &Source, target: &Target) {
        // The reader of standard output may write to the same terminal; a live tap shows its own counts.
        if is_elsewhere(target) && !matches!(source, Source::Live(_)) {
            self.options.progress = self.reporter.progress(workload(source));
        }
        let mut warnings = self.reporter.warnings(source);
        let result = convert(source, target, &self.options, self.interrupt, &mut warnings);
        self.reporter.finished(0, source, target, &warnings, result);
        self.reporter.end_one(target, self.interrupt.signal());
    }

    /// Converts all traces into one capture.
    fn merge(&mut self, inputs: &[OsString], output: &OsStr) -> Result<(), Misuse> {
        let target = Target::of(output);
        let found = batch::search(inputs, output);
        let (paths, unread) = found.map_err(|error| usage::of_plan(&error))?;
        check_terminal(&target)?;
        self.check_name(&target);
        for (path, error) in unread {
            self.reporter.failed_search(&path, &error);
        }
        if paths.is_empty() {
            self.reporter.no_traces(inputs);
            return Ok(());
        }
        if is_elsewhere(&target) {
            let sizes = paths.iter().filter_map(|path| path.metadata().ok());
            let bytes = sizes.map(|metadata| metadata.len()).sum();
            self.options.progress = self.reporter.progress(Workload::Merge(bytes));
        }
        let Self {
            threads,
            options,
            interrupt,
            reporter,
        } = self;
        match merge::merge(&paths, &target, options, *threads, interrupt, |source| {
            reporter.warnings(source)
        }) {
            Ok(merged) => {
                reporter.merged(&target, merged, interrupt.signal().is_some());
                reporter.end_merge(&target, paths.len() as u64, interrupt.signal());
            }
            Err(failure) => reporter.failed_all(&target, &failure),
        }
        Ok(())
    }

    /// Converts what Envoy streams until either side ends the stream.
    fn live(&mut self, tap: LiveTap, output: &OsStr) -> Result<(), Misuse> {
        let target = Target::of(output);
        check_terminal(&target)?;
        self.check_name(&target);
        let tap = match tap.attach(self.interrupt) {
            Ok(Some(tap)) => tap,
            // A signal arrived first.
            Ok(None) => return Ok(()),
            Err((message, hint)) => {
                self.reporter.failed_live(&message, hint);
                return Ok(());
            }
        };
        if is_elsewhere(&target) {
            self.reporter.follow(&tap);
        }
        self.one(&Source::Live(tap), &target);
        Ok(())
    }

    /// Converts all traces into a temporary capture and shows it until the viewer exits.
    fn open(&mut self, viewer: Viewer, inputs: &[OsString]) -> Result<(), Misuse> {
        let folder = match viewer::temporary() {
            Ok(folder) => folder,
            Err(error) => {
                self.reporter.failed_temporary(&error);
                return Ok(());
            }
        };
        let path = folder.path().join(viewer::capture_name(inputs));
        self.reporter.hide_name();
        let is_one = matches!(inputs, [input] if !Path::new(input).is_dir());
        match is_one {
            true => self.convert(inputs, path.as_os_str())?,
            false => self.merge(inputs, path.as_os_str())?,
        }
        if self.interrupt.signal().is_none() && path.exists() {
            self.reporter.show(viewer, &path);
        }
        Ok(())
    }
}

/// Whether a capture is written to something other than a pipe or terminal on standard output, whose reader may write
/// to the terminal.
fn is_elsewhere(target: &Target) -> bool {
    match target {
        Target::Stdout => target.metadata().is_ok_and(|metadata| metadata.is_file()),
        Target::File(_) => true,
    }
}

/// Returns the kind and the size of the work on a trace, for the progress bar.
fn workload(source: &Source) -> Workload {
    let metadata = match source {
        Source::Stdin => capture2pcap::input::Input::stdin().map(|(_, metadata)| metadata),
        Source::File(path) => path.metadata(),
        Source::Live(_) => return Workload::Pipe,
    };
    match metadata {
        Ok(metadata) if metadata.is_file() => Workload::File(metadata.len()),
        _ => Workload::Pipe,
    }
}

/// Returns the names of inputs in a list, or reports why it cannot be read.
fn listed(list: &List) -> Result<Vec<OsString>, u8> {
    read_list(list).map_err(|error| {
        let path = capture2pcap::display_path(&list.path);
        report::say(&format!("{path}: cannot read: {}", report::reason(&error)));
        FAILURE
    })
}

/// Reads the names of inputs from a list.
fn read_list(list: &List) -> io::Result<Vec<OsString>> {
    let mut bytes = Vec::new();
    if list.path == Path::new("-") {
        io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = fs::read(&list.path)?;
    }
    let names = bytes
        .split(|&byte| byte == list.separator)
        .filter(|name| !name.is_empty());
    Ok(names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}
