//! Examines the values in a message: names of header fields, addresses, times.
//!
//! Invariant: each value is rated once, in the message that contains it directly.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::trace::binary::wire::{Fields, WireValue};
use crate::trace::schema::Message;

use super::fit::Fit;

/// The longest path of a Unix socket, in bytes (`sun_path` of Linux).
const MAX_SOCKET_PATH: u64 = 108;
/// How many bytes are examined without a branch.
const BLOCK: usize = 256;
/// Only traces have header field values that are this long and one line of text.
const LONG_VALUE: usize = 4096;

/// How well a field of `len` bytes matches, of which `value` is at hand.
pub(super) fn value_fit(message: &Message, number: u32, value: &[u8], len: u64) -> Fit {
    let mut fit = Fit::default();
    let cut = (value.len() as u64) < len;
    match (message.name, number) {
        ("HeaderValue", 1) => {
            let name = value.strip_prefix(b":").unwrap_or(value);
            fit.has_odd_headers = !name.iter().copied().all(is_token) || (name.is_empty() && !cut);
        }
        // A value that is not text is in another field.
        ("HeaderValue", 2) => {
            // Examined in blocks, because values may be long, and are examined again while bytes arrive.
            fit.has_odd_headers = value.chunks(BLOCK).any(|block| {
                let is_odd = |&byte: &u8| byte < b' ' && byte != b'\t';
                block.iter().fold(false, |odd, byte| odd | is_odd(byte))
            });
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
        // Another message may have a body at this position.
        ("Pipe", 1) if len <= MAX_SOCKET_PATH && matches!(value.first(), Some(b'/' | b'@' | 0)) => {
            fit.anchor();
        }
        _ => {}
    }
    fit
}

/// Rates a message as a whole, apart from its fields.
pub(super) fn whole(message: &Message, bytes: &[u8], open: bool, mut fit: Fit) -> Fit {
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
        "SocketBufferedTrace" | "SocketStreamedTraceSegment" if !open => {
            fit.ids += u32::from(numbers(1..=1));
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
