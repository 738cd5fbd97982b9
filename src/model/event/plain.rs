//! Plain events, which borrow their payload instead of storing it.

use std::num::NonZeroU64;

use super::{Direction, Event, Timestamp, TraceId, What};

/// An event that consists of bytes, a recorded time and perhaps a count. Nearly all events do.
///
/// It borrows from the window of the input, and is small enough to stay in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainEvent<'a> {
    /// The connection it belongs to.
    pub(crate) trace: TraceId,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// Envoy's running count of bytes, as in [`Event::seq_num`].
    pub(crate) seq_num: Option<NonZeroU64>,
    /// The direction of the bytes.
    pub(crate) direction: Direction,
    /// The bytes, all of which are recorded.
    pub(crate) payload: &'a [u8],
}

impl Event {
    /// The same event, if it is a plain one.
    #[inline(always)]
    pub(crate) fn as_plain(&self) -> Option<PlainEvent<'_>> {
        let What::Data {
            direction,
            ref payload,
            truncated: false,
            as_string: false,
            end_stream: false,
        } = self.what
        else {
            return None;
        };
        let time = self.time.filter(|_| !self.time_adjusted)?;
        self.gap.is_none().then_some(PlainEvent {
            trace: self.trace,
            time,
            seq_num: self.seq_num,
            direction,
            payload,
        })
    }
}
