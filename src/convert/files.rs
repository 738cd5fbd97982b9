//! Conversions of files, standard input and live taps into files and streams.

use std::fs::{File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Conversion, Failure, Job, Kind, Options, Summary, first_step};
use crate::capture::{Output, Target};
use crate::input::admin::Tap;
use crate::input::{Input, Wait};
use crate::interrupt::{self, Interrupt};
use crate::model::event::Event;
use crate::model::warning::Warnings;
use crate::pump::Consumer;
use crate::trace::{Reader, Step};

/// The origin of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A path.
    File(PathBuf),
    /// Envoy's admin interface.
    Live(Arc<Tap>),
}

impl Source {
    /// The path. A trace without one cannot be read again from its beginning, even if standard input is a file: the
    /// first reads have moved its position.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin | Self::Live(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The name of the trace in a capture. It contains no path of this machine.
    fn label(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::Live(tap) => crate::display_path(Path::new(&tap.to_string())).to_string(),
            Self::File(path) => super::label(path),
        }
    }
}

/// Converts one trace into one capture.
///
/// # Errors
/// When there is no capture. Damage after the first events is reported in the [`Summary`] instead.
pub fn convert(
    source: &Source,
    target: &Target,
    options: &Options,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> Result<Summary, Failure> {
    let (input, metadata) = open(source)?;
    let path = source.path().map(Path::to_owned);
    let input = input.with_progress(options.progress.clone());
    let mut trace =
        Reader::new(input, options.encoding, path).with_quotes(options.redaction.is_none());
    let work = Work {
        source,
        target,
        options,
        interrupt,
        metadata,
    };
    work.run(&mut trace, warnings)
}

/// A conversion that is about to start.
struct Work<'a> {
    source: &'a Source,
    target: &'a Target,
    options: &'a Options,
    interrupt: &'a Interrupt,
    /// The metadata of a trace that is a regular file.
    metadata: Option<Metadata>,
}

impl Work<'_> {
    fn run(self, trace: &mut Reader, warnings: &mut Warnings) -> Result<Summary, Failure> {
        let (options, interrupt) = (self.options, self.interrupt);
        let tap = match self.source {
            Source::Live(tap) => Some(&**tap),
            Source::Stdin | Source::File(_) => None,
        };
        let wait = Wait {
            wake: interrupt.wake(),
            hangup: self.target.stream(),
            deadline: None,
        };
        let first = match tap {
            // The first event may be hours away, and a reader of the capture waits for its header. So the output is
            // created before the first event.
            Some(_) => Ok(Step::More),
            None => match first_step(trace, &wait, interrupt)? {
                ControlFlow::Continue(first) => first,
                ControlFlow::Break(summary) => return Ok(summary),
            },
        };
        let kind = match (tap, &self.metadata) {
            (Some(_), _) => Kind::Tap,
            (None, Some(_)) => Kind::File,
            (None, None) => Kind::Pipe,
        };
        let output = match Output::create(self.target, self.metadata, interrupt.wake()) {
            Ok(output) => output,
            Err(error) => match interrupt.signal() {
                Some(signal) if error.kind() == io::ErrorKind::Interrupted => {
                    return Ok(Summary::interrupted(signal));
                }
                _ => return Err(Failure::capture(error)),
            },
        };
        let live = output.is_stream();
        let reader = output.stream().map_err(Failure::capture)?;
        let wait = Wait {
            hangup: reader.as_ref().map(AsFd::as_fd),
            ..wait
        };
        let job = Job {
            options,
            kind,
            label: self.source.label(),
            live,
            interrupt,
        };
        let (mut summary, written) = job.run(trace, output, warnings, |mut pump, work| match tap {
            Some(tap) => {
                work.idle()?;
                pump.run(Some(first), &wait, &mut LiveConversion { work, tap })
            }
            None => pump.run(Some(first), &wait, work),
        });
        if let Some(tap) = tap
            && let Some(interrupted) = end_tap(tap, &mut summary, trace)?
        {
            return Ok(interrupted);
        }
        summary.check_strict(options, warnings)?;
        if live && matches!(&written, Err(error) if error.kind() == io::ErrorKind::TimedOut) {
            summary.signal = interrupt.signal();
        }
        commit(summary, written, live)
    }
}

/// Gives the capture its name.
fn commit(
    mut summary: Summary,
    written: io::Result<Output>,
    live: bool,
) -> Result<Summary, Failure> {
    match written.and_then(Output::commit) {
        Ok(()) => summary.written = true,
        Err(error) => match error.kind() {
            io::ErrorKind::BrokenPipe if live => summary.reader_gone = true,
            // After a signal, the output does not wait any longer for a reader that does not read.
            io::ErrorKind::TimedOut if live => summary.written = true,
            _ => return Err(Failure::capture(error)),
        },
    }
    Ok(summary)
}

/// Adds how a live tap ended. Returns the summary instead if a signal arrived before the first event.
fn end_tap(tap: &Tap, summary: &mut Summary, trace: &Reader) -> Result<Option<Summary>, Failure> {
    if let (Some(signal), 0) = (summary.signal, summary.events) {
        return Ok(Some(Summary::interrupted(signal)));
    }
    if let Some(error) = tap.failure() {
        if summary.events == 0 {
            return Err(Failure::Trace(error.into()));
        }
        // An event cut in two by the end of the tap is not reported as damage as well.
        summary.damage = None;
        summary.unread = Some(io::Error::other(error));
    }
    if let Some(damage) = summary.damage.take_if(|_| !trace.recognised()) {
        return Err(Failure::Trace(damage.into()));
    }
    Ok(None)
}

/// Whether the file at `path` holds a trace, judged by its first bytes.
pub fn is_trace(path: &Path) -> bool {
    // Opening a FIFO would wait for a writer.
    if !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(input) = File::open(path).and_then(Input::from_file) else {
        return false;
    };
    let mut reader = Reader::new(input, None, Some(path.to_owned()));
    for _ in 0..2 {
        if !matches!(reader.advance(), Ok(Step::More)) || reader.fill(&Wait::default()).is_err() {
            break;
        }
    }
    reader.recognised()
}

/// Opens a trace. Also returns the metadata of a regular file.
pub(crate) fn open(source: &Source) -> Result<(Input, Option<Metadata>), Failure> {
    let (input, metadata) = match source {
        Source::Live(tap) => {
            let input = tap.input();
            return Ok((
                input.map_err(|error| Failure::trace("cannot read", error))?,
                None,
            ));
        }
        Source::Stdin => Input::stdin().map_err(|error| Failure::trace("cannot read", error))?,
        Source::File(path) => {
            let open = || {
                let file = open_file(path)?;
                let metadata = file.metadata()?;
                Ok((Input::from_file(file)?, metadata))
            };
            open().map_err(|error: io::Error| Failure::trace("cannot open", error))?
        }
    };
    Ok((input, Some(metadata).filter(Metadata::is_file)))
}

/// Opens a file without waiting for the writer of a FIFO, since a signal would not end that wait. The first read
/// waits instead, and a signal ends it.
fn open_file(path: &Path) -> io::Result<File> {
    // On systems other than Linux, a FIFO without a writer would read as empty.
    if !cfg!(target_os = "linux") {
        return File::open(path);
    }
    interrupt::open_at_once(File::options().read(true), path)
}

/// A conversion that updates the progress of its live tap.
struct LiveConversion<'a, 'b> {
    work: &'b mut Conversion<'a, Output>,
    tap: &'b Tap,
}

impl Consumer for LiveConversion<'_, '_> {
    type Error = io::Error;

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> io::Result<()> {
        self.work.event(event, warnings)?;
        let (progress, summary) = (&self.tap.progress, &*self.work.out.summary);
        let connections = self.work.synth.connections();
        let bytes = summary.bytes_read + summary.bytes_written;
        progress.connections.store(connections, Ordering::Relaxed);
        progress.events.store(summary.events, Ordering::Relaxed);
        progress.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn idle(&mut self) -> io::Result<()> {
        self.work.idle()
    }
}
