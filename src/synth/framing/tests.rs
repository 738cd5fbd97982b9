//! Estimates of the missing bytes after truncations in HTTP/1, HTTP/2 and other protocols.

use super::*;
use Direction::{Read, Write};

/// A frame with a payload of `len` bytes, each of which is 7.
fn frame(kind: u8, stream: u8, len: usize) -> Vec<u8> {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, stream];
    frame.resize(frame.len() + len, 7);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// The minimum number of bytes missing after the last of the events, if nothing is missing before.
#[track_caller]
fn missing(events: &[(Direction, &[u8])]) -> usize {
    let (last, before) = events.split_last().unwrap();
    let mut framing = Framing::default();
    for (direction, payload) in before {
        framing.follow(*direction, payload, 0);
    }
    framing.missing_after(last.0, last.1)
}

#[test]
fn http2_frames_are_followed_through_events() {
    let client = [
        PREFACE,
        &frame(SETTINGS, 0, 18),
        &frame(HEADERS, 1, 50),
        &frame(DATA, 1, 1000),
    ]
    .concat();
    let len = client.len();
    // At any position, the rest of the frame, the preface or the header is missing.
    let ends = [24, 24 + 27, 24 + 27 + 59, len];
    for cut in 5..len {
        let end = ends.into_iter().find(|&end| end > cut).unwrap();
        let begin = ends.into_iter().rfind(|&end| end <= cut).unwrap_or(0);
        let expected = match cut - begin {
            0 if begin > 0 => 1,
            // Only the header is known to be missing.
            have @ 1..3 if begin > 0 => 9 - have,
            _ => end - cut,
        };
        assert_eq!(missing(&[(Read, &client[..cut])]), expected, "{cut}");
        // The same in two events, and byte by byte.
        for at in [5, 16, 23, 24, 30, 52, 53, 60, cut - 1] {
            if (5..cut).contains(&at) {
                let (begin, rest) = client[..cut].split_at(at);
                let events = [(Read, begin), (Read, rest)];
                assert_eq!(missing(&events), expected, "{cut}, in two events at {at}");
            }
        }
        let mut events = vec![(Read, &client[..5])];
        events.extend(client[5..cut].chunks(1).map(|byte| (Read, byte)));
        assert_eq!(missing(&events), expected, "{cut}, byte by byte");
    }
}

#[test]
fn either_side_shows_that_a_connection_is_http2() {
    let client = [PREFACE, &frame(SETTINGS, 0, 18)].concat();
    let data = frame(DATA, 1, 5000);
    assert_eq!(missing(&[(Write, &client), (Read, &data[..100])]), 4909);
    let settings = frame(SETTINGS, 0, 18);
    assert_eq!(missing(&[(Read, &settings[..9])]), 18);
    assert_eq!(missing(&[(Read, &settings), (Write, &client[..9])]), 15);
    // The client's first bytes are too short to show a protocol. The next event that begins with a frame does.
    let events = [
        (Read, &b"PRI"[..]),
        (Write, &settings),
        (Read, &data[..2000]),
    ];
    assert_eq!(missing(&events), 3009);
}

#[test]
fn after_an_estimate_the_next_event_begins_a_frame() {
    let settings = frame(SETTINGS, 0, 18);
    let data = frame(DATA, 1, 9000);
    let mut framing = Framing::default();
    framing.follow(Write, &settings, 0);
    for _ in 0..3 {
        let known = framing.missing_after(Write, &data[..1024]);
        assert_eq!(known, 9009 - 1024);
        framing.follow(Write, &data[..1024], known);
    }
    // After bytes that are not a frame, the position is unknown until an event begins with one.
    framing.follow(Write, b"HTTP/2 has no such frame", 0);
    assert_eq!(framing.missing_after(Write, b"nor this one"), 1);
    framing.follow(Write, b"nor this one", 1);
    assert_eq!(framing.missing_after(Write, &data[..2009]), 7000);
    // If more bytes are missing than the frame has, the position is unknown; if fewer are, it is known.
    framing.follow(Write, &data[..2009], 7001);
    assert_eq!(framing.missing_after(Write, b"\x07\x07\x07"), 1);
    framing.follow(Write, &data[..2009], 6000);
    assert_eq!(framing.missing_after(Write, &data[9..509]), 500);
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn http1_messages_determine_the_missing_bytes() {
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let long = format!(
        "X: {}\r\nContent-Length: 30\r\nY: {0}\r\n",
        "a".repeat(5000)
    );
    let cases = [
        // A body with a Content-Length, in any spelling.
        (ok("Content-Length: 100\r\n", "0123456789"), 90),
        (ok("content-length:100\r\n", ""), 100),
        (ok("A: b\r\nCONTENT-LENGTH: \t100 \r\n", "1"), 99),
        (ok(&long, "1"), 29),
        // Without a Content-Length, or with an invalid one, a body ends with the connection.
        (ok("A: b\r\n", "0123456789"), 1),
        (ok("Content-Length: -5\r\n", "0123456789"), 1),
        (ok("Content-Length: 5\r\nContent-Length: 6\r\n", "01234"), 1),
        (ok("Content-Length: 18446744073709551615\r\n", "0"), 1),
        (ok("Content-Length: 99999999999999999999\r\n", "0"), 1),
        // Two spellings of the same length.
        (ok("Content-Length: 5\r\nContent-Length: 05\r\n", "0"), 4),
        // A chunk, and the line end after it.
        (ok("Transfer-Encoding: chunked\r\n", "10\r\n0123"), 12 + 2),
        (
            ok(
                "transfer-encoding: gzip, Chunked\r\n",
                "3;x=y\r\nabc\r\n10\r\n0",
            ),
            15 + 2,
        ),
        (
            ok(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "10\r\n0",
            ),
            15 + 2,
        ),
        (ok("Transfer-Encoding: chunked\r\n", "3\r\nabc\r"), 1),
        (ok("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"), 1),
        (ok("Transfer-Encoding: chunked\r\n", "1f"), 1),
        (ok("Transfer-Encoding: chunked\r\n", "1f\r"), 1 + 0x1f + 2),
        (ok("Transfer-Encoding: chunked\r\n", "1f;x"), 2 + 0x1f + 2),
        (ok("Transfer-Encoding: chunked\r\n", "0\r\nTrailer"), 1),
        (ok("Transfer-Encoding: chunked\r\n", "xyz\r\nabc"), 1),
        (ok("Transfer-Encoding: gzip\r\n", "abc"), 1),
        // An incomplete head.
        ("HTTP/1.1 200".into(), 4),
        ("HTTP/1.1 200 OK\r".into(), 3),
        ("HTTP/1.1 200 OK\r\n".into(), 2),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n".into(), 12),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r".into(), 11),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nSer".into(), 14),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10".into(), 4),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n".into(),
            7,
        ),
        // Responses that have no body in spite of their Content-Length.
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n".into(),
            1,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n".into(),
            2,
        ),
        // Another message after the first.
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1".into(),
            8,
        ),
        (
            ok(
                "Content-Length: 3\r\n",
                "abcHTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n1",
            ),
            4,
        ),
        (
            ok(
                "Transfer-Encoding: chunked\r\n",
                "1\r\na\r\n0\r\nT: x\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n1",
            ),
            4,
        ),
        // Bytes after a body that are not a message.
        (ok("Content-Length: 3\r\n", "abc and something else\r\n"), 1),
    ];
    for (answer, expected) in cases {
        let answer = answer.as_bytes();
        let events = [(Read, GET), (Write, answer)];
        let shown = answer.escape_ascii();
        assert_eq!(missing(&events), expected, "{shown}");
        // The same in two events.
        for at in 12..answer.len() {
            let (begin, rest) = answer.split_at(at);
            let events = [(Read, GET), (Write, begin), (Write, rest)];
            assert_eq!(missing(&events), expected, "{shown}, in two at {at}");
        }
        // The same without the request.
        assert_eq!(missing(&[(Write, answer)]), expected, "{shown}");
    }
}

#[test]
fn the_request_determines_the_length_of_its_response() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let connect = b"CONNECT a:443 HTTP/1.1\r\n\r\n";
    assert_eq!(missing(&[(Read, GET), (Write, answer)]), 500);
    assert_eq!(missing(&[(Read, head), (Write, answer)]), 1);
    assert_eq!(missing(&[(Read, connect), (Write, answer)]), 1);
    // Responses are matched to requests in order, also to pipelined ones, and after an interim response.
    let asked = [GET, head, GET].concat();
    let early = [&b"HTTP/1.1 103 Early\r\n\r\n"[..], answer, &[7; 500]].concat();
    let events = [(Read, &asked[..]), (Write, &early), (Write, answer)];
    assert_eq!(missing(&events), 1, "the answer to HEAD");
    let events = [&events[..], &[(Write, &answer[..])]].concat();
    assert_eq!(missing(&events), 500, "the one after it");
    // A truncated request has a method, too.
    let mut framing = Framing::default();
    let cut = b"HEAD /path";
    let known = framing.missing_after(Read, cut);
    assert_eq!(known, 4);
    framing.follow(Read, cut, known);
    assert_eq!(framing.missing_after(Write, answer), 1);
    // The methods of only 32 requests are kept. Later responses are assumed to be those to GET.
    let many = [head.repeat(1000), GET.to_vec()].concat();
    let mut framing = Framing::default();
    framing.follow(Read, &many, 0);
    for _ in 0..32 {
        framing.follow(Write, answer, 0);
    }
    assert_eq!(framing.missing_after(Write, answer), 500);
}

#[test]
fn after_a_truncation_http1_continues_at_the_next_message() {
    let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n12345";
    let mut framing = Framing::default();
    framing.follow(Write, begin, 4995);
    assert_eq!(framing.missing_after(Write, begin), 4995, "the next answer");
    // More bytes were missing than estimated. The position is unknown until an event begins with a message.
    framing.follow(Write, begin, 4995);
    framing.follow(Write, b"more of the body\r\n", 1);
    assert_eq!(framing.missing_after(Write, b"and more"), 1);
    assert_eq!(framing.missing_after(Write, begin), 4995);
    // A body that is too long for one event continues until an event begins with a message.
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n";
    let known = framing.missing_after(Write, long);
    assert_eq!(known, 1);
    framing.follow(Write, long, known);
    assert_eq!(framing.missing_after(Write, &[7; 1024]), 1);
    framing.follow(Write, &[7; 1024], 1);
    assert_eq!(framing.missing_after(Write, begin), 4995);
    // After a truncated chunk, the next event begins with another chunk, or with another message.
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n123";
    let known = framing.missing_after(Write, chunked);
    assert_eq!(known, 0x1000 - 3 + 2);
    framing.follow(Write, chunked, known);
    assert_eq!(framing.missing_after(Write, b"10\r\n0"), 17);
    assert_eq!(framing.missing_after(Write, begin), 4995);
}

#[test]
fn a_truncation_of_another_protocol_lacks_at_least_one_byte() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00";
    assert_eq!(missing(&[(Read, hello)]), 1);
    assert_eq!(missing(&[(Read, b"")]), 1);
    // After a few events without HTTP, HTTP is no longer searched for.
    let mut events = vec![(Read, &hello[..]); usize::from(MAX_TRIES) - 1];
    let answer = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..];
    events.push((Write, answer));
    assert_eq!(missing(&events), 5);
    events.insert(0, (Read, hello));
    assert_eq!(missing(&events), 1);
    // Events without bytes do not count.
    let empty = [vec![(Read, &b""[..]); 100], vec![(Write, answer)]].concat();
    assert_eq!(missing(&empty), 5);
    // HTTP is not searched for after a switch to another protocol.
    let upgrade = &b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..];
    assert_eq!(missing(&[(Write, upgrade), (Write, answer)]), 1);
    assert_eq!(missing(&[(Write, upgrade), (Read, GET)]), 1);
}

/// The estimate stays within its limits.
#[test]
fn random_bytes_only_lose_the_position() {
    let mut state = 1;
    let mut random = |limit: u64| {
        state = super::super::mix(state);
        state % limit
    };
    let begins: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 300\r\n\r\n",
        PREFACE,
        b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff",
    ];
    for round in 0..5_000 {
        let mut framing = Framing::default();
        framing.follow(Read, begins[round % 4], 0);
        for _ in 0..8 {
            let direction = if random(2) == 0 { Read } else { Write };
            let len = random(60);
            let some = b"\r\n0;: 1\0\0\x01\x04\x09HTTP/1.1 200 OK\r\nGET / \xff\r\n\r\n";
            let payload: Vec<u8> = (0..len)
                .map(|_| some[random(some.len() as u64) as usize])
                .collect();
            let missing = framing.missing_after(direction, &payload);
            assert!((1..=MAX_ESTIMATE as usize).contains(&missing), "{missing}");
            let skipped = [0, 0, missing, 1, usize::MAX][random(5) as usize];
            framing.follow(direction, &payload, skipped);
        }
    }
}
