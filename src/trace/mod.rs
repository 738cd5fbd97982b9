//! Bytes into events: which encoding, which generation of the schema, one decoder a file.
//!
//! All encodings come down to the same elements, binary messages that are whole and small,
//! and one decoder makes [`Event`]s of those. It knows nothing of packets. Nothing here waits or reads:
//! a step that needs more input says so, and the caller fills it.
//!
//! Invariant: an event is told once it is there in full, and never one from behind the first damage.

mod binary;
mod decode;
mod detect;
mod element;
mod error;
mod json;
mod named;
mod scan;
mod schema;
mod text;
mod token;
mod wire;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::event::{Event, What};
use bytes::Bytes;

use crate::input::Input;
use crate::notice::{Kind, Notice, Notices};

use binary::Binary;
use decode::{Decoder, Numbering};
use detect::Detected;
use element::Element;
use json::Json;
use named::{BytesForm, Named};
use text::Text;

pub use detect::{Encoding, Generation};
pub use error::{Damage, Fault};
pub use token::Step;

/// How much of an input that is no trace is shown, in bytes.
const SHOWN: usize = 80;

/// Reads the events of a trace.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    wanted: Option<Encoding>,
    path: Option<PathBuf>,
    source: Option<Source>,
    source_number: u32,
    /// Whether anything came that only a trace holds.
    recognised: bool,
    beginning: Beginning,
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
            .filter(|line| !line.trim().is_empty() && !line.chars().any(char::is_control));
        let fault = Fault::Unrecognised {
            begins: text.map(str::to_owned),
        };
        Damage { offset: 0, fault }
    }
}

#[derive(Clone, Debug)]
struct Source {
    encoding: Encoding,
    generation: Generation,
    elements: Elements,
    decoder: Decoder,
}

#[derive(Clone, Debug)]
enum Elements {
    Binary(Binary),
    Text(Named<Text>),
    Json(Named<Json>),
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
            recognised: false,
            beginning: Beginning::default(),
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
        // A slice of a mapped file would keep all of it mapped.
        for event in &mut source.decoder.ready {
            if let What::Data { payload, .. } = &mut event.what {
                *payload = Bytes::copy_from_slice(payload);
            }
        }
        Some(Mark {
            offset: self.input.offset(),
            source,
        })
    }

    /// Reads on from `mark`, in the same input from its beginning.
    pub fn resume(mut input: Input, mark: &Mark) -> Self {
        // A file that has shrunk since is cut, and found to be.
        let behind = usize::try_from(mark.offset).unwrap_or(usize::MAX);
        input.skip(behind.min(input.window().len()));
        let mut reader = Self::new(input, None, None);
        reader.source = Some(mark.source.clone());
        reader.recognised = true;
        reader
    }

    /// The next event; [`Step::More`] when it needs [`fill`](Self::fill) first.
    ///
    /// # Errors
    /// The first damage. No event follows it.
    pub fn next(&mut self, notices: &mut Notices) -> Result<Step<Event>, Damage> {
        loop {
            let source = match &mut self.source {
                Some(source) => source,
                None => match self.detect()? {
                    Step::Item(source) => self.source.insert(source),
                    Step::More => return Ok(Step::More),
                    Step::End => return Ok(Step::End),
                },
            };
            if let Some(event) = source.decoder.ready.pop_front() {
                return Ok(Step::Item(event));
            }
            let step = source.elements.next(&mut self.input);
            self.recognised |= source.elements.note_failures(notices);
            let step = step.map_err(|damage| match damage.fault {
                Fault::Cut { .. } => damage,
                // Whatever it is, its beginning only looked like a trace.
                _ if !self.recognised && self.wanted.is_none() => self.beginning.unrecognised(),
                _ => damage,
            })?;
            match step {
                Step::Item(element) => {
                    self.recognised = true;
                    source.decoder.element(element)?;
                }
                Step::More => return Ok(Step::More),
                Step::End if self.recognised => return Ok(Step::End),
                Step::End => {
                    return Err(self.beginning.unrecognised());
                }
            }
        }
    }

    fn detect(&mut self) -> Result<Step<Source>, Damage> {
        let (window, ended) = (self.input.window(), self.input.ended());
        if window.is_empty() {
            return Ok(if ended { Step::End } else { Step::More });
        }
        let (encoding, generation) =
            match detect::detect(window, ended, self.wanted, self.path.as_deref()) {
                Detected::As(encoding, generation) => (encoding, generation),
                Detected::Short if !ended => return Ok(Step::More),
                Detected::Short | Detected::Nothing => {
                    return Err(Beginning::of(window).unrecognised());
                }
            };
        self.beginning = Beginning::of(window);
        let level = generation.level();
        let elements = match encoding {
            Encoding::Binary => Elements::Binary(Binary::undelimited(level)),
            Encoding::Delimited => Elements::Binary(Binary::delimited()),
            Encoding::Text => Elements::Text(Named::new(Text::default(), BytesForm::Plain, level)),
            Encoding::Json => Elements::Json(Named::new(Json::default(), BytesForm::Base64, level)),
        };
        Ok(Step::Item(Source {
            encoding,
            generation,
            elements,
            decoder: Decoder::new(generation, self.source_number),
        }))
    }

    /// Waits for more input.
    ///
    /// # Errors
    /// Those of reading; `Interrupted` when a signal came or `wake` became readable.
    pub fn fill(&mut self, wake: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.input.fill(wake)
    }

    /// Whether [`fill`](Self::fill) would return without waiting.
    pub fn ready(&self) -> bool {
        self.input.ready()
    }

    /// Whether anything came that only a trace holds.
    pub const fn recognised(&self) -> bool {
        self.recognised
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

impl Elements {
    fn next(&mut self, input: &mut Input) -> Result<Step<Element>, Damage> {
        match self {
            Self::Binary(binary) => binary.next(input),
            Self::Text(text) => text.next(input),
            Self::Json(json) => json.next(input),
        }
    }

    /// Tells of the messages that Envoy failed to write, and whether there were any.
    fn note_failures(&mut self, notices: &mut Notices) -> bool {
        let mut any = false;
        if let Self::Json(json) = self {
            any = !json.lexer.conversion_failures.is_empty();
            for offset in json.lexer.conversion_failures.drain(..) {
                let (kind, detail) = (Kind::ConversionFailed, String::new());
                notices.add(Notice {
                    kind,
                    offset,
                    trace: None,
                    bytes: 0,
                    detail,
                });
            }
        }
        any
    }
}
