//! The memory that a transcoder reuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::model::event::Event;
use crate::trace::Reader;

/// A trace of events with 3,000 received bytes each: all bytes of the first are 0x00, of the next 0x01, and so on.
fn trace(events: u8) -> Reader {
    let event = |byte| {
        let payload = STANDARD.encode([byte; 3_000]);
        format!(r#"{{"read":{{"data":{{"as_bytes":"{payload}"}}}}}}"#)
    };
    let events: Vec<_> = (0..events).map(event).collect();
    let events = events.join(",");
    let address = r#"{"pipe":{"path":"/a"}}"#;
    let connection = format!(r#"{{"local_address":{address},"remote_address":{address}}}"#);
    let trace = format!(
        r#"{{"socket_buffered_trace":{{"trace_id":1,"connection":{connection},"events":[{events}]}}}}"#
    );
    Reader::new(Input::from_bytes(trace), None, None)
}

/// The payload of an event.
fn payload(event: &Event) -> Option<&[u8]> {
    event.payload().map(|(_, payload)| payload)
}

#[test]
fn memory_is_reused() {
    let (mut reader, mut places, mut events) = (trace(100), Vec::new(), 0);
    while let Step::Item(()) = reader.advance().unwrap() {
        if let Some(payload) = reader.current().and_then(payload) {
            assert_eq!(payload, [events; 3_000]);
            places.push(payload.as_ptr());
            events += 1;
        }
    }
    assert_eq!(events, 100);
    places.sort_unstable();
    places.dedup();
    assert!(places.len() <= 2, "{places:?}");
}
