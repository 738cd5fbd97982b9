//! One conversion: wires the rooms together. It knows nothing of how many there are.

use std::fs::{File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::anyhow;

use crate::capture::{self, Capture, Format, Output, Target};
use crate::input::admin::Tap;
use crate::input::{Input, Wait};
use crate::interrupt::{self, Interrupt};
use crate::model::event::{Direction, Event, Timestamp, What};
use crate::model::protocol::DecodeAs;
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::progress::Progress;
use crate::pump::{Consumer, End, Pump};
use crate::sequence::{Memory, Sequencer};
use crate::synth::{self, ConnectionSummary, Synthesizer};
use crate::trace::{Damage, Encoding, Reader, Step};

/// Where a trace comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A path.
    File(PathBuf),
    /// Envoy's admin interface.
    Live(Arc<Tap>),
}

/// How a trace is converted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The trace's encoding; default: told from its content.
    pub encoding: Option<Encoding>,
    /// How frames are made.
    pub synth: synth::Options,
    /// How the capture is written.
    pub capture: capture::Options,
    /// Whether a damaged trace yields no capture; default: what is readable.
    pub strict: bool,
    /// Whether the [`Summary`] has a summary of each connection; default: no, as they take memory.
    pub summaries: bool,
    /// What is called as the trace is read; default: nothing.
    pub progress: Progress,
}

/// What came of a conversion.
#[derive(Debug, Default)]
pub struct Summary {
    /// The connections that have packets in the capture.
    pub connections: u64,
    /// The reads, writes and ends of connections in the trace.
    pub events: u64,
    /// The packets in the capture.
    pub frames: u64,
    /// The payload that Envoy read, in bytes.
    pub bytes_read: u64,
    /// The payload that Envoy wrote, in bytes.
    pub bytes_written: u64,
    /// What a reader has to be told to find the HTTP in the capture.
    pub decode_as: Vec<DecodeAs>,
    /// How the trace is written; none where it is empty.
    pub encoding: Option<Encoding>,
    /// Which releases of Envoy write such a trace, e.g. `1.28 or later`.
    pub releases: Option<&'static str>,
    /// The summaries of its connections in the order of their first events, where the options ask for them.
    pub summaries: Vec<ConnectionSummary>,
    /// Where the trace stops making sense, if it does.
    pub damage: Option<Damage>,
    /// The error that ended the reading early, if one did.
    pub unread: Option<io::Error>,
    /// The signal that ended the conversion early, if one did.
    pub signal: Option<u8>,
    /// Whether the reader of a stream went away before its end.
    pub reader_gone: bool,
    /// Whether there is a capture: a signal may come before it is begun.
    pub written: bool,
}

impl Summary {
    /// What comes of a conversion that was interrupted before there was anything.
    fn interrupted(signal: u8) -> Self {
        Self {
            signal: Some(signal),
            ..Self::default()
        }
    }

    /// Counts an event of the trace.
    #[inline]
    pub(crate) fn count(&mut self, event: &Event) {
        if let What::Data {
            direction, payload, ..
        } = &event.what
        {
            self.events += 1;
            match direction {
                Direction::Read => self.bytes_read += payload.len() as u64,
                Direction::Write => self.bytes_written += payload.len() as u64,
            }
            return;
        }
        self.events += u64::from(event.is_timed());
        if let Some((direction, payload)) = event.payload() {
            match direction {
                Direction::Read => self.bytes_read += payload.len() as u64,
                Direction::Write => self.bytes_written += payload.len() as u64,
            }
        }
    }
}

/// What a damaged trace comes to where the options are strict.
pub(crate) const STRICT: &str = "damaged, and --strict allows no capture then";

/// Why there is no capture.
#[derive(Debug)]
pub enum Failure {
    /// The trace cannot be read, or is none, or is damaged and the options are strict.
    Trace(anyhow::Error),
    /// The capture cannot be written.
    Capture(anyhow::Error),
}

impl Failure {
    /// What went wrong.
    pub const fn error(&self) -> &anyhow::Error {
        match self {
            Self::Trace(error) | Self::Capture(error) => error,
        }
    }

    pub(crate) fn trace(why: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self::Trace(error.into().context(why))
    }

    pub(crate) fn capture(error: io::Error) -> Self {
        Self::Capture(anyhow::Error::new(error).context("cannot write"))
    }
}

/// Converts one trace into one capture.
///
/// # Errors
/// When there is no capture. Damage behind the first events is told in the [`Summary`] instead.
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
    let mut trace = Reader::new(input, options.encoding, path);
    let wait = Wait {
        wake: interrupt.wake(),
        hangup: target.stream(),
        deadline: None,
    };
    let first = match tap {
        // Events may not come for hours, and until the header does, a reader of the capture waits for it.
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
    let sources = labels(options, std::iter::once(source)).unwrap_or_default();
    let mut synth = Synthesizer::new(synth::Options {
        latest: options.capture.format.last_time(),
        labels: labels(options, std::iter::once(source)),
        ..options.synth.clone()
    });
    if options.summaries {
        synth.keep_summaries();
    }
    let mut summary = Summary::default();
    let written = (|| {
        let mut capture = Capture::new(output, options.capture, &sources)?;
        if tap.is_some() {
            capture.flush()?;
        }
        let mut work = Conversion {
            synth: &mut synth,
            summary: &mut summary,
            capture: &mut capture,
            latest: Timestamp::default(),
        };
        let mut pump = Pump {
            trace: &mut trace,
            sequencer: Sequencer::new(Memory::Bounded, live),
            interrupt,
            warnings,
        };
        let end = match tap {
            Some(tap) => {
                let work = &mut work;
                pump.run(Some(first), &wait, &mut Followed { work, tap })?
            }
            None => pump.run(Some(first), &wait, &mut work)?,
        };
        // A tap during which no connection was opened is no trace that lacks something.
        let offset = tap.is_none().then_some(trace.offset());
        work.end(end, offset, warnings)?;
        if trace.offset() == 0 && tap.is_none() && summary.signal.is_none() {
            warnings.add(Warning::empty(is_pipe));
        }
        capture.finish()
    })();
    summary.connections = synth.connections();
    summary.decode_as = synth.decode_as();
    summary.summaries = synth.take_summaries();
    summary.summaries.sort_by_key(ConnectionSummary::order);
    summary.encoding = trace.encoding();
    summary.releases = trace.releases();
    if let Some(tap) = tap {
        if let (Some(signal), 0) = (summary.signal, summary.events) {
            return Ok(Summary::interrupted(signal));
        }
        if let Some(error) = tap.failure() {
            if summary.events == 0 {
                return Err(Failure::Trace(error.into()));
            }
            // What the end of the tap cut in two is no damage of its own.
            summary.damage = None;
            summary.unread = Some(io::Error::other(error));
        }
        if let Some(damage) = summary.damage.take_if(|_| !trace.recognised()) {
            return Err(Failure::Trace(damage.into()));
        }
    }
    if options.strict {
        if let Some(damage) = summary.damage {
            return Err(Failure::trace(STRICT, damage));
        }
        if let Some(error) = summary.unread {
            return Err(Failure::trace(
                "cannot read on, and --strict allows no capture then",
                error,
            ));
        }
        if let Some(tally) = warnings
            .tallies()
            .find(|tally| tally.first.kind.is_damage())
        {
            return Err(Failure::trace(STRICT, anyhow!("{tally}")));
        }
    }
    match written.and_then(Output::commit) {
        Ok(()) => {
            summary.written = true;
            Ok(summary)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => {
            summary.reader_gone = true;
            Ok(summary)
        }
        // A reader that stands still gets no more after a signal.
        Err(error) if error.kind() == io::ErrorKind::TimedOut && live => {
            summary.signal = interrupt.signal();
            summary.written = true;
            Ok(summary)
        }
        Err(error) => Err(Failure::capture(error)),
    }
}

/// Whether the file at `path` holds a trace, as far as its first bytes show.
pub fn is_trace(path: &Path) -> bool {
    // A FIFO would be waited for.
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

/// The names of the traces, where the capture's format has a place for them: nothing of the machine.
pub(crate) fn labels<'a>(
    options: &Options,
    sources: impl Iterator<Item = &'a Source>,
) -> Option<Vec<String>> {
    let name = |source: &Source| match source {
        Source::Stdin => "standard input".to_owned(),
        Source::Live(tap) => crate::display_path(Path::new(&tap.to_string())).to_string(),
        Source::File(path) => {
            crate::display_path(Path::new(path.file_name().unwrap_or_default())).to_string()
        }
    };
    (options.capture.format == Format::Pcapng).then(|| sources.map(name).collect())
}

/// Opens a trace, and tells what it is where it is a file.
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

/// Opens a file, without waiting where it is a FIFO that nobody writes to yet: a signal would not end
/// that. Reading waits instead, and wakes up.
fn open_file(path: &Path) -> io::Result<File> {
    // Elsewhere than on Linux, a FIFO without a writer reads as one at its end.
    if !cfg!(target_os = "linux") {
        return File::open(path);
    }
    interrupt::open_at_once(File::options().read(true), path)
}

/// Goes on to the first event, or whatever else there is first: before it, nothing says that it is a
/// trace.
fn first_step(
    trace: &mut Reader,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
) -> Result<ControlFlow<Summary, Result<Step<()>, Damage>>, Failure> {
    loop {
        match trace.advance() {
            Ok(Step::More) => match trace.fill(wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if let Some(signal) = interrupt.signal() {
                        return Ok(ControlFlow::Break(Summary::interrupted(signal)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ControlFlow::Break(Summary {
                        reader_gone: true,
                        ..Summary::default()
                    }));
                }
                Err(error) => return Err(Failure::trace("cannot read", error)),
            },
            Err(damage) if !trace.recognised() => return Err(Failure::Trace(damage.into())),
            step => return Ok(ControlFlow::Continue(step)),
        }
    }
}

/// A conversion under way.
struct Conversion<'a> {
    synth: &'a mut Synthesizer,
    summary: &'a mut Summary,
    capture: &'a mut Capture<Output>,
    /// The latest time of an event so far.
    latest: Timestamp,
}

impl Consumer for Conversion<'_> {
    type Error = io::Error;

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> io::Result<()> {
        self.summary.count(event);
        if let Some(time) = event.time {
            self.follow(event, time, warnings);
        }
        let (summary, capture) = (&mut *self.summary, &mut *self.capture);
        self.synth.event(event, warnings, &mut |frame| {
            summary.frames += 1;
            capture.frame(frame)
        })
    }

    fn idle(&mut self) -> io::Result<()> {
        self.capture.flush()
    }
}

/// A conversion whose progress is noted.
struct Followed<'a, 'b> {
    work: &'b mut Conversion<'a>,
    tap: &'b Tap,
}

impl Consumer for Followed<'_, '_> {
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

impl Conversion<'_> {
    /// Warnings an event that is earlier than one before it: the capture has it where the trace has it.
    #[inline]
    fn follow(&mut self, event: &Event, time: Timestamp, warnings: &mut Warnings) {
        if time < self.latest {
            warnings.add(Warning::of_event(WarningKind::OutOfOrder, event));
        } else {
            self.latest = time;
        }
    }

    /// Ends what is open, and reports a trace without events: one that was read up to `offset`.
    fn end(&mut self, end: End, offset: Option<u64>, warnings: &mut Warnings) -> io::Result<()> {
        let (summary, capture) = (&mut *self.summary, &mut *self.capture);
        match end {
            End::Whole => {}
            End::Damaged(damage) => summary.damage = Some(damage),
            End::Unread(error) => summary.unread = Some(error),
            End::Interrupted(signal) => summary.signal = Some(signal),
            End::ReaderGone => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        self.synth.finish(warnings, &mut |frame| {
            summary.frames += 1;
            capture.frame(frame)
        })?;
        let nothing = summary.events == 0 && summary.damage.is_none() && summary.signal.is_none();
        if nothing && offset.is_some_and(|offset| offset > 0) {
            warnings.add(Warning::of_trace(WarningKind::NoEvents));
        }
        Ok(())
    }
}
