//! Redaction: the bytes of an event keep their number, and a known secret is always overwritten.
//!
//! An input is a list of pieces. Each piece has a byte for its direction, missing bytes and options, a byte for its length,
//! and its bytes. The pieces are sent after a conversation with a secret, whole and byte by byte. No input may make the
//! secret appear in the output.

use capture2pcap::model::event::{Direction, Event, Gap, GapKind, What};
use capture2pcap::model::warning::Warnings;
use capture2pcap::redact::{Redaction, Redactor};

const SECRET: &[u8] = b"k3-Vq9_Zx7";

/// The bytes before those of the input: none, or a conversation with a secret.
fn begins(choice: u8) -> Vec<u8> {
    let head = [b"GET / HTTP/1.1\r\nCookie: ", SECRET, b"\r\n\r\n"].concat();
    let frames = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x0c\x01\x04\0\0\0\x01\x60\x0a",
        SECRET,
    ]
    .concat();
    match choice % 3 {
        0 => Vec::new(),
        1 => head,
        _ => frames,
    }
}

/// The events of an input.
fn events(mut input: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let [kind, len, rest @ ..] = input {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        input = rest;
        let direction = [Direction::Read, Direction::Write][usize::from(kind & 1)];
        let mut next = Event::of_bytes(direction, payload);
        if let What::Data {
            truncated,
            as_string,
            ..
        } = &mut next.what
        {
            *truncated = kind & 2 != 0;
            *as_string = kind & 4 != 0;
        }
        next.missing = (kind & 8 != 0).then_some(u64::from(kind >> 4));
        next.gap = (kind & 0xf0 == 0xf0).then(|| {
            Box::new(Gap {
                bytes: u64::from(*len),
                direction: Some(direction),
                kind: GapKind::Lost,
            })
        });
        events.push(next);
    }
    events
}

/// The redacted events, in order.
fn redacted(bodies: bool, events: &[Event]) -> Vec<u8> {
    let mut redactor = Redactor::new(Redaction {
        bodies,
        ..Redaction::default()
    });
    let mut warnings = Warnings::default();
    let mut all = Vec::new();
    for event in events {
        let after = redactor.event(event, &mut warnings);
        let ((before, original), (direction, payload)) = (
            event.payload().expect("bytes"),
            after.payload().expect("bytes"),
        );
        assert_eq!((direction, payload.len()), (before, original.len()));
        assert_eq!(
            Event {
                what: event.what.clone(),
                ..after.clone()
            },
            *event
        );
        all.extend_from_slice(payload);
    }
    all
}

/// Redacts the bytes of an input.
pub fn redact(input: &[u8]) {
    let [options, rest @ ..] = input else { return };
    let first = Event::of_bytes(Direction::Read, &begins(options >> 1));
    let events: Vec<_> = std::iter::once(first).chain(events(rest)).collect();
    let bodies = options & 1 != 0;
    let whole = redacted(bodies, &events);
    let begin = &whole[..events[0].payload().expect("bytes").1.len()];
    assert!(memchr::memmem::find(begin, SECRET).is_none());
    if bodies {
        return;
    }
    // The kept bytes do not depend on the boundaries of events, except for those that may begin a message.
    let first = events[0].payload().expect("bytes").1;
    let pieces: Vec<_> = first
        .chunks(1)
        .map(|byte| Event::of_bytes(Direction::Read, byte))
        .collect();
    let by_bytes = redacted(bodies, &pieces);
    assert_eq!(by_bytes.len(), first.len());
    assert!(memchr::memmem::find(&by_bytes, SECRET).is_none());
}
