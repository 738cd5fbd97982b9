//! Detects the binary layout of a trace: the layout whose schema fits the bytes best.
//!
//! Other protobuf messages fit some of the schemas for a while, so the values are examined as well: names of
//! header fields, addresses, times. Invariant: a message with unknown fields is a trace only if it contains
//! something that only a trace has at that position.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use super::detect::{Detected, Encoding, Generation, Layout, PREFIX};
use super::element::Level;
use super::schema::{self, Kind, Message};
use crate::trace::binary::walk::{Framing, GRPC_HEADER, grpc_length};
use crate::trace::binary::wire::{Fields, Header, NoHeader, WireValue, varint};

/// This many matching fields make a trace, even if something does not match later.
const ENOUGH: u32 = 4;
/// Only traces have header field values that are this long and one line of text.
const LONG_VALUE: usize = 4096;
/// Numbers of fields that later releases of Envoy may add are lower than this.
const MAX_NEW_FIELD: u32 = 100;

/// How well some bytes match a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fit {
    /// The number of matching fields.
    fields: u32,
    /// Whether something did not match, up to the last byte examined.
    is_bad: bool,
    /// The fields that are not in the schema.
    unknown: u32,
    /// Those of them that no release of Envoy is likely to add: of a fixed size, or with a high number.
    strange: u32,
    /// The values that only a trace has at their position: addresses, events with a time and bytes,
    /// pseudo-headers.
    anchors: u32,
    /// The events among them.
    events: u32,
    /// The events that have a time, whatever it is, since clocks may be wrong.
    timed_events: u32,
    /// The payloads of events: five nested messages at the positions of a tap's.
    payloads: u32,
    /// The pseudo-headers among them.
    pseudo_headers: u32,
    /// The header fields whose values are long lines of text.
    long_values: u32,
    /// Whether it contains a socket event that says what happened.
    is_event: bool,
    /// Whether there are header fields that no HTTP message has.
    has_odd_headers: bool,
}

impl Fit {
    const BAD: Self = Self {
        fields: 0,
        is_bad: true,
        unknown: 0,
        strange: 0,
        anchors: 0,
        events: 0,
        timed_events: 0,
        payloads: 0,
        pseudo_headers: 0,
        long_values: 0,
        is_event: false,
        has_odd_headers: false,
    };

    /// Adds the result of a nested message.
    fn add(&mut self, inner: Self) {
        self.fields += inner.fields;
        self.is_bad |= inner.is_bad;
        self.unknown += inner.unknown;
        self.strange += inner.strange;
        self.anchors += inner.anchors;
        self.events += inner.events;
        self.timed_events += inner.timed_events;
        self.payloads += inner.payloads;
        self.pseudo_headers += inner.pseudo_headers;
        self.long_values += inner.long_values;
        self.is_event |= inner.is_event;
        self.has_odd_headers |= inner.has_odd_headers;
    }

    fn anchor(&mut self) {
        self.anchors += 1;
    }

    /// Whether it is a trace whatever follows. `proof` is the number of events required.
    const fn is_certain(&self, proof: u32) -> bool {
        self.fields >= ENOUGH && self.anchors > 0 && self.events >= proof && !self.is_foreign()
    }

    /// Whether it is a trace if nothing follows.
    const fn is_likely(&self, proof: u32) -> bool {
        let has_events = self.is_event && (self.unknown == 0 || self.has_events());
        let is_known = has_events && proof == 0;
        !self.is_bad && (self.anchors > 0 || is_known) && !self.is_foreign()
    }

    /// Whether it is a message of another kind: it has strings in place of header fields, or fields that no tap
    /// has, such as the times of an access log. A single address does not outweigh these, because logs have
    /// addresses, too.
    const fn is_foreign(&self) -> bool {
        let has_headers = self.pseudo_headers > 0 || self.long_values > 0;
        let is_proved = self.has_events() || has_headers || self.anchors >= 2;
        self.has_odd_headers && self.pseudo_headers == 0 || self.strange > 0 && !is_proved
    }

    /// Whether it contains events as deep as only a trace has them, whatever their times.
    const fn has_events(&self) -> bool {
        self.timed_events > 0 || self.payloads > 0
    }
}

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
                    // An empty message is possible, but no sign of a trace.
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

/// Detects the binary layout of a trace whose first bytes are `window`.
pub(super) fn binary(
    window: &[u8],
    ended: bool,
    wanted: Option<Encoding>,
    path: Option<&Path>,
) -> Detected {
    let prefix = &window[..window.len().min(PREFIX)];
    let fits = CANDIDATES.map(|candidate| (candidate, candidate.fit(prefix)));
    let wanted = wanted.filter(|wanted| matches!(wanted, Encoding::Binary | Encoding::Delimited));
    let named = path.and_then(Path::extension).map(|extension| {
        let is_delimited = extension == "pb_length_delimited";
        if is_delimited {
            Encoding::Delimited
        } else {
            Encoding::Binary
        }
    });
    let best = fits
        .into_iter()
        .filter(|(candidate, _)| wanted.is_none_or(|wanted| wanted == candidate.encoding))
        // Damage after many matching fields counts for little. Among equals, the first wins.
        .rev()
        .max_by_key(|(candidate, fit)| {
            (
                fit.is_certain(candidate.proof),
                fit.is_likely(candidate.proof),
                !fit.is_bad,
                fit.fields,
                named == Some(candidate.encoding),
            )
        });
    let Some((candidate, fit)) = best else {
        return Detected::Nothing;
    };
    // A layout that matches half as well may still turn out to be the right one.
    let rivals = fits
        .iter()
        .filter(|(_, rival)| !rival.is_bad && rival.fields * 2 > fit.fields);
    let is_doubtful = !fit.is_certain(candidate.proof) || rivals.count() > 1;
    let goes_on = fits.iter().any(|(_, fit)| !fit.is_bad) || fit.is_certain(candidate.proof);
    if !ended && window.len() < PREFIX && is_doubtful && goes_on {
        return Detected::Short;
    }
    let is_trace = fit.is_certain(candidate.proof) || fit.is_likely(candidate.proof);
    match is_trace || wanted.is_some() {
        // The encoding was set by the user, so anything invalid is damage, reported with its offset.
        true => Detected::of(candidate.layout()),
        false => Detected::Nothing,
    }
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
            (Kind::Bytes | Kind::String, WireValue::Len(_)) => {
                value_fit(message, header.number, value, cut)
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

/// How well the bytes of a field match; `cut`: they are incomplete.
fn value_fit(message: &Message, number: u32, value: &[u8], cut: bool) -> Fit {
    let mut fit = Fit::default();
    match (message.name, number) {
        ("HeaderValue", 1) => {
            let name = value.strip_prefix(b":").unwrap_or(value);
            fit.has_odd_headers = !name.iter().copied().all(is_token) || (name.is_empty() && !cut);
        }
        // A value that is not text is in another field.
        ("HeaderValue", 2) => {
            fit.has_odd_headers = value.iter().any(|&byte| byte < b' ' && byte != b'\t');
            // Other messages have no such long lines there, and pseudo-headers may follow.
            if value.len() >= LONG_VALUE && !fit.has_odd_headers {
                fit.anchor();
                fit.long_values = 1;
            }
        }
        ("SocketAddress", 2) if !cut => {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let ip = text.split_once('%').map_or(text, |(ip, _zone)| ip);
            if ip.parse::<IpAddr>().is_ok() {
                fit.anchor();
            }
        }
        ("Body", 1 | 2) if !value.is_empty() => fit.payloads = 1,
        ("Pipe", 1) if matches!(value.first(), Some(b'/' | b'@' | 0)) => fit.anchor(),
        _ => {}
    }
    fit
}

/// Rates a message as a whole, apart from its fields.
fn whole(message: &Message, bytes: &[u8], open: bool, mut fit: Fit) -> Fit {
    let numbers = |wanted: RangeInclusive<u32>| {
        Fields::new(bytes).any(|(header, _)| wanted.contains(&header.number))
    };
    match message.name {
        "SocketEvent" | "Event" => {
            let happened = numbers(2..=4);
            fit.is_event |= happened;
            fit.payloads *= u32::from(message.name == "SocketEvent");
            // With something that happened at a plausible time, it is an event.
            let time = Fields::new(bytes)
                .filter(|(header, _)| header.number == 1)
                .last();
            let (Some((_, time)), true) = (time, happened) else {
                return fit;
            };
            fit.timed_events += u32::from(seconds(time).is_some());
            if is_usual_time(time) {
                fit.anchor();
                fit.events += 1;
            }
        }
        "HeaderValue" if !open => {
            let known = [
                &b":method"[..],
                b":path",
                b":authority",
                b":scheme",
                b":status",
            ];
            // Of a repeated field, the last one counts.
            let key = Fields::new(bytes)
                .filter(|(header, _)| header.number == 1)
                .last();
            let has_value = Fields::new(bytes)
                .any(|(header, value)| matches!(header.number, 2 | 3) && !value.is_empty());
            if has_value && key.is_some_and(|(_, key)| known.contains(&key)) {
                fit.anchor();
                fit.pseudo_headers += 1;
            }
        }
        // A request has a method, a response a status.
        "Message" => {
            fit.has_odd_headers |= !open && fit.pseudo_headers == 0 && numbers(1..=1);
            fit.payloads = 0;
        }
        // The payloads of HTTP taps are not as deep in other messages.
        "HttpStreamedTraceSegment" => fit.payloads = 0,
        _ => {}
    }
    fit
}

/// A number in a field of a Timestamp, if present.
fn number(time: &[u8], wanted: u32) -> Option<u64> {
    Fields::new(time).find_map(|(header, _)| match header.value {
        WireValue::Varint(value) if header.number == wanted => Some(value),
        _ => None,
    })
}

/// The seconds of a Timestamp.
fn seconds(time: &[u8]) -> Option<u64> {
    number(time, 1)
}

/// Whether a tap may have recorded a Timestamp: from 2015 to 2100.
fn is_usual_time(time: &[u8]) -> bool {
    let nanos = number(time, 2).unwrap_or_default();
    seconds(time).is_some_and(|seconds| (1_420_070_400..4_102_444_800).contains(&seconds))
        && nanos < 1_000_000_000
}

/// Whether a byte is allowed in the name of a header field (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
