//! The exchanges of HTTP taps.

use super::*;

fn headers(name: &'static str, value: &'static str) -> Part {
    Part::Headers(vec![Field {
        name: name.into(),
        value: value.into(),
    }])
}

/// The events of an exchange with a request and its response.
fn exchange(
    number: u64,
    downstream: Option<Connection>,
    upstream: Option<Connection>,
    times: [u64; 2],
) -> [Event; 4] {
    let part = |side, part| Http::Part {
        side,
        part,
        last: true,
    };
    let begin = Http::Begin {
        downstream: downstream.map(Box::new),
        upstream: upstream.map(Box::new),
    };
    let asked = part(Side::Request, headers(":path", "/x"));
    let answered = part(Side::Response, headers(":status", "200"));
    [
        event(number, times[0], What::Http(begin)),
        event(number, times[0], What::Http(asked)),
        event(number, times[1], What::Http(answered)),
        event(number, times[1], What::Http(Http::End)),
    ]
}

#[test]
fn the_upstream_of_an_exchange_is_in_its_comment() {
    let downstream = connection(ip("10.0.0.1", 80), ip("10.0.0.2", 50000));
    let upstream = |last| connection(ip("10.0.0.1", 41000), ip(last, 8080));
    let events = [
        exchange(
            0,
            Some(downstream.clone()),
            Some(upstream("10.0.0.8")),
            [0, 1],
        ),
        exchange(
            1,
            Some(downstream.clone()),
            Some(upstream("10.0.0.9")),
            [2, 3],
        ),
        exchange(
            2,
            Some(downstream.clone()),
            Some(upstream("10.0.0.9")),
            [4, 5],
        ),
        exchange(3, Some(downstream.clone()), None, [6, 7]),
    ];
    let (seen, summaries, _) = synthesize(&events.concat(), labelled());
    let said: Vec<_> = seen
        .iter()
        .map(|frame| frame.comments.join(", "))
        .filter(|said| !said.is_empty())
        .collect();
    let expected = ["10.0.0.8", "10.0.0.9", "10.0.0.9"];
    let expected = expected.map(|ip| format!("/x, upstream: {ip}:8080"));
    assert_eq!(said[..3], expected);
    assert_eq!(said[3..], ["/x"]);
    let [summary] = &summaries[..] else {
        panic!("{summaries:?}")
    };
    assert_eq!(summary.connection, downstream);
    let upstreams: Vec<_> = summary.upstreams.iter().collect();
    assert_eq!(upstreams, ["10.0.0.8:8080", "10.0.0.9:8080"]);
}

/// Envoy is the client of such a connection, and sends the requests.
#[test]
fn an_upstream_that_is_the_only_connection_is_where_the_exchange_is_shown() {
    let upstream = connection(ip("10.1.0.5", 52000), ip("10.2.0.7", 9000));
    for downstream in [None, Some(Connection::default())] {
        let events = [
            exchange(0, downstream.clone(), Some(upstream.clone()), [0, 1]),
            exchange(1, downstream, Some(upstream.clone()), [2, 3]),
        ];
        let (seen, summaries, warnings) = synthesize(&events.concat(), labelled());
        assert_eq!(warnings.tallies().count(), 0);
        assert_eq!(summaries.len(), 1);
        assert_eq!(summaries[0].role, Some(Role::Upstream));
        assert_eq!(summaries[0].connection, upstream);
        for frame in &seen {
            let ports = match frame.direction {
                Direction::Write => (52000, 9000),
                Direction::Read => (9000, 52000),
            };
            assert_eq!(frame.ports, ports);
            assert_eq!(frame.label.name, "upstream 10.2.0.7:9000 #0");
        }
        let asked: Vec<_> = seen
            .iter()
            .filter(|frame| !frame.comments.is_empty())
            .map(|frame| (frame.direction, frame.comments.join(", ")))
            .collect();
        let said = (Direction::Write, "/x, upstream: 10.2.0.7:9000".to_owned());
        assert_eq!(asked, [said.clone(), said]);
    }
}

/// The type and the flags of each HTTP/2 frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8)> {
    let mut frames = Vec::new();
    bytes = bytes
        .strip_prefix(crate::model::protocol::PREFACE)
        .unwrap_or(bytes);
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = bytes {
        frames.push((*kind, *flags));
        bytes = &rest[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    frames
}

/// A streamed trace does not record the end of a side without trailers.
#[test]
fn the_end_of_a_stream_is_not_invented() {
    let piece = |nanos, side, part| {
        let last = false;
        let http = Http::Part { side, part, last };
        event(7, nanos, What::Http(http))
    };
    let body = || Part::Body {
        payload: "body".into(),
        truncated: false,
        as_string: false,
    };
    let trailers = Part::Trailers(vec![Field {
        name: "grpc-status".into(),
        value: "0".into(),
    }]);
    let mut events = vec![
        piece(0, Side::Request, headers(":path", "/x")),
        piece(1, Side::Request, body()),
        piece(2, Side::Response, headers(":status", "200")),
        piece(3, Side::Response, body()),
    ];
    let ends = |events: &[Event]| {
        let (seen, ..) = synthesize(events, SynthOptions::default());
        let frames = seen.iter().flat_map(|frame| frames(&frame.payload));
        // Flag 1 of HEADERS and DATA is END_STREAM.
        let ends = frames.filter(|(kind, flags)| *kind < 2 && flags & 1 != 0);
        ends.count()
    };
    assert_eq!(ends(&events), 0);
    events.push(piece(4, Side::Response, trailers));
    assert_eq!(ends(&events), 1);
    // A buffered message is complete.
    assert_eq!(ends(&exchange(0, None, None, [0, 1])), 2);
}

/// Each connection that ended was once compared with all open exchanges.
#[test]
fn ending_a_connection_does_not_look_at_the_exchanges_of_others() {
    const COUNT: u64 = 20_000;
    let mut synth = Synthesizer::new(SynthOptions::default());
    let mut warnings = Warnings::default();
    let out = &mut |_: &Frame<'_>| Ok::<(), std::convert::Infallible>(());
    let mut conversations = Conversations::default();
    let mut ids = Vec::new();
    for i in 0..COUNT {
        let remote = ip(&format!("10.{}.{}.2", i >> 8, i & 255), 50000);
        let downstream = connection(ip("10.0.0.1", 80), remote);
        for event in &exchange(i, Some(downstream), None, [i, i])[..2] {
            ids.extend(conversations.of(event));
            let Ok(()) = synth.event(event, &mut warnings, out);
        }
    }
    assert_eq!(ids.len() as u64, COUNT);
    for id in &ids {
        let Ok(()) = synth.end(id, &mut warnings, out);
    }
    assert_eq!(synth.connections(), COUNT);
}

/// An exchange that waits for its response keeps its connection open for any time.
#[test]
fn an_answer_comes_on_the_stream_of_its_request() {
    let downstream = || Some(connection(ip("10.0.0.1", 80), ip("10.0.0.2", 50000)));
    let second = crate::model::event::NANOS_PER_SECOND;
    let slow = exchange(0, downstream(), None, [0, 300 * second]);
    let fast = exchange(1, downstream(), None, [100 * second, 101 * second]);
    let later = exchange(2, downstream(), None, [400 * second, 401 * second]);
    let events = [&slow[..2], &fast, &slow[2..], &later].concat();
    let (seen, summaries, _) = synthesize(&events, SynthOptions::default());
    // The last exchange has a new connection, because no exchange was open for more than a minute before it.
    assert_eq!(summaries.len(), 2);
    let stream = |frame: &Seen| frame.payload[8];
    let answers: Vec<_> = seen
        .iter()
        .filter(|frame| frame.direction == Direction::Write && frame.payload[3] == 1)
        .map(stream)
        .collect();
    assert_eq!(answers, [3, 1, 1]);
}
