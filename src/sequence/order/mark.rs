//! Recognizes repeated events.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::{FixedState, FoldHasher};

use crate::model::event::{Direction, Event, Timestamp, What};

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
        match event.what {
            What::Data {
                direction,
                ref payload,
                truncated,
                as_string,
                end_stream,
            } => {
                let flags = [truncated, as_string, end_stream];
                Self::of_bytes(event.time, count, direction, flags, payload)
            }
            _ => Self(hasher(event.time, count).finish()),
        }
    }

    /// The mark of an event about bytes; `flags`: whether it is truncated, a string, and ends the stream.
    #[inline]
    pub(super) fn of_bytes(
        time: Option<Timestamp>,
        count: u64,
        direction: Direction,
        [truncated, as_string, end_stream]: [bool; 3],
        payload: &[u8],
    ) -> Self {
        let mut hasher = hasher(time, count);
        let flags = [
            true,
            truncated,
            as_string,
            end_stream,
            direction == Direction::Write,
        ];
        let flags = flags
            .iter()
            .fold(0, |bits, flag| bits << 1 | u64::from(*flag));
        hasher.write_u64((payload.len() as u64) << 5 | flags);
        hasher.write_u64(word(payload.first_chunk(), payload));
        hasher.write_u64(word(payload.last_chunk(), payload));
        Self(hasher.finish())
    }
}

fn hasher(time: Option<Timestamp>, count: u64) -> FoldHasher<'static> {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(count);
    hasher.write_u64(time.map_or(u64::MAX, |time| time.nanos()));
    hasher
}

/// The number in a chunk of the payload, or in all of it if it is shorter.
fn word(chunk: Option<&[u8; COMPARED]>, payload: &[u8]) -> u64 {
    let mut word = [0; COMPARED];
    match chunk {
        Some(chunk) => word = *chunk,
        None => word[..payload.len()].copy_from_slice(payload),
    }
    u64::from_le_bytes(word)
}
