//! Conversions of files, standard input and live taps into files and streams.

use std::fs::{File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Conversion, Failure, Options, Summary, first_step};
use crate::capture::{Capture, Output, Target};
use crate::input::admin::Tap;
use crate::input::{Input, Wait};
use crate::interrupt::{self, Interrupt};
use crate::model::event::Event;
use crate::model::warning::{Warning, Warnings};
use crate::pump::{Consumer, Pump};
use crate::redact::Redaction;
use crate::sequence::{Memory, Sequencer};
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
    let input = input.with_progress(options.progress.clone());
    let is_pipe = metadata.is_none();
    let path = match source {
        Source::Stdin | Source::Live(_) => None,
        Source::File(path) => Some(path.clone()),
    };
    let tap = match source {
        Source::Live(tap) => Some(&**tap),
        Source::Stdin | Source::File(_) => None,
    };
    let mut trace =
        Reader::new(input, options.encoding, path).with_quotes(options.redaction.is_none());
    let wait = Wait {
        wake: interrupt.wake(),
        hangup: target.stream(),
        deadline: None,
    };
    let first = match tap {
        // The first event may be hours away, and a reader of the capture waits for its header. So the output is
        // created before the first event.
        Some(_) => Ok(Step::More),
        None => match first_step(&mut trace, &wait, interrupt)? {
            ControlFlow::Continue(first) => first,
            // Before the first event: an existing capture stays as it is.
            ControlFlow::Break(summary) => return Ok(summary),
        },
    };
    let output = match Output::create(target, metadata, interrupt.wake()) {
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
    let labels = super::labels(options, std::iter::once(source.label()));
    let sources = labels.clone().unwrap_or_default();
    let mut synth = super::synthesizer(options, labels);
    let mut summary = Summary::default();
    let written = (|| {
        let remark = options.redaction.as_ref().map(Redaction::to_string);
        let mut capture =
            Capture::with_remark(output, options.capture, &sources, remark.as_deref())?;
        if tap.is_some() {
            capture.flush()?;
        }
        let mut work = Conversion::new(options, &mut synth, &mut summary, &mut capture);
        let mut pump = Pump {
            trace: &mut trace,
            sequencer: Sequencer::new(Memory::Bounded, live),
            interrupt,
            warnings,
        };
        let end = match tap {
            Some(tap) => {
                let work = &mut work;
                pump.run(Some(first), &wait, &mut LiveConversion { work, tap })?
            }
            None => pump.run(Some(first), &wait, &mut work)?,
        };
        // No warning about a live tap without events: no connection was opened while it ran.
        let offset = tap.is_none().then_some(trace.offset());
        work.end(end, offset, warnings)?;
        if trace.offset() == 0 && tap.is_none() && summary.signal.is_none() {
            warnings.add(Warning::empty(is_pipe));
        }
        capture.finish()
    })();
    summary.settle(&mut synth, &trace);
    if let Some(tap) = tap {
        if let (Some(signal), 0) = (summary.signal, summary.events) {
            return Ok(Summary::interrupted(signal));
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
    }
    summary.check_strict(options, warnings)?;
    match written.and_then(Output::commit) {
        Ok(()) => {
            summary.written = true;
            Ok(summary)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => {
            summary.reader_gone = true;
            Ok(summary)
        }
        // After a signal, the output gives up waiting for a reader that does not read.
        Err(error) if error.kind() == io::ErrorKind::TimedOut && live => {
            summary.signal = interrupt.signal();
            summary.written = true;
            Ok(summary)
        }
        Err(error) => Err(Failure::capture(error)),
    }
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
        let (progress, summary) = (&self.tap.progress, &*self.work.summary);
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
