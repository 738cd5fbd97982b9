//! Bytes into events: which encoding, which generation of the schema, one decoder a file.
//!
//! All encodings come down to the same elements, binary messages that are whole and small,
//! and one decoder makes [`Event`]s of those. It knows nothing of packets. Nothing here waits or reads:
//! a step that needs more input says so, and the caller fills it.
//!
//! Invariant: an event is told once it is there in full, and never one from behind the first damage.

mod address;
mod ahead;
mod binary;
mod decode;
mod detect;
mod element;
mod error;
mod hold;
mod json;
mod locate;
mod named;
mod scan;
mod schema;
mod socket;
mod text;
mod token;
mod wire;

use std::io;
use std::path::PathBuf;

use crate::event::{Event, What};

use crate::input::{Input, Wait};
use crate::slice::Slice;

use address::Numbering;
use binary::Binary;
use decode::Decoder;
use detect::Detected;
use json::Json;
use named::{BytesForm, Named};
use text::Text;

pub use detect::{Encoding, Generation};
pub use error::{Damage, Fault};
pub use locate::{EventDecoder, Format, Location};
pub use token::Step;

/// How much of an input that is no trace is shown, in bytes.
const SHOWN: usize = 80;

/// What people take for a trace, by its first bytes.
const MAGIC: [(&[u8], &str); 7] = [
    (b"\xd4\xc3\xb2\xa1", "a capture already (pcap)"),
    (b"\xa1\xb2\xc3\xd4", "a capture already (pcap)"),
    (b"\x4d\x3c\xb2\xa1", "a capture already (pcap)"),
    (b"\xa1\xb2\x3c\x4d", "a capture already (pcap)"),
    (b"\x0a\x0d\x0d\x0a", "a capture already (pcapng)"),
    (
        b"\x1f\x8b",
        "compressed, and has to be unpacked first (gzip)",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed, and has to be unpacked first (zstd)",
    ),
];

/// Reads the events of a trace.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    wanted: Option<Encoding>,
    path: Option<PathBuf>,
    source: Option<Source>,
    source_number: u32,
    beginning: Beginning,
    /// How many bytes have been looked at for the encoding.
    looked: usize,
}

/// A place in a trace.
#[derive(Clone, Debug)]
pub struct Mark {
    offset: u64,
    source: Source,
}

/// The first bytes of an input.
#[derive(Debug, Default)]
struct Beginning(Vec<u8>);

impl Beginning {
    fn of(window: &[u8]) -> Self {
        Self(window[..window.len().min(SHOWN)].to_vec())
    }

    /// The damage that this is no trace.
    fn unrecognised(&self) -> Damage {
        let line = self
            .0
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        let text = std::str::from_utf8(line)
            .ok()
            .filter(|line| !line.trim().is_empty() && !line.chars().any(crate::is_obeyed));
        let known = MAGIC.iter().find(|(magic, _)| self.0.starts_with(magic));
        let fault = Fault::Unrecognised {
            begins: text.map(str::to_owned),
            is: known.map(|(_, what)| *what),
        };
        Damage::new(0, fault)
    }
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
    Text(Box<Named<Text>>),
    Json(Box<Named<Json>>),
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
            looked: 0,
        }
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
    /// The first damage. No event follows it.
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
    /// The first damage. No event follows it.
    #[inline]
    pub fn advance(&mut self) -> Result<Step<()>, Damage> {
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
            Ok(Step::End) if !source.decoder.recognised => Err(self.beginning.unrecognised()),
            Err(damage) if !matches!(*damage.fault, Fault::Cut { .. }) => {
                // Whatever it is, its beginning only looked like a trace.
                let recognised = source.decoder.recognised || self.wanted.is_some();
                Err(if recognised {
                    damage
                } else {
                    self.beginning.unrecognised()
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
        let detect = |bytes, ended| detect::detect(bytes, ended, self.wanted, self.path.as_deref());
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
        let (encoding, generation) = match found {
            Detected::As(encoding, generation) => (encoding, generation),
            Detected::Short if !ended => return Ok(Step::More),
            Detected::Short | Detected::Nothing => {
                return Err(Beginning::of(window).unrecognised());
            }
        };
        self.beginning = Beginning::of(window);
        let level = generation.level();
        let parts = match encoding {
            Encoding::Binary => Parts::Binary(Binary::undelimited(level)),
            Encoding::Delimited => Parts::Binary(Binary::delimited()),
            Encoding::Text => {
                let text = Named::new(Text::default(), BytesForm::Plain, level);
                Parts::Text(Box::new(text))
            }
            Encoding::Json => {
                let json = Named::new(Json::default(), BytesForm::Base64, level);
                Parts::Json(Box::new(json))
            }
        };
        Ok(Step::Item(Source {
            encoding,
            generation,
            parts,
            decoder: Decoder::new(encoding, generation, self.source_number),
        }))
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
