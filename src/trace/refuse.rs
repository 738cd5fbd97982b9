//! Describes inputs that are not traces: common mistakes, and errors in place of a trace.
//!
//! Names known formats, and quotes other text. Decides nothing.

use base64::Engine as _;

use super::detect::{Detected, Detector};
use super::error::{Damage, Excerpt, Fault, Instead};
use crate::trace::readable::scalar::base64_engine;

/// How much of a text is quoted, in bytes: enough for a service's error.
const MAX_SHOWN: usize = 4 << 10;
/// How much of a dump is decoded to recognize its contents, in bytes.
const MAX_DUMP: usize = 16 << 10;

/// Formats that are mistaken for traces, by their first bytes.
const MAGIC: [(&[u8], &str); 13] = [
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
    (b"BZh", "compressed, and has to be unpacked first (bzip2)"),
    (
        b"\xfd7zXZ\x00",
        "compressed, and has to be unpacked first (xz)",
    ),
    (
        b"\x04\x22\x4d\x18",
        "compressed, and has to be unpacked first (lz4)",
    ),
    (
        b"PK\x03\x04",
        "an archive, and has to be unpacked first (zip)",
    ),
    (
        b"7z\xbc\xaf\x27\x1c",
        "an archive, and has to be unpacked first (7z)",
    ),
    (
        b"\x1f\x9d",
        "compressed, and has to be unpacked first (compress)",
    ),
];

/// The position of a tar archive's signature.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// The first bytes of an input, as far as they may be quoted.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl FirstBytes {
    /// Keeps the beginning of `window`, the first bytes of an input; `ended` if these are all its bytes.
    pub(super) fn of(window: &[u8], ended: bool) -> Self {
        let len = window.len().min(MAX_DUMP);
        Self {
            bytes: window[..len].to_vec(),
            is_cut: len < window.len() || !ended,
        }
    }

    /// The damage of an input that is not a trace. If `quotes` is false, it quotes nothing of the input.
    pub(super) fn unrecognised(&self, quotes: bool) -> Damage {
        let fault = Fault::Unrecognised {
            text: self.excerpt().filter(|_| quotes),
            is: self.instead(),
        };
        Damage::new(0, fault)
    }

    /// The quoted text.
    fn excerpt(&self) -> Option<Excerpt> {
        let shown = &self.bytes[..self.bytes.len().min(MAX_SHOWN)];
        let is_cut = self.is_cut || shown.len() < self.bytes.len();
        let text = match std::str::from_utf8(shown) {
            Ok(text) => text,
            // A character at the end may be incomplete.
            Err(error) if is_cut && error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return None,
        };
        let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x1b');
        let text = text.trim();
        if text.is_empty() || text.contains(odd) {
            return None;
        }
        let text = crate::escaped(text, |c| c.escape_default().to_string());
        Some(Excerpt { text, is_cut })
    }

    /// The kind of the input, if recognized.
    fn instead(&self) -> Option<Instead> {
        let bytes = &self.bytes;
        let without_hint = |what| Some(Instead { what, hint: None });
        let magic = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic));
        if let Some((_, what)) = magic {
            return without_hint(what);
        }
        let (at, magic) = TAR;
        if bytes
            .get(at..)
            .is_some_and(|bytes| bytes.starts_with(magic))
        {
            return without_hint("an archive, and has to be unpacked first (tar)");
        }
        if is_compressed_grpc(bytes) {
            return without_hint("compressed, and has to be unpacked first (gRPC messages)");
        }
        let text = bytes.trim_ascii_start();
        if is_html(text) {
            return without_hint("an HTML page, which a server sent in place of a trace");
        }
        if text.starts_with(b"{\"log\":\"") {
            return Some(Instead {
                what: "a Docker log, in which each line of the trace is a JSON string",
                hint: Some("docker logs CONTAINER prints the lines as they were"),
            });
        }
        if text.starts_with(b"config_id:") || text.starts_with(b"tap_config:") {
            return without_hint("the configuration of a tap, not what it recorded");
        }
        if is_hex_dump(text) {
            return Some(Instead {
                what: "a hex dump, which has to be converted back to binary first",
                hint: Some(
                    "xxd -r converts the output of xxd back, and xxd -r -p a dump that has only digits",
                ),
            });
        }
        if is_base64(text) {
            return Some(Instead {
                what: "a trace in base64, and has to be decoded first",
                hint: Some("base64 -d FILE | capture2pcap - OUTPUT"),
            });
        }
        if went_through_terminal(bytes) {
            return Some(Instead {
                what: "a binary trace that went through a terminal, which changed its line feeds",
                hint: Some(crate::model::warning::THROUGH_TERMINAL),
            });
        }
        None
    }
}

/// Whether these are gRPC messages, the first of which is compressed.
fn is_compressed_grpc(bytes: &[u8]) -> bool {
    // Only gzip is common.
    matches!(bytes, [1, 0 | 1, _, _, _, 0x1f, 0x8b, ..])
}

fn is_html(text: &[u8]) -> bool {
    let begins = |tag: &[u8]| {
        let beginning = text.get(..tag.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(tag))
    };
    [&b"<!doctype html"[..], b"<html", b"<head"]
        .into_iter()
        .any(begins)
}

/// Whether a text is output of xxd, hexdump or od, or consists only of hexadecimal digits.
fn is_hex_dump(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default().trim_ascii_end();
    let is_hex = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_hexdigit);
    let mut words = first
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let address = words.next().unwrap_or_default();
    let address = address.strip_suffix(b":").unwrap_or(address);
    // An address of zeros, followed by bytes or words.
    let is_address = address.len() >= 6 && address.iter().all(|&byte| byte == b'0');
    let second = words.next().unwrap_or_default();
    let is_line = is_address && matches!(second.len(), 2..=8) && is_hex(second);
    let all: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    // A short text of digits may be anything.
    let is_plain = all.len() >= 32 && is_hex(&all) && is_trace_in(&hex(&all));
    is_line || is_plain
}

/// Decodes hexadecimal digits.
fn hex(digits: &[u8]) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect()
}

/// Whether a text is a trace in base64.
fn is_base64(text: &[u8]) -> bool {
    let mut digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits.truncate(digits.len() / 4 * 4);
    let bytes = base64_engine(&digits).decode(&digits);
    bytes.is_ok_and(|bytes| !bytes.is_empty() && is_trace_in(&bytes))
}

/// Whether `bytes` are the beginning of a trace.
fn is_trace_in(bytes: &[u8]) -> bool {
    // The dump was truncated, so the trace is examined as one that continues, too.
    let detect = |ended| Detector::default().detect(bytes, ended, None, None);
    [false, true]
        .into_iter()
        .any(|ended| matches!(detect(ended), Detected::As(_)))
}

/// Whether every line feed of a binary input has a carriage return before it.
fn went_through_terminal(bytes: &[u8]) -> bool {
    let feeds = memchr::memchr_iter(b'\n', bytes);
    let is_text = std::str::from_utf8(bytes).is_ok();
    let (mut count, mut changed) = (0, 0);
    for at in feeds {
        count += 1;
        changed += u32::from(at > 0 && bytes[at - 1] == b'\r');
    }
    // In other binary data, about one line feed in 256 follows a carriage return.
    !is_text && count >= 8 && count == changed
}
