//! The first pass over a trace, which finds the time and the conversation of each event.

mod scanner;

use std::path::Path;
use std::sync::Mutex;

use anyhow::anyhow;

use crate::convert::{Failure, Options, STRICT, Summary};
use crate::input::{Access, Wait};
use crate::interrupt::Interrupt;
use crate::model::event::{Connection, Event, Timestamp, TraceId};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::pump::{End, Pump};
use crate::sequence::{Memory, Sequencer};
use crate::synth::ConversationId;
use crate::trace::{Reader, TraceFormat};

use super::index::Builder;
use super::place::Place;

use scanner::Scanner;

/// A conversation of a trace.
#[derive(Debug)]
pub(super) struct ScannedConversation {
    pub(super) id: ConversationId,
    /// The id of its events; in an HTTP conversation, that of the first exchange.
    pub(super) trace: TraceId,
    /// The endpoints of the connection, if the trace records them apart from the events.
    pub(super) connection: Option<Box<Connection>>,
    /// Whether it comes from a buffered trace.
    pub(super) is_buffered: bool,
    /// The number of its events.
    pub(super) events: u64,
    /// The time of its last event.
    last: Option<Timestamp>,
    /// Whether the time of any of its events is recorded.
    recorded: bool,
}

/// The result of the first pass over a trace.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) conversations: Vec<ScannedConversation>,
    pub(super) format: Option<TraceFormat>,
    /// The share of connections that the tap recorded, if the trace records it.
    pub(super) sample_rate: Option<Event>,
    pub(super) summary: Summary,
    /// A copy of the trace in its original form, if it is compressed or its bytes were changed in transit. The second
    /// pass reads the copy.
    pub(super) copy: Option<Place>,
}

/// Reads a trace, and adds its events to `index`. Also returns whether the trace was mapped and has been truncated
/// since: then all of the index is invalid.
pub(super) fn scan(
    source: u32,
    (path, place): (&Path, &Place),
    (options, access): (&Options, Access),
    interrupt: &Interrupt,
    index: &Mutex<Builder>,
    warnings: &mut Warnings,
) -> (Result<Scan, Failure>, bool) {
    let (mut trace, copy) = match open(source, (path, place), (options, access), interrupt) {
        Ok(opened) => opened,
        Err(failure) => return (Err(failure), false),
    };
    let found = read(&mut trace, source, options, interrupt, index, warnings);
    let found = found.map(|scan| Scan { copy, ..scan });
    (found, trace.is_torn())
}

/// Opens a trace, or a copy in its original form if it is compressed or its bytes were changed in transit.
fn open(
    source: u32,
    (path, place): (&Path, &Place),
    (options, access): (&Options, Access),
    interrupt: &Interrupt,
) -> Result<(Reader, Option<Place>), Failure> {
    let opened = place.open();
    let mut input = opened.map_err(|error| Failure::trace("cannot open", error))?;
    let copy = place.plain_copy(path, options.encoding, interrupt, &options.progress);
    let copy = copy.map_err(|error| Failure::trace("cannot copy", error))?;
    if let Some(copy) = &copy {
        let opened = copy.open();
        input = opened.map_err(|error| Failure::trace("cannot open the copy", error))?;
    }
    if !copy.as_ref().is_some_and(Place::is_copy) {
        input = input.with_progress(options.progress.clone());
    }
    let trace = Reader::new(
        input.with_access(access),
        options.encoding,
        Some(path.to_owned()),
    );
    let trace = trace
        .of_source(source)
        .with_quotes(options.redaction.is_none());
    Ok((trace, copy))
}

/// Reads a trace, and adds its events to `index`.
fn read(
    trace: &mut Reader,
    source: u32,
    options: &Options,
    interrupt: &Interrupt,
    index: &Mutex<Builder>,
    warnings: &mut Warnings,
) -> Result<Scan, Failure> {
    let mut scanner = Scanner::new(source, options.synth.start, index);
    let ended = Pump {
        trace: &mut *trace,
        sequencer: Sequencer::new(Memory::Whole, false),
        interrupt,
        warnings,
    }
    .run(None, &Wait::default(), &mut scanner)
    .and_then(|end| scanner.flush().map(|()| end));
    let (mut scan, first_empty) = (scanner.scan, scanner.first_empty);
    scan.format = trace.format();
    scan.summary.encoding = trace.encoding();
    scan.summary.releases = trace.releases();
    match ended.map_err(|error| Failure::trace("cannot write the index", error))? {
        End::Whole | End::Interrupted(_) | End::ReaderGone => {}
        End::Unread(error) => return Err(Failure::trace("cannot read", error)),
        End::Damaged(damage) if !trace.recognised() => {
            return Err(Failure::Trace(damage.into()));
        }
        End::Damaged(damage) if options.strict => return Err(Failure::trace(STRICT, damage)),
        End::Damaged(damage) => scan.summary.damage = Some(damage),
    }
    if options.strict
        && let Some(tally) = warnings
            .tallies()
            .find(|tally| tally.first.kind.is_damage())
    {
        return Err(Failure::trace(STRICT, anyhow!("{tally}")));
    }
    let is_whole = scan.summary.damage.is_none() && interrupt.signal().is_none();
    if scan.summary.events == 0 && is_whole {
        match trace.offset() {
            0 => warnings.add(Warning::empty(false)),
            _ => warnings.add(Warning::of_trace(WarningKind::NoEvents)),
        }
        if let Some(empty) = first_empty {
            warnings.add(empty);
        }
    }
    Ok(scan)
}
