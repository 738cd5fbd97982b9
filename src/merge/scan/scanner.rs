//! Takes the events of the first pass over a trace, and adds an entry to the index for each.
//!
//! Invariant: the times of a conversation do not decrease, except between the exchanges of an HTTP connection.

use std::io;
use std::sync::{Mutex, PoisonError};

use foldhash::HashMap;

use crate::model::event::{
    Connection, Direction, Event, GapKind, Http, PlainEvent, Timestamp, TraceId, What,
};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::pump::Consumer;
use crate::synth::{ConversationId, Conversations, STAND_IN_INTERVAL};
use crate::trace::{Lent, Location, Reader};

use super::super::index::{Builder, Entry, UNKNOWN};
use super::{Scan, ScannedConversation};

/// How many entries are added to the index at once.
const CHUNK: usize = 1 << 12;

/// Receives the events of a trace.
pub(super) struct Scanner<'a> {
    source: u32,
    /// The first time of a trace that records no times.
    start: Timestamp,
    index: &'a Mutex<Builder>,
    /// Entries that are not in the index yet.
    entries: Vec<Entry>,
    /// The number of events so far.
    ordinal: u64,
    conversations: Conversations,
    /// The index of each conversation in `scan.conversations`.
    numbers: HashMap<ConversationId, u32>,
    pub(super) scan: Scan,
    /// The offset and the location of the last event that was read.
    current: Option<(u64, Location)>,
    /// The locations of events that were read but not delivered yet, by their offsets.
    waiting: HashMap<u64, Location>,
    /// The current HTTP exchange.
    exchange: Exchange,
    /// The last stand-in for a time that the trace lacks.
    stand_in: Option<Timestamp>,
    /// The warning about the first event without contents, which is reported if the trace has no other events.
    pub(super) first_empty: Option<Warning>,
}

/// The state of an HTTP exchange of a buffered trace.
#[derive(Default)]
struct Exchange {
    /// Whether it has begun, and has no event yet.
    is_new: bool,
    /// The time of its last event.
    last: Option<Timestamp>,
}

impl Consumer for Scanner<'_> {
    type Error = io::Error;

    fn takes_plain(&self) -> bool {
        true
    }

    fn plain(
        &mut self,
        event: &PlainEvent<'_>,
        lent: &Lent<'_>,
        _: &mut Warnings,
    ) -> Option<io::Result<()>> {
        let number = *self.numbers.get(&ConversationId::Socket(event.trace))?;
        let conversation = &mut self.scan.conversations[number as usize];
        // Not for the first event of a conversation, and not for one that is earlier than the one before it.
        if self.exchange.is_new || conversation.last.is_none_or(|last| event.time < last) {
            return None;
        }
        conversation.last = Some(event.time);
        conversation.recorded = true;
        self.exchange.last = None;
        let (direction, payload) = (event.direction, event.payload);
        self.scan.summary.count_bytes(direction, payload);
        Some(self.push(Entry {
            time: event.time,
            source: self.source,
            ordinal: self.ordinal,
            conversation: number,
            number: event.trace.number,
            location: lent.location(),
            missing: UNKNOWN,
            gap: 0,
            flags: 0,
        }))
    }

    #[inline]
    fn read(&mut self, trace: &Reader) {
        let Some(event) = trace.current() else { return };
        let location = trace.location();
        // An event without a location makes no packet. It may have the offset of the event before which it is
        // delivered.
        let located = (location != Location::default()).then_some((event.offset, location));
        let before = std::mem::replace(&mut self.current, located);
        self.waiting.extend(before);
    }

    fn dropped(&mut self) {
        self.current = None;
    }

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> io::Result<()> {
        let location = match event.what {
            What::Data { .. } | What::Closed | What::Http(_) | What::Nothing | What::Failed => {
                self.location(event)
            }
            // An event that makes no packet may have the offset of the next one, and must not take that one's location.
            _ => Location::default(),
        };
        self.scan.summary.count(event);
        match &event.what {
            What::Begin => {
                let number = self.number(&ConversationId::Socket(event.trace), event.trace);
                self.scan.conversations[number as usize].is_buffered = true;
            }
            What::Connection(connection) => self.connection(event, connection),
            What::Truncated(direction) => warnings.add(Warning::cut_direction(event, *direction)),
            What::Failed => warnings.add(Warning::failed(event)),
            What::Skipped(skip) => warnings.add(Warning::skipped(event.offset, skip)),
            What::Nothing => {
                let empty = || Warning::of_event(WarningKind::EmptyEvents, event);
                self.first_empty.get_or_insert_with(empty);
            }
            What::SampleRate(_) => self.scan.sample_rate = Some(event.clone()),
            What::Http(Http::Begin { .. }) => {
                self.exchange = Exchange {
                    is_new: true,
                    last: None,
                };
            }
            What::Http(Http::End) if !self.exchange.is_new => {
                if let Some(last) = self.entries.last_mut() {
                    last.flags |= Entry::LAST;
                }
            }
            _ => {}
        }
        match self.conversations.of(event) {
            Some(conversation) => self.add(event, &conversation, location, warnings),
            None => Ok(()),
        }
    }
}

impl<'a> Scanner<'a> {
    /// Scans the input `source` of a merge into `index`. If it records no times, its first event gets the time `start`.
    pub(super) fn new(source: u32, start: Timestamp, index: &'a Mutex<Builder>) -> Self {
        Self {
            source,
            start,
            index,
            entries: Vec::new(),
            ordinal: 0,
            conversations: Conversations::default(),
            numbers: HashMap::default(),
            scan: Scan::default(),
            current: None,
            waiting: HashMap::default(),
            exchange: Exchange::default(),
            stand_in: None,
            first_empty: None,
        }
    }

    /// The location of an event that was read earlier, and is delivered now.
    #[inline]
    fn location(&mut self, event: &Event) -> Location {
        match self.current.take() {
            Some((offset, location)) if offset == event.offset => location,
            other => {
                self.current = other;
                self.waiting.remove(&event.offset).unwrap_or_default()
            }
        }
    }

    /// Adds the endpoints that the trace records for a connection.
    fn connection(&mut self, event: &Event, connection: &Connection) {
        let number = self.number(&ConversationId::Socket(event.trace), event.trace);
        let conversation = &mut self.scan.conversations[number as usize];
        let known = conversation.connection.get_or_insert_default();
        known.learn(connection);
    }

    /// The index of a conversation. A new conversation is added.
    fn number(&mut self, id: &ConversationId, trace: TraceId) -> u32 {
        if let Some(&number) = self.numbers.get(id) {
            return number;
        }
        let number = self.scan.conversations.len() as u32;
        self.numbers.insert(id.clone(), number);
        self.scan.conversations.push(ScannedConversation {
            id: id.clone(),
            trace,
            connection: None,
            is_buffered: false,
            events: 0,
            last: None,
            recorded: false,
        });
        number
    }

    /// Adds an event to the index.
    fn add(
        &mut self,
        event: &Event,
        id: &ConversationId,
        location: Location,
        warnings: &mut Warnings,
    ) -> io::Result<()> {
        let conversation = self.number(id, event.trace);
        let time = self.place(event, conversation, warnings);
        let mut flags = 0;
        if std::mem::take(&mut self.exchange.is_new) {
            flags |= Entry::FIRST;
        }
        let mut gap = 0;
        if let Some(before) = &event.gap {
            gap = u32::try_from(before.bytes).unwrap_or(u32::MAX);
            flags |= match before.kind {
                GapKind::Lost => 0,
                GapKind::Cut => Entry::GAP_CUT,
                GapKind::ProxyHeader => Entry::GAP_PROXY,
            };
            flags |= match before.direction {
                Some(Direction::Read) => Entry::GAP_READ,
                Some(Direction::Write) => Entry::GAP_WRITE,
                None => 0,
            };
        }
        let missing = event.missing.and_then(|missing| missing.try_into().ok());
        self.push(Entry {
            time,
            source: self.source,
            ordinal: self.ordinal,
            conversation,
            number: event.trace.number,
            location,
            missing: missing.unwrap_or(UNKNOWN),
            gap,
            flags,
        })
    }

    /// Adds an entry to the index.
    fn push(&mut self, entry: Entry) -> io::Result<()> {
        // Before the new entry is added: the last entry may still get a flag, so it has to stay here.
        if self.entries.len() >= CHUNK {
            self.flush()?;
        }
        self.scan.conversations[entry.conversation as usize].events += 1;
        self.ordinal += 1;
        self.entries.push(entry);
        Ok(())
    }

    /// The time of an event in the merge. It is no earlier than that of the event before it in its conversation. For
    /// HTTP, that holds for each exchange by itself, since the exchanges of a connection may overlap.
    fn place(&mut self, event: &Event, conversation: u32, warnings: &mut Warnings) -> Timestamp {
        let conversation = &mut self.scan.conversations[conversation as usize];
        let is_http = matches!(event.what, What::Http(_));
        let last = match is_http {
            true => self.exchange.last,
            false => conversation.last,
        };
        let (time, kind) = match event.time {
            Some(time) => {
                conversation.recorded = true;
                let placed = last.map_or(time, |last| last.max(time));
                (placed, (placed != time).then_some(WarningKind::TimeClamped))
            }
            None if conversation.recorded => {
                let last = last.or(conversation.last).unwrap_or(self.start);
                (
                    last.saturating_add(STAND_IN_INTERVAL),
                    Some(WarningKind::StandInTime),
                )
            }
            None => {
                let next = |last: Timestamp| last.saturating_add(STAND_IN_INTERVAL);
                let time = self.stand_in.map_or(self.start, next);
                self.stand_in = Some(time);
                (time, Some(WarningKind::StandInTime))
            }
        };
        if let Some(kind) = kind {
            warnings.add(Warning::of_event(kind, event));
        }
        conversation.last = Some(time);
        self.exchange.last = Some(time).filter(|_| is_http);
        time
    }

    /// Moves the collected entries to the index.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.add(&mut self.entries)
    }
}
