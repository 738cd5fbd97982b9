//! A trace whose layout is known: what splits it into parts, and what makes events of them.
//!
//! Invariant: once it is over, it stays over.

use crate::input::Input;
use crate::model::event::{Skip, SkipKind};

use super::binary::walk::Binary;
use super::decode::Decoder;
use super::detect::{Encoding, Generation, Layout};
use super::error::Damage;
use super::readable::json::Json;
use super::readable::lexer::Step;
use super::readable::text::Text;
use super::readable::transcode::{BytesForm, Transcoder};

/// A trace whose layout is known.
#[derive(Clone, Debug)]
pub(super) struct OpenTrace {
    pub(super) encoding: Encoding,
    pub(super) generation: Generation,
    pub(super) parts: Parts,
    pub(super) decoder: Decoder,
}

/// What splits a trace into parts.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    Binary(Binary),
    Text(Box<Transcoder<Text>>),
    Json(Box<Transcoder<Json>>),
    /// The trace has ended. Damage, if there was any, is returned after the events before it.
    Over(Option<Damage>),
}

impl OpenTrace {
    /// Opens the trace in `input`, which has this layout; `source` is the number of the input in a merge.
    pub(super) fn new(layout: &Layout, input: &mut Input, source: u32) -> Self {
        let Layout {
            encoding,
            generation,
            root,
            ..
        } = *layout;
        let mut decoder = Decoder::new(encoding, generation, source);
        // A message begins when it is entered; this one is the outermost.
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
                input.begin_mapping();
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
        Self {
            encoding,
            generation,
            parts,
            decoder,
        }
    }
}

impl Parts {
    #[inline]
    pub(super) fn next(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<Step<()>, Damage> {
        match self {
            Self::Binary(binary) => binary.next(input, decoder),
            Self::Text(text) => text.next(input, decoder),
            Self::Json(json) => json.next(input, decoder),
            Self::Over(None) => Ok(Step::End),
            Self::Over(Some(damage)) => Err(damage.clone()),
        }
    }
}
