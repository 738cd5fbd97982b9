//! HTTP messages as HTTP/2 frames: the bytes of one connection, in both directions.
//!
//! Pure; knows neither times nor addresses. HPACK's dynamic table stays empty, so header blocks do not depend on
//! each other, and the order of the traces does not matter.
//!
//! Invariant: the bytes sent stay within the windows that the receiver has advertised.

use bytes::{BufMut, Bytes};

use crate::model::event::{Field, Part, Side};

/// The largest frame payload that needs no setting (RFC 9113, section 4.2), in bytes.
const MAX_FRAME: usize = 16_384;
/// The maximum window size (RFC 9113, section 6.9.1), in bytes.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The window of a connection before any update (RFC 9113, section 6.9.2), in bytes.
const INITIAL_WINDOW: u32 = 65_535;
/// The largest stream id that a client can open (RFC 9113, section 5.1.1).
const MAX_STREAM: u32 = (1 << 31) - 1;
/// The client's connection preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Frame flags (RFC 9113, section 6).
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Settings (RFC 9113, section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A connection: the stream ids it has used, and the state of its windows.
#[derive(Debug)]
pub(super) struct Http2 {
    next_stream: u32,
    /// How much each side may send before the other updates the connection's window, in bytes.
    request_window: u32,
    response_window: u32,
}

/// The stream of one exchange.
#[derive(Debug)]
pub(super) struct Http2Stream {
    id: u32,
    request_window: u32,
    response_window: u32,
}

/// Bytes, and the side that sends them.
pub(super) type Sent = (Side, Bytes);

impl Http2 {
    pub(super) const fn new() -> Self {
        Self {
            next_stream: 1,
            request_window: MAX_WINDOW,
            response_window: MAX_WINDOW,
        }
    }

    /// The bytes that both sides send before the first stream.
    pub(super) fn opening() -> [Sent; 3] {
        let settings = |out: &mut Vec<u8>| {
            let mut settings = Vec::new();
            // No dynamic table, and windows for bodies of any size.
            settings.put_u16(HEADER_TABLE_SIZE);
            settings.put_u32(0);
            settings.put_u16(INITIAL_WINDOW_SIZE);
            settings.put_u32(MAX_WINDOW);
            frame(out, SETTINGS, 0, 0, &settings);
            window_update(out, 0, MAX_WINDOW - INITIAL_WINDOW);
        };
        let mut client = PREFACE.to_vec();
        settings(&mut client);
        let mut server = Vec::new();
        settings(&mut server);
        frame(&mut server, SETTINGS, ACK, 0, &[]);
        let mut ack = Vec::new();
        frame(&mut ack, SETTINGS, ACK, 0, &[]);
        [
            (Side::Request, client.into()),
            (Side::Response, server.into()),
            (Side::Request, ack.into()),
        ]
    }

    /// Whether all stream ids are used.
    pub(super) const fn is_used_up(&self) -> bool {
        self.next_stream > MAX_STREAM
    }

    /// Opens a stream; returns `None` if all stream ids are used.
    pub(super) fn stream(&mut self) -> Option<Http2Stream> {
        if self.is_used_up() {
            return None;
        }
        let id = self.next_stream;
        self.next_stream += 2;
        Some(Http2Stream {
            id,
            request_window: MAX_WINDOW,
            response_window: MAX_WINDOW,
        })
    }

    /// The bytes of a part of a message; `last` ends the side's stream.
    pub(super) fn part(
        &mut self,
        stream: &mut Http2Stream,
        side: Side,
        part: &Part,
        last: bool,
    ) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut out = Vec::new();
        match part {
            // Trailers always end the stream.
            Part::Headers(fields) => header_block(&mut out, stream.id, fields, last),
            Part::Trailers(fields) => header_block(&mut out, stream.id, fields, true),
            Part::Body { payload, .. } => {
                self.widen(stream, side, payload.len(), &mut sent);
                let mut rest = &payload[..];
                // An end without bytes still needs a frame.
                while !rest.is_empty() || (last && out.is_empty()) {
                    let (chunk, after) = rest.split_at(rest.len().min(MAX_FRAME));
                    let end = if last && after.is_empty() {
                        END_STREAM
                    } else {
                        0
                    };
                    frame(&mut out, DATA, end, stream.id, chunk);
                    rest = after;
                }
            }
        }
        if !out.is_empty() {
            sent.push((side, out.into()));
        }
        sent
    }

    /// Makes the other side update its windows if `side` cannot send `len` bytes.
    fn widen(&mut self, stream: &mut Http2Stream, side: Side, len: usize, sent: &mut Vec<Sent>) {
        let (connection, own, receiver) = match side {
            Side::Request => (
                &mut self.request_window,
                &mut stream.request_window,
                Side::Response,
            ),
            Side::Response => (
                &mut self.response_window,
                &mut stream.response_window,
                Side::Request,
            ),
        };
        // A part is one protobuf field, which is smaller than the largest window.
        let len = u32::try_from(len).unwrap_or(MAX_WINDOW);
        let mut out = Vec::new();
        for (id, window) in [(0, connection), (stream.id, own)] {
            if *window < len {
                window_update(&mut out, id, MAX_WINDOW - *window);
                *window = MAX_WINDOW;
            }
            *window = window.saturating_sub(len);
        }
        if !out.is_empty() {
            sent.push((receiver, out.into()));
        }
    }
}

/// Writes a frame (RFC 9113, section 4.1).
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Every payload is at most MAX_FRAME, which fits into the 24 bits.
    out.put_uint(payload.len() as u64, 3);
    out.put_slice(&[kind, flags]);
    out.put_u32(stream);
    out.put_slice(payload);
}

fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    frame(out, WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Writes header fields as HEADERS and as many CONTINUATIONs as needed.
fn header_block(out: &mut Vec<u8>, stream: u32, fields: &[Field], end_stream: bool) {
    let mut block = Vec::new();
    // Pseudo-headers come first (RFC 9113, section 8.3), whatever their position in the trace.
    let is_pseudo = |field: &&Field| field.name.starts_with(b":");
    for field in fields.iter().filter(is_pseudo) {
        hpack(&mut block, field);
    }
    for field in fields.iter().filter(|field| !is_pseudo(field)) {
        hpack(&mut block, field);
    }
    let mut rest = &block[..];
    let mut kind = HEADERS;
    let mut flags = if end_stream { END_STREAM } else { 0 };
    loop {
        let (fragment, after) = rest.split_at(rest.len().min(MAX_FRAME));
        if after.is_empty() {
            flags |= END_HEADERS;
        }
        frame(out, kind, flags, stream, fragment);
        if after.is_empty() {
            return;
        }
        (kind, flags, rest) = (CONTINUATION, 0, after);
    }
}

/// Writes a literal field without indexing and with a new name (RFC 7541, section 6.2.2).
///
/// The crates that encode HPACK use the dynamic table, which would make each stream depend on earlier ones.
/// Without indexing, this is all that remains.
fn hpack(block: &mut Vec<u8>, field: &Field) {
    block.put_u8(0);
    for string in [&field.name, &field.value] {
        hpack_len(block, string.len());
        block.put_slice(string);
    }
}

/// Writes the length of a string without Huffman coding: an integer with a prefix of seven bits (RFC 7541,
/// sections 5.1 and 5.2).
fn hpack_len(block: &mut Vec<u8>, len: usize) {
    const PREFIX_MAX: usize = (1 << 7) - 1;
    if len < PREFIX_MAX {
        block.put_u8(len as u8);
        return;
    }
    block.put_u8(PREFIX_MAX as u8);
    let mut rest = len - PREFIX_MAX;
    while rest >= 0x80 {
        block.put_u8(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    block.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: &[u8]) -> Field {
        Field {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::copy_from_slice(value),
        }
    }

    /// Type, flags, stream id and length of each frame in `bytes`.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, usize)> {
        let mut frames = Vec::new();
        while let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = bytes {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            frames.push((*kind, *flags, u32::from_be_bytes([*d, *e, *f, *g]), len));
            bytes = &rest[len..];
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn a_field_is_the_literal_of_rfc_7541() {
        // Appendix C.2.2 has ":path: /sample/path" with an indexed name; this is the same with a literal name.
        let mut block = Vec::new();
        hpack(&mut block, &field(":path", b"/sample/path"));
        assert_eq!(block, b"\x00\x05:path\x0c/sample/path");
        // The 1337 of appendix C.1.2 has a prefix of five bits; with seven it is 127 + 1210.
        let mut block = Vec::new();
        hpack_len(&mut block, 1337);
        assert_eq!(block, [127, 0x80 | (1210 & 0x7f) as u8, (1210 >> 7) as u8]);
        for (len, expected) in [(126, vec![126]), (127, vec![127, 0]), (254, vec![127, 127])] {
            let mut block = Vec::new();
            hpack_len(&mut block, len);
            assert_eq!(block, expected, "{len}");
        }
    }

    #[test]
    fn long_headers_continue_and_long_bodies_split() {
        let mut http2 = Http2::new();
        let mut stream = http2.stream().unwrap();
        let long = Part::Headers(vec![field("x", &[b'a'; 40_000]), field(":method", b"GET")]);
        let sent = http2.part(&mut stream, Side::Request, &long, false);
        let [(Side::Request, bytes)] = &sent[..] else {
            panic!("{sent:?}")
        };
        let seen: Vec<_> = frames(bytes).iter().map(|f| (f.0, f.1, f.2)).collect();
        assert_eq!(
            seen,
            [
                (HEADERS, 0, 1),
                (CONTINUATION, 0, 1),
                (CONTINUATION, END_HEADERS, 1)
            ]
        );
        assert_eq!(&bytes[9..18], b"\0\x07:method", "pseudo-headers first");

        let body = |len| Part::Body {
            payload: vec![0; len].into(),
            truncated: false,
            as_string: false,
        };
        let cases = [
            (
                40_000,
                true,
                vec![
                    (DATA, 0, 1, 16_384),
                    (DATA, 0, 1, 16_384),
                    (DATA, 1, 1, 7_232),
                ],
            ),
            (16_384, true, vec![(DATA, 1, 1, 16_384)]),
            (0, true, vec![(DATA, 1, 1, 0)]),
        ];
        for (len, last, expected) in cases {
            let sent = http2.part(&mut stream, Side::Response, &body(len), last);
            assert_eq!(frames(&sent[0].1), expected, "{len}");
        }
        assert!(
            http2
                .part(&mut stream, Side::Response, &body(0), false)
                .is_empty()
        );
        assert_eq!(http2.stream().unwrap().id, 3);
    }

    #[test]
    fn windows_are_widened_before_they_are_used_up() {
        let mut http2 = Http2::new();
        let mut stream = http2.stream().unwrap();
        http2.response_window = 10;
        stream.response_window = 100;
        let body = Part::Body {
            payload: vec![0; 50].into(),
            truncated: false,
            as_string: false,
        };
        let sent = http2.part(&mut stream, Side::Response, &body, false);
        assert_eq!(sent[0].0, Side::Request);
        assert_eq!(frames(&sent[0].1), [(WINDOW_UPDATE, 0, 0, 4)]);
        assert_eq!(
            (http2.response_window, stream.response_window),
            (MAX_WINDOW - 50, 50)
        );
        let sent = http2.part(&mut stream, Side::Response, &body, false);
        assert_eq!(sent.len(), 1, "both windows have room");
    }

    #[test]
    fn stream_ids_end_with_the_last_odd_one() {
        let mut http2 = Http2 {
            next_stream: MAX_STREAM,
            ..Http2::new()
        };
        assert_eq!(http2.stream().unwrap().id, MAX_STREAM);
        assert!(http2.stream().is_none());
    }
}
