//! One connection from its first mention in a trace to its end: its state, and the packets that its events become.
//!
//! Knows nothing of other connections, except for the endpoints that they use.
//!
//! Invariant: all packets of a connection have the endpoints of its first one.

mod losses;
mod opening;
mod report;
mod time;

use crate::model::event::{
    Connection, Direction, Event, PlainEvent, Timestamp, TraceId, Transport, What,
};
use crate::model::protocol::{self, Parsed, Protocol};
use crate::model::warning::{Warning, WarningKind};
use crate::sequence::MAX_EVENT_LOSS;

use super::comments::Comments;
use super::flow::{Flow, Outlet, Stream};
use super::framing::Framing;
use super::summary::ConnectionSummary;
use super::{Context, Sink};

pub(super) use time::RecordedTime;

/// Whether a connection continues after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    Open,
    Over,
}

/// The state of a connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    id: TraceId,
    connection: Connection,
    /// Its flow; `None` before its first packet.
    flow: Option<Flow>,
    /// The time of its last event.
    last: Option<Timestamp>,
    /// The estimated number of missing bytes of the last event, whose size is unknown.
    estimated: u64,
    /// Whether its end is recorded; a buffered trace does not record it.
    is_streamed: bool,
    /// Whether Envoy counts its bytes.
    is_counted: bool,
    /// The position in the HTTP messages in its bytes.
    framing: Framing,
    /// The last recorded time, as opposed to a stand-in.
    recorded: Option<Timestamp>,
    /// The offset of its first event without contents.
    first_empty: Option<u64>,
    /// Whether Envoy ended the stream before the first packet.
    ended: bool,
    /// Its stand-ins, and the offset of the first event that needed them. Only its end shows whether the
    /// addresses are missing or late.
    stood_in: Option<(WarningKind, u64, String)>,
    /// Its summary, if requested.
    summary: Option<Box<ConnectionSummary>>,
    /// The comments on the next frame, if labels are requested.
    comments: Comments,
}

/// The parts of a connection that a plain event changes.
pub(crate) struct FastPath<'a> {
    stream: &'a mut Stream,
    summary: Option<&'a mut ConnectionSummary>,
    recorded: &'a mut Option<Timestamp>,
    last: &'a mut Option<Timestamp>,
    is_counted: &'a mut bool,
    framing: &'a mut Framing,
}

impl FastPath<'_> {
    /// Takes a plain event of this connection. `parsed` is the HTTP in it, if redaction has parsed it.
    #[inline(always)]
    pub(crate) fn take<S: Sink>(
        self,
        event: &PlainEvent<'_>,
        parsed: Option<Parsed>,
        out: &mut S,
    ) -> Result<(), S::Error> {
        let &PlainEvent {
            time,
            direction,
            payload,
            ..
        } = event;
        if let Some(summary) = self.summary {
            summary.events += 1;
            summary.add(direction, payload);
            summary.at(time);
        }
        *self.recorded = Some(time);
        *self.last = Some(time);
        *self.is_counted |= event.seq_num.is_some();
        if !*self.is_counted {
            match parsed {
                Some(parsed) => self.framing.follow_parsed(direction, payload, parsed),
                None => self.framing.follow(direction, payload, 0),
            }
        }
        if !out.wants_bytes() {
            return Ok(());
        }
        self.stream.data(time, direction, payload, out)
    }
}

/// Bytes in one direction.
#[derive(Clone, Copy, Debug)]
struct Data<'a> {
    offset: u64,
    time: Timestamp,
    direction: Direction,
    payload: &'a [u8],
    end_stream: bool,
}

impl ConnectionState {
    /// Creates an unknown connection with this `id`; `has_summary`: a summary is requested.
    pub(super) fn new(id: TraceId, has_summary: bool) -> Self {
        let summary = ConnectionSummary {
            id,
            ..ConnectionSummary::default()
        };
        Self {
            id,
            connection: Connection::default(),
            flow: None,
            last: None,
            estimated: 0,
            is_streamed: true,
            is_counted: false,
            framing: Framing::default(),
            recorded: None,
            ended: false,
            first_empty: None,
            stood_in: None,
            summary: has_summary.then(|| Box::new(summary)),
            comments: Comments::default(),
        }
    }

    /// The same, for bytes that the synthesizer makes itself.
    pub(super) fn with_made_bytes(self) -> Self {
        Self {
            is_streamed: false,
            framing: Framing::off(),
            ..self
        }
    }

    pub(super) const fn id(&self) -> TraceId {
        self.id
    }

    /// The time of its last event.
    pub(super) const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// The fast path for a plain event that only becomes segments, without comments. Returns `None` if more may be
    /// necessary: then the caller has to use [`event`](Self::event).
    #[inline(always)]
    pub(super) fn fast_path(&mut self) -> Option<FastPath<'_>> {
        Some(FastPath {
            stream: self.flow.as_mut()?.plain_stream()?,
            summary: self.summary.as_deref_mut(),
            recorded: &mut self.recorded,
            last: &mut self.last,
            is_counted: &mut self.is_counted,
            framing: &mut self.framing,
        })
    }

    /// Takes an event of this connection.
    pub(super) fn event<S: Sink>(
        &mut self,
        event: &Event,
        cx: &mut Context<'_, S>,
    ) -> Result<Lifetime, S::Error> {
        let &Event {
            offset,
            time,
            time_adjusted: adjusted,
            missing,
            ref what,
            ..
        } = event;
        let when = RecordedTime {
            offset,
            time,
            adjusted,
            shared: false,
        };
        self.is_counted |= event.seq_num.is_some();
        match *what {
            What::Begin => self.is_streamed = false,
            What::Connection(ref recorded) => self.connection(recorded, cx),
            What::Data {
                direction,
                ref payload,
                truncated,
                as_string,
                end_stream,
            } => {
                let payload: &[u8] = payload;
                let time = self.stamp(when, cx);
                if let Some(gap) = &event.gap {
                    self.gap(gap, offset, time, cx)?;
                }
                if let Some(summary) = &mut self.summary {
                    summary.events += 1;
                    summary.add(direction, payload);
                }
                // If Envoy counts, the next event shows whether the length is right.
                if as_string && event.seq_num.is_none() && cannot_be_a_string(payload) {
                    self.note(WarningKind::LossyString, offset, 0, String::new(), cx);
                }
                if end_stream {
                    self.comment(cx, || "end_stream".into());
                }
                let data = Data {
                    offset,
                    time,
                    direction,
                    payload,
                    end_stream,
                };
                // A larger claim must not become terabytes of packets.
                let missing = missing.filter(|missing| *missing <= MAX_EVENT_LOSS);
                match (truncated, missing) {
                    (false, _) => self.data(data, payload.len(), cx)?,
                    (true, Some(missing)) => self.snapped(data, missing, cx)?,
                    (true, None) => self.cut(data, cx)?,
                }
            }
            What::Closed => {
                if let Some(summary) = &mut self.summary {
                    summary.events += 1;
                    summary.closed = true;
                }
                let time = self.stamp(when, cx);
                if let Some(gap) = &event.gap {
                    self.gap(gap, offset, time, cx)?;
                }
                // The end of a conversation of datagrams has no packet.
                if self.connection.transport == Transport::Tcp {
                    self.open(time, None, offset, cx)?;
                }
                self.comment(cx, || "closed".into());
                self.close(time, true, cx)?;
                self.report(cx);
                return Ok(Lifetime::Over);
            }
            What::Truncated(direction) => {
                cx.warnings.add(Warning::cut_direction(event, direction));
            }
            What::Over => {
                self.finish(cx)?;
                return Ok(Lifetime::Over);
            }
            What::Late => self.report_stand_ins(true, cx),
            // An exchange has no bytes of its own; `http` makes them.
            What::Nothing => {
                self.first_empty.get_or_insert(event.offset);
            }
            What::Failed | What::Skipped(_) | What::SampleRate(_) | What::Http(_) => {}
        }
        Ok(Lifetime::Open)
    }

    /// Ends a connection whose end is not recorded.
    pub(super) fn finish<S: Sink>(&mut self, cx: &mut Context<'_, S>) -> Result<(), S::Error> {
        if let Some(last) = self.last {
            self.close(last, false, cx)?;
        }
        self.report(cx);
        Ok(())
    }

    /// Its summary, if requested.
    pub(super) fn summary(&mut self) -> Option<&mut ConnectionSummary> {
        self.summary.as_deref_mut()
    }

    /// Sends bytes that no event of this connection holds.
    pub(super) fn send<S: Sink>(
        &mut self,
        offset: u64,
        time: Timestamp,
        direction: Direction,
        payload: &[u8],
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let data = Data {
            offset,
            time,
            direction,
            payload,
            end_stream: false,
        };
        self.data(data, payload.len(), cx)
    }

    /// Adds the connection's endpoints, which a trace may name late or one at a time.
    ///
    /// Packets that are written keep their addresses, and so do later packets: with other addresses, Wireshark
    /// would show two connections.
    pub(super) fn connection<S: Sink>(&mut self, recorded: &Connection, cx: &mut Context<'_, S>) {
        let known = &self.connection;
        let is_late = known.local.is_none() && recorded.local.is_some()
            || known.remote.is_none() && recorded.remote.is_some();
        if self.connection.learn(recorded) && self.flow.is_some() {
            self.report_stand_ins(is_late, cx);
        }
    }

    /// Sends bytes: `payload` is the beginning of `original_len` bytes.
    fn data<S: Sink>(
        &mut self,
        data: Data<'_>,
        original_len: usize,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let Data {
            offset,
            time,
            direction,
            payload,
            end_stream,
        } = data;
        if self.flow.is_none() {
            if original_len == 0 && self.connection.transport == Transport::Tcp {
                // Without bytes there is no segment, so the connection is not in the capture yet.
                self.ended |= end_stream;
                return Ok(());
            }
            self.open(time, Some((direction, payload)), offset, cx)?;
        }
        let Some(flow) = &mut self.flow else {
            return Ok(());
        };
        // A count shows how many bytes a truncated event lacks.
        if !self.is_counted {
            let missing = original_len.saturating_sub(payload.len());
            self.framing.follow(direction, payload, missing);
        }
        let sink = Outlet {
            out: cx.out,
            comments: &mut self.comments,
        };
        let is_too_much = flow.is_too_much(original_len);
        flow.data((time, direction), payload, original_len, end_stream, sink)?;
        if is_too_much {
            self.note(WarningKind::OversizedDatagram, offset, 0, String::new(), cx);
        }
        Ok(())
    }

    fn close<S: Sink>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let Some(flow) = &mut self.flow else {
            return Ok(());
        };
        cx.shared.occupancy.release(flow.endpoints(), self.id);
        let sink = Outlet {
            out: cx.out,
            comments: &mut self.comments,
        };
        flow.close(time, recorded, sink)
    }
}

/// Whether a string contains, or must have lost, bytes that are not UTF-8.
pub(super) fn cannot_be_a_string(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_err()
        || (payload.len() > protocol::PREFACE.len()
            && protocol::protocol(payload) == Some(Protocol::Http2))
}
