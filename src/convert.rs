//! One conversion, from the input to the capture. Knows nothing of other conversions.

#[cfg(feature = "cli")]
mod files;
mod outcome;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use crate::capture::{self, Capture, Format};
use crate::input::{Input, Wait};
use crate::interrupt::Interrupt;
use crate::model::event::{Event, PlainEvent, Timestamp};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::progress::Progress;
use crate::pump::{Consumer, End, Pump};
use crate::redact::{Redaction, Redactor};
use crate::sequence::{Memory, Sequencer};
use crate::synth::{self, Frame, Sink, Synthesizer};
use crate::trace::{Damage, Encoding, Lent, Reader, Step};

#[cfg(feature = "cli")]
pub(crate) use files::open;
#[cfg(feature = "cli")]
pub use files::{Source, convert, is_trace};
use outcome::Kind;
pub(crate) use outcome::STRICT;
pub use outcome::{Failure, Summary};

/// How a trace is converted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The trace's encoding; default: detected from its content.
    pub encoding: Option<Encoding>,
    /// What to redact in the capture; default: nothing.
    pub redaction: Option<Redaction>,
    /// How frames are made.
    pub synth: synth::SynthOptions,
    /// How the capture is written.
    pub capture: capture::CaptureOptions,
    /// Whether a damaged trace makes no capture; default: everything up to the damage.
    pub strict: bool,
    /// Whether the [`Summary`] has a summary of each connection; default: no, because they use memory.
    pub summaries: bool,
    /// A callback for the progress of reading; default: none.
    pub progress: Progress,
}

/// Converts the trace in `input` into one capture, which is written to `writer`.
///
/// `path` is the name of the trace. It decides if the bytes allow more than one encoding, and a pcapng capture contains
/// its last component.
///
/// # Errors
/// When there is no capture. Damage after the first events is reported in the [`Summary`] instead.
pub fn convert_input<W: Write + Send + 'static>(
    input: Input,
    path: &Path,
    writer: W,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<(Summary, W), Failure> {
    let input = input.with_progress(options.progress.clone());
    let mut trace = Reader::new(input, options.encoding, Some(path.to_owned()))
        .with_quotes(options.redaction.is_none());
    let (wait, interrupt) = (Wait::default(), Interrupt::default());
    let first = match first_step(&mut trace, &wait, &interrupt)? {
        ControlFlow::Continue(first) => first,
        // `interrupt` gets no signals, and `wait` watches no output, so only a reader that fails this way leads here.
        ControlFlow::Break(summary) => return Ok((summary, writer)),
    };
    let job = Job {
        options,
        kind: Kind::File,
        label: label(path),
        live: false,
        interrupt: &interrupt,
    };
    let (mut summary, written) = job.run(&mut trace, writer, warnings, |mut pump, work| {
        pump.run(Some(first), &wait, work)
    });
    summary.check_strict(options, warnings)?;
    let writer = written.map_err(Failure::capture)?;
    summary.written = true;
    Ok((summary, writer))
}

/// A conversion that is about to start.
struct Job<'a> {
    options: &'a Options,
    kind: Kind,
    /// The name of the trace in the capture.
    label: String,
    /// Whether the capture may be read while it is written.
    live: bool,
    interrupt: &'a Interrupt,
}

impl Job<'_> {
    /// Converts a trace. `carry` runs the pump, which passes the events to the conversion. Returns the writer if the
    /// whole capture was written.
    fn run<W: Write + Send + 'static>(
        self,
        trace: &mut Reader,
        writer: W,
        warnings: &mut Warnings,
        carry: impl FnOnce(Pump<'_>, &mut Conversion<'_, W>) -> io::Result<End>,
    ) -> (Summary, io::Result<W>) {
        let options = self.options;
        let labels = labels(options, std::iter::once(self.label));
        let sources = labels.clone().unwrap_or_default();
        let mut synth = synthesizer(options, labels);
        let mut summary = Summary::default();
        let written = (|| {
            let remark = options.redaction.as_ref().map(Redaction::to_string);
            let mut capture =
                Capture::with_remark(writer, options.capture, &sources, remark.as_deref())?;
            let mut work = Conversion::new(options, &mut synth, &mut summary, &mut capture);
            let pump = Pump {
                trace: &mut *trace,
                sequencer: Sequencer::new(Memory::Bounded, self.live),
                interrupt: self.interrupt,
                warnings: &mut *warnings,
            };
            let end = carry(pump, &mut work)?;
            work.end(end, warnings)?;
            summary.check_empty(self.kind, trace.offset(), warnings);
            capture.finish()
        })();
        summary.complete(&mut synth, trace);
        (summary, written)
    }
}

/// The synthesizer of a conversion.
fn synthesizer(options: &Options, labels: Option<Vec<String>>) -> Synthesizer {
    let mut synth = Synthesizer::new(synth::SynthOptions {
        latest: options.capture.format.last_time(),
        labels,
        ..options.synth.clone()
    });
    if options.summaries {
        synth.keep_summaries();
    }
    synth
}

/// The names of the traces, if the capture's format can hold them.
pub(crate) fn labels(
    options: &Options,
    names: impl Iterator<Item = String>,
) -> Option<Vec<String>> {
    (options.capture.format == Format::Pcapng).then(|| names.collect())
}

/// The file name of the trace at `path`, without its folders.
pub(crate) fn label(path: &Path) -> String {
    crate::display_path(Path::new(path.file_name().unwrap_or_default())).to_string()
}

/// Advances to the first event, the end or damage. Before that, it is not certain that the input is a trace.
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

/// A sink that writes frames to the capture, and counts them in the summary.
struct Counted<'a, W: Write + Send + 'static> {
    summary: &'a mut Summary,
    capture: &'a mut Capture<W>,
}

impl<W: Write + Send + 'static> Sink for Counted<'_, W> {
    type Error = io::Error;

    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.summary.frames += 1;
        self.capture.frame(frame)
    }
}

/// The same sink for redacted events. Because it is a separate type, the compiler makes a second copy of the code for these
/// events, and inlines the first one.
struct Redacted<'a, S>(&'a mut S);

impl<S: Sink> Sink for Redacted<'_, S> {
    type Error = S::Error;

    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), S::Error> {
        self.0.frame(frame)
    }
}

/// A conversion in progress.
struct Conversion<'a, W: Write + Send + 'static> {
    redactor: Option<Redactor>,
    synth: &'a mut Synthesizer,
    out: Counted<'a, W>,
    /// The latest time of an event so far.
    latest: Timestamp,
    /// Whether a plain event only has to become packets.
    takes_plain: bool,
}

impl<W: Write + Send + 'static> Consumer for Conversion<'_, W> {
    type Error = io::Error;

    fn takes_plain(&self) -> bool {
        self.takes_plain
    }

    #[inline(always)]
    fn plain(
        &mut self,
        event: &PlainEvent<'_>,
        lent: &Lent<'_>,
        warnings: &mut Warnings,
    ) -> Option<io::Result<()>> {
        if event.time < self.latest {
            return None;
        }
        let done = match &self.redactor {
            None => self.synth.plain(event, &mut self.out)?,
            Some(_) => self.redacted(*event, lent.offset, warnings)?,
        };
        self.latest = event.time;
        self.out.summary.count_bytes(event.direction, event.payload);
        Some(done)
    }

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> io::Result<()> {
        self.out.summary.count(event);
        if let Some(time) = event.time {
            self.follow(event, time, warnings);
        }
        let event = match &mut self.redactor {
            Some(redactor) => redactor.event(event, warnings),
            None => event,
        };
        let out = &mut self.out;
        // A closure is a separate type, for the same reason as `Redacted`.
        self.synth
            .event(event, warnings, &mut |frame| out.frame(frame))
    }

    fn idle(&mut self) -> io::Result<()> {
        self.out.capture.flush()
    }
}

impl<'a, W: Write + Send + 'static> Conversion<'a, W> {
    fn new(
        options: &Options,
        synth: &'a mut Synthesizer,
        summary: &'a mut Summary,
        capture: &'a mut Capture<W>,
    ) -> Self {
        let redactor = options.redaction.clone().map(Redactor::new);
        Self {
            // A pcapng has labels, which need more.
            takes_plain: options.capture.format == Format::Pcap,
            redactor,
            synth,
            out: Counted { summary, capture },
            latest: Timestamp::default(),
        }
    }

    /// Redacts a plain event, and makes its frames. Returns `None`, and does nothing, if the fast path is not possible.
    #[inline(never)]
    fn redacted(
        &mut self,
        event: PlainEvent<'_>,
        offset: u64,
        warnings: &mut Warnings,
    ) -> Option<io::Result<()>> {
        let redactor = self.redactor.as_mut()?;
        // Redaction changes only the payload, which does not affect whether the fast path is possible.
        let fast_path = self.synth.fast_path(&event)?;
        let (payload, parsed) = redactor.plain(event, offset, warnings);
        let out = &mut Redacted(&mut self.out);
        Some(fast_path.take(&PlainEvent { payload, ..event }, parsed, out))
    }

    /// Warns about an event that is earlier than one before it: the capture keeps the order of the trace.
    #[inline]
    fn follow(&mut self, event: &Event, time: Timestamp, warnings: &mut Warnings) {
        if time < self.latest {
            warnings.add(Warning::of_event(WarningKind::OutOfOrder, event));
        } else {
            self.latest = time;
        }
    }

    /// Ends all connections.
    fn end(&mut self, end: End, warnings: &mut Warnings) -> io::Result<()> {
        let out = &mut self.out;
        let summary = &mut *out.summary;
        match end {
            End::Whole => {}
            End::Damaged(damage) => summary.damage = Some(damage),
            End::Unread(error) => summary.unread = Some(error),
            End::Interrupted(signal) => summary.signal = Some(signal),
            End::ReaderGone => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        self.synth.finish(warnings, &mut |frame| out.frame(frame))
    }
}

#[cfg(test)]
mod tests;
