//! Chooses among the connections that use one id at the same time.
//!
//! Invariant: of several that fit equally well, the one mentioned last is chosen.

use crate::model::event::Event;
use crate::sequence::order::Fit;

use super::{Slot, Track};

/// The number of open connections of one id that are compared with an event that does not name its connection.
pub(super) const MAX_COMPARED: usize = 8;

/// The best fit for an event among the connections with its id, and whether others fit equally well.
pub(super) fn choose(
    candidates: impl Iterator<Item = Slot>,
    tracks: &[Option<Track>],
    event: &Event,
) -> (Option<Slot>, bool) {
    let count = event.count_before();
    let (mut best, mut best_fit) = (None, (false, Fit::Not));
    let (mut open, mut closed) = (None, None);
    let mut is_alone = true;
    for slot in candidates {
        let Some(Some(Track { order, .. })) = tracks.get(slot as usize) else {
            continue;
        };
        if let Some(count) = count {
            // Without a time, the first events of two connections may look the same.
            let is_repeat = event.time.is_some() && order.is_repeat(event);
            let fit = (is_repeat, order.fit(count));
            // Among equals, the latest.
            if fit > best_fit {
                (best, best_fit) = (Some(slot), fit);
            }
        }
        if order.is_closed() {
            closed = closed.or(Some(slot));
        } else {
            is_alone &= open.is_none();
            open = open.or(Some(slot));
        }
    }
    if best.is_some() {
        return (best, false);
    }
    match count {
        // It begins a connection that follows an ended one.
        Some(1) if closed.is_some() => (closed, false),
        _ => (open, !is_alone),
    }
}
