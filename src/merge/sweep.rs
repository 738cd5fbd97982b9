//! The second pass: the events of all traces in the order of their times.
//!
//! It holds open what overlaps, and goes from one trace to the other by a heap of their next events.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::path::PathBuf;

use crate::event::{Event, Timestamp, What};
use crate::input::{Input, Wait};
use crate::interrupt::Interrupt;
use crate::trace::{Damage, Encoding, Fault, Reader, Step};

use super::place;
use super::scan::Run;

/// How far the reader of a trace looks ahead for the count that tells a truncated event's size: so
/// many events, and so many bytes of payload.
const AHEAD_EVENTS: usize = 1024;
const AHEAD_BYTES: usize = 8 << 20;

/// What the second pass tells.
pub(super) enum Told<'a> {
    /// An event, and the time that it has in the merge where it happened at one.
    Event(&'a Event, Option<Timestamp>),
    /// That a trace ended earlier than in the first pass.
    Short(u32, Short),
}

/// Why a trace ended earlier.
pub(super) enum Short {
    Damage(Damage),
    Unread(io::Error),
}

/// The second pass over the traces at `paths`.
pub(super) struct Sweep<'a> {
    pub(super) paths: &'a [PathBuf],
    pub(super) encoding: Option<Encoding>,
    /// The first time of a trace that records none.
    pub(super) start: Timestamp,
}

impl Sweep<'_> {
    /// Goes over `runs`, unless it is interrupted, and tells `out` what is in them.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn run<E>(
        &self,
        mut runs: Vec<Run>,
        interrupt: &Interrupt,
        out: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Stable: among equals, the order of the traces and of their parts.
        runs.sort_by_key(|run| run.start);
        let mut coming = runs.into_iter().peekable();
        let mut open: BinaryHeap<Due> = BinaryHeap::new();
        let mut opened = 0;
        while interrupt.signal().is_none() {
            // Looked at where it lies: taken out and put back, it would be moved for each event.
            while let Some(run) = coming.peek()
                && open.peek().is_none_or(|due| run.start <= due.time)
                && let Some(run) = coming.next()
            {
                if let Some((_, before)) = &run.mark {
                    out(Told::Event(before, None))?;
                }
                let mut run = Box::new(self.open(run));
                match run.advance(self.start) {
                    Some(time) => open.push(Due {
                        time,
                        number: opened,
                        run,
                    }),
                    None => run.rest(out)?,
                }
                opened += 1;
            }
            let Some(mut first) = open.peek_mut() else {
                break;
            };
            let due = &mut *first;
            due.run.tell(due.time, out)?;
            match due.run.advance(self.start) {
                // It stays where it is, or sinks.
                Some(time) => due.time = time,
                None => PeekMut::pop(first).run.rest(out)?,
            }
        }
        Ok(())
    }

    /// Opens a run behind its mark.
    fn open(&self, run: Run) -> Open {
        let path = self.paths[run.source as usize].clone();
        let reader = match run.mark {
            Some((mark, _)) => Reader::resume(Input::from_path(path, mark.offset()), &mark),
            None => {
                let input = Input::from_path(path.clone(), 0);
                Reader::new(input, self.encoding, Some(path)).of_source(run.source)
            }
        };
        Open {
            source: run.source,
            reader,
            left: run.events,
            at_hand: false,
            ahead: VecDeque::new(),
            bytes: 0,
            untimed: 0,
            last: None,
            short: None,
        }
    }
}

/// A run being read.
struct Open {
    source: u32,
    reader: Reader,
    left: u64,
    /// Whether the reader's current event has been read and not told yet. Then there are none ahead of it:
    /// most events are told from where they were decoded.
    at_hand: bool,
    /// Events that are read and not told yet, and how many bytes of payload they hold.
    ahead: VecDeque<Event>,
    bytes: usize,
    /// How many at the front of `ahead` are known to have no time of their own. Searched anew for each
    /// event, a trace that begins with many connections would take the square of their number.
    untimed: usize,
    last: Option<Timestamp>,
    /// Why it ends short of what the first pass found, if it does.
    short: Option<Short>,
}

impl Open {
    /// Reads up to the next event that happened at a time, and tells that time.
    fn advance(&mut self, start: Timestamp) -> Option<Timestamp> {
        if self.ahead.is_empty() {
            if !self.read() {
                return None;
            }
            if let Some(event) = self.reader.current()
                && event.is_timed()
                && !waits(event)
            {
                self.at_hand = true;
                return Some(place(event.time, self.last, start));
            }
            self.keep();
        }
        loop {
            let timed = self.ahead.range(self.untimed..).position(Event::is_timed);
            let next = timed.map(|at| self.untimed + at);
            self.untimed = next.unwrap_or(self.ahead.len());
            if let Some(next) = next
                && (self.is_settled(next) || !self.read_ahead())
            {
                return Some(place(self.ahead[next].time, self.last, start));
            }
            if next.is_none() && !self.read_ahead() {
                return None;
            }
        }
    }

    /// Whether all is known of an event that is ever going to be.
    fn is_settled(&self, at: usize) -> bool {
        !waits(&self.ahead[at]) || self.ahead.len() - at > AHEAD_EVENTS || self.bytes > AHEAD_BYTES
    }

    /// Has the reader go on to one more event; false when there is none.
    fn read(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        loop {
            let why = match self.reader.advance() {
                Ok(Step::Item(())) => break,
                Ok(Step::More) => match self.reader.fill(&Wait::default()) {
                    Ok(()) => continue,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Short::Unread(error),
                },
                Ok(Step::End) => {
                    let (what, missing) = ("a trace that was longer when the merge began", None);
                    let fault = Fault::Cut { what, missing };
                    Short::Damage(Damage::new(self.reader.offset(), fault))
                }
                Err(damage) => Short::Damage(damage),
            };
            self.short = Some(why);
            self.left = 0;
            return false;
        }
        self.left -= 1;
        true
    }

    /// Reads one more event while others wait; false when there is none.
    fn read_ahead(&mut self) -> bool {
        let read = self.read();
        if read {
            self.keep();
        }
        read
    }

    /// Puts the event that was read behind those that wait.
    fn keep(&mut self) {
        let event = self.reader.take();
        if let Some(count) = event.count_before() {
            let before = self
                .ahead
                .iter_mut()
                .rev()
                .find(|before| before.trace == event.trace && before.is_timed());
            if let Some(before) = before {
                before.next_seq = Some(count);
            }
        }
        self.bytes += payload_len(&event);
        self.ahead.push_back(event);
    }

    /// Tells the next event that happened at a time, which is `time` in the merge, and what the trace says
    /// before that.
    fn tell<E>(
        &mut self,
        time: Timestamp,
        out: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if std::mem::take(&mut self.at_hand)
            && let Some(event) = self.reader.current()
        {
            self.last = Some(time);
            return out(Told::Event(event, Some(time)));
        }
        while let Some(event) = self.ahead.pop_front() {
            self.untimed = self.untimed.saturating_sub(1);
            self.bytes -= payload_len(&event);
            let time = event.is_timed().then_some(time);
            self.last = time.or(self.last);
            out(Told::Event(&event, time))?;
            if time.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Tells what the trace says behind its last event.
    fn rest<E>(self, out: &mut impl FnMut(Told<'_>) -> Result<(), E>) -> Result<(), E> {
        for event in &self.ahead {
            out(Told::Event(event, None))?;
        }
        match self.short {
            Some(short) => out(Told::Short(self.source, short)),
            None => Ok(()),
        }
    }
}

/// Whether the count before the next event will tell this one's size.
fn waits(event: &Event) -> bool {
    let is_truncated = matches!(
        event.what,
        What::Data {
            truncated: true,
            ..
        }
    );
    is_truncated && event.seq_num.is_some() && event.next_seq.is_none()
}

fn payload_len(event: &Event) -> usize {
    event.payload().map_or(0, |(_, payload)| payload.len())
}

/// An open run and the time of its next event. The earliest is the greatest, as the heap has that on top;
/// of equals, the one that was opened first.
struct Due {
    time: Timestamp,
    number: usize,
    run: Box<Open>,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}
