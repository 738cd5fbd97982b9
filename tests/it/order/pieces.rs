//! Fields in several pieces, which protobuf merges, and oneofs with several members, of which the last counts.

use super::*;

#[test]
fn a_member_in_pieces_is_one() {
    let parts = [
        number(1, 9),
        field(2, &connection()),
        field(3, &event(What::Read, 1, "one")),
        field(3, &event(What::Write, 2, "two")),
    ];
    let whole = said(
        "whole",
        &delimit(&field(3, &parts.concat())),
        Encoding::Delimited,
    );
    assert_eq!(whole.len(), 4);
    for order in orders(&parts)
        .iter()
        .filter(|order| keeps(order, &parts[2..]))
    {
        for cut in 0..=parts.len() {
            let (a, b) = order.split_at(cut);
            let message = [field(3, &a.concat()), unknown(), field(3, &b.concat())].concat();
            let name = format!("{order:x?} in two after {cut}");
            assert_eq!(
                said(&name, &delimit(&message), Encoding::Delimited),
                whole,
                "{name}"
            );
        }
    }
}

/// An event in two pieces, which protobuf merges.
#[test]
fn an_event_in_pieces_is_one() {
    let one = Ev {
        seq_num: 7,
        truncated: true,
        ..Ev::new(What::Write, 5, "streamed")
    };
    let whole = field(4, &[number(1, 9), field(3, &one.message())].concat());
    let whole = said("whole", &whole, Encoding::Binary);
    let (time, rest) = {
        let all = one.message();
        let rest = one.without_time();
        (all[..all.len() - rest.len()].to_vec(), rest)
    };
    for (a, b) in [(&time, &rest), (&rest, &time)] {
        let segment = [field(3, a), number(1, 9), field(3, b)].concat();
        let binary = field(4, &segment);
        assert_eq!(said("one segment", &binary, Encoding::Binary), whole);
        let split = [
            field(4, &field(3, a)),
            field(4, &[field(3, b), number(1, 9)].concat()),
        ];
        let delimited = delimit(&split.concat());
        assert_eq!(said("two segments", &delimited, Encoding::Delimited), whole);
    }
}

#[test]
fn of_a_oneof_the_last_member_counts() {
    let of = |parts: &[&[u8]]| delimit(&parts.concat());
    let said = |name, bytes: &[u8]| said(name, bytes, Encoding::Delimited);
    let buffered = |id, data| {
        let parts = [
            number(1, id),
            field(2, &connection()),
            field(3, &event(What::Read, 1, data)),
        ];
        field(3, &parts.concat())
    };
    let streamed = |id, data| {
        field(
            4,
            &[number(1, id), field(3, &event(What::Read, 1, data))].concat(),
        )
    };
    // Members of a wrapper.
    let (a, b) = (buffered(1, "first"), streamed(2, "second"));
    assert_eq!(said("a, b", &of(&[&a, &b])), said("b", &of(&[&b])));
    assert_eq!(said("b, a", &of(&[&b, &a])), said("a", &of(&[&a])));
    let again = buffered(3, "third");
    assert_eq!(
        said("a, b, a", &of(&[&a, &b, &again])),
        said("a", &of(&[&again]))
    );
    // Members of a segment.
    let pieces = [
        field(2, &connection()),
        field(3, &event(What::Read, 1, "event")),
        field(4, &field(1, &event(What::Write, 2, "batch"))),
    ];
    for first in &pieces {
        for last in &pieces {
            if first == last {
                continue;
            }
            let id = number(1, 9);
            let both = field(4, &[&id[..], first, last].concat());
            let one = field(4, &[&id[..], last].concat());
            assert_eq!(said("both", &of(&[&both])), said("one", &of(&[&one])));
            let both = field(4, &[&first[..], last, &id].concat());
            assert_eq!(said("both, id", &of(&[&both])), said("one", &of(&[&one])));
        }
    }
    // Members of an event.
    let time = field(1, &number(1, 1_700_000_000));
    let read = field(2, &field(1, &field(1, b"read")));
    let write = field(3, &[field(1, &field(1, b"write")), number(2, 1)].concat());
    let of_event = |parts: &[&[u8]]| of(&[&field(4, &field(3, &parts.concat()))]);
    assert_eq!(
        said("read, write", &of_event(&[&read, &write, &time])),
        said("write", &of_event(&[&time, &write]))
    );
    assert_eq!(
        said("write, read", &of_event(&[&write, &time, &read])),
        said("read", &of_event(&[&time, &read]))
    );
}

/// An exchange in pieces of the wrapper's field, and other fields before it.
#[test]
fn an_exchange_in_pieces_is_one() {
    let half = |headers| Half {
        headers,
        body: Some(parts::body(b"body")),
        ..Half::default()
    };
    let ask = half(request("GET", &[header("a", "b")]));
    let answer = half(response("200", &[]));
    let whole = exchange(Some(&ask), Some(&answer), Some(&connection()));
    let expected = said("whole", &delimit(&whole), Encoding::Delimited);
    assert_eq!(expected.len(), 6);
    let pieces = [
        exchange(Some(&ask), None, None),
        exchange(None, Some(&answer), None),
        exchange(None, None, Some(&connection())),
    ];
    for order in orders(&pieces) {
        let message = delimit(&order.concat());
        let events = said("pieces", &message, Encoding::Delimited);
        assert_eq!(events, expected, "{order:x?}");
    }
    let rate = field(5, &number(1, 50));
    let events = said(
        "a rate",
        &delimit(&[whole, rate].concat()),
        Encoding::Delimited,
    );
    assert_eq!(events[..6], expected);
    assert_eq!(events[6].what, Said::SampleRate(500_000));
}

/// Parts of an exchange in separate messages are not merged as pieces of one.
#[test]
fn messages_without_lengths_are_no_pieces() {
    let one = exchange(Some(&Half::default()), None, None);
    let events = said("two", &one.repeat(2), Encoding::Binary);
    let begun = |event: &&Event| matches!(event.what, Said::Http(Http::Begin { .. }));
    assert_eq!(events.iter().filter(begun).count(), 2);
    let is_headers = |event: &&Event| {
        matches!(
            event.what,
            Said::Http(Http::Part {
                part: Part::Headers(_),
                ..
            })
        )
    };
    assert_eq!(events.iter().filter(is_headers).count(), 2);
}
