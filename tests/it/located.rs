//! Single events, decoded again from their locations.

use capture2pcap::input::Input;
use capture2pcap::model::event::{Event, Http, What as Said};
use capture2pcap::trace::{EventDecoder, Location, Reader, Step, TraceFormat};

use crate::fixtures;
use crate::harness::each;
use crate::make::{Ev, Form, Made, What};

/// The events of a trace with their locations, up to the damage, if there is any.
fn located(bytes: &[u8]) -> (Option<TraceFormat>, Vec<(Event, Location)>) {
    let mut reader = Reader::new(Input::from_bytes(bytes), None, None);
    let mut events = Vec::new();
    while let Ok(Step::Item(())) = reader.advance() {
        let event = reader.current().expect("an event").clone();
        events.push((event, reader.location()));
    }
    (reader.format(), events)
}

/// Whether an event makes packets.
fn is_shown(event: &Event) -> bool {
    matches!(
        event.what,
        Said::Data { .. } | Said::Closed | Said::Nothing | Said::Http(_)
    )
}

/// Decodes each event of a trace from its location, and returns how many there are.
fn check(name: &str, trace: &[u8]) -> usize {
    let (format, events) = located(trace);
    let mut decoder = EventDecoder::default();
    let mut count = 0;
    // In reverse order, so that no state of the event before can help.
    for (event, location) in events.iter().rev() {
        if !is_shown(event) {
            assert_eq!(*location, Location::default(), "{name}: {event:?}");
            continue;
        }
        let start = location.offset as usize;
        let bytes = &trace[start..start + location.len as usize];
        let format = format.expect("a format");
        let decoded = decoder.decode(format, *location, bytes);
        let decoded = decoded.unwrap_or_else(|damage| panic!("{name}: {damage}: {event:?}"));
        // The fields that come from the enclosing message.
        decoded.trace = event.trace;
        assert_eq!(decoded, event, "{name}");
        count += 1;
    }
    count
}

/// Events of both directions, truncated or not.
fn events(form: Form) -> Vec<Ev> {
    let mut events = vec![
        Ev::new(What::Read, 1, "GET / HTTP/1.1\r\n\r\n"),
        Ev::new(What::Write, 2_000_000, [0xff; 200]),
        Ev::new(What::Read, 3, ""),
    ];
    events[1].end_stream = true;
    if form != Form::Bare {
        events[0].truncated = true;
        events[2].seq_num = 7;
        events.push(Ev::new(What::Closed, 4, ""));
    }
    events
}

#[test]
fn made_traces_decode_event_by_event() {
    for form in Form::ALL {
        let events = events(form);
        let count = events.len();
        let trace = Made::v4(events).encode(form).bytes;
        assert_eq!(check(&format!("{form:?}"), &trace), count, "{form:?}");
    }
}

#[test]
fn recordings_decode_event_by_event() {
    let sockets = fixtures::socket_traces().into_iter().map(|it| it.path);
    let paths: Vec<_> = sockets.chain(fixtures::http_traces()).collect();
    each(
        &paths,
        |path| path.display().to_string(),
        |path| {
            let bytes = std::fs::read(path).expect("a trace");
            let count = check(&path.display().to_string(), &bytes);
            assert!(count > 0 || bytes.is_empty(), "no events");
        },
    );
}

#[test]
fn a_trace_that_has_changed_is_damage() {
    for form in Form::ALL {
        let trace = Made::v4(events(form)).encode(form).bytes;
        let (format, events) = located(&trace);
        let format = format.expect("a format");
        let mut decoder = EventDecoder::default();
        for (event, location) in events {
            if !is_shown(&event) {
                continue;
            }
            let start = location.offset as usize;
            let bytes = &trace[start..start + location.len as usize];
            let end = bytes.len().saturating_sub(1);
            let noise = vec![0xff; bytes.len()];
            for bytes in [&bytes[..end], &trace[..1], b"", &noise] {
                let decoded = decoder.decode(format, location, bytes);
                assert!(decoded.is_err(), "{form:?} {bytes:x?}");
            }
            assert!(decoder.decode(format, location, bytes).is_ok());
        }
    }
}

#[test]
fn an_exchange_has_one_location() {
    let path = fixtures::http_traces().into_iter().find(|path| {
        let name = path.to_string_lossy();
        name.contains("http_buf_proto_binary_") && name.ends_with(".pb")
    });
    let trace = std::fs::read(path.expect("a buffered one")).expect("a trace");
    let (_, events) = located(&trace);
    let places: Vec<_> = events
        .iter()
        .filter(|(event, _)| matches!(event.what, Said::Http(Http::Part { .. })))
        .map(|(_, place)| *place)
        .collect();
    assert!(places.len() > 2);
    for pair in places.windows(2) {
        assert_eq!((pair[0].offset, pair[0].len), (pair[1].offset, pair[1].len));
        assert_ne!(pair[0].part, pair[1].part);
    }
}
