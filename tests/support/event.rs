//! Events with bytes, for the tests of redaction and the fuzzer.

use super::{Direction, Event, Slice, What};

/// An event with bytes, and nothing missing.
pub(super) fn data(direction: Direction, payload: &[u8]) -> Event {
    Event {
        what: What::Data {
            direction,
            payload: Slice::copy_of(payload),
            truncated: false,
            as_string: false,
            end_stream: false,
        },
        ..Event::default()
    }
}
