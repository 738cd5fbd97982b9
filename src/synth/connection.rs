//! One connection from its first mention in a trace to its end: when it starts anew, and what its
//! events look like on the wire.

mod losses;
mod opening;

use crate::event::{Connection, Direction, Event, Timestamp, TraceId, Transport, What};
use crate::notice::{Kind, Notice};
use crate::protocol::{self, Protocol};

use super::link::{Link, Sink};
use super::story::Story;
use super::{Context, STAND_IN_INTERVAL};

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
    /// Whether it is another event's time, too, which has been told of where there is something wrong.
    pub(super) shared: bool,
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
    held: Option<Box<Held>>,
    /// What seq_num comes next if no event is lost.
    expected: Option<u64>,
    /// Whether the last event's body was recorded as a string.
    as_string: bool,
    /// The last time that was recorded, not invented.
    recorded: Option<Timestamp>,
    /// Whether Envoy ended the stream before there was anything to show of the connection.
    ended: bool,
    /// What is to be told about it, where somebody listens.
    story: Option<Box<Story>>,
    /// What there is to say about the next frame, where labels are asked for.
    comments: Vec<String>,
}

/// Bytes that went one way.
#[derive(Clone, Copy, Debug)]
struct Data<'a> {
    offset: u64,
    time: Timestamp,
    direction: Direction,
    payload: &'a [u8],
    end_stream: bool,
}

/// A truncated event that waits.
#[derive(Debug)]
struct Held {
    offset: u64,
    time: Timestamp,
    direction: Direction,
    end_stream: bool,
    payload: Vec<u8>,
    /// The running count before it.
    seq: u64,
    /// What there is to say about it.
    comments: Vec<String>,
}

impl Tracked {
    /// A connection of which nothing is known but its `id`; `has_story` where somebody wants to be told.
    pub(super) fn new(id: TraceId, has_story: bool) -> Self {
        let story = Story {
            id,
            ..Story::default()
        };
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
            ended: false,
            story: has_story.then(|| Box::new(story)),
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
    pub(super) fn event<E>(&mut self, event: &Event, cx: &mut Context<'_, E>) -> Result<Flow, E> {
        let &Event {
            offset,
            time,
            time_adjusted: adjusted,
            next_seq,
            ref what,
            ..
        } = event;
        let when = When {
            offset,
            time,
            adjusted,
            shared: false,
        };
        match *what {
            What::Begin => self.resumed = self.last.is_some(),
            What::Connection(ref told) => self.connection(told, cx)?,
            What::Data {
                direction,
                ref payload,
                truncated,
                as_string,
                end_stream,
            } => {
                let (payload, seq): (&[u8], _) = (payload, event.count_before());
                let went_back = || time.zip(self.last).is_some_and(|(time, last)| time < last);
                if self.resumed && went_back() {
                    self.restart(cx)?;
                }
                self.resumed = false;
                self.settle(seq, offset, cx)?;
                let time = self.stamp(when, cx);
                if let Some(story) = &mut self.story {
                    story.events += 1;
                    story.add(direction, payload);
                }
                self.expected = seq.map(|seq| seq.saturating_add(payload.len() as u64));
                self.as_string = as_string;
                // Where Envoy counts, the next event tells whether its length is right.
                if as_string && seq.is_none() && cannot_be_a_string(payload) {
                    self.note(Kind::LossyString, offset, 0, String::new(), cx);
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
                match (truncated, seq) {
                    (false, _) => self.data(data, payload.len(), cx)?,
                    (true, None) => self.cut(data, cx)?,
                    (true, Some(seq)) => {
                        self.held = Some(Box::new(Held {
                            offset,
                            time,
                            direction,
                            end_stream,
                            // A slice would hold all that was read with it, and this one stays.
                            payload: payload.to_vec(),
                            seq,
                            comments: std::mem::take(&mut self.comments),
                        }));
                        // Somebody has looked ahead: it need not wait.
                        if next_seq.is_some() {
                            self.settle(next_seq, offset, cx)?;
                            self.expected = next_seq;
                        }
                    }
                }
            }
            What::Closed => {
                if let Some(story) = &mut self.story {
                    story.events += 1;
                    story.closed = true;
                }
                self.settle(event.count_before(), offset, cx)?;
                let time = self.stamp(when, cx);
                // The end of a conversation of datagrams shows nothing.
                if self.connection.transport == Transport::Tcp {
                    self.open(time, None, offset, cx)?;
                }
                self.comment(cx, || "closed".into());
                self.close(time, true, cx)?;
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
            What::Nothing | What::Failed | What::SampleRate(_) | What::Http(_) => {}
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
        if let (Some(story), Some(stories)) = (self.story.take(), &mut cx.shared.stories) {
            let connection = self.connection.clone();
            stories.push(Story {
                connection,
                ..*story
            });
        }
    }

    /// What is to be told about it, where somebody listens.
    pub(super) fn story(&mut self) -> Option<&mut Story> {
        self.story.as_deref_mut()
    }

    /// Puts bytes on the wire that no event of this connection holds.
    pub(super) fn send<E>(
        &mut self,
        offset: u64,
        time: Timestamp,
        direction: Direction,
        payload: &[u8],
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let data = Data {
            offset,
            time,
            direction,
            payload,
            end_stream: false,
        };
        self.data(data, payload.len(), cx)
    }

    /// Another connection takes this one's id.
    fn restart<E>(&mut self, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.finish(cx)?;
        *self = Self {
            connection: std::mem::take(&mut self.connection),
            ..Self::new(self.id, cx.shared.stories.is_some())
        };
        Ok(())
    }

    /// Takes the connection's endpoints, which a trace may tell late, or more than once, or in part.
    pub(super) fn connection<E>(
        &mut self,
        told: &Connection,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if told.is_empty() {
            return Ok(());
        }
        let known = &self.connection;
        let told = Connection {
            transport: told.transport,
            local: told.local.clone().or_else(|| known.local.clone()),
            remote: told.remote.clone().or_else(|| known.remote.clone()),
            namespace: told.namespace.clone().or_else(|| known.namespace.clone()),
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
    #[inline(always)]
    pub(super) fn stamp<E>(&mut self, when: When, cx: &mut Context<'_, E>) -> Timestamp {
        let When {
            offset,
            time,
            adjusted,
            shared,
        } = when;
        let time = match (time, self.recorded) {
            (Some(time), _) => {
                if !shared {
                    self.recorded = Some(time);
                }
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
        if !shared && (adjusted || time > cx.shared.options.latest) {
            self.note(Kind::TimeAdjusted, offset, 0, String::new(), cx);
        }
        let time = time.min(cx.shared.options.latest);
        self.last = Some(time);
        if let (Some(story), Some(_)) = (&mut self.story, self.recorded) {
            story.at(time);
        }
        time
    }

    /// Puts bytes on the wire, the first of `original_len`.
    fn data<E>(
        &mut self,
        data: Data<'_>,
        original_len: usize,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        let Data {
            offset,
            time,
            direction,
            payload,
            end_stream,
        } = data;
        if self.wire.is_none() {
            if original_len == 0 && self.connection.transport == Transport::Tcp {
                // Nothing makes no segment, so the connection is not in the capture yet.
                self.ended |= end_stream;
                return Ok(());
            }
            self.open(time, Some((direction, payload)), offset, cx)?;
        }
        let Some(link) = &mut self.wire else {
            return Ok(());
        };
        let sink = Sink {
            out: cx.out,
            comments: &mut self.comments,
        };
        let is_too_much = link.is_too_much(original_len);
        link.data((time, direction), payload, original_len, end_stream, sink)?;
        if is_too_much {
            self.note(Kind::OversizedDatagram, offset, 0, String::new(), cx);
        }
        Ok(())
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
            comments: &mut self.comments,
        };
        link.close(time, recorded, sink)
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
        if let Some(story) = &mut self.story {
            story.note(kind, bytes);
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
