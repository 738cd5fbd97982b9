//! The events of one connection that wait for an earlier one.

use std::collections::VecDeque;

use crate::model::event::{Event, Gap, GapKind, What};
use crate::model::warning::{Warning, WarningKind};
use crate::sequence::{MAX_EVENT_LOSS, Next};

use super::queue::Queue;
use super::{Order, end_of, len};

/// The maximum number of events that wait for a missing one, and of their payload bytes.
const WINDOW_EVENTS: usize = 64;
const WINDOW_BYTES: usize = 8 << 20;
/// How much later than the first waiting event another one may be, in nanoseconds.
const WINDOW_TIME: u64 = 1_000_000_000;

impl Order {
    /// Keeps an event until the ones before it arrive, or for as long as the window allows.
    pub(super) fn hold(&mut self, event: &mut Event, count: u64, queue: &mut Queue<'_>) -> Next {
        let rare = self.rare.get_or_insert_default();
        // The close comes after an event without bytes.
        let place = |event: &Event| (event.count_before().unwrap_or(0), is_end(event));
        let own = place(event);
        let at = rare.held.partition_point(|held| place(held) <= own);
        let repeats = rare
            .held
            .range(..at)
            .rev()
            .take_while(|held| held.count_before() == Some(count))
            .any(|held| same(held, event));
        if repeats {
            return queue.drop(event);
        }
        if at < rare.held.len() {
            queue
                .warnings
                .add(Warning::of_event(WarningKind::Reordered, event));
        }
        if rare.held.is_empty() {
            rare.turn = rare.turn.wrapping_add(1);
        }
        rare.held.insert(at, queue.keep(event));
        while !self.fits(queue) {
            self.give_up(queue);
        }
        Next::Wait
    }

    /// Whether the waiting events fit the window.
    fn fits(&self, queue: &Queue<'_>) -> bool {
        let Some(rare) = self.rare.as_ref().filter(|_| !self.closed) else {
            return true;
        };
        let (Some(first), Some(last)) = (rare.held.front(), rare.held.back()) else {
            return true;
        };
        let bytes: usize = rare.held.iter().map(len).sum();
        let late = match (first.time, last.time) {
            (Some(first), Some(last)) => last > first.saturating_add(WINDOW_TIME),
            _ => false,
        };
        rare.held.len() <= WINDOW_EVENTS && bytes <= WINDOW_BYTES && !queue.is_too_much() && !late
    }

    /// Delivers the first waiting event although bytes before it are missing, and the events that follow it.
    fn give_up(&mut self, queue: &mut Queue<'_>) {
        let Some(mut event) = self.take_first(queue) else {
            return;
        };
        let count = event.count_before().unwrap_or(0);
        let expected = self.expected.unwrap_or(1);
        // An impossible count may have arrived after the events before this one.
        let resumes = self.rare.as_mut().and_then(|rare| rare.resumes.take());
        let from = resumes.filter(|resumes| (expected..=count).contains(resumes));
        let from = from.unwrap_or(expected);
        let lost = count.saturating_sub(from);
        if lost > MAX_EVENT_LOSS {
            let detail = format!("{count} where {from} comes next");
            self.mismatch(&event, lost, detail, queue);
        } else if lost > 0 {
            let direction = event.payload().map(|(direction, _)| direction);
            event.gap = Some(Box::new(Gap {
                bytes: lost,
                direction: direction.filter(|_| direction == self.last_direction),
                kind: GapKind::Lost,
            }));
        }
        if self.accept(&mut event, count, queue) == Next::Deliver {
            queue.ready.push_back(event);
        }
        self.drain(queue);
    }

    fn take_first(&mut self, queue: &mut Queue<'_>) -> Option<Event> {
        let event = self.rare.as_mut()?.held.pop_front()?;
        queue.let_go(&event);
        Some(event)
    }

    /// Delivers the events that waited for the one delivered now.
    pub(super) fn drain(&mut self, queue: &mut Queue<'_>) {
        while !self.closed {
            let rare = self.rare.as_ref();
            let count = rare
                .and_then(|rare| rare.held.front())
                .and_then(Event::count_before);
            let Some(count) = count else { return };
            self.measure_cut(count, queue);
            let expected = self.expected.unwrap_or(1);
            if count > expected {
                return;
            }
            let Some(mut event) = self.take_first(queue) else {
                return;
            };
            let next = match count < expected {
                true => self.late(&mut event, count, expected, queue),
                false => self.accept(&mut event, count, queue),
            };
            if next == Next::Deliver {
                queue.ready.push_back(event);
            }
        }
    }

    /// Delivers all waiting events, up to the connection's close.
    pub(in crate::sequence) fn flush(&mut self, queue: &mut Queue<'_>) {
        loop {
            if let Some(cut) = self.take_cut(queue) {
                let end = end_of(&cut).zip(self.last_direction);
                if let Some(rare) = &mut self.rare {
                    rare.unsized_cut = end;
                }
                queue.ready.push_back(cut);
            }
            let is_done = self.rare.as_ref().is_none_or(|rare| rare.held.is_empty());
            if is_done || self.closed {
                return;
            }
            self.give_up(queue);
        }
    }

    /// Takes the waiting events with a higher count than the connection's close.
    pub(in crate::sequence) fn take_rest(&mut self, queue: &mut Queue<'_>) -> VecDeque<Event> {
        let rest = self
            .rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.held));
        let rest = rest.unwrap_or_default();
        for event in &rest {
            queue.let_go(event);
        }
        rest
    }
}

const fn is_end(event: &Event) -> bool {
    matches!(event.what, What::Closed)
}

/// Whether one event repeats the other.
fn same(one: &Event, other: &Event) -> bool {
    (one.seq_num, one.time, &one.what) == (other.seq_num, other.time, &other.what)
}
