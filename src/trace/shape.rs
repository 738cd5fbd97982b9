//! Detects the binary layout of a trace: the layout whose schema fits the bytes best.
//!
//! Other protobuf messages fit some of the schemas for a while, so the values are examined as well: names of
//! header fields, addresses, times. Invariant: a message with unknown fields is a trace only if it contains
//! something that only a trace has at that position.

mod fit;
mod reach;
mod values;

use std::path::Path;

use super::detect::{Detected, Encoding, Generation, Layout, PREFIX};
use super::element::Level;
use super::schema::{self, Kind, Message};
use crate::trace::binary::walk::{Framing, GRPC_HEADER, grpc_length};
use crate::trace::binary::wire::{Fields, Header, NoHeader, WireValue, varint};
use fit::Fit;
use values::{value_fit, whole};

pub(super) use reach::Reach;

/// Numbers of fields that later releases of Envoy may add are lower than this.
const MAX_NEW_FIELD: u32 = 100;

/// A possible layout of a binary trace.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    encoding: Encoding,
    generation: Generation,
    root: Level,
    framing: Framing,
    /// The number of events that make it certain, since such fields are common elsewhere.
    proof: u32,
}

const CANDIDATES: [Candidate; 8] = {
    const fn candidate(encoding: Encoding, root: Level, framing: Framing, proof: u32) -> Candidate {
        let generation = match root {
            Level::Bare => Generation::Capture,
            _ => Generation::Tap,
        };
        Candidate {
            encoding,
            generation,
            root,
            framing,
            proof,
        }
    }
    let (binary, delimited) = (Encoding::Binary, Encoding::Delimited);
    [
        candidate(binary, Level::Wrapper, Framing::None, 0),
        candidate(binary, Level::Bare, Framing::None, 1),
        candidate(delimited, Level::Wrapper, Framing::Varint, 0),
        candidate(binary, Level::Taps, Framing::None, 0),
        candidate(delimited, Level::Taps, Framing::Varint, 0),
        candidate(delimited, Level::Taps, Framing::Grpc, 0),
        candidate(delimited, Level::Wrapper, Framing::Grpc, 0),
        // The message within a tap service's message, without a wrapper.
        candidate(binary, Level::Buffered, Framing::None, 1),
    ]
};

impl Candidate {
    /// How well the beginning of a trace matches it.
    fn fit(self, prefix: &[u8]) -> Fit {
        let message = self.root.schema();
        let length = match self.framing {
            Framing::None => return shape(message, prefix, true),
            Framing::Varint => varint,
            Framing::Grpc => |bytes: &[u8]| Ok((grpc_length(bytes)?, GRPC_HEADER)),
        };
        // A cut input looks like one that continues; only a length that is complete can be compared with the
        // bytes.
        let mut fit = Fit::default();
        let mut rest = prefix;
        while !fit.is_bad && !rest.is_empty() {
            match length(rest) {
                Ok((len, n)) => {
                    let body = rest.get(n..).unwrap_or_default();
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    let (bytes, after) = body.split_at(body.len().min(len));
                    fit.add(shape(message, bytes, bytes.len() < len));
                    // An empty message is possible, but does not suggest a trace.
                    fit.is_bad |= len == 0;
                    rest = after;
                }
                Err(reason) => {
                    fit.is_bad = reason != NoHeader::Short;
                    break;
                }
            }
        }
        fit
    }

    fn layout(self) -> Layout {
        Layout {
            root: self.root,
            framing: self.framing,
            ..Layout::new(self.encoding, self.generation)
        }
    }
}

/// Detects the binary layout of a trace whose first bytes are `window`, as far as `reach` allows.
pub(super) fn binary(
    window: &[u8],
    ended: bool,
    wanted: Option<Encoding>,
    path: Option<&Path>,
    reach: &mut Reach,
) -> Detected {
    loop {
        let prefix = reach.of(window);
        let fits = CANDIDATES.map(|candidate| (candidate, candidate.fit(prefix)));
        let Some(best @ (candidate, fit)) = best(&fits, wanted, path) else {
            return Detected::Nothing;
        };
        let is_trace = fit.is_certain(candidate.proof) || fit.is_likely(candidate.proof);
        let is_extended = !is_trace && reach.extend(prefix, fits.iter().map(|(_, fit)| fit));
        if is_extended && prefix.len() < window.len() {
            continue;
        }
        // A trace that is not certain is worth a few more bytes, but not those after a long value.
        let is_open = reach.is_beyond(window) && (window.len() < PREFIX || !is_trace);
        if !ended && is_open && is_doubtful(best, &fits) {
            return Detected::Short;
        }
        return match is_trace || wanted.is_some() {
            // The encoding was set by the user, so anything invalid is damage, reported with its offset.
            true => Detected::of(candidate.layout()),
            false => Detected::Nothing,
        };
    }
}

/// The candidate that matches best.
fn best<'a>(
    fits: &'a [(Candidate, Fit)],
    wanted: Option<Encoding>,
    path: Option<&Path>,
) -> Option<&'a (Candidate, Fit)> {
    let wanted = wanted.filter(|wanted| matches!(wanted, Encoding::Binary | Encoding::Delimited));
    let named = path.and_then(Path::extension).map(|extension| {
        let is_delimited = extension == "pb_length_delimited";
        if is_delimited {
            Encoding::Delimited
        } else {
            Encoding::Binary
        }
    });
    fits.iter()
        .filter(|(candidate, _)| wanted.is_none_or(|wanted| wanted == candidate.encoding))
        // Damage after many matching fields matters little. Among equals, the first is chosen.
        .rev()
        .max_by_key(|(candidate, fit)| {
            (
                fit.is_certain(candidate.proof),
                fit.is_likely(candidate.proof),
                !fit.is_bad,
                fit.fields,
                named == Some(candidate.encoding),
            )
        })
}

/// Whether more bytes may show that the best candidate is not the right one.
fn is_doubtful((best, fit): &(Candidate, Fit), fits: &[(Candidate, Fit)]) -> bool {
    let is_certain = fit.is_certain(best.proof);
    // A layout that matches half as well may still turn out to be the right one.
    let rivals = fits
        .iter()
        .filter(|(_, rival)| !rival.is_bad && rival.fields * 2 > fit.fields);
    let goes_on = is_certain || fits.iter().any(|(_, fit)| !fit.is_bad);
    goes_on && (!is_certain || rivals.count() > 1)
}

/// Counts the fields of `bytes`, and of nested messages, that `message` knows.
///
/// `open`: the message may continue after `bytes`.
fn shape(message: &Message, bytes: &[u8], open: bool) -> Fit {
    let mut fit = Fit::default();
    let mut fields = Fields::new(bytes);
    for (header, value) in fields.by_ref() {
        let cut = match header.value {
            WireValue::Varint(_) => false,
            WireValue::Fixed(n) | WireValue::Len(n) => (value.len() as u64) < n,
        };
        let Some(field) = message.number(header.number) else {
            fit.add(unknown(message, header));
            fit.is_bad |= cut && !open;
            if fit.is_bad {
                return fit;
            }
            continue;
        };
        let inner = match (&field.kind, header.value) {
            (Kind::Message(inner), WireValue::Len(_)) => shape(inner, value, cut),
            (Kind::Bytes | Kind::String, WireValue::Len(n)) => {
                let mut fit = value_fit(message, header.number, value, n);
                reach::pass(&mut fit, n, value);
                fit
            }
            (Kind::Bool | Kind::Integer | Kind::Enum(_), WireValue::Varint(_)) => Fit::default(),
            _ => Fit::BAD,
        };
        fit.fields += u32::from(!inner.is_bad);
        fit.add(inner);
        fit.is_bad |= cut && !open;
        if fit.is_bad {
            return fit;
        }
    }
    match fields.end {
        None => {}
        Some(NoHeader::Short) => fit.is_bad |= !open,
        Some(_) => fit.is_bad = true,
    }
    whole(message, bytes, open, fit)
}

/// Rates a field that is not in the schema: a future one, or one of another kind of message.
fn unknown(message: &Message, header: Header) -> Fit {
    // Nothing was added to the messages of 1.7 to 1.9.
    let is_frozen = [
        &schema::CAPTURE_TRACE,
        &schema::CAPTURE_CONNECTION,
        &schema::CAPTURE_EVENT,
    ]
    .iter()
    .any(|frozen| std::ptr::eq(*frozen, message));
    // No field of a tap has a fixed-size value.
    let is_fixed = matches!(header.value, WireValue::Fixed(_)) && message.name != "Node";
    // The schema has only some of their fields.
    let is_reduced = matches!(message.name, "SocketAddress" | "Node");
    Fit {
        is_bad: is_frozen,
        unknown: u32::from(!is_reduced),
        strange: u32::from(is_fixed || header.number >= MAX_NEW_FIELD),
        ..Fit::default()
    }
}
