//! The command: parse, call the library, choose the exit status.

mod cli;
mod generate;
mod report;
mod show;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use capture2pcap::batch::{self, Job, Plan, PlanError};
use capture2pcap::capture::{Format, Target, is_same};
use capture2pcap::convert::{Options, Source, convert, is_trace};
use capture2pcap::info::inspect;
use capture2pcap::input::Input;
use capture2pcap::interrupt::Interrupt;
use capture2pcap::merge;
use clap::Parser as _;

use cli::{Args, Command, List, Request};
use report::Reporter;

/// Something failed, or a damaged trace was converted in part.
const FAILURE: u8 = 1;
/// The command line asks for what makes no sense.
const USAGE: u8 = 2;
/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_BASE: u8 = 128;

fn main() -> ExitCode {
    let code = match Args::try_parse().and_then(Args::resolve) {
        Ok(Command::Generate(what)) => match generate::generate(what) {
            Ok(()) => 0,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(error) => {
                report::say(&format!(
                    "standard output: cannot write: {}",
                    report::reason(&error)
                ));
                FAILURE
            }
        },
        Ok(Command::Convert(request)) => run(*request, None),
        Ok(Command::Info { request, json }) => run(*request, Some(json)),
        Err(error) => misparsed(error),
    };
    ExitCode::from(code)
}

/// Says what clap has to say, and gives the exit status.
///
/// A name that begins with a hyphen is taken for an option and told back as it is, and a shell's `*` may
/// have put it there. So what a terminal would obey is escaped, and what comes of that is told.
fn misparsed(error: clap::Error) -> u8 {
    let error = if error.use_stderr() {
        let shown = |arg: OsString| capture2pcap::shown(Path::new(&arg)).to_string();
        let parsed = Args::try_parse_from(std::env::args_os().map(shown));
        parsed.and_then(Args::resolve).err().unwrap_or(error)
    } else {
        error
    };
    // Where even this cannot be written, the exit status has to do.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(USAGE)
}

/// Converts what the request names, or looks into it: `info` tells whether in JSON.
fn run(request: Request, info: Option<bool>) -> u8 {
    let Request {
        mut inputs,
        merge,
        output,
        list,
        options,
        jobs,
        verbosity,
    } = request;
    if let Some(list) = list {
        match read_list(&list) {
            Ok(listed) => inputs.extend(listed),
            Err(error) => {
                let path = capture2pcap::shown(&list.path);
                report::say(&format!("{path}: cannot read: {}", report::reason(&error)));
                return FAILURE;
            }
        }
    }
    // One of many shards of a list may get nothing to do, and that is no failure.
    if inputs.is_empty() {
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
    let mut reporter = Reporter::new(verbosity);
    let work = Work {
        threads: jobs.unwrap_or(0),
        options: &options,
        interrupt: &interrupt,
    };
    let done = match (info, merge) {
        (Some(json), _) => work.inspect(&inputs, json, &mut reporter),
        (None, true) => work.merge(&inputs, &output, &mut reporter),
        (None, false) => work.convert(&inputs, &output, &mut reporter),
    };
    match (done, interrupt.signal()) {
        (Err(code), _) => code,
        (Ok(()), Some(signal)) => SIGNAL_BASE + signal,
        (Ok(()), None) => reporter.code(),
    }
}

/// Says why the command line makes no sense, and gives the exit status.
fn misused(error: PlanError) -> u8 {
    match error {
        PlanError::Stream(why) => report::say(why),
        PlanError::NoFolder(path) => {
            let path = capture2pcap::shown(&path);
            report::say(&format!(
                "{path}: several captures need a folder, and this is a file"
            ));
            report::say_hint("--merge makes one capture of several traces");
        }
        PlanError::Collision(one, other) => {
            let (one, other) = (capture2pcap::shown(&one), capture2pcap::shown(&other));
            report::say(&format!("{one} and {other} would become the same capture"));
        }
    }
    USAGE
}

/// Refuses a place that no capture of ours belongs to, but for that of one of `traces`: whoever converts it
/// finds that.
fn refuse(target: &Target, mut traces: impl Iterator<Item = Source>) -> Result<(), u8> {
    match target {
        Target::Stdout if io::stdout().is_terminal() => {
            report::say("standard output is a terminal, and a capture is no text");
            report::say_hint("give it a file, or a reader: capture2pcap … - | tshark -r -");
            Err(USAGE)
        }
        // Where OUTPUT was forgotten, the last trace stands in its place.
        Target::File(path)
            if path.is_file()
                && (batch::is_named_as_trace(path) || is_trace(path))
                && !traces.any(|trace| is_at(&trace, path)) =>
        {
            let path = capture2pcap::shown(path);
            report::say(&format!(
                "{path}: a trace is there, and no capture takes its place"
            ));
            report::say_hint(
                "the last name is the capture's; a folder holds those of several traces",
            );
            Err(USAGE)
        }
        _ => Ok(()),
    }
}

/// Whether a trace is the file at `path`.
fn is_at(trace: &Source, path: &Path) -> bool {
    // Asked without opening it, as it may be a FIFO.
    let trace = match trace {
        Source::Stdin => Input::stdin().map(|(_, metadata)| metadata),
        Source::File(trace) => trace.metadata(),
    };
    trace.is_ok_and(|trace| path.metadata().is_ok_and(|file| is_same(&trace, &file)))
}

/// How and with what the work is done.
#[derive(Clone, Copy)]
struct Work<'a> {
    /// How many threads there are for many traces; 0: one a core.
    threads: usize,
    options: &'a Options,
    interrupt: &'a Interrupt,
}

impl Work<'_> {
    /// Prints what each trace holds.
    fn inspect(&self, inputs: &[OsString], json: bool, reporter: &mut Reporter) -> Result<(), u8> {
        let Self {
            options, interrupt, ..
        } = *self;
        let (sources, unread) = batch::sources(inputs, options.capture.format.extension());
        for (path, error) in unread {
            reporter.unread(&path, &error);
        }
        if sources.is_empty() {
            reporter.none_found(inputs);
        }
        for (source, capture) in sources {
            let (mut notices, capture) = (reporter.notices(&source), capture.as_deref());
            let result = inspect(
                &source,
                options.encoding,
                &options.synth,
                interrupt,
                &mut notices,
            );
            let printed = match &result {
                Ok(info) if json => show::json(&source, capture, info, &notices),
                Ok(info) => show::table(&source, capture, info, &notices),
                Err(_) => Ok(()),
            };
            reporter.inspected(&source, result);
            match printed {
                Ok(()) if interrupt.signal().is_none() => {}
                Ok(()) => break,
                // Whoever read the list has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => {
                    report::say(&format!(
                        "standard output: cannot write: {}",
                        report::reason(&error)
                    ));
                    return Err(FAILURE);
                }
            }
        }
        Ok(())
    }

    /// Converts each trace into a capture of its own.
    fn convert(
        &self,
        inputs: &[OsString],
        output: &OsStr,
        reporter: &mut Reporter,
    ) -> Result<(), u8> {
        let Self {
            options, interrupt, ..
        } = *self;
        match batch::plan(inputs, output, options.capture.format.extension()).map_err(misused)? {
            Plan::One(source, target) => {
                refuse(&target, std::iter::once(source.clone()))?;
                let mut notices = reporter.notices(&source);
                let result = convert(&source, &target, options, interrupt, &mut notices);
                reporter.finished(&source, &target, &notices, result);
                reporter.told(&target);
            }
            Plan::Many { jobs, unread } => {
                for (path, error) in unread {
                    reporter.unread(&path, &error);
                }
                if jobs.is_empty() {
                    reporter.none_found(inputs);
                } else {
                    let path = Path::new(output);
                    let slash = output.as_encoded_bytes().ends_with(b"/");
                    let surprises = !slash && Format::of(path).is_some() && !path.exists();
                    self.many(&jobs, reporter);
                    if surprises {
                        reporter.hint(
                            "OUTPUT is a folder now; --merge makes one capture of several traces",
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// Converts all traces into one capture.
    fn merge(
        &self,
        inputs: &[OsString],
        output: &OsStr,
        reporter: &mut Reporter,
    ) -> Result<(), u8> {
        let Self {
            threads,
            options,
            interrupt,
        } = *self;
        let target = Target::of(output);
        let (paths, unread) = batch::search(inputs).map_err(misused)?;
        refuse(&target, paths.iter().cloned().map(Source::File))?;
        for (path, error) in unread {
            reporter.unread(&path, &error);
        }
        if paths.is_empty() {
            reporter.none_found(inputs);
            return Ok(());
        }
        match merge::merge(&paths, &target, options, threads, interrupt, |source| {
            reporter.notices(source)
        }) {
            Ok(merged) => reporter.merged(&target, merged),
            Err(failure) => reporter.failed_all(&target, &failure),
        }
        Ok(())
    }

    fn many(&self, jobs: &[Job], reporter: &mut Reporter) {
        let Self {
            threads,
            options,
            interrupt,
        } = *self;
        let mut folders: Vec<_> = jobs.iter().filter_map(|job| job.capture.parent()).collect();
        folders.dedup();
        for folder in folders {
            if let Err(error) = fs::create_dir_all(folder) {
                return reporter.unmade(folder, &error);
            }
        }
        reporter.expect(jobs.len() as u64);
        let shared = Mutex::new(&mut *reporter);
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let done = batch::run(jobs, threads, |job| {
            if interrupt.signal().is_some() {
                return;
            }
            let source = Source::File(job.trace.clone());
            let target = Target::File(job.capture.clone());
            let mut notices = lock().notices(&source);
            let result = convert(&source, &target, options, interrupt, &mut notices);
            lock().finished(&source, &target, &notices, result);
        });
        reporter.summary(jobs.len() as u64);
        if let Err(error) = done {
            reporter.unstarted(&error);
        }
    }
}

/// The inputs that a list names.
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
