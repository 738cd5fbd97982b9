//! Turns events of a trace into events of connections: the connection of each event, the order of the events, and
//! the number of bytes missing between them.
//!
//! A trace identifies its connections by ids that several of them may share, and a collector may receive events
//! twice, out of order or not at all. This stage resolves that once for all kinds of conversion, and the synthesizer
//! follows it. Knows nothing of encodings, packet addresses or captures.
//!
//! Invariant: the events of one connection are delivered in the order of their `seq_num`, if they have one, and
//! otherwise in the order of the trace.

mod buffered;
mod identify;
mod order;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::evicted::Evicted;
use crate::model::event::{Event, PlainEvent, TraceId, What};
use crate::model::warning::{Warning, WarningKind, Warnings};

use identify::{Directory, Handle, Slot, Track};
use order::Queue;

/// The maximum number of bytes missing from one event, or between two, that is plausible.
///
/// Real taps truncate single reads and writes of a few MiB at most; a hostile count must not become terabytes of
/// packets.
pub const MAX_EVENT_LOSS: u64 = 1 << 30;

/// How long an event of a live stream waits for an earlier one, or for its own size.
const PATIENCE: Duration = Duration::from_secs(1);

/// The number of ended connections that are remembered, to recognize repeated events.
const MAX_ENDED: usize = 64;

/// The outcome of pushing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is the next event, in its current state.
    Deliver,
    /// It was kept, or queued after others: [`Sequencer::pop`] returns the next event.
    Wait,
    /// It repeats another event, and was dropped.
    Drop,
}

/// A connection whose next event can be delivered at once.
pub(crate) struct ReadyConnection<'a> {
    track: &'a mut Track,
}

impl ReadyConnection<'_> {
    /// Its id.
    #[inline]
    pub(crate) const fn id(&self) -> TraceId {
        self.track.id
    }

    /// Records that its next event is delivered.
    #[inline(always)]
    pub(crate) fn deliver(self, event: &PlainEvent<'_>) {
        self.track.last = Some(event.time);
        self.track.order.plain(event);
    }
}

/// How long connections are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A bounded number of them, since a trace may be an endless stream.
    Bounded,
    /// All of them, since the caller ends each with its last event.
    Whole,
}

/// Puts the events of one trace in order.
#[derive(Debug)]
pub struct Sequencer {
    directory: Directory,
    /// Events to deliver, in order.
    ready: VecDeque<Event>,
    /// Whether waiting events are released after [`PATIENCE`].
    live: bool,
    memory: Memory,
    /// The connections with a waiting event, in the order of their deadlines.
    deadlines: VecDeque<(Instant, Handle, u32)>,
    /// Open connections of buffered traces, oldest first.
    resumable: VecDeque<Handle>,
    /// Connections of buffered traces that were evicted, although later messages may continue them.
    evicted: Evicted,
    /// Ended connections, oldest first. Their events may be repeated.
    ended: VecDeque<Handle>,
    /// The memory of all waiting events, in bytes.
    held: usize,
}

impl Sequencer {
    /// Starts a trace. `live` releases waiting events after a second; the caller has to call
    /// [`expire`](Self::expire).
    pub fn new(memory: Memory, live: bool) -> Self {
        Self {
            directory: Directory::new(memory == Memory::Bounded),
            ready: VecDeque::new(),
            live,
            memory,
            deadlines: VecDeque::new(),
            resumable: VecDeque::new(),
            evicted: Evicted::default(),
            ended: VecDeque::new(),
            held: 0,
        }
    }

    /// The connection of a plain event, if the event would be delivered at once: another event of the last
    /// connection, for which no event waits.
    #[inline(always)]
    pub(crate) fn plain(&mut self, event: &PlainEvent<'_>) -> Option<ReadyConnection<'_>> {
        if !self.ready.is_empty() {
            return None;
        }
        let slot = self.directory.current(event.trace)?;
        let track = self.directory.open_track(slot)?;
        let takes_plain = track.order.takes_plain(event);
        takes_plain.then_some(ReadyConnection { track })
    }

    /// Takes the next event of the trace.
    ///
    /// After that, [`pop`](Self::pop) has to be called until it returns `None`, for each result.
    pub fn push(&mut self, event: &mut Event, warnings: &mut Warnings) -> Next {
        if !matches!(event.what, What::Data { .. } | What::Closed) {
            return self.rare(event, warnings);
        }
        let slot = match self.directory.current(event.trace) {
            Some(slot) => slot,
            None => self.resolve(event, warnings),
        };
        let track = self.directory.track(slot);
        if event.seq_num.is_some() || !track.order.is_idle() || track.order.is_closed() {
            return self.counted(slot, event, warnings);
        }
        event.trace = track.id;
        track.last = event.time.or(track.last);
        track.order.uncounted();
        if matches!(event.what, What::Closed) {
            self.directory.close(slot);
        }
        self.after_ready(event)
    }

    /// Takes an event of a rare kind.
    #[cold]
    fn rare(&mut self, event: &mut Event, warnings: &mut Warnings) -> Next {
        match event.what {
            What::Begin => {
                // A message without events continues nothing.
                let _ = self.assign_message(event.trace, None);
                self.directory.begin(event.trace);
                return Next::Wait;
            }
            What::Connection(_) => {
                let is_news = self.directory.connection(event);
                if !is_news {
                    return Next::Wait;
                }
            }
            What::Truncated(_) | What::Late => {
                if self.assign_message(event.trace, None) {
                    warnings.add(Warning::of_event(WarningKind::Split, event));
                }
                let slot = self.directory.latest_or_new(event.trace);
                event.trace = self.directory.track(slot).id;
            }
            _ => {}
        }
        self.after_ready(event)
    }

    /// Delivers an event after those that were due before it.
    #[inline]
    fn after_ready(&mut self, event: &mut Event) -> Next {
        if self.ready.is_empty() {
            return Next::Deliver;
        }
        self.ready.push_back(std::mem::take(event));
        Next::Wait
    }

    /// Finds the connection of an event that may not belong to the last event's connection.
    #[cold]
    fn resolve(&mut self, event: &Event, warnings: &mut Warnings) -> Slot {
        if self.assign_message(event.trace, event.time) {
            warnings.add(Warning::of_event(WarningKind::Split, event));
        }
        let (slot, is_ambiguous) = self.directory.find(event);
        if is_ambiguous {
            warnings.add(Warning::of_event(WarningKind::SharedId, event));
        }
        slot
    }

    /// Takes an event with a count, or one that follows such an event.
    fn counted(&mut self, slot: Slot, event: &mut Event, warnings: &mut Warnings) -> Next {
        let slot = match event.seq_num {
            Some(_) => slot,
            // It comes after all waiting events.
            None => self.release(slot, warnings),
        };
        self.place(slot, event, warnings).0
    }

    /// Takes an event of the connection in `slot`, or of a later one. Returns the slot of its connection.
    fn place(&mut self, slot: Slot, event: &mut Event, warnings: &mut Warnings) -> (Next, Slot) {
        let mut slot = slot;
        let mut track = self.directory.track(slot);
        event.trace = track.id;
        if track.order.is_closed() {
            if track.order.is_repeat(event) {
                warnings.add(Warning::of_event(WarningKind::Repeated, event));
                return (Next::Drop, slot);
            }
            slot = self.reopen(slot, event.offset);
            track = self.directory.track(slot);
            event.trace = track.id;
        }
        track.last = event.time.or(track.last);
        let turn = track.order.turn();
        let mut queue = Queue {
            ready: &mut self.ready,
            held: &mut self.held,
            warnings,
        };
        let mut next = track.order.push(event, &mut queue);
        let is_over = track.order.is_closed();
        if let Some(now) = track.order.turn()
            && Some(now) != turn
            && !is_over
            && self.live
        {
            let handle = self.directory.handle(slot);
            self.deadlines
                .push_back((Instant::now() + PATIENCE, handle, now));
        }
        if is_over {
            if next == Next::Deliver && !self.directory.track(slot).order.is_idle() {
                self.ready.push_back(std::mem::take(event));
                next = Next::Wait;
            }
            slot = self.end(slot, warnings);
        }
        (next, slot)
    }

    /// Opens another connection with the id of an ended one. Its beginning is not in the trace.
    fn reopen(&mut self, slot: Slot, offset: u64) -> Slot {
        let slot = self.directory.reopen(slot);
        self.ready.extend(self.directory.about(slot, offset));
        slot
    }

    /// Records that a connection's close was delivered. Waiting events with a higher count belong to a later
    /// connection. Returns the slot of the last connection.
    fn end(&mut self, slot: Slot, warnings: &mut Warnings) -> Slot {
        let mut queue = Queue {
            ready: &mut self.ready,
            held: &mut self.held,
            warnings,
        };
        let rest = self.directory.track(slot).order.take_rest(&mut queue);
        let Some(first) = rest.front() else {
            self.linger(slot);
            return slot;
        };
        let mut slot = self.reopen(slot, first.offset);
        for mut event in rest {
            let next;
            (next, slot) = self.place(slot, &mut event, warnings);
            if next == Next::Deliver {
                self.ready.push_back(event);
            }
        }
        slot
    }

    /// Remembers an ended connection for a while, since its events may be repeated.
    fn linger(&mut self, slot: Slot) {
        self.ended.push_back(self.directory.handle(slot));
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
            && let Some(slot) = self.directory.slot(oldest)
        {
            self.directory.close(slot);
        }
    }

    /// The next event that is due after the pushed one.
    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// When [`expire`](Self::expire) has something to release.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, ..)| *at)
    }

    /// Releases the events that have waited long enough.
    pub fn expire(&mut self, warnings: &mut Warnings) {
        let now = Instant::now();
        while let Some(&(at, handle, turn)) = self.deadlines.front()
            && at <= now
        {
            self.deadlines.pop_front();
            if let Some(slot) = self.directory.slot(handle)
                && self.directory.track(slot).order.turn() == Some(turn)
            {
                self.release(slot, warnings);
            }
        }
    }

    /// Releases all waiting events at the end of the trace.
    pub fn finish(&mut self, warnings: &mut Warnings) {
        for id in self.directory.pending_messages() {
            let _ = self.assign_message(id, None);
        }
        for handle in self.directory.waiting() {
            if let Some(slot) = self.directory.slot(handle) {
                self.release(slot, warnings);
            }
        }
    }

    /// Releases all waiting events of a connection. Returns the slot of the last one's connection.
    fn release(&mut self, slot: Slot, warnings: &mut Warnings) -> Slot {
        let mut slot = slot;
        loop {
            let order = &mut self.directory.track(slot).order;
            if order.is_idle() {
                return slot;
            }
            let mut queue = Queue {
                ready: &mut self.ready,
                held: &mut self.held,
                warnings,
            };
            order.flush(&mut queue);
            if order.is_closed() {
                slot = self.end(slot, warnings);
            }
        }
    }
}
