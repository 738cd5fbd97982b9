//! The values of header fields are overwritten before packets are made of them, and bodies where that is asked for.
//!
//! A stage between [`sequence`](crate::sequence) and [`synth`](crate::synth): events in, events out, of the same
//! lengths. It follows HTTP/1 and HTTP/2 byte by byte and holds no event back, so that a live capture has each as
//! soon as without it. It knows nothing of packets.
//!
//! It fails closed: where it cannot know what bytes are, it overwrites them, and reports how many. A connection that
//! is no HTTP is left as it is, which is reported as well, unless bodies are overwritten.
//!
//! Invariant: no length, time, count or order of events changes, nor does anything but what is overwritten.

mod connection;
mod hpack;
mod http1;
mod http2;
mod huffman;
mod names;
mod patch;

use std::fmt;

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::model::event::{Event, Field, Http, Part, TraceId, What};
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::sequence::MAX_EVENT_LOSS;
use crate::slice::Slice;

use connection::{Connection, Data, Rules};
use patch::{Patch, STAND_IN};

pub use names::{DEFAULT_NAMES, NameError, Names};

/// What is overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The fields whose values are.
    pub names: Names,
    /// Whether bodies are, too, and all of a connection that is no HTTP.
    pub bodies: bool,
}

/// What a capture says of it.
impl fmt::Display for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.bodies {
            true => "redacted: bodies, what is no HTTP, and the values of ",
            false => "redacted, except for bodies, paths and what is no HTTP: the values of ",
        })?;
        for (i, name) in self.names.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            if i == MAX_NAMED {
                return write!(f, ", … and {} more fields", self.names.iter().len() - i);
            }
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// How many names are listed at most.
const MAX_NAMED: usize = 12;

/// Overwrites values in the events of one capture.
#[derive(Debug)]
pub struct Redactor {
    redaction: Redaction,
    connections: Connections,
    /// The event that was changed last.
    changed: Event,
    /// Where the bytes of the next one are changed.
    scratch: Vec<u8>,
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Connections {
    open: IndexMap<TraceId, Box<Connection>, RandomState>,
    /// Which of them the last event was about: the next one mostly is, too.
    last: usize,
}

impl Connections {
    #[inline]
    fn of(&mut self, trace: TraceId) -> &mut Connection {
        if !matches!(self.open.get_index(self.last), Some((last, _)) if *last == trace) {
            self.find(trace);
        }
        &mut self.open[self.last]
    }

    /// The connection that was looked for last.
    fn last(&mut self) -> &mut Connection {
        &mut self.open[self.last]
    }

    #[inline(never)]
    fn find(&mut self, trace: TraceId) {
        let entry = self.open.entry(trace);
        self.last = entry.index();
        entry.or_default();
    }
}

impl Redactor {
    /// Starts a capture.
    pub fn new(redaction: Redaction) -> Self {
        Self {
            redaction,
            connections: Connections::default(),
            changed: Event::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes the next event, and gives what stands in its place: itself, where nothing of it is overwritten.
    #[inline]
    pub fn event<'a>(&'a mut self, event: &'a Event, warnings: &mut Warnings) -> &'a Event {
        match &event.what {
            What::Data {
                direction,
                payload,
                truncated: false,
                as_string: false,
                ..
            } if event.gap.is_none() && !self.redaction.bodies => {
                let connection = self.connections.of(event.trace);
                if connection.is_inside(*direction, payload, event.count_before()) {
                    return event;
                }
                self.data(event, warnings)
            }
            What::Data { .. } => {
                self.connections.of(event.trace);
                self.data(event, warnings)
            }
            What::Http(Http::Part { side, part, last }) => match self.part(part) {
                Some(part) => {
                    let (side, last) = (*side, *last);
                    self.changed = Event {
                        what: What::Http(Http::Part { side, part, last }),
                        ..event.clone()
                    };
                    &self.changed
                }
                None => event,
            },
            What::Closed | What::Over => {
                self.end(event.trace);
                event
            }
            What::Truncated(direction) => {
                self.connections.of(event.trace).cut(*direction);
                event
            }
            _ => event,
        }
    }

    /// Ends a connection, of which nothing more comes.
    pub fn end(&mut self, trace: TraceId) {
        self.connections.open.swap_remove(&trace);
    }

    /// Follows the bytes of an event, whose connection was just looked for.
    fn data<'a>(&'a mut self, event: &'a Event, warnings: &mut Warnings) -> &'a Event {
        let What::Data {
            direction,
            ref payload,
            truncated,
            as_string,
            end_stream,
        } = event.what
        else {
            return event;
        };
        let data = Data {
            direction,
            gap: event.gap.as_deref(),
            is_truncated: truncated,
            missing: event.missing.filter(|missing| *missing <= MAX_EVENT_LOSS),
            as_string,
            count: event.count_before(),
        };
        let rules = Rules {
            names: &self.redaction.names,
            has_bodies: self.redaction.bodies,
        };
        let mut patch = Patch::new(payload, &mut self.scratch);
        let connection = self.connections.last();
        let is_left = connection.data(data, &mut patch, rules);
        if is_left || patch.whole > 0 {
            report(event, is_left, patch.whole, warnings);
        }
        if !patch.is_changed() {
            return event;
        }
        let changed = Event {
            trace: event.trace,
            offset: event.offset,
            time: event.time,
            time_adjusted: event.time_adjusted,
            seq_num: event.seq_num,
            missing: event.missing,
            gap: event.gap.clone(),
            what: What::Data {
                direction,
                payload: Slice::from(std::mem::take(&mut self.scratch)),
                truncated,
                as_string,
                end_stream,
            },
        };
        self.scratch = memory_of(std::mem::replace(&mut self.changed, changed));
        &self.changed
    }

    /// What stands in the place of a part of an HTTP exchange, if it is not the part itself.
    fn part(&self, part: &Part) -> Option<Part> {
        match part {
            Part::Headers(fields) => Some(Part::Headers(self.fields(fields)?)),
            Part::Trailers(fields) => Some(Part::Trailers(self.fields(fields)?)),
            Part::Body {
                payload,
                truncated,
                as_string,
            } => self.redaction.bodies.then(|| Part::Body {
                payload: overwritten(payload),
                truncated: *truncated,
                as_string: *as_string,
            }),
        }
    }

    fn fields(&self, fields: &[Field]) -> Option<Vec<Field>> {
        let names = &self.redaction.names;
        let is_secret = |field: &Field| names.has(field.name.trim_ascii());
        if !fields.iter().any(is_secret) {
            return None;
        }
        let stand_in = |field: &Field| Field {
            name: field.name.clone(),
            value: match is_secret(field) {
                true => overwritten(&field.value),
                false => field.value.clone(),
            },
        };
        Some(fields.iter().map(stand_in).collect())
    }
}

fn overwritten(bytes: &Bytes) -> Bytes {
    vec![STAND_IN; bytes.len()].into()
}

/// The memory of an event's bytes, which nobody needs any more.
fn memory_of(event: Event) -> Vec<u8> {
    match event.what {
        What::Data { payload, .. } => payload.into_memory(),
        _ => Vec::new(),
    }
}

#[cold]
fn report(event: &Event, is_left: bool, whole: u64, warnings: &mut Warnings) {
    if is_left {
        warnings.add(Warning::of_event(WarningKind::NotRedacted, event));
    }
    if whole > 0 {
        warnings.add(Warning {
            bytes: whole,
            ..Warning::of_event(WarningKind::OverwrittenWhole, event)
        });
    }
}

#[cfg(test)]
mod tests;
