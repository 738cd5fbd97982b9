use super::*;
use crate::model::event::{Direction, Gap, GapKind};

mod conversations;
mod losses;

const READ: Direction = Direction::Read;
const WRITE: Direction = Direction::Write;

/// The redacted payloads of `events`, and the warnings.
fn redacted(redaction: &Redaction, events: &[Event]) -> (Vec<Vec<u8>>, Warnings) {
    let mut warnings = Warnings::default();
    let mut redactor = Redactor::new(redaction.clone());
    let payloads = events.iter().map(|event| {
        let after = redactor.event(event, &mut warnings);
        let (direction, payload) = after.payload().unwrap();
        let (before, original) = event.payload().unwrap();
        assert_eq!((direction, payload.len()), (before, original.len()));
        payload.to_vec()
    });
    (payloads.collect(), warnings)
}

#[test]
fn the_remark_counts_the_fields_that_it_does_not_name() {
    let remark = |count: usize| {
        let names: Vec<_> = (0..count).map(|i| format!("x-{i}")).collect();
        let names = names.join(",").parse().unwrap();
        let bodies = false;
        Redaction { names, bodies }.to_string()
    };
    let named = MAX_NAMED - names::DEFAULT_NAMES.len();
    assert!(remark(named).ends_with(", x-6"));
    assert!(remark(named + 1).ends_with(", x-6, … and 1 more field"));
    assert!(remark(named + 2).ends_with(", x-6, … and 2 more fields"));
}

/// What becomes of events, and how many bytes of them were overwritten because their place is unknown.
fn shown(events: &[Event]) -> (Vec<String>, u64) {
    let (payloads, warnings) = redacted(&Redaction::default(), events);
    let whole = warnings
        .tallies()
        .find(|tally| tally.first.kind == WarningKind::OverwrittenWhole);
    let text = |payload: &Vec<u8>| payload.escape_ascii().to_string();
    (
        payloads.iter().map(text).collect(),
        whole.map_or(0, |tally| tally.bytes),
    )
}

fn cut(mut event: Event, missing: Option<u64>) -> Event {
    event.missing = missing;
    if let What::Data { truncated, .. } = &mut event.what {
        *truncated = true;
    }
    event
}

fn after_gap(mut event: Event, bytes: u64, direction: Option<Direction>) -> Event {
    event.gap = Some(Box::new(Gap {
        bytes,
        direction,
        kind: GapKind::Lost,
    }));
    event
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nContent-Length: 10\r\n\r\n0123";

const STARRED: &str = "HTTP/1.1 200 OK\\r\\nSet-Cookie: *\\r\\nContent-Length: 10\\r\\n\\r\\n0123";

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[test]
fn an_answer_without_its_request_has_no_known_end() {
    let both = [ANSWER, b"456789", ANSWER].concat();
    let (payloads, _) = shown(&[Event::of_bytes(WRITE, &both)]);
    assert_eq!(payloads[0].matches("Cookie: *").count(), 1);
    assert!(!payloads[0].contains("Cookie: a"), "{payloads:?}");
    // A HEAD request's answer has no body.
    let head = Event::of_bytes(READ, b"HEAD / HTTP/1.1\r\n\r\n");
    let answers = [&ANSWER[..ANSWER.len() - 4], ANSWER].concat();
    let (payloads, whole) = shown(&[
        head,
        Event::of_bytes(READ, GET),
        Event::of_bytes(WRITE, &answers),
    ]);
    assert_eq!(payloads[2].matches("Cookie: *").count(), 2);
    assert_eq!(whole, 0);
}

#[test]
fn what_smuggles_requests_is_overwritten() {
    for head in [
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n 3\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "GET / HTTP/1.1\r\nno field\r\n",
    ] {
        let bytes = format!("{head}GET / HTTP/1.1\r\nCookie: secret\r\n\r\n");
        for at in 20..bytes.len() {
            let (begin, rest) = bytes.as_bytes().split_at(at);
            let (payloads, _) = shown(&[Event::of_bytes(READ, begin), Event::of_bytes(READ, rest)]);
            let all = payloads.concat();
            assert!(!all.contains("secret"), "{all}");
        }
    }
}

#[test]
fn a_short_line_without_a_colon_is_no_field() {
    for line in ["a", "ab", "abc"] {
        for end in ["\n", "\r\n"] {
            let bytes = format!("GET / HTTP/1.1\r\n{line}{end}b: c\r\n\r\n");
            let (payloads, whole) = shown(&[Event::of_bytes(READ, bytes.as_bytes())]);
            // With a CR, it has four bytes, which are not among those of a name.
            let is_passed = line.len() + end.len() > 4;
            let expected = if is_passed { 0 } else { bytes.len() - 16 };
            assert_eq!(whole as usize, expected, "{payloads:?}");
        }
    }
}

#[test]
fn what_is_no_http_is_reported_once_or_overwritten() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00";
    let events = [
        Event::of_bytes(READ, hello),
        Event::of_bytes(WRITE, hello),
        Event::of_bytes(READ, hello),
    ];
    let (payloads, warnings) = redacted(&Redaction::default(), &events);
    assert!(payloads.iter().all(|payload| payload == hello));
    assert_eq!(warnings.count(WarningKind::NotRedacted), 1);
    let bodies = Redaction {
        bodies: true,
        ..Redaction::default()
    };
    let (payloads, warnings) = redacted(&bodies, &events);
    assert!(payloads.iter().all(|payload| payload == b"*******"));
    assert_eq!(warnings.tallies().count(), 0);
    // One in which a field's name is found is no such connection, nor one whose beginning is missing.
    let (payloads, whole) = shown(&[
        Event::of_bytes(READ, b"RTSP\r\nauthorization: x\r\n"),
        Event::of_bytes(READ, hello),
    ]);
    assert_eq!(whole as usize, 24 + hello.len());
    assert!(!payloads.concat().contains('x'), "{payloads:?}");
    let (_, whole) = shown(&[after_gap(Event::of_bytes(READ, hello), 3, Some(READ))]);
    assert_eq!(whole as usize, hello.len());
    // After an upgrade, or through a proxy, it is another connection.
    let upgrade = Event::of_bytes(
        WRITE,
        b"HTTP/1.1 101 Switching Protocols\r\nSet-Cookie: x\r\n\r\n\x81\x01x",
    );
    let (payloads, warnings) = redacted(
        &Redaction::default(),
        &[Event::of_bytes(READ, GET), upgrade],
    );
    assert!(payloads[1].ends_with(b"Cookie: *\r\n\r\n\x81\x01x"));
    assert_eq!(warnings.count(WarningKind::NotRedacted), 1);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u8;
    [&[0, 0, len, kind, flags, 0, 0, 0, stream], payload].concat()
}

const PREFACE: &[u8] = crate::model::protocol::PREFACE;

/// A cookie with its name by index, not indexed.
const COOKIE: &[u8] = b"\x0f\x11\x06secret";

#[test]
fn header_blocks_that_cannot_be_followed_are_overwritten_whole() {
    let settings = frame(4, 0, 0, b"");
    for wrong in [
        // An index that there is not, in two forms, a size that is not allowed, and one in the wrong place.
        &b"\xbe"[..],
        b"\x7e\x01a",
        b"\x3f\xe2\x1f",
        b"\x82\x20",
        b"\x00\x01a\x01b\x20",
        // An integer without an end, a string that is none, and a field that is cut.
        b"\xff\x80\x80\x80\x80\x80\x01",
        b"\x40\x81\x00\x01a",
        b"\x40\x01a\x05a",
    ] {
        let events = [
            Event::of_bytes(READ, &[PREFACE, &settings].concat()),
            Event::of_bytes(READ, &frame(1, 5, 1, &[b"\x82", COOKIE].concat())),
            Event::of_bytes(READ, &frame(1, 5, 3, wrong)),
            Event::of_bytes(READ, &frame(1, 5, 5, &[b"\x82", COOKIE].concat())),
            Event::of_bytes(READ, &frame(0, 1, 5, b"body")),
        ];
        let (payloads, warnings) = redacted(&Redaction::default(), &events);
        assert_eq!(payloads[1][9..], *b"\x82\x0f\x11\x06******");
        assert_eq!(payloads[3][9..], [0xaf; 10], "{wrong:?}");
        assert_eq!(payloads[4], frame(0, 1, 5, b"body"));
        assert!(warnings.count(WarningKind::OverwrittenWhole) > 0);
    }
}

#[test]
fn an_index_of_two_bytes_is_no_indexed_field_of_one() {
    let added = frame(1, 5, 1, &b"\x40\x01a\x01b".repeat(35));
    let settings = frame(4, 0, 0, b"");
    let (payloads, whole) = shown(&[
        Event::of_bytes(READ, &[PREFACE, &settings, &added, &added].concat()),
        Event::of_bytes(READ, &frame(1, 5, 3, &[b"\xff\x04", COOKIE].concat())),
    ]);
    assert!(
        payloads[1].ends_with("\\xff\\x04\\x0f\\x11\\x06******"),
        "{payloads:?}"
    );
    assert_eq!(whole, 0);
}

#[test]
fn bodies_are_overwritten_and_what_says_where_they_end_is_not() {
    let bodies = Redaction {
        bodies: true,
        ..Redaction::default()
    };
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: a\r\n\r\n";
    let h2 = [
        PREFACE,
        &frame(4, 0, 0, b""),
        &frame(1, 4, 1, b"\x82"),
        &frame(0, 8, 1, b"\x01body\0"),
    ]
    .concat();
    let mut other = Event::of_bytes(READ, &h2);
    other.trace.number = 1;
    let events = [
        Event::of_bytes(READ, GET),
        Event::of_bytes(READ, GET),
        Event::of_bytes(WRITE, ANSWER),
        Event::of_bytes(WRITE, b"456789"),
        Event::of_bytes(WRITE, chunked),
        other,
    ];
    let (payloads, warnings) = redacted(&bodies, &events);
    assert_eq!(warnings.tallies().count(), 0);
    assert_eq!(
        payloads[2].escape_ascii().to_string(),
        STARRED.replace("0123", "****")
    );
    assert_eq!(payloads[3], b"******");
    assert!(payloads[4].ends_with(b"\r\n\r\n3\r\n***\r\n0\r\nTrailer: a\r\n\r\n"));
    assert!(payloads[5].ends_with(b"\x01****\0"));
}

#[test]
fn an_http_tap_has_its_values_overwritten_before_they_are_encoded() {
    let field = |name: &'static str, value: &'static str| Field {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
    };
    let part = |part| Event {
        what: What::Http(Http::Part {
            side: crate::model::event::Side::Request,
            part,
            last: true,
        }),
        ..Event::default()
    };
    let fields = |cookie| {
        vec![
            field(":path", "/"),
            field("Cookie", cookie),
            field("a", "b"),
        ]
    };
    let mut redactor = Redactor::new(Redaction::default());
    let mut warnings = Warnings::default();
    let event = part(Part::Headers(fields("secret")));
    assert_eq!(
        *redactor.event(&event, &mut warnings),
        part(Part::Headers(fields("******")))
    );
    let event = part(Part::Trailers(fields("secret")));
    assert_eq!(
        *redactor.event(&event, &mut warnings),
        part(Part::Trailers(fields("******")))
    );
    let body = |payload: &'static [u8]| {
        part(Part::Body {
            payload: Bytes::from_static(payload),
            truncated: false,
            as_string: false,
        })
    };
    assert_eq!(
        *redactor.event(&body(b"body"), &mut warnings),
        body(b"body")
    );
    let mut redactor = Redactor::new(Redaction {
        bodies: true,
        ..Redaction::default()
    });
    assert_eq!(
        *redactor.event(&body(b"body"), &mut warnings),
        body(b"****")
    );
}

/// A secret that follows `before` in a head, sent in pieces of each length.
fn in_pieces(before: &str) -> impl Iterator<Item = Vec<Event>> {
    let bytes = format!("{before}Set-Cookie: a-secret\r\nCookie: a-secret\r\n\r\n");
    (1..bytes.len()).map(move |len| {
        let pieces = bytes.as_bytes().chunks(len);
        pieces.map(|piece| Event::of_bytes(READ, piece)).collect()
    })
}

#[test]
fn a_request_has_any_method() {
    for method in ["M-SEARCH", "VERSION-CONTROL", "PROPFIND", "X_Y"] {
        for target in ["/", "*", "http://a/"] {
            for events in in_pieces(&format!("{method} {target} HTTP/1.1\r\n")) {
                let (payloads, whole) = shown(&events);
                let all = payloads.concat();
                assert!(all.ends_with("Cookie: ********\\r\\n\\r\\n"), "{all}");
                assert!(!all.contains("secret") && whole == 0, "{all}");
            }
        }
    }
}

#[test]
fn nothing_is_kept_of_a_connection_that_has_ended() {
    let mut redactor = Redactor::new(Redaction::default());
    let mut warnings = Warnings::default();
    let settings = [PREFACE, &frame(4, 0, 0, b""), &frame(1, 4, 1, COOKIE)].concat();
    for number in 0..20_000 {
        for (payload, end) in [(GET, What::Closed), (&settings[..], What::Over)] {
            let trace = TraceId {
                number,
                ..TraceId::default()
            };
            let (begin, end) = (Event::of_bytes(READ, payload), What::clone(&end));
            for what in [begin.what, What::Truncated(WRITE), end] {
                let event = Event {
                    trace,
                    what,
                    ..Event::default()
                };
                redactor.event(&event, &mut warnings);
            }
            assert_eq!(redactor.connections.open.len(), 0, "{number}");
        }
    }
    assert!(redactor.connections.open.capacity() < 10);
}

#[test]
fn after_events_of_whole_chunks_and_frames_values_are_found() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks: [&[u8]; 5] = [
        b"5\r\nhello\r\n",
        b"05;a=b\r\nhello\r\n",
        b"3\r\nabc\r\n2\r\nde\r\n",
        b"7\r\n5\r\nhell\r\n",
        b"0\r\n",
    ];
    let mut events = vec![Event::of_bytes(READ, GET), Event::of_bytes(WRITE, head)];
    events.extend(chunks.map(|chunk| Event::of_bytes(WRITE, chunk)));
    events.push(Event::of_bytes(WRITE, b"Set-Cookie: secret\r\n\r\n"));
    let (payloads, whole) = shown(&events);
    assert_eq!(payloads[7], "Set-Cookie: ******\\r\\n\\r\\n");
    assert_eq!(whole, 0, "{payloads:?}");
    // A chunk of another length than its line says.
    for wrong in [&b"4\r\nhello\r\n"[..], b"x\r\nhello\r\n"] {
        let next = Event::of_bytes(WRITE, b"5\r\nhello\r\n");
        let (payloads, _) = shown(&[&events[..3], &[Event::of_bytes(WRITE, wrong), next]].concat());
        assert_eq!(payloads[4], "*".repeat(10), "{}", wrong.escape_ascii());
    }
    let whole_frames = [frame(0, 0, 1, b"hello"), frame(0, 1, 3, b"")].concat();
    let mut padded = whole_frames.clone();
    padded.extend(frame(0, 8, 5, b"\x01hello\0"));
    let begin = [PREFACE, &frame(4, 0, 0, b"")].concat();
    let cut = frame(0, 0, 1, b"hello");
    let mut events = vec![Event::of_bytes(READ, &begin)];
    for bytes in [
        &whole_frames,
        &padded,
        &cut[..10].to_vec(),
        &cut[10..].to_vec(),
    ] {
        events.push(Event::of_bytes(READ, bytes));
        events.push(Event::of_bytes(READ, &whole_frames));
    }
    // Inside a frame, all other bytes are data.
    events.remove(6);
    events.push(Event::of_bytes(READ, &frame(1, 4, 1, COOKIE)));
    let (payloads, whole) = shown(&events);
    let last = payloads.last().expect("payloads");
    assert!(last.ends_with("\\x0f\\x11\\x06******"), "{last}");
    assert_eq!(whole, 0, "{payloads:?}");
}
