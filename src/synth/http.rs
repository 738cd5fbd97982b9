//! HTTP exchanges, which a tap records without their bytes on the wire, as streams of HTTP/2 connections.
//!
//! Exchanges of one connection become streams of one HTTP/2 connection, unless the silence between them is longer
//! than a client would keep a connection open.
//!
//! Invariant: a stream ends where its trace records the end, and an exchange stays on its stream.

mod losses;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::evicted::Evicted;
use crate::model::event::{Connection, Direction, Field, Http, Part, Side, Timestamp, TraceId};
use crate::model::protocol::{self, Protocol, Role};
use crate::model::warning::WarningKind;

use super::connection::{ConnectionState, RecordedTime};
use super::conversation::{ConversationId, shown_connection};
use super::http2::{Http2, Http2Stream};
use super::{Context, Sink};

use losses::{about, is_binary, note_losses};

/// How long a connection may be silent between two exchanges, in nanoseconds. If a 4-tuple reappears later, it
/// most likely belongs to another connection.
const IDLE_GAP: u64 = 60 * 1_000_000_000;

/// The maximum number of exchanges of streamed traces that are kept open. If there are more, one without recent events is
/// evicted. A tap that runs for days must not use memory for each request.
const MAX_STREAMED: usize = 16_384;

/// All HTTP exchanges of a capture.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    sessions: HashMap<ConversationId, Session>,
    open: HashMap<TraceId, Exchange>,
    /// The exchanges of streamed traces, oldest first. No event ends them.
    streamed: VecDeque<TraceId>,
    /// Exchanges that were evicted, although they may continue.
    evicted: Evicted,
}

/// An HTTP/2 connection.
#[derive(Debug)]
struct Session {
    state: ConnectionState,
    http2: Http2,
    /// The earliest and the latest time of the bytes sent; `None` before the first.
    span: Option<(Timestamp, Timestamp)>,
    /// The exchanges on it that have not ended.
    open: BTreeSet<TraceId>,
}

/// A request and its response.
#[derive(Debug)]
struct Exchange {
    conversation: ConversationId,
    connection: Connection,
    /// The role of the peer on the connection.
    role: Role,
    /// The upstream connection, until a frame carries the comment about it.
    upstream: Option<Box<Connection>>,
    stream: Option<Http2Stream>,
    binary_request: bool,
    binary_response: bool,
    /// Whether it had an event since it was queued.
    has_continued: bool,
}

impl Exchange {
    fn new(id: TraceId, downstream: Option<&Connection>, upstream: Option<&Connection>) -> Self {
        let (shown, role) = shown_connection(downstream, upstream);
        Self {
            conversation: ConversationId::of_exchange(id, shown),
            connection: shown.cloned().unwrap_or_default(),
            role,
            upstream: upstream.cloned().map(Box::new),
            stream: None,
            binary_request: false,
            binary_response: false,
            has_continued: false,
        }
    }

    /// The direction on the connection of a side's bytes.
    const fn direction(&self, side: Side) -> Direction {
        match side {
            Side::Request => self.role.from_client(),
            Side::Response => self.role.from_client().reverse(),
        }
    }

    /// Whether a side's headers declare a binary body.
    const fn binary(&mut self, side: Side) -> &mut bool {
        match side {
            Side::Request => &mut self.binary_request,
            Side::Response => &mut self.binary_response,
        }
    }
}

impl Exchanges {
    /// Takes an event of an exchange.
    pub(super) fn event<S: Sink>(
        &mut self,
        id: TraceId,
        when: RecordedTime,
        http: &Http,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        match http {
            Http::Begin {
                downstream,
                upstream,
            } => {
                let exchange = Exchange::new(id, downstream.as_deref(), upstream.as_deref());
                self.open.insert(id, exchange);
            }
            &Http::Part {
                side,
                ref part,
                last,
            } => self.part(id, when, (side, part, last), cx)?,
            Http::End => {
                if let Some(exchange) = self.open.remove(&id) {
                    if let ConversationId::Exchange(_) = exchange.conversation {
                        self.end(&exchange.conversation, cx)?;
                    } else if let Some(session) = self.sessions.get_mut(&exchange.conversation) {
                        session.open.remove(&id);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a part of a message, of which `last` is the last one of its side.
    fn part<S: Sink>(
        &mut self,
        id: TraceId,
        when: RecordedTime,
        (side, part, last): (Side, &Part, bool),
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let is_cut = matches!(
            part,
            Part::Body {
                truncated: true,
                ..
            }
        );
        let is_request = matches!((side, part), (Side::Request, Part::Headers(_)));
        let exchange = match self.open.entry(id) {
            Entry::Occupied(entry) => {
                let exchange = entry.into_mut();
                exchange.has_continued = true;
                exchange
            }
            Entry::Vacant(entry) => {
                self.streamed.push_back(id);
                if !is_request && self.evicted.has(id) {
                    cx.warnings.add(about(WarningKind::Split, when.offset, id));
                }
                entry.insert(Exchange::new(id, None, None))
            }
        };
        if let Part::Headers(fields) = part {
            *exchange.binary(side) = is_binary(fields);
        }
        note_losses(id, when.offset, part, *exchange.binary(side), cx);
        let session = session(&mut self.sessions, exchange, id, when.time, cx)?;
        if let Some(summary) = session.state.summary() {
            summary.events += 1;
            summary.truncated_events += u64::from(is_cut);
        }
        if is_cut {
            let say = || "truncated: by how much is not recorded".into();
            session.state.comment(cx, say);
        }
        session.open.insert(id);
        session.part(exchange, when, (side, part, last), cx)?;
        // In a merge, the caller ends each exchange with its last event.
        if self.streamed.len() > MAX_STREAMED && !cx.shared.options.exclusive {
            self.evict_oldest(cx)?;
        }
        Ok(())
    }

    /// Evicts the oldest exchange of a streamed trace among those that had no event since they were queued.
    fn evict_oldest<S: Sink>(&mut self, cx: &mut Context<'_, S>) -> Result<(), S::Error> {
        while let Some(oldest) = self.streamed.pop_front() {
            let Some(exchange) = self.open.get_mut(&oldest) else {
                break;
            };
            if std::mem::take(&mut exchange.has_continued) {
                self.streamed.push_back(oldest);
                continue;
            }
            self.evicted.add(oldest);
            self.end(&ConversationId::Exchange(oldest), cx)?;
            break;
        }
        Ok(())
    }

    /// Ends all connections.
    pub(super) fn finish<S: Sink>(&mut self, cx: &mut Context<'_, S>) -> Result<(), S::Error> {
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_by_key(|(_, session)| (session.state.last(), session.state.id()));
        let keys: Vec<_> = sessions.into_iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.end(&key, cx)?;
        }
        Ok(())
    }

    /// Ends a connection, and drops the exchanges that are open on it.
    ///
    /// How they end is not recorded: a streamed trace has no event for the end of a message without trailers, and
    /// a message may continue after its trace ends.
    pub(super) fn end<S: Sink>(
        &mut self,
        key: &ConversationId,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let Some(mut session) = self.sessions.remove(key) else {
            return Ok(());
        };
        for id in &session.open {
            self.open.remove(id);
        }
        session.state.finish(cx)
    }
}

/// The method and path of a request, as far as they are recorded.
fn request_line(fields: &[Field]) -> String {
    let value = |name: &[u8]| {
        let field = fields.iter().find(|field| field.name == name);
        field.map(|field| String::from_utf8_lossy(&field.value).into_owned())
    };
    let parts = [value(b":method"), value(b":path")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The connection of `exchange`; a new one if there is none or it was silent too long.
fn session<'a, S: Sink>(
    sessions: &'a mut HashMap<ConversationId, Session>,
    exchange: &Exchange,
    id: TraceId,
    time: Option<Timestamp>,
    cx: &mut Context<'_, S>,
) -> Result<&'a mut Session, S::Error> {
    let has_summary = cx.shared.summaries.is_some();
    match sessions.entry(exchange.conversation.clone()) {
        Entry::Vacant(entry) => Ok(entry.insert(Session::new(id, has_summary))),
        Entry::Occupied(entry) => {
            let session = entry.into_mut();
            if exchange.stream.is_none() && session.is_over(time) {
                session.state.finish(cx)?;
                *session = Session::new(id, has_summary);
            }
            Ok(session)
        }
    }
}

impl Session {
    fn new(id: TraceId, has_summary: bool) -> Self {
        Self {
            state: ConnectionState::new(id, has_summary).with_made_bytes(),
            http2: Http2::new(),
            span: None,
            open: BTreeSet::new(),
        }
    }

    /// Whether an exchange that begins at `time` needs a new connection.
    fn is_over(&self, time: Option<Timestamp>) -> bool {
        // An exchange that waits for its response keeps its connection open.
        let is_idle = match (self.span, time) {
            (Some((first, last)), Some(time)) if self.open.is_empty() => {
                time > last.saturating_add(IDLE_GAP) || time.saturating_add(IDLE_GAP) < first
            }
            _ => false,
        };
        is_idle || self.http2.is_used_up()
    }

    /// Sends a part of `exchange`.
    fn part<S: Sink>(
        &mut self,
        exchange: &mut Exchange,
        when: RecordedTime,
        (side, part, last): (Side, &Part, bool),
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let time = self.state.stamp(when, cx);
        if let Some(summary) = self.state.summary() {
            match part {
                Part::Body { payload, .. } => summary.add(exchange.direction(side), payload),
                Part::Headers(fields) => {
                    let grpc = |field: &Field| protocol::is_grpc(&field.value);
                    if fields.iter().any(grpc) {
                        summary.protocol = Some(Protocol::Grpc);
                    }
                }
                Part::Trailers(_) => {}
            }
        }
        let (mut sent, mut opening, own_side) = (Vec::new(), 0, side);
        if self.span.is_none() {
            self.state.connection(&exchange.connection, cx);
            sent.extend(Http2::opening());
            opening = sent.len();
        }
        let (first, latest) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), latest.max(time)));
        if exchange.stream.is_none() {
            exchange.stream = self.http2.stream();
        }
        if let Some(stream) = &mut exchange.stream {
            sent.extend(self.http2.part(stream, side, part, last));
        }
        for (i, (side, payload)) in sent.into_iter().enumerate() {
            if i == opening {
                if let (Side::Request, Part::Headers(fields)) = (own_side, part) {
                    self.state.comment(cx, || request_line(fields));
                }
                self.upstream(exchange, cx);
            }
            let direction = exchange.direction(side);
            self.state
                .send(when.offset, time, direction, &payload, cx)?;
        }
        Ok(())
    }

    /// Comments once on the server that the exchange was sent to.
    fn upstream<S: Sink>(&mut self, exchange: &mut Exchange, cx: &Context<'_, S>) {
        let Some(upstream) = exchange.upstream.take() else {
            return;
        };
        let Some(server) = upstream.remote.or(upstream.local) else {
            return;
        };
        self.state.comment(cx, || format!("upstream: {server}"));
        if let Some(summary) = self.state.summary() {
            summary.upstreams.insert(server.to_string());
        }
    }
}
