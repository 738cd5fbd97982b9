//! Recognizes repeated events.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;

use crate::model::event::{Direction, Event, What};

/// The number of first and last bytes that identify an event.
const COMPARED: usize = 8;

/// Identifies an event of a connection: by its count, time, direction, flags and length, and its first and last
/// bytes.
///
/// It is a hash of them, because a connection keeps many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// The mark of an event with this count.
    pub(super) fn of(event: &Event, count: u64) -> Self {
        let mut hasher = FixedState::default().build_hasher();
        hasher.write_u64(count);
        hasher.write_u64(event.time.map_or(u64::MAX, |time| time.nanos()));
        if let What::Data {
            direction,
            payload,
            truncated,
            as_string,
            end_stream,
        } = &event.what
        {
            let word = |bytes: &[u8]| {
                let mut word = [0; COMPARED];
                word[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            };
            let compared = payload.len().min(COMPARED);
            let flags = [
                *truncated,
                *as_string,
                *end_stream,
                *direction == Direction::Write,
            ];
            let flags = flags
                .iter()
                .fold(1, |bits, flag| bits << 1 | u64::from(*flag));
            hasher.write_u64((payload.len() as u64) << 5 | flags);
            hasher.write_u64(word(&payload[..compared]));
            hasher.write_u64(word(&payload[payload.len() - compared..]));
        }
        Self(hasher.finish())
    }
}
