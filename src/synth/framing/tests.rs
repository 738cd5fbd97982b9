use super::*;
use Direction::{Read, Write};

/// The bytes of a frame with so much payload, all of it 7.
fn frame(kind: u8, stream: u8, len: usize) -> Vec<u8> {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, stream];
    frame.resize(frame.len() + len, 7);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// What is missing at least after the last of the events, where nothing is missing before.
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
    // Wherever it is cut, what is missing is the rest of the frame (of the preface, of a header).
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
        // The same where the bytes come in two events, or one by one.
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
fn a_server_is_known_by_its_client_and_the_client_by_its_server() {
    let client = [PREFACE, &frame(SETTINGS, 0, 18)].concat();
    let data = frame(DATA, 1, 5000);
    assert_eq!(missing(&[(Write, &client), (Read, &data[..100])]), 4909);
    let settings = frame(SETTINGS, 0, 18);
    assert_eq!(missing(&[(Read, &settings[..9])]), 18);
    assert_eq!(missing(&[(Read, &settings), (Write, &client[..9])]), 15);
    // The first bytes of the client showed nothing: where a frame begins, it is found again.
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
    // Bytes that are no frame lose the place, and a frame finds it.
    framing.follow(Write, b"HTTP/2 has no such frame", 0);
    assert_eq!(framing.missing_after(Write, b"nor this one"), 1);
    framing.follow(Write, b"nor this one", 1);
    assert_eq!(framing.missing_after(Write, &data[..2009]), 7000);
    // More is missing than the frame, so the place is not known; less, and it is.
    framing.follow(Write, &data[..2009], 7001);
    assert_eq!(framing.missing_after(Write, b"\x07\x07\x07"), 1);
    framing.follow(Write, &data[..2009], 6000);
    assert_eq!(framing.missing_after(Write, &data[9..509]), 500);
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn http1_messages_say_what_a_cut_lacks() {
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let long = format!(
        "X: {}\r\nContent-Length: 30\r\nY: {0}\r\n",
        "a".repeat(5000)
    );
    let cases = [
        // A body by its length, in any spelling.
        (ok("Content-Length: 100\r\n", "0123456789"), 90),
        (ok("content-length:100\r\n", ""), 100),
        (ok("A: b\r\nCONTENT-LENGTH: \t100 \r\n", "1"), 99),
        (ok(&long, "1"), 29),
        // Without one, or with one that cannot be: to the end of the connection.
        (ok("A: b\r\n", "0123456789"), 1),
        (ok("Content-Length: -5\r\n", "0123456789"), 1),
        (ok("Content-Length: 5\r\nContent-Length: 6\r\n", "01234"), 1),
        (ok("Content-Length: 18446744073709551615\r\n", "0"), 1),
        (ok("Content-Length: 99999999999999999999\r\n", "0"), 1),
        // Two spellings of the same.
        (ok("Content-Length: 5\r\nContent-Length: 05\r\n", "0"), 4),
        // A chunk, and the end of its line.
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
        // A head that is not complete.
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
        // What has no body, whatever its head says.
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n".into(),
            1,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n".into(),
            2,
        ),
        // Another message after it.
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
        // No HTTP after all.
        (ok("Content-Length: 3\r\n", "abc and something else\r\n"), 1),
    ];
    for (answer, expected) in cases {
        let answer = answer.as_bytes();
        let events = [(Read, GET), (Write, answer)];
        let shown = answer.escape_ascii();
        assert_eq!(missing(&events), expected, "{shown}");
        // The same where the answer comes in two events, cut anywhere.
        for at in 12..answer.len() {
            let (begin, rest) = answer.split_at(at);
            let events = [(Read, GET), (Write, begin), (Write, rest)];
            assert_eq!(missing(&events), expected, "{shown}, in two at {at}");
        }
        // The request may be unknown.
        assert_eq!(missing(&[(Write, answer)]), expected, "{shown}");
    }
}

#[test]
fn a_request_says_how_long_its_answer_is() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let connect = b"CONNECT a:443 HTTP/1.1\r\n\r\n";
    assert_eq!(missing(&[(Read, GET), (Write, answer)]), 500);
    assert_eq!(missing(&[(Read, head), (Write, answer)]), 1);
    assert_eq!(missing(&[(Read, connect), (Write, answer)]), 1);
    // In their order, also where several are asked at once, and with answers that are not the last.
    let asked = [GET, head, GET].concat();
    let early = [&b"HTTP/1.1 103 Early\r\n\r\n"[..], answer, &[7; 500]].concat();
    let events = [(Read, &asked[..]), (Write, &early), (Write, answer)];
    assert_eq!(missing(&events), 1, "the answer to HEAD");
    let events = [&events[..], &[(Write, &answer[..])]].concat();
    assert_eq!(missing(&events), 500, "the one after it");
    // A request that is cut has a method all the same.
    let mut framing = Framing::default();
    let cut = b"HEAD /path";
    let known = framing.missing_after(Read, cut);
    assert_eq!(known, 4);
    framing.follow(Read, cut, known);
    assert_eq!(framing.missing_after(Write, answer), 1);
    // More requests than are kept: an answer to GET is expected for those.
    let many = [head.repeat(1000), GET.to_vec()].concat();
    let mut framing = Framing::default();
    framing.follow(Read, &many, 0);
    for _ in 0..32 {
        framing.follow(Write, answer, 0);
    }
    assert_eq!(framing.missing_after(Write, answer), 500);
}

#[test]
fn after_a_cut_http1_goes_on_where_a_message_begins() {
    let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n12345";
    let mut framing = Framing::default();
    framing.follow(Write, begin, 4995);
    assert_eq!(framing.missing_after(Write, begin), 4995, "the next answer");
    // It was not all that was missing: what follows is no message, up to one that is.
    framing.follow(Write, begin, 4995);
    framing.follow(Write, b"more of the body\r\n", 1);
    assert_eq!(framing.missing_after(Write, b"and more"), 1);
    assert_eq!(framing.missing_after(Write, begin), 4995);
    // A body is too long for one event: it goes on, as long as no message begins.
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n";
    let known = framing.missing_after(Write, long);
    assert_eq!(known, 1);
    framing.follow(Write, long, known);
    assert_eq!(framing.missing_after(Write, &[7; 1024]), 1);
    framing.follow(Write, &[7; 1024], 1);
    assert_eq!(framing.missing_after(Write, begin), 4995);
    // A chunk is cut, and the next event begins another one, or another message.
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n123";
    let known = framing.missing_after(Write, chunked);
    assert_eq!(known, 0x1000 - 3 + 2);
    framing.follow(Write, chunked, known);
    assert_eq!(framing.missing_after(Write, b"10\r\n0"), 17);
    assert_eq!(framing.missing_after(Write, begin), 4995);
}

#[test]
fn what_is_not_http_lacks_a_byte() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00";
    assert_eq!(missing(&[(Read, hello)]), 1);
    assert_eq!(missing(&[(Read, b"")]), 1);
    // After a few events without it, HTTP is not looked for.
    let mut events = vec![(Read, &hello[..]); usize::from(MAX_TRIES) - 1];
    let answer = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..];
    events.push((Write, answer));
    assert_eq!(missing(&events), 5);
    events.insert(0, (Read, hello));
    assert_eq!(missing(&events), 1);
    // Events without bytes do not count.
    let empty = [vec![(Read, &b""[..]); 100], vec![(Write, answer)]].concat();
    assert_eq!(missing(&empty), 5);
    // Nor is it looked for after the connection has become something else.
    let upgrade = &b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..];
    assert_eq!(missing(&[(Write, upgrade), (Write, answer)]), 1);
    assert_eq!(missing(&[(Write, upgrade), (Read, GET)]), 1);
}

/// Bytes without sense lose the place and nothing else.
#[test]
fn noise_is_followed_without_harm() {
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
