//! Which encoding and which generation of the schema a trace has, read from its first bytes.
//!
//! JSON and text give themselves away by their first name. The binary layouts share their first
//! tags, so each is held against the schema: the one whose fields fit furthest is it.

use std::fmt;
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

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Delimited => "delimited",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
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

/// How many bytes are looked at next, after so many: each one of the first, for a live stream must not
/// wait, then fewer and fewer, so that all looks together cost little more than one.
pub(super) const fn next_look(looked: usize) -> usize {
    looked + 1 + looked / 64
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
    // Blanks and comments alone are no trace, however many there are.
    let readable = readable(window, ended || window.len() >= PREFIX);
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
        // Damage counts for little against many fields that fit before it.
        .max_by_key(|(encoding, _, fit)| {
            (
                fit.fields >= ENOUGH,
                fit.clean,
                fit.fields,
                named == Some(*encoding),
            )
        });
    // A layout that fits half as well may still turn out to be it.
    let doubtful = |best: Fit| {
        let rival = |fit: &Fit| fit.clean && fit.fields * 2 > best.fields;
        best.fields < ENOUGH || candidates.iter().filter(|(.., fit)| rival(fit)).count() > 1
    };
    match best {
        Some((_, _, fit)) if !ended && window.len() < PREFIX && doubtful(fit) => Detected::Short,
        Some((encoding, generation, fit))
            if fit.fields >= ENOUGH || (fit.clean && fit.fields > 0) =>
        {
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
        Some(_) => fit.clean = false,
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let len = u8::try_from(value.len()).unwrap();
        assert!(len < 0x80);
        [&[number << 3 | 2, len], value].concat()
    }

    fn address(host: &str) -> Vec<u8> {
        field(1, &[field(2, host.as_bytes()), vec![0x18, 80]].concat())
    }

    fn delimit(message: &[u8]) -> Vec<u8> {
        [&[u8::try_from(message.len()).unwrap()], message].concat()
    }

    /// What `bytes` are taken for when they come whole, and when they come one at a time.
    fn taken_for(bytes: &[u8]) -> Detected {
        let whole = detect(bytes, true, None, None);
        let mut bytewise = Detected::Short;
        for end in 0..=bytes.len() {
            bytewise = detect(&bytes[..end], end == bytes.len(), None, None);
            if bytewise != Detected::Short {
                break;
            }
        }
        assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
        whole
    }

    const fn tap(encoding: Encoding) -> Detected {
        Detected::As(encoding, Generation::Tap)
    }

    #[test]
    fn readable_traces_show_in_their_first_name() {
        let cases: [(&str, Detected); 13] = [
            ("socket_buffered_trace {", tap(Encoding::Text)),
            (
                "# a comment\n\n  http_buffered_trace: {",
                tap(Encoding::Text),
            ),
            ("socket_streamed_trace_segment <", tap(Encoding::Text)),
            (
                "connection {",
                Detected::As(Encoding::Text, Generation::Capture),
            ),
            (
                "events {",
                Detected::As(Encoding::Text, Generation::Capture),
            ),
            ("{\n \"socket_buffered_trace\": {", tap(Encoding::Json)),
            ("{\"socketBufferedTrace\":", tap(Encoding::Json)),
            (
                "[{\"events\":",
                Detected::As(Encoding::Json, Generation::Capture),
            ),
            ("{\"a_field_of_the_future\": 1", tap(Encoding::Json)),
            (
                "Failed to convert protobuf message to JSON string: x",
                tap(Encoding::Json),
            ),
            ("hello world, this is no trace", Detected::Nothing),
            ("{ 1: 2 }", Detected::Nothing),
            ("connection refused", Detected::Nothing),
        ];
        for (text, expected) in cases {
            assert_eq!(taken_for(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn binary_traces_are_told_apart_by_their_shape() {
        let new = [
            field(1, &address("10.0.0.1")),
            field(2, &address("10.0.0.2")),
        ]
        .concat();
        let old = [
            field(2, &address("10.0.0.1")),
            field(3, &address("10.0.0.2")),
        ]
        .concat();
        let time = field(1, &[0x08, 1, 0x10, 2]);
        let event = [time.clone(), field(2, &field(1, &field(1, b"data")))].concat();
        let bare_event = [time, field(2, &field(1, b"data"))].concat();
        let capture = Detected::As(Encoding::Binary, Generation::Capture);
        for connection in [&new, &old] {
            let buffered = field(3, &[field(2, connection), field(3, &event)].concat());
            assert_eq!(taken_for(&buffered), tap(Encoding::Binary));
            assert_eq!(taken_for(&delimit(&buffered)), tap(Encoding::Delimited));
            let streamed = field(4, &[vec![0x08, 7], field(2, connection)].concat());
            assert_eq!(
                taken_for(&[&streamed[..], &streamed].concat()),
                tap(Encoding::Binary)
            );
        }
        for id in [&[][..], &[0x08, 9]] {
            let bare = [field(1, &[id, &old].concat()), field(2, &bare_event)].concat();
            assert_eq!(taken_for(&bare), capture);
        }
        let header = |name: &[u8]| field(1, &[field(1, name), field(2, b"200")].concat());
        let response = field(1, &field(2, &header(b":status")));
        assert_eq!(
            taken_for(&response),
            tap(Encoding::Binary),
            "an HTTP response, no connection"
        );
        let segment = field(2, &[vec![0x08, 7], field(5, &header(b":status"))].concat());
        assert_eq!(
            taken_for(&segment),
            tap(Encoding::Binary),
            "no event of a bare Trace"
        );
    }

    /// Lengths that are tags, too: a delimited trace that begins like another layout.
    #[test]
    fn a_length_that_looks_like_a_tag_is_still_a_length() {
        for wanted in [
            0x0a_usize,
            0x12,
            0x1a,
            0x22,
            0x7b,
            b's'.into(),
            b'c'.into(),
            b'e'.into(),
        ] {
            let build = |pad: usize| {
                let body = field(1, &vec![b'x'; pad]);
                let event = field(3, &field(2, &field(1, &body)));
                field(4, &[vec![0x08, 7], event].concat())
            };
            let pad = (0..112).find(|&pad| build(pad).len() == wanted);
            let message = match pad {
                Some(pad) => build(pad),
                // Too short for an event: a connection of nothing, or an id alone.
                None => field(
                    4,
                    &[&[0x08, 0x87, 0x80, 0x80, 0x80][..], &[0x01, 0x12, 0][..]].concat(),
                ),
            };
            assert_eq!(message.len(), wanted);
            let two = [delimit(&message), delimit(&message)].concat();
            assert_eq!(taken_for(&two), tap(Encoding::Delimited), "{wanted}");
        }
    }

    #[test]
    fn the_extension_and_the_user_decide_where_the_bytes_do_not() {
        // Ten bytes of a streamed segment, or 34 of a bare Trace's connection.
        let bytes = [0x0a, 0x22, 0x08];
        let path = Path::new("x.pb_length_delimited");
        assert_eq!(
            detect(&bytes, true, None, Some(path)),
            tap(Encoding::Delimited)
        );
        let capture = Detected::As(Encoding::Binary, Generation::Capture);
        assert_eq!(detect(&bytes, true, None, Some(Path::new("x.pb"))), capture);
        let wanted = Some(Encoding::Delimited);
        assert_eq!(
            detect(b"\xff\xff", true, wanted, None),
            tap(Encoding::Delimited)
        );
    }
}
