//! The first pass: the parts of a trace, when each begins, and how many events each conversation has.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use foldhash::HashMap;

use crate::convert::{Failure, Options};
use crate::event::{Event, Http, Timestamp, What};
use crate::input::{Input, Wait};
use crate::interrupt::Interrupt;
use crate::synth::{ConversationId, Conversations};
use crate::trace::{Damage, Mark, Reader, Step};

use super::place;

/// A part of a trace whose events follow each other in time: a buffered message, or all that is streamed.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) source: u32,
    /// Where it begins, and the event before that place; none at the trace's beginning.
    pub(super) mark: Option<(Mark, Event)>,
    /// How many events it has from there on.
    pub(super) events: u64,
    /// The time of its first event.
    pub(super) start: Timestamp,
}

/// What the first pass finds in a trace.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) runs: Vec<Run>,
    /// How many events make packets in each conversation.
    pub(super) counts: HashMap<ConversationId, u64>,
    pub(super) damage: Option<Damage>,
    pub(super) empty: bool,
}

/// Goes over a trace.
pub(super) fn scan(
    source: u32,
    path: &Path,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Scan, Failure> {
    let input = open(path).map_err(|error| Failure::trace("cannot open", error))?;
    let mut reader = Reader::new(input, options.encoding, Some(path.to_owned())).of_source(source);
    let mut conversations = Conversations::default();
    let mut scan = Scan::default();
    let mut first = None;
    while interrupt.signal().is_none() {
        match reader.advance() {
            Ok(Step::Item(())) => {}
            Ok(Step::More) => {
                reader
                    .fill(&Wait::default())
                    .map_err(|error| Failure::trace("cannot read", error))?;
                continue;
            }
            Ok(Step::End) => break,
            Err(damage) if !reader.recognised() => return Err(Failure::Trace(damage.into())),
            Err(damage) if options.strict => {
                return Err(Failure::trace(crate::convert::STRICT, damage));
            }
            Err(damage) => {
                scan.damage = Some(damage);
                break;
            }
        }
        let Some(event) = reader.current() else {
            continue;
        };
        if let Some(conversation) = conversations.of(event) {
            *scan.counts.entry(conversation).or_default() += 1;
        }
        let begins = matches!(event.what, What::Begin | What::Http(Http::Begin { .. }));
        if scan.runs.is_empty() || begins {
            let mark = reader.mark().filter(|_| !scan.runs.is_empty());
            let events = u64::from(mark.is_none());
            let mark = mark.map(|mark| (mark, event.clone()));
            scan.runs.push(Run {
                source,
                mark,
                events,
                start: options.synth.start,
            });
            first = None;
        } else if let Some(run) = scan.runs.last_mut() {
            run.events += 1;
        }
        if event.is_timed() && first.is_none() {
            first = Some(place(event.time, None, options.synth.start));
            if let (Some(run), Some(first)) = (scan.runs.last_mut(), first) {
                run.start = first;
            }
        }
    }
    scan.empty = scan.runs.is_empty() && reader.offset() == 0;
    Ok(scan)
}

/// Opens a trace.
fn open(path: &Path) -> io::Result<Input> {
    // Asked before it is opened, for opening a FIFO waits for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other(
            "it is no regular file, and a merge reads each trace twice",
        ));
    }
    Input::from_file(File::open(path)?)
}
