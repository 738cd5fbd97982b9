//! One connection from its first mention in a trace to its end: when it starts anew, which bytes are
//! missing, what its events look like on the wire.

use bytes::Bytes;

use crate::event::{Connection, Direction, Event, Form, Timestamp, TraceId, Transport, What};
use crate::notice::{Kind, Notice};
use crate::protocol::{self, Protocol, Role};

use super::frame::{self, Endpoints, Frame};
use super::tcp::{Conversation, Segment};
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
    wire: Option<Wire>,
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
}

/// What there was to tell about a connection, once it is over.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Its endpoints, as recorded.
    pub connection: Connection,
    /// The number that Envoy gives it.
    pub id: TraceId,
    /// On which side of it the tap sat; none before its first event.
    pub role: Option<Role>,
    /// What it speaks, as far as its bytes show.
    pub protocol: Option<Protocol>,
    /// Its reads, writes and end, or the parts of its HTTP messages.
    pub events: u64,
    /// What Envoy read and what it wrote, in bytes, as far as it is recorded.
    pub bytes_read: u64,
    /// What Envoy wrote, in bytes, as far as it is recorded.
    pub bytes_written: u64,
    /// The times of its first and last event, where events have times.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Events of which Envoy kept only the first bytes.
    pub truncated_events: u64,
    /// The bytes that those lack, as far as Envoy has counted them.
    pub truncated_bytes: u64,
    /// The bytes of events that are missing, as far as Envoy has counted them.
    pub lost_bytes: u64,
    /// Whether its end is recorded.
    pub closed: bool,
}

impl Story {
    /// Takes note of bytes that went one way at a time.
    pub(super) fn add(&mut self, direction: Direction, payload: &[u8]) {
        match direction {
            Direction::Read => self.bytes_read += payload.len() as u64,
            Direction::Write => self.bytes_written += payload.len() as u64,
        }
        // gRPC shows in its headers only, which come behind HTTP/2's first bytes or with them.
        if self.events <= GRPC_EVENTS
            && matches!(self.protocol, None | Some(Protocol::Http2))
            && protocol::is_grpc(payload)
        {
            self.protocol = Some(Protocol::Grpc);
        }
    }

    fn at(&mut self, time: Timestamp) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }
}

/// In how many of a connection's first events gRPC's headers are looked for.
const GRPC_EVENTS: u64 = 8;

#[derive(Debug)]
struct Wire {
    endpoints: Endpoints,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Tcp(Conversation),
    Udp,
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
                let data = Data {
                    offset,
                    time,
                    seq,
                    direction,
                    payload,
                    end_stream,
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
                self.open(time, None, offset, cx)?;
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
        if let Some(held) = self.held.take() {
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
                self.note(Kind::LostEvents, offset, seq - expected, String::new(), cx);
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
    fn cut<E>(&mut self, data: Data, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.note(Kind::TruncatedUnknown, data.offset, 0, String::new(), cx);
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
        let Data {
            offset,
            time,
            direction,
            payload,
            end_stream,
            ..
        } = data;
        self.open(time, Some((direction, &payload)), offset, cx)?;
        if let Some(Wire {
            endpoints,
            carrier: Carrier::Udp,
        }) = &self.wire
            && original_len > frame::max_udp_payload(endpoints)
        {
            self.note(Kind::OversizedDatagram, offset, 0, String::new(), cx);
        }
        let Some(Wire { endpoints, carrier }) = &mut self.wire else {
            return Ok(());
        };
        match carrier {
            Carrier::Tcp(conversation) => {
                conversation.data(time, direction, payload, original_len, &mut |segment| {
                    (cx.out)(on_wire(endpoints, segment))
                })?;
                if end_stream {
                    conversation.end_local();
                }
                Ok(())
            }
            Carrier::Udp => {
                let (source, destination) = endpoints.ends(direction);
                let limit = frame::max_udp_payload(endpoints);
                let (mut payload, mut left) = (payload, original_len);
                // A datagram of nothing is a datagram. One beyond IP's limit never was one; its bytes
                // are shown all the same.
                loop {
                    let len = left.min(limit);
                    let known = payload.split_to(len.min(payload.len()));
                    (cx.out)(frame::udp(source, destination, time, known, len))?;
                    left -= len;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn close<E>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let Some(Wire { endpoints, carrier }) = &mut self.wire else {
            return Ok(());
        };
        cx.shared.release(endpoints);
        let Carrier::Tcp(conversation) = carrier else {
            return Ok(());
        };
        conversation.close(time, recorded, &mut |segment| {
            (cx.out)(on_wire(endpoints, segment))
        })
    }

    /// Gives the connection its addresses and its side on the wire, unless it has them.
    fn open<E>(
        &mut self,
        time: Timestamp,
        first: Option<(Direction, &[u8])>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if self.wire.is_some() {
            return Ok(());
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
        if self.connection.transport == Transport::Udp {
            self.wire = Some(Wire {
                endpoints,
                carrier: Carrier::Udp,
            });
            return Ok(());
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
        let ports = u64::from(endpoints.local.port()) << 16 | u64::from(endpoints.remote.port());
        let seed = mix(self.id.number ^ mix(ports ^ mix(ordinal)));
        let limit = frame::max_tcp_payload(&endpoints);
        let mss = cx.shared.options.mss.unwrap_or(limit);
        let mut conversation = Conversation::new(seed, mss, limit, handshake.then_some(role));
        conversation.open(time, &mut |segment| (cx.out)(on_wire(&endpoints, segment)))?;
        self.wire = Some(Wire {
            endpoints,
            carrier: Carrier::Tcp(conversation),
        });
        Ok(())
    }

    fn note<E>(
        &mut self,
        kind: Kind,
        offset: u64,
        bytes: u64,
        detail: String,
        cx: &mut Context<'_, E>,
    ) {
        match kind {
            Kind::Truncated | Kind::TruncatedUnknown => {
                self.story.truncated_events += 1;
                self.story.truncated_bytes += bytes;
            }
            Kind::LostEvents => self.story.lost_bytes += bytes,
            _ => {}
        }
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

fn on_wire(endpoints: &Endpoints, segment: Segment) -> Frame {
    let (source, destination) = endpoints.ends(segment.direction);
    frame::tcp(source, destination, segment)
}
