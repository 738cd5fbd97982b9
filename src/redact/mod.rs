//! Overwrites the values of header fields, and bodies if requested, before packets are made of them.
//!
//! A stage between [`sequence`](crate::sequence) and [`synth`](crate::synth): events in, events of the same lengths
//! out. It follows HTTP/1 and HTTP/2 byte by byte and delays no event of a live capture. It knows nothing of packets.
//!
//! It fails closed: bytes of unknown meaning are overwritten, and their number is reported. A connection that is not
//! HTTP is left unchanged and reported, unless bodies are overwritten.
//!
//! Invariant: lengths, times, counts and the order of events never change, nor do bytes that are not overwritten.

mod beginning;
mod connection;
mod hpack;
mod http1;
mod http2;
mod huffman;
mod names;
mod patch;
mod state;

use std::fmt;
use std::num::NonZeroU64;

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::model::event::{Event, Field, Http, Part, PlainEvent, TraceId, What};
use crate::model::protocol::Parsed;
use crate::model::warning::{Warning, WarningKind, Warnings};
use crate::sequence::MAX_EVENT_LOSS;

use connection::{Connection, Data, Rules};
use patch::{Patch, STAND_IN};

pub use names::{DEFAULT_NAMES, NameError, Names};

/// The choice of what to overwrite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The fields whose values are overwritten.
    pub names: Names,
    /// Whether bodies and all bytes of connections that are not HTTP are overwritten, too.
    pub bodies: bool,
}

/// The remark in a pcapng capture.
impl fmt::Display for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.bodies {
            true => "redacted: bodies, what is no HTTP, and the values of ",
            false => "redacted, except for bodies, paths and what is no HTTP: the values of ",
        })?;
        for (i, name) in self.names.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            if i == MAX_NAMED {
                let more = self.names.iter().len() - i;
                let fields = if more == 1 { "field" } else { "fields" };
                return write!(f, ", … and {more} more {fields}");
            }
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// The maximum number of names in the remark.
const MAX_NAMED: usize = 12;

/// Overwrites values in the events of one capture.
#[derive(Debug)]
pub struct Redactor {
    redaction: Redaction,
    connections: Connections,
    /// The event that was changed last, which the caller borrows.
    changed: Event,
    /// Memory for the bytes of the next changed event.
    scratch: Vec<u8>,
}

/// The open connections.
#[derive(Debug, Default)]
struct Connections {
    open: IndexMap<TraceId, Box<Connection>, RandomState>,
    /// The index of the last event's connection, which is mostly that of the next event, too.
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

    /// Takes the next event, and returns its replacement: the event itself if nothing in it is overwritten.
    #[inline]
    pub fn event<'a>(&'a mut self, event: &'a Event, warnings: &mut Warnings) -> &'a Event {
        match &event.what {
            What::Data { .. } => self.data(event, warnings),
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

    /// Takes the next event, which is a plain one at this offset, and returns the replacement of its payload, and what is
    /// known of the HTTP in it.
    ///
    /// The state and the warnings are the same as after [`event`](Self::event).
    #[inline(always)]
    pub(crate) fn plain<'a>(
        &'a mut self,
        event: PlainEvent<'a>,
        offset: u64,
        warnings: &mut Warnings,
    ) -> (&'a [u8], Option<Parsed>) {
        let PlainEvent {
            direction, payload, ..
        } = event;
        let count = event.seq_num.map(NonZeroU64::get);
        let data = Data::whole(direction, count);
        let (is_changed, parsed) = self.overwrite(event.trace, offset, data, payload, warnings);
        match is_changed {
            true => (&self.scratch, parsed),
            false => (payload, parsed),
        }
    }

    /// Takes bytes at an offset of the trace. Returns whether some are overwritten, and what was parsed of the HTTP in
    /// them. If some are, `scratch` holds the new bytes.
    #[inline(always)]
    fn overwrite(
        &mut self,
        trace: TraceId,
        offset: u64,
        data: Data<'_>,
        payload: &[u8],
        warnings: &mut Warnings,
    ) -> (bool, Option<Parsed>) {
        let rules = Rules {
            names: &self.redaction.names,
            has_bodies: self.redaction.bodies,
        };
        let mut patch = Patch::new(payload, &mut self.scratch);
        let is_left = self.connections.of(trace).take(data, &mut patch, rules);
        if is_left || patch.whole > 0 {
            report(trace, offset, is_left, patch.whole, warnings);
        }
        (patch.is_changed(), patch.parsed)
    }

    /// Drops the state of a connection that has ended.
    pub fn end(&mut self, trace: TraceId) {
        self.connections.open.swap_remove(&trace);
    }

    /// Takes an event about bytes.
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
        let (is_changed, _) = self.overwrite(event.trace, event.offset, data, payload, warnings);
        if !is_changed {
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
                payload: std::mem::take(&mut self.scratch),
                truncated,
                as_string,
                end_stream,
            },
        };
        self.scratch = memory_of(std::mem::replace(&mut self.changed, changed));
        &self.changed
    }

    /// The replacement of a part of an HTTP exchange, unless it stays.
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

/// The memory of the bytes of an event that is no longer needed.
fn memory_of(event: Event) -> Vec<u8> {
    match event.what {
        What::Data { payload, .. } => payload,
        _ => Vec::new(),
    }
}

#[cold]
fn report(trace: TraceId, offset: u64, is_left: bool, whole: u64, warnings: &mut Warnings) {
    let warning = |kind| Warning::at(kind, trace, offset);
    if is_left {
        warnings.add(warning(WarningKind::NotRedacted));
    }
    if whole > 0 {
        warnings.add(Warning {
            bytes: whole,
            ..warning(WarningKind::OverwrittenWhole)
        });
    }
}

#[cfg(test)]
mod tests;
