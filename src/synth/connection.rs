//! One connection from its first mention in a trace to its end: when it starts anew, which bytes are
//! missing, what its events look like on the wire.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Connection, Direction, Event, Form, Timestamp, TraceId, Transport, What};
use crate::notice::{Kind, Notice};
use crate::protocol::{self, Protocol, Role};

use super::address::StandIn;
use super::frame::{self, Endpoints, Label};
use super::link::{Carrier, Link, Sink};
use super::story::Story;
use super::tcp::Conversation;
use super::{Context, Handshake, MAX_EVENT_LOSS, STAND_IN_INTERVAL, mix};

/// Whether a connection goes on behind an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    Over,
}

/// Where and when something was recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) offset: u64,
    pub(super) time: Option<Timestamp>,
    /// Whether the recorded time cannot be, and this is the nearest that can.
    pub(super) adjusted: bool,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Tracked {
    id: TraceId,
    connection: Connection,
    /// Its packets' side; none until the first of them.
    wire: Option<Link>,
    /// The time of its last event.
    last: Option<Timestamp>,
    /// A buffered message began whose first event has not come yet, so that it is not known whether
    /// the connection goes on or another one takes its id.
    resumed: bool,
    /// A truncated event, whose true size the next one's seq_num tells.
    held: Option<Data>,
    /// What seq_num comes next if no event is lost.
    expected: Option<u64>,
    /// Whether the last event's body was recorded as a string.
    as_string: bool,
    /// The last time that was recorded, not invented.
    recorded: Option<Timestamp>,
    story: Story,
    /// What there is to say about the next frame, where labels are asked for.
    comments: Vec<String>,
}

/// Bytes that went one way.
#[derive(Debug)]
struct Data {
    offset: u64,
    time: Timestamp,
    seq: Option<u64>,
    direction: Direction,
    payload: Bytes,
    end_stream: bool,
    comments: Vec<String>,
}

impl Tracked {
    pub(super) fn new(id: TraceId) -> Self {
        Self {
            id,
            connection: Connection::default(),
            wire: None,
            last: None,
            resumed: false,
            held: None,
            expected: None,
            as_string: false,
            recorded: None,
            story: Story {
                id,
                ..Story::default()
            },
            comments: Vec::new(),
        }
    }

    pub(super) const fn id(&self) -> TraceId {
        self.id
    }

    /// The time of its last event.
    pub(super) const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Takes an event of this connection.
    pub(super) fn event<E>(&mut self, event: Event, cx: &mut Context<'_, E>) -> Result<Flow, E> {
        let seq = event.count_before();
        let Event {
            offset,
            time,
            time_adjusted: adjusted,
            next_seq,
            what,
            ..
        } = event;
        let when = When {
            offset,
            time,
            adjusted,
        };
        match what {
            What::Begin(form) => self.resumed = form == Form::Buffered && self.last.is_some(),
            What::Connection(connection) => self.connection(connection, cx)?,
            What::Data {
                direction,
                payload,
                truncated,
                as_string,
                end_stream,
            } => {
                let went_back = time.zip(self.last).is_some_and(|(time, last)| time < last);
                if self.resumed && went_back {
                    self.restart(cx)?;
                }
                self.resumed = false;
                self.settle(seq, offset, cx)?;
                let time = self.stamp(when, cx);
                if cx.shared.stories.is_some() {
                    self.story.add(direction, &payload);
                }
                self.expected = seq.map(|seq| seq.saturating_add(payload.len() as u64));
                self.as_string = as_string;
                // Where Envoy counts, the next event tells whether its length is right.
                if as_string && seq.is_none() && cannot_be_a_string(&payload) {
                    self.note(Kind::LossyString, offset, 0, String::new(), cx);
                }
                if end_stream {
                    self.comment(cx, || "end_stream".into());
                }
                let data = Data {
                    offset,
                    time,
                    seq,
                    direction,
                    payload,
                    end_stream,
                    comments: std::mem::take(&mut self.comments),
                };
                match (truncated, seq) {
                    (false, _) => self.whole(data, cx)?,
                    (true, None) => self.cut(data, cx)?,
                    (true, Some(_)) => {
                        // A slice of a stream keeps its whole buffer, and this one stays.
                        let payload = Bytes::copy_from_slice(&data.payload);
                        self.held = Some(Data { payload, ..data });
                        if next_seq.is_some() {
                            self.settle(next_seq, offset, cx)?;
                            self.expected = next_seq;
                        }
                    }
                }
            }
            What::Closed => {
                self.settle(seq, offset, cx)?;
                let time = self.stamp(when, cx);
                let opening = self.open(time, None, offset, cx)?;
                self.comments.splice(0..0, opening);
                self.comment(cx, || "closed".into());
                self.close(time, true, cx)?;
                self.story.closed = true;
                self.tell(cx);
                return Ok(Flow::Over);
            }
            What::Truncated(direction) => {
                let detail = match direction {
                    Direction::Read => "bytes that Envoy read",
                    Direction::Write => "bytes that Envoy wrote",
                };
                self.note(Kind::DirectionTruncated, offset, 0, detail.into(), cx);
            }
            // An exchange has no bytes of its own; `http` makes them.
            What::Nothing | What::Http(_) => {}
        }
        Ok(Flow::Open)
    }

    /// Ends a connection whose end is not recorded.
    pub(super) fn finish<E>(&mut self, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.settle(None, 0, cx)?;
        if let Some(last) = self.last {
            self.close(last, false, cx)?;
        }
        self.tell(cx);
        Ok(())
    }

    /// Tells the connection's story, where somebody listens.
    fn tell<E>(&mut self, cx: &mut Context<'_, E>) {
        if let Some(stories) = &mut cx.shared.stories {
            let connection = self.connection.clone();
            stories.push(Story {
                connection,
                ..std::mem::take(&mut self.story)
            });
        }
    }

    /// What is to be told about it.
    pub(super) const fn story(&mut self) -> &mut Story {
        &mut self.story
    }

    /// Puts bytes on the wire that no event of this connection holds.
    pub(super) fn send<E>(
        &mut self,
        offset: u64,
        time: Timestamp,
        direction: Direction,
        payload: Bytes,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let data = Data {
            offset,
            time,
            seq: None,
            direction,
            payload,
            end_stream: false,
            comments: std::mem::take(&mut self.comments),
        };
        self.whole(data, cx)
    }

    /// Another connection takes this one's id.
    fn restart<E>(&mut self, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.finish(cx)?;
        *self = Self {
            connection: std::mem::take(&mut self.connection),
            ..Self::new(self.id)
        };
        Ok(())
    }

    /// Takes the connection's endpoints, which a trace may tell late, or more than once, or in part.
    pub(super) fn connection<E>(
        &mut self,
        told: Connection,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if told.is_empty() {
            return Ok(());
        }
        let known = &self.connection;
        let told = Connection {
            transport: told.transport,
            local: told.local.or_else(|| known.local.clone()),
            remote: told.remote.or_else(|| known.remote.clone()),
        };
        if told == *known {
            return Ok(());
        }
        if self.resumed {
            self.restart(cx)?;
        } else if let (Some(_), Some(last)) = (&self.wire, self.last) {
            // Packets that are written keep their addresses, so from here on it is another stream.
            self.close(last, false, cx)?;
            self.wire = None;
        }
        self.connection = told;
        Ok(())
    }

    /// The time of an event, or the one that stands for it.
    pub(super) fn stamp<E>(&mut self, when: When, cx: &mut Context<'_, E>) -> Timestamp {
        let When {
            offset,
            time,
            adjusted,
        } = when;
        let time = match (time, self.recorded) {
            (Some(time), _) => {
                self.recorded = Some(time);
                time
            }
            (None, recorded) => {
                self.comment(cx, || "stand-in time".into());
                self.note(Kind::StandInTime, offset, 0, String::new(), cx);
                match recorded {
                    Some(_) => self
                        .last
                        .unwrap_or_default()
                        .saturating_add(STAND_IN_INTERVAL),
                    None => cx.shared.stand_in_time(),
                }
            }
        };
        if adjusted || time > cx.shared.options.latest {
            self.note(Kind::TimeAdjusted, offset, 0, String::new(), cx);
        }
        let time = time.min(cx.shared.options.latest);
        self.last = Some(time);
        self.story.events += 1;
        if self.recorded.is_some() {
            self.story.at(time);
        }
        time
    }

    /// Holds what came before against the running count `seq` of the event that comes now.
    fn settle<E>(
        &mut self,
        seq: Option<u64>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if let Some(mut held) = self.held.take() {
            let known = held.payload.len() as u64;
            let (Some(from), Some(to)) = (held.seq, seq) else {
                return self.cut(held, cx);
            };
            let missing = to
                .checked_sub(from)
                .and_then(|size| size.checked_sub(known));
            return match missing {
                Some(missing) if missing <= MAX_EVENT_LOSS => {
                    self.note(Kind::Truncated, held.offset, missing, String::new(), cx);
                    if cx.shared.options.labels.is_some() {
                        let size = known + missing;
                        held.comments
                            .push(format!("truncated: {known} of {size} bytes recorded"));
                    }
                    let original_len = held.payload.len() + missing as usize;
                    self.data(held, original_len, cx)
                }
                _ => {
                    let detail = format!("from {from} to {to} over an event of {known} bytes");
                    self.mismatch(
                        held.offset,
                        from.saturating_add(known).abs_diff(to),
                        detail,
                        cx,
                    );
                    self.whole(held, cx)
                }
            };
        }
        let Some(seq) = seq else { return Ok(()) };
        // Counting starts at 1; what came before a trace's first event is lost, too.
        let start = if self.last.is_none() { Some(1) } else { None };
        match self.expected.or(start) {
            Some(expected)
                if seq > expected && seq - expected <= MAX_EVENT_LOSS && !self.as_string =>
            {
                let lost = seq - expected;
                self.note(Kind::LostEvents, offset, lost, String::new(), cx);
                self.comment(cx, || format!("lost before this: {lost} bytes"));
            }
            Some(expected) if seq != expected => {
                let detail = format!("{seq} where {expected} comes next");
                self.mismatch(offset, seq.abs_diff(expected), detail, cx);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells that the running count and an event's length do not fit by so many bytes.
    fn mismatch<E>(&mut self, offset: u64, bytes: u64, detail: String, cx: &mut Context<'_, E>) {
        if self.as_string {
            self.note(Kind::LossyString, offset, bytes, String::new(), cx);
        } else {
            self.note(Kind::ImpossibleCount, offset, 0, detail, cx);
        }
    }

    /// Truncated bytes of which nobody knows how many are missing.
    fn cut<E>(&mut self, mut data: Data, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.note(Kind::TruncatedUnknown, data.offset, 0, String::new(), cx);
        if cx.shared.options.labels.is_some() {
            let known = data.payload.len();
            data.comments.push(format!(
                "truncated: {known} bytes recorded of an unknown number"
            ));
        }
        self.whole(data, cx)
    }

    fn whole<E>(&mut self, data: Data, cx: &mut Context<'_, E>) -> Result<(), E> {
        let original_len = data.payload.len();
        self.data(data, original_len, cx)
    }

    /// Puts bytes on the wire, the first of `original_len`.
    fn data<E>(
        &mut self,
        data: Data,
        original_len: usize,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let when = (data.time, data.direction);
        let first = Some((data.direction, &data.payload[..]));
        let mut comments = self.open(data.time, first, data.offset, cx)?;
        comments.extend(data.comments);
        if self
            .wire
            .as_ref()
            .is_some_and(|link| link.is_too_much(original_len))
        {
            self.note(Kind::OversizedDatagram, data.offset, 0, String::new(), cx);
        }
        let Some(link) = &mut self.wire else {
            return Ok(());
        };
        let sink = Sink {
            out: cx.out,
            comments,
        };
        link.data(when, data.payload, original_len, data.end_stream, sink)
    }

    fn close<E>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let Some(link) = &mut self.wire else {
            return Ok(());
        };
        cx.shared.release(link.endpoints());
        let sink = Sink {
            out: cx.out,
            comments: std::mem::take(&mut self.comments),
        };
        link.close(time, recorded, sink)
    }

    /// Gives the connection its addresses and its side on the wire, unless it has them. What there is
    /// to say about that and has no frame of its own is for the next one.
    fn open<E>(
        &mut self,
        time: Timestamp,
        first: Option<(Direction, &[u8])>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<Vec<String>, E> {
        if self.wire.is_some() {
            return Ok(Vec::new());
        }
        let (endpoints, stand_ins) = cx.shared.addresses.place(self.id, &self.connection);
        if !stand_ins.is_empty() {
            let detail: Vec<_> = stand_ins.iter().map(ToString::to_string).collect();
            self.note(Kind::StandInAddress, offset, 0, detail.join(", "), cx);
        }
        let (told, evidence) = protocol::role(&self.connection, first);
        let role = cx.shared.options.role.unwrap_or(told);
        let recorded = endpoints;
        let endpoints = cx.shared.occupy(recorded, role, self.id);
        if endpoints != recorded {
            let (was, is) = match role {
                Role::Downstream => (recorded.remote, endpoints.remote),
                Role::Upstream => (recorded.local, endpoints.local),
            };
            self.note(Kind::PortTaken, offset, 0, format!("{is} for {was}"), cx);
        }
        let handshake = match cx.shared.options.handshake {
            Handshake::Auto => cx.shared.opened > 0,
            Handshake::Always => true,
            Handshake::Never => false,
        };
        let ordinal = cx.shared.opened;
        cx.shared.opened += 1;
        self.story.role = Some(role);
        if let (None, Some((_, bytes))) = (self.story.protocol, first) {
            self.story.protocol = protocol::protocol(bytes);
        }
        if first.is_some_and(|(_, bytes)| protocol::protocol(bytes) == Some(Protocol::Http2)) {
            let server = match role {
                Role::Downstream => endpoints.local,
                Role::Upstream => endpoints.remote,
            };
            cx.shared.http2_ports.insert(server.port());
        }
        if handshake && evidence.is_guess() && cx.shared.options.role.is_none() {
            let client = match role {
                Role::Downstream => endpoints.remote,
                Role::Upstream => endpoints.local,
            };
            let detail = format!("{client} is taken for the client");
            self.note(Kind::RoleGuessed, offset, 0, detail, cx);
        }
        // Different ones even for the same ports and id, or what comes later would pass for the
        // same bytes sent again.
        let carrier = match self.connection.transport {
            Transport::Udp => Carrier::Udp,
            Transport::Tcp => {
                let (local, remote) = (endpoints.local.port(), endpoints.remote.port());
                let ports = u64::from(local) << 16 | u64::from(remote);
                // Different numbers even for the same ports and id, or what comes later would pass for
                // the same bytes sent again.
                let seed = mix(self.id.number ^ mix(ports ^ mix(ordinal)));
                let limit = frame::max_tcp_payload(&endpoints);
                let mss = cx.shared.options.mss.unwrap_or(limit);
                Carrier::Tcp(Conversation::new(
                    seed,
                    mss,
                    limit,
                    handshake.then_some(role),
                ))
            }
        };
        let mut comments = Vec::new();
        let label = cx.shared.options.labels.as_ref().map(|sources| {
            comments.extend(
                stand_ins
                    .iter()
                    .map(|stand_in| format!("stand-in: {stand_in}")),
            );
            Arc::new(self.label(ordinal, role, &endpoints, &stand_ins, sources))
        });
        let mut link = Link::new(endpoints, carrier, label);
        let rest;
        if handshake {
            rest = Vec::new();
            link.open(
                time,
                Sink {
                    out: cx.out,
                    comments,
                },
            )?;
        } else {
            rest = comments;
        }
        self.wire = Some(link);
        Ok(rest)
    }

    /// What a person calls the connection.
    fn label(
        &self,
        number: u64,
        role: Role,
        endpoints: &Endpoints,
        stand_ins: &[StandIn],
        sources: &[String],
    ) -> Label {
        let (side, server, placed) = match role {
            Role::Downstream => ("downstream", &self.connection.local, endpoints.local),
            Role::Upstream => ("upstream", &self.connection.remote, endpoints.remote),
        };
        let server = server
            .as_ref()
            .map_or_else(|| placed.to_string(), ToString::to_string);
        let source = sources
            .get(self.id.source as usize)
            .map_or("", String::as_str);
        let name = |stand_in: &StandIn| {
            let recorded = stand_in.recorded.as_ref()?;
            Some((stand_in.address.ip(), recorded.to_string()))
        };
        Label {
            number,
            name: format!("{side} {server} {}", self.id),
            description: format!("{source}, trace {}", self.id.number),
            names: stand_ins.iter().filter_map(name).collect(),
        }
    }

    /// Has the next frame say something, where labels are asked for.
    pub(super) fn comment<E>(&mut self, cx: &Context<'_, E>, say: impl FnOnce() -> String) {
        if cx.shared.options.labels.is_some() {
            self.comments.push(say());
        }
    }

    fn note<E>(
        &mut self,
        kind: Kind,
        offset: u64,
        bytes: u64,
        detail: String,
        cx: &mut Context<'_, E>,
    ) {
        self.story.note(kind, bytes);
        let trace = Some(self.id);
        cx.notices.add(Notice {
            kind,
            offset,
            trace,
            bytes,
            detail,
        });
    }
}

/// Whether a string holds, or must have lost, bytes that are not UTF-8.
pub(super) fn cannot_be_a_string(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_err()
        || (payload.len() > protocol::PREFACE.len()
            && protocol::protocol(payload) == Some(Protocol::Http2))
}
