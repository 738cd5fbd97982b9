//! Following events by the HTTP that redaction has parsed has the same result as parsing their bytes again.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::model::event::{PlainEvent, Timestamp, TraceId};
use crate::model::warning::Warnings;
use crate::properties::config;
use crate::redact::{Redaction, Redactor};
use support::secrets::{Choices, Conversation};

/// Whether bytes are complete HTTP/2 frames.
fn are_whole_frames(mut bytes: &[u8]) -> bool {
    while let Some((&[a, b, c, ..], rest)) = bytes.split_first_chunk::<9>() {
        let Some(rest) = rest.get(u32::from_be_bytes([0, a, b, c]) as usize..) else {
            return false;
        };
        bytes = rest;
    }
    bytes.is_empty()
}

/// Follows the events of a connection in both ways. Each has the number of bytes that are missing after it. Returns the
/// number of events in which redaction has parsed HTTP.
fn parsed<'a>(
    events: impl IntoIterator<Item = (Direction, &'a [u8], usize)>,
) -> Result<usize, TestCaseError> {
    let (mut parsing, mut knowing) = (Framing::default(), Framing::default());
    let mut redactor = Redactor::new(Redaction::default());
    let mut count = 0;
    for (direction, payload, missing) in events {
        let event = PlainEvent {
            trace: TraceId::default(),
            time: Timestamp::default(),
            seq_num: None,
            direction,
            payload,
        };
        let mut warnings = Warnings::default();
        let (payload, parsed) = redactor.plain(event, 0, &mut warnings);
        parsing.follow(direction, payload, missing);
        match parsed {
            Some(parsed) if missing == 0 => knowing.follow_parsed(direction, payload, parsed),
            _ => knowing.follow(direction, payload, missing),
        }
        prop_assert!(parsed != Some(Parsed::Frames) || are_whole_frames(payload));
        count += usize::from(parsed.is_some());
        prop_assert_eq!(
            format!("{parsing:?}"),
            format!("{knowing:?}"),
            "{}",
            payload.escape_ascii()
        );
    }
    Ok(count)
}

/// Bytes that are a message, or resemble one.
fn message() -> impl Strategy<Value = String> {
    let first = select(vec![
        "GET / HTTP/1.1",
        "HEAD / HTTP/1.0",
        "CONNECT a:1 HTTP/1.1",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 101 Switching Protocols",
        "\r\nGET / HTTP/1.1",
        " GET / HTTP/1.1",
        "-X / HTTP/1.1",
        "HTTP/1.1",
    ]);
    let field = select(vec![
        "Cookie: a=b",
        "Te: x",
        "Content-Length: 5",
        "content-length:\t7 ",
        "CONTENT-LENGTH: 0",
        "Content-Length : 5",
        "Content-Length: 5x",
        "Transfer-Encoding: chunked",
        "transfer-encoding : gzip",
        " folded",
        "Cookie",
        "content",
        "\r",
    ]);
    let end = select(vec!["\r\n", "\r\n", "\n"]);
    let body = select(vec![
        "",
        "hello",
        "hello, world",
        "5\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ]);
    (first, vec(field, 0..4), end, body).prop_map(|(first, fields, end, body)| {
        let lines = [first].into_iter().chain(fields).chain([""]);
        let head: String = lines.map(|line| format!("{line}{end}")).collect();
        head + body
    })
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn a_parsed_head_is_followed_like_its_bytes(
        messages in vec((message(), 0..8_usize, any::<Index>()), 0..12),
    ) {
        let first = (Direction::Read, &b"GET / HTTP/1.1\r\n\r\n"[..], 0);
        let events = messages.iter().flat_map(|(message, choice, cut)| {
            let is_request = !message.starts_with("HTTP");
            let direction = match is_request ^ (*choice == 0) {
                true => Direction::Read,
                false => Direction::Write,
            };
            let cut = if *choice == 1 { cut.index(message.len()) } else { message.len() };
            let (begin, rest) = message.as_bytes().split_at(cut);
            [(direction, begin, 0), (direction, rest, if *choice == 2 { 3 } else { 0 })]
        });
        parsed([first].into_iter().chain(events))?;
    }

    #[test]
    fn parsed_events_of_a_conversation_are_followed_like_their_bytes(
        seed in any::<u64>(),
        is_cut in any::<bool>(),
    ) {
        let mut choices = Choices(seed);
        let mut conversation = Conversation::new(&mut choices);
        if is_cut {
            conversation.cut(&mut choices);
        }
        parsed(conversation.sent.iter().map(|sent| {
            let direction = if sent.from_client { Direction::Read } else { Direction::Write };
            (direction, &sent.bytes[..], 0)
        }))?;
    }
}

#[test]
fn complete_heads_and_frames_are_parsed() {
    let exchange: [(_, &[u8], _); 3] = [
        (
            Direction::Read,
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            0,
        ),
        (
            Direction::Write,
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            0,
        ),
        (Direction::Write, b"{\"a\": 1}\n", 0),
    ];
    assert_eq!(parsed(exchange).unwrap(), 2);
    // A truncation whose size is an estimate makes the position uncertain, until the next head.
    let head = b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"a\":";
    let truncated: [(_, &[u8], _); 3] = [
        (Direction::Read, head, 2),
        (Direction::Read, head, 2),
        (Direction::Read, b"GET / HTTP/1.1\r\n\r\n", 0),
    ];
    assert_eq!(parsed(truncated).unwrap(), 3);
    let frames: [(_, &[u8], _); 3] = [
        (Direction::Read, PREFACE, 0),
        (Direction::Read, b"\0\0\0\x04\0\0\0\0\0", 0),
        (
            Direction::Read,
            b"\0\0\x02\x01\x05\0\0\0\x01\x82\x84\0\0\x01\x01\x05\0\0\0\x03\x82",
            0,
        ),
    ];
    assert_eq!(parsed(frames).unwrap(), 2);
}
