//! Bytes that are missing, and what may be a value after them.

use super::*;

#[test]
fn a_body_goes_on_after_a_cut_of_a_known_size() {
    let next = b"56789HTTP/1.1 200 OK\r\nSet-Cookie: b\r\n\r\n";
    let expected = "56789HTTP/1.1 200 OK\\r\\nSet-Cookie: *\\r\\n\\r\\n";
    let begin = [Event::of_bytes(READ, GET), Event::of_bytes(READ, GET)];
    for events in [
        [
            cut(Event::of_bytes(WRITE, ANSWER), Some(1)),
            Event::of_bytes(WRITE, next),
        ],
        [
            Event::of_bytes(WRITE, ANSWER),
            after_gap(Event::of_bytes(WRITE, next), 1, Some(WRITE)),
        ],
    ] {
        let (payloads, whole) = shown(&[&begin[..], &events].concat());
        assert_eq!(
            (&payloads[2..], whole),
            (&[STARRED.to_owned(), expected.to_owned()][..], 0)
        );
    }
}

#[test]
fn after_bytes_of_an_unknown_number_all_but_heads_is_overwritten() {
    let next = b"56789HTTP/1.1 200 OK\r\nSet-Cookie: b\r\n\r\n";
    let begin = [Event::of_bytes(READ, GET), Event::of_bytes(READ, GET)];
    for events in [
        [
            cut(Event::of_bytes(WRITE, ANSWER), None),
            Event::of_bytes(WRITE, next),
            Event::of_bytes(WRITE, ANSWER),
        ],
        [
            cut(Event::of_bytes(WRITE, ANSWER), Some(7)),
            Event::of_bytes(WRITE, next),
            Event::of_bytes(WRITE, ANSWER),
        ],
        [
            Event::of_bytes(WRITE, ANSWER),
            after_gap(Event::of_bytes(WRITE, next), 7, Some(WRITE)),
            Event::of_bytes(WRITE, ANSWER),
        ],
        [
            Event::of_bytes(WRITE, ANSWER),
            after_gap(Event::of_bytes(WRITE, next), 1, None),
            Event::of_bytes(WRITE, ANSWER),
        ],
        // Nothing says that bytes are missing, but a message begins in a body.
        [
            Event::of_bytes(WRITE, ANSWER),
            Event::of_bytes(WRITE, ANSWER),
            Event::of_bytes(WRITE, next),
        ],
    ] {
        let (payloads, whole) = shown(&[&begin[..], &events].concat());
        assert_eq!(payloads[2], STARRED);
        let starred = STARRED.replace("0123", "****");
        let stars = "*".repeat(next.len());
        assert!(payloads[3..].contains(&starred), "{payloads:?}");
        assert!(payloads[3..].contains(&stars), "{payloads:?}");
        assert_eq!(whole as usize, next.len() + 4);
    }
}

#[test]
fn a_connection_that_is_joined_late_is_http_once_a_message_begins() {
    let rest = b"token\r\nHost: a\r\n\r\n";
    let (payloads, whole) = shown(&[
        after_gap(Event::of_bytes(READ, rest), 100, Some(READ)),
        Event::of_bytes(READ, GET),
        Event::of_bytes(WRITE, ANSWER),
    ]);
    assert_eq!(payloads[0], "*".repeat(rest.len()));
    assert_eq!(payloads[1], GET.escape_ascii().to_string());
    assert_eq!(payloads[2], STARRED.replace("0123", "****"));
    assert_eq!(whole as usize, rest.len() + 4);
}

#[test]
fn http2_that_is_joined_late_keeps_its_frames_alone() {
    let bytes = [
        frame(1, 4, 1, COOKIE),
        frame(9, 4, 1, COOKIE),
        frame(0, 1, 1, b"body"),
    ]
    .concat();
    let expected = [
        frame(1, 4, 1, &[0xaf; 9]),
        frame(9, 4, 1, &[0xaf; 9]),
        frame(0, 1, 1, b"body"),
    ]
    .concat();
    let (payloads, _) = redacted(&Redaction::default(), &[Event::of_bytes(READ, &bytes)]);
    assert_eq!(payloads, [expected]);
}

#[test]
fn indexed_fields_stay_only_where_header_blocks_can_be_followed() {
    let (settings, indexed) = (frame(4, 0, 0, b""), frame(1, 5, 3, b"\x82\x84"));
    let after = |before: &[&[u8]]| {
        let events = [&before.concat(), &indexed].map(|bytes| Event::of_bytes(READ, bytes));
        redacted(&Redaction::default(), &events).0.remove(1)
    };
    let data = frame(0, 0, 1, b"body");
    assert_eq!(after(&[PREFACE, &settings, &data]), indexed);
    // An index that there is not makes the table unknown.
    let unknown = frame(1, 5, 1, b"\xbe");
    assert_eq!(
        after(&[PREFACE, &settings, &unknown]),
        frame(1, 5, 3, &[0xaf; 2])
    );
    // Another block has to end before, and the settings come first.
    let open = frame(1, 1, 1, b"\x82");
    let stars = b"*".repeat(indexed.len());
    assert_eq!(after(&[PREFACE, &settings, &open]), stars);
    assert_eq!(after(&[PREFACE]), stars);
}

#[test]
fn http2_goes_on_after_a_cut_inside_data_alone() {
    let begin = Event::of_bytes(
        READ,
        &[PREFACE, &frame(4, 0, 0, b""), &frame(1, 4, 1, COOKIE)].concat(),
    );
    let frames = |payload: &[u8]| [payload, &frame(1, 4, 1, COOKIE)].concat();
    let next = Event::of_bytes(READ, &frames(b"efg"));
    let four = &frame(0, 0, 1, b"abcdefg")[..13];
    // Known, and inside the frame.
    let (payloads, whole) = shown(&[
        begin.clone(),
        cut(Event::of_bytes(READ, four), Some(3)),
        Event::of_bytes(READ, &frames(b"")),
    ]);
    assert!(
        payloads[2].ends_with("******") && whole == 0,
        "{payloads:?}"
    );
    let (payloads, whole) = shown(&[begin.clone(), Event::of_bytes(READ, four), next.clone()]);
    assert!(payloads[2].starts_with("efg") && payloads[2].ends_with("******") && whole == 0);
    // Unknown, or beyond it, or inside a header block.
    for missing in [None, Some(4), Some(1000)] {
        let (payloads, whole) = shown(&[
            begin.clone(),
            cut(Event::of_bytes(READ, four), missing),
            next.clone(),
        ]);
        assert_eq!(payloads[2], "*".repeat(3 + 18), "{missing:?}");
        assert_eq!(whole, 21);
    }
    let block = &frame(1, 4, 3, COOKIE)[..12];
    let (payloads, _) = shown(&[
        begin.clone(),
        cut(Event::of_bytes(READ, block), Some(6)),
        next,
    ]);
    assert_eq!(payloads[2], "*".repeat(3 + 18));
    // Where whole frames are again, all but header blocks is as it was; nothing said that bytes are missing before.
    let whole_frames = Event::of_bytes(
        READ,
        &[frame(1, 4, 3, COOKIE), frame(0, 1, 3, b"body")].concat(),
    );
    for events in [
        [cut(Event::of_bytes(READ, four), None), whole_frames.clone()],
        [
            Event::of_bytes(READ, &frame(0, 0, 1, &[7; 99])[..50]),
            whole_frames,
        ],
    ] {
        let (payloads, _) = redacted(
            &Redaction::default(),
            &[&[begin.clone()][..], &events].concat(),
        );
        let expected = [frame(1, 4, 3, &[0xaf; 9]), frame(0, 1, 3, b"body")].concat();
        assert_eq!(payloads[2], expected);
    }
}

#[test]
fn http2_as_strings_is_overwritten() {
    let mut event = Event::of_bytes(
        READ,
        &[PREFACE, &frame(4, 0, 0, b""), &frame(1, 4, 1, COOKIE)].concat(),
    );
    if let What::Data { as_string, .. } = &mut event.what {
        *as_string = true;
    }
    let (payloads, _) = shown(&[event]);
    assert!(!payloads[0].contains("secret"), "{payloads:?}");
}

#[test]
fn a_direction_that_lost_its_beginning_does_not_hide_the_other() {
    // The first loss is of the client's bytes, in a method, and the server's answer is cut anywhere.
    let begin = [
        Event::of_bytes(READ, b"GE"),
        after_gap(Event::of_bytes(READ, b"/ HTTP/1.1\r\n"), 2, Some(READ)),
    ];
    for events in in_pieces("HTTP/1.1 103 Early Hints\r\n") {
        let answer = events.into_iter().map(|mut event| {
            if let What::Data { direction, .. } = &mut event.what {
                *direction = WRITE;
            }
            event
        });
        let events: Vec<_> = begin.iter().cloned().chain(answer).collect();
        let (payloads, whole) = shown(&events);
        assert_eq!((&*payloads[0], &*payloads[1]), ("GE", "************"));
        let all = payloads[2..].concat();
        assert!(all.starts_with("HTTP/1.1 103 Early Hints"), "{all}");
        assert!(!all.contains("secret") && whole == 12, "{all}");
    }
}

#[test]
fn what_looks_like_a_head_after_a_loss_holds_nothing_but_fields() {
    let secret = frame(1, 4, 1, COOKIE);
    for body in [
        "GET / HTTP",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHos",
        "GET / HTTP/1.1\r\nHost: a",
        "HTTP/1.1 200 OK\r\nSome text\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c",
    ] {
        for direction in [None, Some(READ)] {
            let lost = after_gap(Event::of_bytes(READ, body.as_bytes()), 100, direction);
            let next = Event::of_bytes(READ, &secret);
            let (payloads, _) = shown(&[lost.clone(), next]);
            assert_eq!(payloads[1], "*".repeat(secret.len()), "{body}");
            // In one event, what comes before stays.
            let both = [body.as_bytes(), &secret].concat();
            let (payloads, _) = shown(&[after_gap(Event::of_bytes(READ, &both), 100, direction)]);
            assert!(!payloads[0].contains("secret"), "{payloads:?}");
        }
    }
}

#[test]
fn a_frame_is_not_found_one_byte_too_late() {
    let begin = Event::of_bytes(READ, &[PREFACE, &frame(4, 0, 0, b"")].concat());
    // One byte of the header is in the event before, and the rest looks like that of a long frame with data.
    let block = frame(1, 4, 1, COOKIE);
    let all = [&frame(0x70, 0, 1, b"")[..], &block, &block].concat();
    let lost = cut(Event::of_bytes(READ, b"\0\0"), None);
    let events = [
        begin,
        lost,
        Event::of_bytes(READ, &all[..1]),
        Event::of_bytes(READ, &all[1..]),
    ];
    let (payloads, _) = shown(&events);
    assert_eq!(payloads[3], "*".repeat(all.len() - 1));
}

#[test]
fn frames_are_found_in_a_connection_of_no_known_protocol() {
    let begin = Event::of_bytes(READ, b"\x01\x02\x03");
    let both = [frame(4, 0, 0, b""), frame(1, 4, 1, COOKIE)].concat();
    for direction in [READ, WRITE] {
        let (payloads, _) = shown(&[begin.clone(), Event::of_bytes(direction, &both)]);
        assert!(!payloads[1].contains("secret"), "{payloads:?}");
    }
}

#[test]
fn a_count_that_bytes_do_not_fit_loses_the_place() {
    let counted = |count: u64, direction, payload: &[u8]| {
        let mut event = Event::of_bytes(direction, payload);
        event.seq_num = std::num::NonZeroU64::new(count + 1);
        event
    };
    let len = GET.len() as u64;
    let next = b"Cookie: secret\r\n\r\n";
    for (count, expected) in [
        (len + 20, "Cookie: ******\\r\\n\\r\\n"),
        // A string lacks what is no text, and a count may make no sense.
        (len + 25, "******************"),
        (len + 15, "******************"),
    ] {
        let events = [
            counted(0, READ, GET),
            counted(len, READ, b"GET / HTTP/1.1\r\nSet-"),
            counted(count, READ, next),
        ];
        assert_eq!(shown(&events).0[2], expected, "{count}");
    }
    // In the middle of a body.
    let mut body = vec![counted(0, READ, GET), counted(len, WRITE, ANSWER)];
    let count = len + ANSWER.len() as u64;
    body.push(counted(count, WRITE, b"456"));
    body.push(counted(count + 4, WRITE, b"789"));
    let (payloads, whole) = shown(&body);
    assert_eq!((&*payloads[2], &*payloads[3], whole), ("456", "***", 3));
}
