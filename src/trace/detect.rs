//! Which encoding and which generation of the schema a trace has, read from its first bytes.
//!
//! JSON and text give themselves away by their first name. The binary layouts share their first
//! tags, so each is held against the schema: the one whose fields fit furthest is it.

use std::path::Path;

use super::element::Level;
use super::json;
use super::schema::{self, Kind, Message};
use super::wire::{Fields, NoHeader, WireValue, varint};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf messages, one after the other with nothing between.
    Binary,
    /// Protobuf messages, a varint with the length before each.
    Delimited,
    /// Protobuf's text format.
    Text,
    /// JSON objects, one after the other.
    Json,
}

/// Which messages a trace consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Envoy 1.7 to 1.9: the bare `Trace` of the capture extension.
    Capture,
    /// Envoy 1.10 and later: `TraceWrapper`.
    Tap,
}

impl Generation {
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Capture => Level::Bare,
            Self::Tap => Level::Wrapper,
        }
    }
}

/// How much of a trace is looked at, in bytes; the first event or two lie within.
const PREFIX: usize = 64 << 10;
/// So many fields that fit make a trace even where something does not fit later.
const ENOUGH: u32 = 4;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    As(Encoding, Generation),
    /// More bytes are needed.
    Short,
    /// No trace.
    Nothing,
}

/// Tells how a trace is written whose first bytes are `window`; `ended` when these are all.
///
/// `wanted` is the encoding where the user has said it; the name of `path` decides where the bytes
/// allow more than one.
pub(super) fn detect(
    window: &[u8],
    ended: bool,
    wanted: Option<Encoding>,
    path: Option<&Path>,
) -> Detected {
    let readable = readable(window, ended);
    match (wanted, readable) {
        (Some(Encoding::Text | Encoding::Json), Detected::Short) => Detected::Short,
        (Some(wanted @ (Encoding::Text | Encoding::Json)), found) => match found {
            Detected::As(_, generation) => Detected::As(wanted, generation),
            _ => Detected::As(wanted, Generation::Tap),
        },
        (None, Detected::As(..) | Detected::Short) => readable,
        _ => binary(window, ended, wanted, path),
    }
}

/// Looks for the first name of a text or JSON trace.
fn readable(window: &[u8], ended: bool) -> Detected {
    let short = if ended {
        Detected::Nothing
    } else {
        Detected::Short
    };
    let mut rest = window.trim_ascii_start();
    while rest.first() == Some(&b'#') {
        match memchr::memchr(b'\n', rest) {
            Some(end) => rest = rest[end..].trim_ascii_start(),
            // What looks like a comment may be the length of a bare Trace's first field.
            None if rest.len() > LONGEST_LINE => return Detected::Nothing,
            None => return short,
        }
    }
    // An empty window, and one that could still become Envoy's words, say nothing yet.
    if json::FAILURE.starts_with(&rest[..rest.len().min(json::FAILURE.len())]) {
        let whole = rest.len() >= json::FAILURE.len();
        return if whole {
            Detected::As(Encoding::Json, Generation::Tap)
        } else {
            short
        };
    }
    let (encoding, rest) = match rest.strip_prefix(b"[").unwrap_or(rest).trim_ascii_start() {
        [b'{', inner @ ..] => match inner.trim_ascii_start() {
            [b'"', name @ ..] => (Encoding::Json, name),
            [] => return short,
            _ => return Detected::Nothing,
        },
        [] => return short,
        _ => (Encoding::Text, rest),
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let len = rest
        .iter()
        .position(|byte| !is_name(byte))
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(len);
    if rest.is_empty() && name.len() <= LONGEST_NAME {
        return short;
    }
    let ends_well = match encoding {
        Encoding::Json => rest.starts_with(b"\""),
        _ => matches!(rest.trim_ascii_start().first(), Some(b'{' | b':' | b'<')),
    };
    if !ends_well && rest.trim_ascii().is_empty() {
        return short;
    }
    let known = |message: &Message| message.named(name).is_some();
    match () {
        () if !ends_well => Detected::Nothing,
        () if known(&schema::TAP_TRACEWRAPPER) => Detected::As(encoding, Generation::Tap),
        () if known(&schema::CAPTURE_TRACE) => Detected::As(encoding, Generation::Capture),
        // A field of TraceWrapper that is newer than we are.
        () if encoding == Encoding::Json => Detected::As(encoding, Generation::Tap),
        () => Detected::Nothing,
    }
}

/// A comment before a text trace is shorter, in bytes.
const LONGEST_LINE: usize = 1 << 10;
/// Longer than every name in the schema: a run of letters beyond it is none.
const LONGEST_NAME: usize = 64;

/// How far some bytes fit a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    /// The fields that do.
    fields: u32,
    /// Whether nothing spoke against it, up to the last byte looked at.
    clean: bool,
}

fn binary(window: &[u8], ended: bool, wanted: Option<Encoding>, path: Option<&Path>) -> Detected {
    let prefix = &window[..window.len().min(PREFIX)];
    // A cut input looks like one that goes on; only a length that is there in full can be held
    // against the bytes.
    let delimited = || {
        let mut fit = Fit {
            fields: 0,
            clean: true,
        };
        let mut rest = prefix;
        while fit.clean && !rest.is_empty() {
            match varint(rest) {
                Ok((len, n)) => {
                    let body = &rest[n..];
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    let (message, behind) = body.split_at(body.len().min(len));
                    let inner = shape(&schema::TAP_TRACEWRAPPER, message, message.len() < len);
                    // A message of nothing is possible, but no sign of a trace.
                    fit = Fit {
                        fields: fit.fields + inner.fields,
                        clean: inner.clean && len > 0,
                    };
                    rest = behind;
                }
                Err(reason) => {
                    fit.clean = reason == NoHeader::Short;
                    break;
                }
            }
        }
        fit
    };
    let candidates = [
        (
            Encoding::Binary,
            Generation::Tap,
            shape(&schema::TAP_TRACEWRAPPER, prefix, true),
        ),
        (
            Encoding::Binary,
            Generation::Capture,
            shape(&schema::CAPTURE_TRACE, prefix, true),
        ),
        (Encoding::Delimited, Generation::Tap, delimited()),
    ];
    let wanted = wanted.filter(|wanted| matches!(wanted, Encoding::Binary | Encoding::Delimited));
    let named = path
        .and_then(Path::extension)
        .map(|extension| match extension.to_str() {
            Some("pb_length_delimited") => Encoding::Delimited,
            _ => Encoding::Binary,
        });
    let best = candidates
        .into_iter()
        .filter(|(encoding, ..)| wanted.is_none_or(|wanted| wanted == *encoding))
        .max_by_key(|(encoding, _, fit)| (fit.clean, fit.fields, named == Some(*encoding)));
    let rivals = candidates.iter().filter(|(.., fit)| fit.clean).count();
    match best {
        Some((_, _, fit))
            if !ended && window.len() < PREFIX && (rivals > 1 || fit.fields < ENOUGH) =>
        {
            Detected::Short
        }
        Some((encoding, generation, fit)) if fit.clean || fit.fields >= ENOUGH => {
            Detected::As(encoding, generation)
        }
        // Said by the user: whatever it holds is damage, told with its place.
        Some((encoding, generation, _)) if wanted.is_some() => Detected::As(encoding, generation),
        _ => Detected::Nothing,
    }
}

/// Counts the fields of `bytes`, and of the messages in them, that `message` knows.
///
/// `open` says that the message may go on behind `bytes`.
fn shape(message: &Message, bytes: &[u8], open: bool) -> Fit {
    let mut fit = Fit {
        fields: 0,
        clean: true,
    };
    let mut fields = Fields::new(bytes);
    for (header, value) in fields.by_ref() {
        let cut = match header.value {
            WireValue::Varint(_) => false,
            WireValue::Fixed(n) | WireValue::Len(n) => (value.len() as u64) < n,
        };
        let Some(field) = message.number(header.number) else {
            // Unknown fields are the future's, or another layout's: no sign either way, but the
            // future leaves the first field where it is.
            fit.clean &= (fit.fields > 0 || header.number < 100) && (open || !cut);
            continue;
        };
        let inner = match (&field.kind, header.value) {
            (Kind::Message(inner), WireValue::Len(_)) => shape(inner, value, cut),
            (Kind::Bytes | Kind::String, WireValue::Len(_))
            | (Kind::Bool | Kind::Integer | Kind::Enum(_), WireValue::Varint(_)) => Fit {
                fields: 0,
                clean: true,
            },
            _ => {
                return Fit {
                    fields: fit.fields,
                    clean: false,
                };
            }
        };
        fit.fields += u32::from(inner.clean) + inner.fields;
        fit.clean &= inner.clean && (open || !cut);
        if !fit.clean {
            return fit;
        }
    }
    match fields.end {
        None => {}
        Some(NoHeader::Short) => fit.clean &= open,
        Some(NoHeader::Fault(_)) => fit.clean = false,
    }
    fit
}
