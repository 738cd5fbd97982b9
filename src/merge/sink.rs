//! The second pass: the events of all traces, in the order of their times, into one capture.
//!
//! Invariant: no packet is earlier than the one before it, and a conversation ends with its last event.

use std::collections::hash_map::Entry as MapEntry;
use std::io::{self, Write};

use foldhash::{HashMap, HashMapExt as _};

use crate::capture::Capture;
use crate::convert::Options;
use crate::interrupt::Interrupt;
use crate::model::event::{
    Connection, Direction, Event, Gap, GapKind, Http, Timestamp, TraceId, What,
};
use crate::model::warning::Warnings;
use crate::redact::Redactor;
use crate::synth::{self, ConversationId, Frame, Handshake, Synthesizer};
use crate::trace::{Location, TraceFormat};

use super::Outcome;
use super::fetch::{Fetcher, Lost};
use super::index::{Entry, Index, UNKNOWN};
use super::scan::{Scan, ScannedConversation};

/// A merge in progress.
pub(super) struct MergeSink {
    pub(super) synth: Synthesizer,
    redactor: Option<Redactor>,
    pub(super) traces: Vec<Outcome>,
    sources: Vec<ScannedTrace>,
    conversations: Vec<MergedConversation>,
    /// The numbers of the conversations that traces share: the HTTP exchanges of one connection.
    shared: HashMap<ConversationId, u32>,
    /// The time of the last packet.
    now: Timestamp,
    pub(super) frames: u64,
    /// Whether a trace ended earlier than in the first pass.
    pub(super) incomplete: bool,
}

/// A trace in the second pass.
#[derive(Default)]
struct ScannedTrace {
    /// The decoder of its events; `None` if none of them is in the capture.
    format: Option<TraceFormat>,
    /// The numbers of its conversations in the merge.
    conversations: Vec<u32>,
}

/// A conversation of the merge.
struct MergedConversation {
    id: ConversationId,
    trace: TraceId,
    /// The endpoints of its connection, to deliver before its first event.
    connection: Option<Box<Connection>>,
    is_buffered: bool,
    /// The number of its events still to come.
    left: u64,
}

impl MergeSink {
    /// Creates a merge without traces; their names are `labels`, if the capture can hold them.
    pub(super) fn new(options: &Options, labels: Option<Vec<String>>) -> Self {
        Self {
            synth: Synthesizer::new(synth::SynthOptions {
                latest: options.capture.format.last_time(),
                labels,
                exclusive: true,
                handshake: match options.synth.handshake {
                    Handshake::Auto => Handshake::Always,
                    other => other,
                },
                ..options.synth.clone()
            }),
            redactor: options.redaction.clone().map(Redactor::new),
            traces: Vec::new(),
            sources: Vec::new(),
            conversations: Vec::new(),
            shared: HashMap::new(),
            now: Timestamp::default(),
            frames: 0,
            incomplete: false,
        }
    }

    /// Whether no trace can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.traces.iter().all(|trace| trace.result.is_err())
    }

    /// Adds the next trace with the result of its first pass, `scan`.
    pub(super) fn add(&mut self, mut outcome: Outcome, scan: Option<Scan>) -> io::Result<()> {
        let mut source = ScannedTrace::default();
        if let Some(scan) = scan {
            source.format = scan.format;
            for conversation in scan.conversations {
                let number = self.conversation(conversation);
                source.conversations.push(number);
            }
            if let Some(event) = scan.sample_rate {
                let nowhere = &mut |_: &Frame<'_>| Ok::<_, io::Error>(());
                self.synth.event(&event, &mut outcome.warnings, nowhere)?;
            }
        }
        self.traces.push(outcome);
        self.sources.push(source);
        Ok(())
    }

    /// The number of a conversation in the merge, which traces may share.
    fn conversation(&mut self, found: ScannedConversation) -> u32 {
        let next = self.conversations.len() as u32;
        let number = match &found.id {
            ConversationId::Exchanges(_) => match self.shared.entry(found.id.clone()) {
                MapEntry::Occupied(entry) => *entry.get(),
                MapEntry::Vacant(entry) => *entry.insert(next),
            },
            _ => next,
        };
        match self.conversations.get_mut(number as usize) {
            Some(shared) => shared.left += found.events,
            None => self.conversations.push(MergedConversation {
                id: found.id,
                trace: found.trace,
                connection: found.connection,
                is_buffered: found.is_buffered,
                left: found.events,
            }),
        }
        number
    }

    /// Writes the events of the index into `capture`, until it is interrupted.
    pub(super) fn run<W: Write + Send + 'static>(
        &mut self,
        mut index: Index,
        mut fetcher: Fetcher<'_>,
        interrupt: &Interrupt,
        capture: &mut Capture<W>,
    ) -> io::Result<()> {
        while interrupt.signal().is_none() {
            let Some(entry) = index.next()? else {
                return Ok(());
            };
            self.entry(&entry, &mut fetcher, capture)?;
        }
        Ok(())
    }

    fn entry<W: Write + Send + 'static>(
        &mut self,
        entry: &Entry,
        fetcher: &mut Fetcher<'_>,
        capture: &mut Capture<W>,
    ) -> io::Result<()> {
        let source = &self.sources[entry.source as usize];
        let Some(format) = source.format else {
            return Ok(());
        };
        let number = source.conversations[entry.conversation as usize] as usize;
        if entry.flags & Entry::FIRST != 0 {
            self.fetched(
                entry,
                (format, entry.location.first_of_message()),
                number,
                fetcher,
                capture,
            )?;
        }
        self.fetched(entry, (format, entry.location), number, fetcher, capture)?;
        if entry.flags & Entry::LAST != 0 {
            let end = Event {
                trace: self.trace(entry, number),
                what: What::Http(Http::End),
                ..Event::default()
            };
            self.event(&end, capture)?;
        }
        let conversation = &mut self.conversations[number];
        conversation.left -= 1;
        if conversation.left > 0 {
            return Ok(());
        }
        if let (Some(redactor), ConversationId::Socket(trace)) =
            (&mut self.redactor, &conversation.id)
        {
            redactor.end(*trace);
        }
        let trace = &mut self.traces[entry.source as usize];
        let (now, frames) = (&mut self.now, &mut self.frames);
        self.synth
            .end(&conversation.id, &mut trace.warnings, &mut |frame| {
                write(frame, now, frames, capture)
            })
    }

    /// The id of an entry's event.
    fn trace(&self, entry: &Entry, conversation: usize) -> TraceId {
        TraceId {
            source: entry.source,
            number: entry.number,
            instance: self.conversations[conversation].trace.instance,
        }
    }

    /// Reads an event, and makes its packets.
    fn fetched<W: Write + Send + 'static>(
        &mut self,
        entry: &Entry,
        (format, location): (TraceFormat, Location),
        number: usize,
        fetcher: &mut Fetcher<'_>,
        capture: &mut Capture<W>,
    ) -> io::Result<()> {
        let trace = self.trace(entry, number);
        if std::mem::take(&mut self.conversations[number].is_buffered) {
            let event = Event {
                trace,
                what: What::Begin,
                ..Event::default()
            };
            self.event(&event, capture)?;
        }
        if let Some(connection) = self.conversations[number].connection.take() {
            let event = Event {
                trace,
                offset: entry.location.offset,
                what: What::Connection(connection),
                ..Event::default()
            };
            self.event(&event, capture)?;
        }
        let event = match fetcher.event(entry.source, format, location) {
            Ok(event) => event,
            Err(lost) => {
                self.lost(entry.source, lost);
                return Ok(());
            }
        };
        event.trace = trace;
        event.time = Some(entry.time);
        event.missing = (entry.missing != UNKNOWN).then_some(entry.missing.into());
        event.gap = (entry.gap > 0).then(|| Box::new(gap(entry)));
        // Borrowed from the fetcher rather than from `self`.
        let event: &Event = event;
        self.event(event, capture)
    }

    fn event<W: Write + Send + 'static>(
        &mut self,
        event: &Event,
        capture: &mut Capture<W>,
    ) -> io::Result<()> {
        let trace = &mut self.traces[event.trace.source as usize];
        let event = match &mut self.redactor {
            Some(redactor) => redactor.event(event, &mut trace.warnings),
            None => event,
        };
        let (now, frames) = (&mut self.now, &mut self.frames);
        self.synth.event(event, &mut trace.warnings, &mut |frame| {
            write(frame, now, frames, capture)
        })
    }

    /// Records that an event is no longer in its trace.
    fn lost(&mut self, source: u32, lost: Lost) {
        self.incomplete = true;
        if let Ok(summary) = &mut self.traces[source as usize].result {
            match lost {
                Lost::Changed(damage) => drop(summary.damage.get_or_insert(damage)),
                Lost::Unread(error) => drop(summary.unread.get_or_insert(error)),
            }
        }
    }

    /// Ends the conversations that an interrupt left open.
    pub(super) fn finish<W: Write + Send + 'static>(
        &mut self,
        capture: &mut Capture<W>,
    ) -> io::Result<()> {
        let (now, frames) = (&mut self.now, &mut self.frames);
        let mut unheard = Warnings::default();
        self.synth.finish(&mut unheard, &mut |frame| {
            write(frame, now, frames, capture)
        })
    }
}

/// The gap before an entry's event.
const fn gap(entry: &Entry) -> Gap {
    Gap {
        bytes: entry.gap as u64,
        direction: match (
            entry.flags & Entry::GAP_READ,
            entry.flags & Entry::GAP_WRITE,
        ) {
            (0, 0) => None,
            (0, _) => Some(Direction::Write),
            _ => Some(Direction::Read),
        },
        kind: match (entry.flags & Entry::GAP_PROXY, entry.flags & Entry::GAP_CUT) {
            (0, 0) => GapKind::Lost,
            (0, _) => GapKind::Cut,
            _ => GapKind::ProxyHeader,
        },
    }
}

/// Writes a frame, no earlier than the one before it.
fn write<W: Write + Send + 'static>(
    frame: &Frame<'_>,
    now: &mut Timestamp,
    frames: &mut u64,
    capture: &mut Capture<W>,
) -> io::Result<()> {
    *now = frame.time.max(*now);
    *frames += 1;
    capture.frame(&Frame {
        time: *now,
        ..*frame
    })
}
