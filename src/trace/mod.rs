//! Bytes into events: detection of the encoding and the schema generation, and decoding.
//!
//! Every encoding is reduced to the same elements, complete and small binary messages, from which one decoder makes
//! [`Event`]s. Knows nothing of packets. Nothing here waits or reads: a step that needs more input returns
//! [`Step::More`], and the caller fills the input.
//!
//! Invariant: an event is delivered when all of it has arrived. In a binary trace, no event after the first damage
//! is delivered; text and JSON continue with the next message, and an event
//! [`What::Skipped`](crate::model::event::What::Skipped) reports the bytes between.

mod address;
mod binary;
mod decode;
mod detect;
mod element;
mod error;
mod hold;
mod locate;
mod open_trace;
pub(crate) mod plain_copy;
mod readable;
mod refuse;
mod schema;
mod shape;

use std::io;
use std::path::PathBuf;

use crate::input::{Compression, Ending, Input, Recoding, Wait};
use crate::model::event::{Event, Skip, SkipKind};

use address::Numbering;
use binary::walk::Pass;
use detect::{Detected, Detector};
use open_trace::{OpenTrace, Parts};
use refuse::FirstBytes;

pub(crate) use binary::walk::Lent;
pub use detect::{Encoding, Generation};
pub use error::{Damage, Excerpt, Fault, Instead};
pub use locate::{EventDecoder, Location, TraceFormat};
pub use readable::lexer::Step;

/// Reads the events of a trace.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    wanted: Option<Encoding>,
    path: Option<PathBuf>,
    trace: Option<OpenTrace>,
    source_number: u32,
    first_bytes: FirstBytes,
    detector: Detector,
    /// The number of bytes examined for the encoding.
    looked: usize,
    /// Whether errors may quote the trace.
    quotes: bool,
    /// Whether the bytes after a compressed trace are reported.
    reported: bool,
}

impl Reader {
    /// Reads `input` in the encoding `wanted`, or in the detected one.
    ///
    /// The file name in `path` decides if the bytes allow more than one encoding.
    pub fn new(input: Input, wanted: Option<Encoding>, path: Option<PathBuf>) -> Self {
        let path = path.map(|path| Compression::unpacked_name(&path).into_owned());
        Self {
            input,
            wanted,
            path,
            trace: None,
            source_number: 0,
            first_bytes: FirstBytes::default(),
            detector: Detector::default(),
            looked: 0,
            quotes: true,
            reported: false,
        }
    }

    /// Sets whether errors may quote the trace.
    #[must_use]
    pub const fn with_quotes(mut self, quotes: bool) -> Self {
        self.quotes = quotes;
        self
    }

    /// Sets the number of the input in a merge, which becomes part of the trace ids.
    #[must_use]
    pub const fn of_source(mut self, number: u32) -> Self {
        self.source_number = number;
        self
    }

    /// Advances as [`advance`](Self::advance) does, and takes the event.
    ///
    /// # Errors
    /// The damage after which no event follows.
    pub fn event(&mut self) -> Result<Step<Event>, Damage> {
        Ok(match self.advance()? {
            Step::Item(()) => Step::Item(self.take()),
            Step::More => Step::More,
            Step::End => Step::End,
        })
    }

    /// Takes the [`current`](Self::current) event, and leaves an empty event in its place.
    pub fn take(&mut self) -> Event {
        let trace = self.trace.as_mut();
        trace.map_or_else(Event::default, |trace| {
            std::mem::take(&mut trace.decoder.current)
        })
    }

    /// The current event; `None` before the first.
    #[inline]
    pub fn current(&self) -> Option<&Event> {
        self.trace.as_ref().map(|trace| &trace.decoder.current)
    }

    /// The [`current`](Self::current) event, to be changed or taken.
    #[inline]
    pub fn current_mut(&mut self) -> Option<&mut Event> {
        self.trace.as_mut().map(|trace| &mut trace.decoder.current)
    }

    /// The location from which an [`EventDecoder`] can decode the [`current`](Self::current) event again.
    ///
    /// Zero if the event makes no packet, and before the first event.
    #[inline]
    pub fn location(&self) -> Location {
        let trace = self.trace.as_ref();
        trace.map_or_else(Location::default, |trace| trace.decoder.location)
    }

    /// The format that the trace's [locations](Self::location) require, once it is detected.
    pub fn format(&self) -> Option<TraceFormat> {
        let trace = self.trace.as_ref()?;
        Some(TraceFormat {
            encoding: trace.encoding,
            generation: trace.generation,
        })
    }

    /// Advances to the next event, which becomes the [`current`](Self::current) one; [`Step::More`] if it needs
    /// [`fill`](Self::fill) first.
    ///
    /// # Errors
    /// The damage after which no event follows.
    #[inline]
    pub fn advance(&mut self) -> Result<Step<()>, Damage> {
        if let Some(OpenTrace {
            parts: Parts::Binary(binary),
            decoder,
            ..
        }) = &mut self.trace
            && let Some(lent) = binary.plain(&self.input, decoder)
        {
            let pass = lent.pass();
            decoder.plain_event(&lent);
            pass.over(&mut self.input, decoder);
            return Ok(Step::Item(()));
        }
        self.advance_any()
    }

    /// Borrows the next event, if it is a plain one in a binary trace and all of it is in the window.
    ///
    /// It stays the next event until it is [passed over](Self::pass).
    #[inline(always)]
    pub(crate) fn plain(&self) -> Option<Lent<'_>> {
        match &self.trace {
            Some(OpenTrace {
                parts: Parts::Binary(binary),
                decoder,
                ..
            }) => binary.plain(&self.input, decoder),
            _ => None,
        }
    }

    /// Passes over the event that was borrowed last. It does not become the [`current`](Self::current) one.
    #[inline(always)]
    pub(crate) fn pass(&mut self, pass: Pass) {
        if let Some(trace) = &mut self.trace {
            pass.over(&mut self.input, &mut trace.decoder);
        }
    }

    /// Advances to the next event of any kind: [`advance`](Self::advance) without its fast path.
    fn advance_any(&mut self) -> Result<Step<()>, Damage> {
        let trace = match &mut self.trace {
            Some(trace) => trace,
            None => match self.detect()? {
                Step::Item(trace) => self.trace.insert(trace),
                Step::More => return Ok(Step::More),
                Step::End => return Ok(Step::End),
            },
        };
        if trace.decoder.advance() {
            return Ok(Step::Item(()));
        }
        let step = trace.parts.next(&mut self.input, &mut trace.decoder);
        if let Ok(Step::Item(()) | Step::More) = step {
            return step;
        }
        self.stop(step)
    }

    /// Handles the end or damage, after the events before it.
    #[cold]
    fn stop(&mut self, step: Result<Step<()>, Damage>) -> Result<Step<()>, Damage> {
        let Some(trace) = &mut self.trace else {
            return step;
        };
        let (is_given, damage) = match trace.decoder.give_up() {
            Ok(is_given) => (is_given, step.as_ref().err().cloned()),
            Err(damage) => (trace.decoder.advance(), Some(damage)),
        };
        let is_given = is_given || {
            let is_trailing = self.input.ending() == Some(&Ending::Trailing);
            if is_trailing && !std::mem::replace(&mut self.reported, true) {
                let to = self.input.offset();
                let kind = SkipKind::AfterCompressed;
                trace.decoder.skipped(to, Skip { to, kind });
            }
            trace.decoder.advance()
        };
        if is_given {
            trace.parts = Parts::Over(damage);
            return Ok(Step::Item(()));
        }
        let recognised = trace.decoder.recognised;
        let is_cut = |damage: &Damage| matches!(*damage.fault, Fault::Cut { .. });
        match damage {
            // The trace ends early because it could not be unpacked any further: that is the damage to report.
            damage if damage.as_ref().is_none_or(is_cut) && self.packed().is_some() => {
                self.packed().map_or(Ok(Step::End), Err)
            }
            None if !recognised => Err(self.first_bytes.unrecognised(self.quotes)),
            None => Ok(Step::End),
            Some(damage) if is_cut(&damage) || recognised || self.wanted.is_some() => Err(damage),
            // The input is not a trace; only its beginning looked like one.
            Some(_) => Err(self.first_bytes.unrecognised(self.quotes)),
        }
    }

    /// The damage that ended the unpacking, once everything before it has been read; `None` without such damage.
    fn packed(&self) -> Option<Damage> {
        match self.input.ending().filter(|_| self.input.ended())? {
            Ending::Fault(by, why) => {
                let offset = self.input.offset() + self.input.window().len() as u64;
                let (by, why) = (*by, why.clone());
                Some(Damage::new(offset, Fault::Packed { by, why }))
            }
            Ending::Whole | Ending::Trailing => None,
        }
    }

    fn detect(&mut self) -> Result<Step<OpenTrace>, Damage> {
        let (window, ended) = (self.input.window(), self.input.ended());
        if window.is_empty() {
            return match self.packed() {
                Some(damage) => Err(damage),
                None => Ok(if ended { Step::End } else { Step::More }),
            };
        }
        let (wanted, path) = (self.wanted, self.path.as_deref());
        let detector = &mut self.detector;
        let mut detect = |bytes, ended| detector.detect(bytes, ended, wanted, path);
        // The shortest sufficient prefix decides, however many bytes are available. So a file and a stream of the
        // same bytes are detected alike, in whatever pieces they arrive.
        let mut found = Detected::Short;
        while found == Detected::Short && detect::next_attempt(self.looked) <= window.len() {
            self.looked = detect::next_attempt(self.looked);
            found = detect(&window[..self.looked], false);
        }
        if found == Detected::Short && ended {
            found = detect(window, true);
        }
        let layout = match found {
            Detected::As(layout) => *layout,
            Detected::Short if !ended => return Ok(Step::More),
            Detected::Short | Detected::Nothing => {
                let damage = self.packed();
                return Err(damage
                    .unwrap_or_else(|| FirstBytes::of(window, ended).unrecognised(self.quotes)));
            }
        };
        self.first_bytes = FirstBytes::of(window, ended);
        self.input.skip(layout.mark);
        if layout.recoding != Recoding::default() {
            self.input.recode(layout.recoding.clone());
        }
        let trace = OpenTrace::new(&layout, &mut self.input, self.source_number);
        Ok(Step::Item(trace))
    }

    /// Waits for more input. The current event may be gone afterwards.
    ///
    /// # Errors
    /// When reading fails, or [`Wait`] ends the wait.
    pub fn fill(&mut self, wait: &Wait<'_>) -> io::Result<()> {
        if let Some(trace) = &mut self.trace {
            trace.decoder.release();
        }
        self.input.fill(wait)
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        self.input.ready()
    }

    /// Whether the trace was mapped and has been truncated since. Everything made from it is then invalid.
    pub(crate) fn is_torn(&self) -> bool {
        self.input.is_torn()
    }

    /// Whether anything was found that only a trace contains.
    pub fn recognised(&self) -> bool {
        let trace = self.trace.as_ref();
        trace.is_some_and(|trace| trace.decoder.recognised)
    }

    /// The number of bytes read.
    pub const fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Whether the trace's bytes were changed in transit and are converted back. The offsets of events then
    /// differ from those of the input: see [`plain_copy`](mod@plain_copy).
    pub fn is_recoded(&self) -> bool {
        self.input.recoding().is_some() || self.input.is_compressed()
    }

    /// The encoding of the trace, once it is detected.
    pub fn encoding(&self) -> Option<Encoding> {
        self.trace.as_ref().map(|trace| trace.encoding)
    }

    /// The releases of Envoy that write such a trace, as far as it has been read.
    pub fn releases(&self) -> Option<&'static str> {
        let trace = self.trace.as_ref()?;
        // The names in text and JSON are the same in all releases.
        let binary = matches!(trace.encoding, Encoding::Binary | Encoding::Delimited);
        Some(
            match (trace.generation, trace.decoder.numbering.filter(|_| binary)) {
                (Generation::Capture, _) => "1.7 to 1.9",
                (Generation::Tap, Some(Numbering::Old)) => "1.10 to 1.27",
                (Generation::Tap, Some(Numbering::New)) => "1.28 or later",
                (Generation::Tap, None) => "1.10 or later",
            },
        )
    }
}
