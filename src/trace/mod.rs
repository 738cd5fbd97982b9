//! Bytes into events: which encoding, which generation of the schema, one decoder a file.
//!
//! All encodings come down to the same elements, binary messages that are whole and small,
//! and one decoder makes [`Event`]s of those. It knows nothing of packets. Nothing here waits or reads:
//! a step that needs more input says so, and the caller fills it.
//!
//! Invariant: an event is told once it is there in full. A binary trace tells none from behind the first damage;
//! text and JSON go on with the next message, and an event of its own, [`What::Skipped`], tells what lies between.

mod address;
mod binary;
mod decode;
mod detect;
mod element;
mod error;
mod hold;
mod locate;
mod readable;
mod refuse;
mod schema;
mod shape;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::event::{Event, Skip, SkipKind, What};

use crate::input::{Input, Recoding, Wait};
use crate::slice::Slice;

use address::Numbering;
use binary::walk::Binary;
use decode::Decoder;
use detect::{Detected, Detector, Layout};
use readable::json::Json;
use readable::text::Text;
use readable::transcode::{BytesForm, Transcoder};
use refuse::Beginning;

pub use detect::{Encoding, Generation};
pub use error::{Damage, Excerpt, Fault, Instead};
pub use locate::{EventDecoder, Format, Location};
pub use readable::lexer::Step;

/// Reads the events of a trace.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    wanted: Option<Encoding>,
    path: Option<PathBuf>,
    source: Option<Source>,
    source_number: u32,
    beginning: Beginning,
    detector: Detector,
    /// How many bytes have been looked at for the encoding.
    looked: usize,
    /// Whether errors may show what stands in the trace.
    quotes: bool,
}

/// A place in a trace.
#[derive(Clone, Debug)]
pub struct Mark {
    offset: u64,
    source: Source,
}

#[derive(Clone, Debug)]
struct Source {
    encoding: Encoding,
    generation: Generation,
    parts: Parts,
    decoder: Decoder,
}

impl Mark {
    /// How far the trace had been read, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

#[derive(Clone, Debug)]
enum Parts {
    Binary(Binary),
    Text(Box<Transcoder<Text>>),
    Json(Box<Transcoder<Json>>),
    /// Nothing is left but the damage, if there was any: it comes after the events before it.
    Over(Option<Damage>),
}

impl Reader {
    /// Reads `input`, in the encoding `wanted` or the one that its bytes show.
    ///
    /// The file name in `path` decides where the bytes allow more than one.
    pub fn new(input: Input, wanted: Option<Encoding>, path: Option<PathBuf>) -> Self {
        Self {
            input,
            wanted,
            path,
            source: None,
            source_number: 0,
            beginning: Beginning::default(),
            detector: Detector::default(),
            looked: 0,
            quotes: true,
        }
    }

    /// Has no error show what stands in the trace, unless `quotes`.
    #[must_use]
    pub const fn with_quotes(mut self, quotes: bool) -> Self {
        self.quotes = quotes;
        self
    }

    /// Gives the events' trace ids the number of their input in a merge.
    #[must_use]
    pub const fn of_source(mut self, number: u32) -> Self {
        self.source_number = number;
        self
    }

    /// The place behind the last event that was told, to read on from there with another reader.
    ///
    /// None before the first.
    pub fn mark(&self) -> Option<Mark> {
        let mut source = self.source.clone()?;
        source.decoder.release();
        // A slice would keep all of the buffer that it lies in.
        for (event, _) in &mut source.decoder.ready {
            if let What::Data { payload, .. } = &mut event.what {
                *payload = Slice::copy_of(payload);
            }
        }
        Some(Mark {
            offset: self.input.offset(),
            source,
        })
    }

    /// Reads on from `mark`, in the same input from there on.
    pub fn resume(input: Input, mark: &Mark) -> Self {
        let mut reader = Self::new(input, None, None);
        reader.source = Some(mark.source.clone());
        reader
    }

    /// Goes on as [`advance`](Self::advance) does, and takes the event, to be kept.
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

    /// Takes the [`current`](Self::current) event, to be kept; one that tells nothing is the current one then.
    pub fn take(&mut self) -> Event {
        let source = self.source.as_mut();
        source.map_or_else(Event::default, |source| {
            std::mem::take(&mut source.decoder.current)
        })
    }

    /// The event that the trace has gone on to; none before the first.
    #[inline]
    pub fn current(&self) -> Option<&Event> {
        self.source.as_ref().map(|source| &source.decoder.current)
    }

    /// The [`current`](Self::current) event, to be changed or taken.
    #[inline]
    pub fn current_mut(&mut self) -> Option<&mut Event> {
        self.source
            .as_mut()
            .map(|source| &mut source.decoder.current)
    }

    /// Where the [`current`](Self::current) event can be decoded from again, by an [`EventDecoder`].
    ///
    /// Zero where no packet comes of the event, and before the first.
    #[inline]
    pub fn location(&self) -> Location {
        let source = self.source.as_ref();
        source.map_or_else(Location::default, |source| source.decoder.location)
    }

    /// What the trace's [locations](Self::location) are decoded by, once its first bytes have shown it.
    pub fn format(&self) -> Option<Format> {
        let source = self.source.as_ref()?;
        Some(Format {
            encoding: source.encoding,
            generation: source.generation,
        })
    }

    /// Goes on to the next event, which is the [`current`](Self::current) one then; [`Step::More`] when
    /// it needs [`fill`](Self::fill) first.
    ///
    /// # Errors
    /// The damage after which no event follows.
    #[inline]
    pub fn advance(&mut self) -> Result<Step<()>, Damage> {
        if let Some(source) = &mut self.source
            && let Parts::Binary(binary) = &mut source.parts
            && binary.next_plain(&mut self.input, &mut source.decoder)
        {
            return Ok(Step::Item(()));
        }
        self.advance_any()
    }

    /// Goes on to the next event, of any kind: the same as [`advance`](Self::advance), without its short way.
    fn advance_any(&mut self) -> Result<Step<()>, Damage> {
        let source = match &mut self.source {
            Some(source) => source,
            None => match self.detect()? {
                Step::Item(source) => self.source.insert(source),
                Step::More => return Ok(Step::More),
                Step::End => return Ok(Step::End),
            },
        };
        if source.decoder.advance() {
            return Ok(Step::Item(()));
        }
        let step = source.parts.next(&mut self.input, &mut source.decoder);
        if let Ok(Step::Item(()) | Step::More) = step {
            return step;
        }
        self.stop(step)
    }

    /// Comes to the end, or to damage, once everything is given that comes before it.
    #[cold]
    fn stop(&mut self, step: Result<Step<()>, Damage>) -> Result<Step<()>, Damage> {
        let Some(source) = &mut self.source else {
            return step;
        };
        let (is_given, damage) = match source.decoder.give_up() {
            Ok(is_given) => (is_given, step.as_ref().err().cloned()),
            Err(damage) => (source.decoder.advance(), Some(damage)),
        };
        if is_given {
            source.parts = Parts::Over(damage);
            return Ok(Step::Item(()));
        }
        let step = damage.map_or(Ok(Step::End), Err);
        match step {
            Ok(Step::End) if !source.decoder.recognised => {
                Err(self.beginning.unrecognised(self.quotes))
            }
            Err(damage) if !matches!(*damage.fault, Fault::Cut { .. }) => {
                // Whatever it is, its beginning only looked like a trace.
                let recognised = source.decoder.recognised || self.wanted.is_some();
                Err(if recognised {
                    damage
                } else {
                    self.beginning.unrecognised(self.quotes)
                })
            }
            step => step,
        }
    }

    fn detect(&mut self) -> Result<Step<Source>, Damage> {
        let (window, ended) = (self.input.window(), self.input.ended());
        if window.is_empty() {
            return Ok(if ended { Step::End } else { Step::More });
        }
        let (wanted, path) = (self.wanted, self.path.as_deref());
        let detector = &mut self.detector;
        let mut detect = |bytes, ended| detector.detect(bytes, ended, wanted, path);
        // The first bytes that are enough decide, however many more are at hand: a file is not to be
        // taken for something else than a stream of the same bytes, in whatever pieces they come.
        let mut found = Detected::Short;
        while found == Detected::Short && detect::next_look(self.looked) <= window.len() {
            self.looked = detect::next_look(self.looked);
            found = detect(&window[..self.looked], false);
        }
        if found == Detected::Short && ended {
            found = detect(window, true);
        }
        let layout = match found {
            Detected::As(layout) => *layout,
            Detected::Short if !ended => return Ok(Step::More),
            Detected::Short | Detected::Nothing => {
                return Err(Beginning::of(window, ended).unrecognised(self.quotes));
            }
        };
        self.beginning = Beginning::of(window, ended);
        self.input.skip(layout.mark);
        if layout.recoding != Recoding::default() {
            self.input.recode(layout.recoding.clone());
        }
        Ok(Step::Item(self.source(&layout)))
    }

    fn source(&self, layout: &Layout) -> Source {
        let Layout {
            encoding,
            generation,
            root,
            ..
        } = *layout;
        let mut decoder = Decoder::new(encoding, generation, self.source_number);
        // A message that is entered begins there. This one has been from the start.
        if let Some(form) = root.form() {
            decoder.open_message();
            decoder.member(root.member(), Some(form));
        }
        if layout.recoding.terminal {
            let (to, kind) = (0, SkipKind::CarriageReturns);
            decoder.skipped(0, Skip { to, kind });
        }
        let parts = match encoding {
            Encoding::Binary | Encoding::Delimited => {
                Parts::Binary(Binary::new(root, layout.framing))
            }
            Encoding::Text => {
                let text = Transcoder::new(Text::new(generation), BytesForm::Plain, root);
                Parts::Text(Box::new(text))
            }
            Encoding::Json => {
                let json = Transcoder::new(Json::new(generation), BytesForm::Base64, root);
                Parts::Json(Box::new(json))
            }
        };
        Source {
            encoding,
            generation,
            parts,
            decoder,
        }
    }

    /// Waits for more input, and lets go of the current event.
    ///
    /// # Errors
    /// Those of reading and of [`Wait`].
    pub fn fill(&mut self, wait: &Wait<'_>) -> io::Result<()> {
        if let Some(source) = &mut self.source {
            source.decoder.release();
        }
        self.input.fill(wait)
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        self.input.ready()
    }

    /// Whether anything came that only a trace holds.
    pub fn recognised(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.decoder.recognised)
    }

    /// How far the trace has been read, in bytes.
    pub const fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Whether something has changed the trace's bytes on their way, so that they are not read as they are. The
    /// offsets of events are not those of the input then: see [`plain_copy`].
    pub fn is_recoded(&self) -> bool {
        self.input.recoding().is_some()
    }

    /// How the trace is written, once its first bytes have shown it.
    pub fn encoding(&self) -> Option<Encoding> {
        self.source.as_ref().map(|source| source.encoding)
    }

    /// Which releases of Envoy write such a trace, as far as what has been read shows.
    pub fn releases(&self) -> Option<&'static str> {
        let source = self.source.as_ref()?;
        // Text and JSON have names, which have always been the same.
        let binary = matches!(source.encoding, Encoding::Binary | Encoding::Delimited);
        Some(
            match (
                source.generation,
                source.decoder.numbering.filter(|_| binary),
            ) {
                (Generation::Capture, _) => "1.7 to 1.9",
                (Generation::Tap, Some(Numbering::Old)) => "1.10 to 1.27",
                (Generation::Tap, Some(Numbering::New)) => "1.28 or later",
                (Generation::Tap, None) => "1.10 or later",
            },
        )
    }
}

/// Copies a trace into `copy`, as it was before something changed its bytes on their way, if anything has: UTF-16 as
/// UTF-8, without prefixes of lines, without a terminal's carriage returns. Returns the copy then.
///
/// A merge reads single events by their offsets, which are those of the copy. `open` opens the trace, which is read
/// twice; `begin` begins the copy.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn plain_copy<W: Write>(
    open: impl Fn() -> io::Result<Input>,
    path: &Path,
    wanted: Option<Encoding>,
    begin: impl FnOnce() -> io::Result<W>,
) -> io::Result<Option<W>> {
    let mut reader = Reader::new(open()?, wanted, Some(path.to_owned()));
    while reader.source.is_none() && matches!(reader.advance(), Ok(Step::More)) {
        reader.input.fill(&Wait::default())?;
    }
    if !reader.is_recoded() {
        return Ok(None);
    }
    // The part of it that has been read is read again.
    let recoding = reader.input.recoding().cloned().unwrap_or_default();
    let mut input = open()?;
    input.recode(recoding);
    let mut copy = begin()?;
    loop {
        copy.write_all(input.window())?;
        input.skip(input.window().len());
        if input.ended() {
            break;
        }
        input.fill(&Wait::default())?;
    }
    copy.flush()?;
    Ok(Some(copy))
}

impl Parts {
    #[inline]
    fn next(&mut self, input: &mut Input, decoder: &mut Decoder) -> Result<Step<()>, Damage> {
        match self {
            Self::Binary(binary) => binary.next(input, decoder),
            Self::Text(text) => text.next(input, decoder),
            Self::Json(json) => json.next(input, decoder),
            Self::Over(None) => Ok(Step::End),
            Self::Over(Some(damage)) => Err(damage.clone()),
        }
    }
}
