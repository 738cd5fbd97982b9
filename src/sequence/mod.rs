//! Events of a trace become events of connections: which connection each belongs to, in which order they
//! happened, and how many bytes are missing between them.
//!
//! A trace names its connections by ids that several of them may share, and what a collector has received
//! may be doubled, reordered or lost. This stage decides all of that once, for every kind of conversion; the
//! synthesizer after it only follows. It knows nothing of encodings, addresses in packets or captures.
//!
//! Invariant: the events of one connection come out in the order of their `seq_num`, where they have one,
//! and otherwise as the trace has them.

mod identify;
mod order;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::event::{Event, Timestamp, TraceId, What};
use crate::model::warning::{Warning, WarningKind, Warnings};

use identify::{Directory, Handle, Slot};
use order::Queue;

/// The most that may be missing of one event, or between two, and still be believed, in bytes.
///
/// Real taps cut single reads and writes, a few MiB at most; a hostile count must not become
/// terabytes of packets.
pub const MAX_EVENT_LOSS: u64 = 1 << 30;

/// How long an event of a live stream waits for one that should come before it, or for its own size.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many connections of buffered traces are kept open for later messages that continue them, unless the
/// caller knows when each of them ends. No message says that it is the last.
const MAX_RESUMABLE: usize = 4096;

/// How many connections whose end was delivered are remembered, so that a repeated event is known as one.
const MAX_ENDED: usize = 64;

/// What becomes of an event that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is the next event, as it stands now.
    Deliver,
    /// It was kept, or queued after others: [`Sequencer::pop`] gives what is next.
    Wait,
    /// It is a repetition of another, and was dropped.
    Drop,
}

/// How long connections are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A bounded number of them: a trace may be a stream without an end.
    Bounded,
    /// All of them: the caller ends each with its last event.
    Whole,
}

/// Puts the events of one trace in order.
#[derive(Debug)]
pub struct Sequencer {
    directory: Directory,
    /// Events that are due, in order.
    ready: VecDeque<Event>,
    /// Whether events that wait are released after [`PATIENCE`].
    live: bool,
    memory: Memory,
    /// The connections with an event that waits, in the order of their deadlines.
    deadlines: VecDeque<(Instant, Handle, u32)>,
    /// Open connections of buffered traces, the oldest first.
    resumable: VecDeque<Handle>,
    /// Connections whose end was delivered, the oldest first. An event of theirs may come twice.
    ended: VecDeque<Handle>,
    /// What all events that wait take, in bytes.
    held: usize,
}

impl Sequencer {
    /// Starts a trace. `live` releases events that wait after a second: call [`expire`](Self::expire) then.
    pub fn new(memory: Memory, live: bool) -> Self {
        Self {
            directory: Directory::new(memory == Memory::Bounded),
            ready: VecDeque::new(),
            live,
            memory,
            deadlines: VecDeque::new(),
            resumable: VecDeque::new(),
            ended: VecDeque::new(),
            held: 0,
        }
    }

    /// Takes the next event of the trace.
    ///
    /// Whatever it returns, [`pop`](Self::pop) has to be called afterwards until it gives none.
    #[inline(always)]
    pub fn push(&mut self, event: &mut Event, warnings: &mut Warnings) -> Next {
        // One more of the last connection, for which nothing waits and nothing is counted.
        if let (What::Data { .. }, None) = (&event.what, event.seq_num)
            && self.ready.is_empty()
            && let Some(slot) = self.directory.current(event)
            && let Some(track) = self.directory.straight_track(slot)
        {
            event.trace.instance = track.id.instance;
            track.last = event.time.or(track.last);
            track.order.uncounted();
            return Next::Deliver;
        }
        self.push_any(event, warnings)
    }

    fn push_any(&mut self, event: &mut Event, warnings: &mut Warnings) -> Next {
        if !matches!(event.what, What::Data { .. } | What::Closed) {
            return self.rare(event);
        }
        let slot = match self.directory.current(event) {
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

    /// Takes an event of a kind that a trace has few of.
    #[cold]
    fn rare(&mut self, event: &mut Event) -> Next {
        match event.what {
            What::Begin => {
                self.settle(event.trace, None);
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
                self.settle(event.trace, None);
                let slot = self.directory.latest_or_new(event.trace);
                event.trace = self.directory.track(slot).id;
            }
            _ => {}
        }
        self.after_ready(event)
    }

    /// Delivers an event after those that are due before it.
    #[inline]
    fn after_ready(&mut self, event: &mut Event) -> Next {
        if self.ready.is_empty() {
            return Next::Deliver;
        }
        self.ready.push_back(std::mem::take(event));
        Next::Wait
    }

    /// Finds the connection of an event where it may be another one than the last event's.
    #[cold]
    fn resolve(&mut self, event: &Event, warnings: &mut Warnings) -> Slot {
        self.settle(event.trace, event.time);
        let (slot, is_ambiguous) = self.directory.find(event);
        if is_ambiguous {
            warnings.add(Warning::of_event(WarningKind::SharedId, event));
        }
        slot
    }

    /// Decides which connection the last buffered message of `id` is about, unless that is decided.
    fn settle(&mut self, id: TraceId, time: Option<Timestamp>) {
        let Some(settled) = self.directory.settle(id, time) else {
            return;
        };
        self.ready.extend(settled.ended.map(over));
        if settled.is_new {
            self.ready.push_back(Event {
                trace: self.directory.track(settled.slot).id,
                what: What::Begin,
                ..Event::default()
            });
        }
        self.ready.extend(settled.connection);
        if !settled.is_new || self.memory == Memory::Whole {
            return;
        }
        self.resumable
            .push_back(self.directory.handle(settled.slot));
        if self.resumable.len() > MAX_RESUMABLE
            && let Some(oldest) = self.resumable.pop_front()
            && let Some(slot) = self.directory.slot(oldest)
        {
            let id = self.directory.track(slot).id;
            self.directory.close(slot);
            self.ready.push_back(over(id));
        }
    }

    /// Takes an event that has a count, or follows one that has.
    fn counted(&mut self, slot: Slot, event: &mut Event, warnings: &mut Warnings) -> Next {
        let slot = match event.seq_num {
            Some(_) => slot,
            // It comes after all that has waited.
            None => self.release(slot, warnings),
        };
        self.place(slot, event, warnings).0
    }

    /// Takes an event of the connection in `slot`, or of another one that follows it. Returns the slot of that.
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

    /// Opens another connection with the id of one that has ended, whose beginning is not in the trace.
    fn reopen(&mut self, slot: Slot, offset: u64) -> Slot {
        let slot = self.directory.reopen(slot);
        self.ready.extend(self.directory.about(slot, offset));
        slot
    }

    /// Takes note that the end of a connection was delivered. What counts more, and waited for events before it,
    /// is of another connection. Returns the slot of the last one.
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

    /// Keeps a connection that has ended for a while: an event of it may come twice.
    fn linger(&mut self, slot: Slot) {
        self.ended.push_back(self.directory.handle(slot));
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
            && let Some(slot) = self.directory.slot(oldest)
        {
            self.directory.close(slot);
        }
    }

    /// The next event that is due after the one that was pushed.
    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// When [`expire`](Self::expire) has something to release.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, ..)| *at)
    }

    /// Releases the events that have waited for long enough.
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

    /// Releases everything that waits: the trace has ended.
    pub fn finish(&mut self, warnings: &mut Warnings) {
        for id in self.directory.unsettled() {
            self.settle(id, None);
        }
        for handle in self.directory.waiting() {
            if let Some(slot) = self.directory.slot(handle) {
                self.release(slot, warnings);
            }
        }
    }

    /// Releases all that waits of a connection. Returns the slot of the connection that the last of it belongs to.
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

/// The end of a connection whose end is not recorded.
fn over(id: TraceId) -> Event {
    Event {
        trace: id,
        what: What::Over,
        ..Event::default()
    }
}
