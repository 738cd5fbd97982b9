//! Frames, summaries and warnings for events of several connections.

mod exchanges;

use super::*;
use crate::model::event::{Connection, Direction, Endpoint, Field, Gap, GapKind, Side};
use crate::model::warning::{WarningKind, Warnings};

/// The parts of a frame that the tests check.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    direction: Direction,
    payload: Vec<u8>,
    comments: Vec<String>,
    label: Label,
    ports: (u16, u16),
}

/// The frames with payload, the summaries and the warnings for some events.
fn synthesize(
    events: &[Event],
    options: SynthOptions,
) -> (Vec<Seen>, Vec<ConnectionSummary>, Warnings) {
    let mut synth = Synthesizer::new(options);
    synth.keep_summaries();
    let (mut warnings, mut seen) = (Warnings::default(), Vec::new());
    let mut out = |frame: &Frame<'_>| {
        let port = |at: usize| u16::from_be_bytes([frame.headers[at], frame.headers[at + 1]]);
        if !frame.payload.is_empty() {
            seen.push(Seen {
                direction: frame.direction,
                payload: frame.payload.to_vec(),
                comments: frame.comments.to_vec(),
                label: frame.label.cloned().unwrap_or_default(),
                ports: (port(34), port(36)),
            });
        }
        Ok::<(), std::convert::Infallible>(())
    };
    for event in events {
        let Ok(()) = synth.event(event, &mut warnings, &mut out);
    }
    let Ok(()) = synth.finish(&mut warnings, &mut out);
    let summaries = synth.take_summaries();
    (seen, summaries, warnings)
}

fn labelled() -> SynthOptions {
    SynthOptions {
        labels: Some(vec!["a.pb".into()]),
        ..SynthOptions::default()
    }
}

fn event(number: u64, nanos: u64, what: What) -> Event {
    Event {
        trace: TraceId {
            number,
            ..TraceId::default()
        },
        time: Some(Timestamp::from_nanos(nanos)),
        what,
        ..Event::default()
    }
}

fn ip(text: &str, port: u16) -> Option<Endpoint> {
    Some(Endpoint::Ip(text.parse().unwrap(), port))
}

fn connection(local: Option<Endpoint>, remote: Option<Endpoint>) -> Connection {
    Connection {
        local,
        remote,
        ..Connection::default()
    }
}

fn data(number: u64, nanos: u64, direction: Direction, bytes: &[u8]) -> Event {
    let mut event = event(number, nanos, What::Nothing);
    if let What::Data {
        direction: way,
        payload,
        ..
    } = event.data()
    {
        (*way, *payload) = (direction, bytes.to_vec());
    }
    event
}

#[test]
fn two_namespaces_may_hold_the_same_endpoints_at_once() {
    let open = |number, namespace: &str| {
        let connection = Connection {
            namespace: Some(namespace.into()),
            ..connection(ip("127.0.0.1", 80), ip("127.0.0.1", 50000))
        };
        event(number, 0, What::Connection(Box::new(connection)))
    };
    let bytes = |number, nanos, bytes: &[u8]| data(number, nanos, Direction::Read, bytes);
    let mut events = vec![
        open(1, "/run/netns/a"),
        bytes(1, 0, b"a0"),
        open(2, "/run/netns/b"),
        bytes(2, 1, b"b0"),
        bytes(1, 2, b"a1"),
        bytes(2, 3, b"b1"),
    ];
    for is_buffered in [false, true] {
        if is_buffered {
            events.insert(0, event(1, 0, What::Begin));
            events.insert(3, event(2, 0, What::Begin));
        }
        let options = SynthOptions {
            handshake: Handshake::Never,
            ..labelled()
        };
        let (seen, summaries, warnings) = synthesize(&events, options);
        let ports: Vec<_> = seen.iter().map(|frame| frame.ports.0).collect();
        let other = ports[1];
        assert_eq!(ports, [50000, other, 50000, other]);
        assert_ne!(other, 50000);
        let tallies: Vec<_> = warnings.tallies().map(|tally| tally.first.kind).collect();
        assert!(tallies.contains(&WarningKind::PortTaken), "{tallies:?}");
        let detail =
            format!("127.0.0.1:{other} for 127.0.0.1:50000 in network namespace /run/netns/b");
        let said = [
            format!("stand-in: {detail}, which another connection has"),
            "network namespace: /run/netns/b".to_owned(),
        ];
        assert_eq!(seen[1].comments, said);
        let description = "a.pb, trace 2, network namespace /run/netns/b";
        assert_eq!(seen[1].label.description, description);
        let namespaces: Vec<_> = summaries
            .iter()
            .map(|summary| summary.connection.namespace.clone())
            .collect();
        let expected = ["/run/netns/a", "/run/netns/b"].map(|name| Some(name.to_owned()));
        assert_eq!(namespaces, expected);
    }
}

#[test]
fn the_sample_rate_is_reported_with_each_connection() {
    let connection = connection(ip("10.0.0.1", 80), ip("10.0.0.2", 50000));
    let events = [
        event(1, 0, What::SampleRate(125_000)),
        event(1, 0, What::Connection(Box::new(connection))),
        data(1, 0, Direction::Read, b"bytes"),
    ];
    let (seen, summaries, _) = synthesize(&events, labelled());
    assert_eq!(
        seen[0].label.description,
        "a.pb, trace 1, sample rate 12.5 %"
    );
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0].sample_rate, Some(125_000));
    // The first event belongs to no connection.
    assert!(synthesize(&events[..1], labelled()).1.is_empty());
    let shown = [1_000_000, 1, 10_000, 333_333].map(percent);
    assert_eq!(shown, ["100 %", "0.0001 %", "1 %", "33.3333 %"]);
}

/// Such a trace begins before the connection has a local address, which has its own hint.
#[test]
fn a_streamed_upstream_trace_without_its_local_address_gets_a_hint() {
    let known = || ip("10.0.0.2", 443);
    let get = b"GET / HTTP/1.1\r\n\r\n";
    let named = |local, remote| {
        let connection = connection(local, remote);
        event(1, 0, What::Connection(Box::new(connection)))
    };
    let kinds = |events: &[Event]| {
        let (_, _, warnings) = synthesize(events, SynthOptions::default());
        let kinds = warnings.tallies().map(|tally| tally.first.kind);
        kinds.collect::<Vec<_>>()
    };
    let written = data(1, 0, Direction::Write, get);
    let read = data(1, 0, Direction::Read, get);
    let upstream = [named(None, known()), written.clone()];
    assert_eq!(kinds(&upstream), [WarningKind::StandInLocal]);
    let hint = WarningKind::StandInLocal.hint().unwrap();
    assert!(hint.contains("set_connection_per_event: true"), "{hint}");
    let begin = event(1, 0, What::Begin);
    let buffered = [&[begin][..], &upstream].concat();
    for events in [
        buffered,
        vec![named(None, known()), read],
        vec![named(known(), None), written.clone()],
        vec![written],
    ] {
        assert_eq!(kinds(&events), [WarningKind::StandInAddress], "{events:?}");
    }
}

/// Events without a frame must not accumulate comments.
#[test]
fn comments_of_events_without_bytes_have_a_limit() {
    let connection = connection(ip("10.0.0.1", 80), ip("10.0.0.2", 50000));
    let mut events = vec![event(1, 0, What::Connection(Box::new(connection)))];
    for _ in 0..100_000 {
        let mut end = data(1, 0, Direction::Write, b"");
        if let What::Data { end_stream, .. } = end.data() {
            *end_stream = true;
        }
        events.push(end);
    }
    events.push(data(1, 0, Direction::Write, b"bytes"));
    let (seen, ..) = synthesize(&events, labelled());
    let comments = &seen[0].comments;
    assert_eq!(comments.len(), 17);
    assert_eq!(comments[15], "end_stream");
    assert_eq!(comments[16], "and 99984 more");
}

/// The comments once had a plural noun after 1.
#[test]
fn comments_about_one_byte_have_a_singular_noun() {
    let gap = |kind| {
        let (bytes, direction) = (1, Some(Direction::Read));
        let gap = Gap {
            bytes,
            direction,
            kind,
        };
        Event {
            gap: Some(Box::new(gap)),
            ..data(1, 0, Direction::Read, b"x")
        }
    };
    let truncated = |payload, missing| {
        let mut event = data(1, 0, Direction::Read, payload);
        if let What::Data { truncated, .. } = event.data() {
            *truncated = true;
        }
        Event { missing, ..event }
    };
    let cases = [
        (truncated(b"x", Some(1)), "truncated: 1 of 2 bytes recorded"),
        (
            truncated(b"x", None),
            "truncated: 1 byte recorded, at least 1 missing",
        ),
        (
            gap(GapKind::Cut),
            "the truncated event before this lacks 1 byte",
        ),
        (gap(GapKind::Lost), "lost before this: 1 byte"),
    ];
    let (mut said, mut wanted) = (Vec::new(), Vec::new());
    for (event, expected) in cases {
        let (seen, ..) = synthesize(&[event], labelled());
        let comments = seen.into_iter().flat_map(|frame| frame.comments);
        said.push(comments.last().unwrap_or_default());
        wanted.push(expected);
    }
    assert_eq!(said, wanted);
}
