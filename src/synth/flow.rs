//! The flow of a connection: its endpoints, its transport, and the frames that they make.

use crate::model::event::{Direction, Timestamp};

use super::Sink;
use super::checksum;
use super::comments::Comments;
use super::frame::{Endpoints, Frame, Label};
use super::headers::{self, TcpHeaders};
use super::tcp::{Conversation, Segment};

/// A connection that has packets in the capture.
#[derive(Debug)]
pub(super) struct Flow {
    endpoints: Endpoints,
    carrier: Carrier,
    label: Option<Box<Label>>,
}

/// The transport of a flow.
#[derive(Debug)]
enum Carrier {
    Tcp(Box<Stream>),
    Udp,
}

/// A TCP connection and its headers.
#[derive(Debug)]
pub(super) struct Stream {
    conversation: Conversation,
    headers: HeaderPair,
}

impl Stream {
    /// Sends bytes, all of which are recorded.
    #[inline(always)]
    pub(super) fn data<S: Sink>(
        &mut self,
        time: Timestamp,
        direction: Direction,
        payload: &[u8],
        out: &mut S,
    ) -> Result<(), S::Error> {
        let Self {
            conversation,
            headers,
        } = self;
        if payload.len() > checksum::SHORT {
            return conversation.whole(time, direction, payload, |segment| {
                out.frame(&headers.of(segment.direction).frame(&segment))
            });
        }
        conversation.whole(time, direction, payload, |segment| {
            out.frame(&headers.of(segment.direction).small_frame(&segment))
        })
    }

    /// Closes the connection. That is rare, and `put` is dynamic so that its code does not exist for each sink.
    fn close<E>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        put: &mut dyn FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self {
            conversation,
            headers,
        } = self;
        conversation.close(time, recorded, &mut |segment| {
            put(&headers.of(segment.direction).frame(&segment))
        })
    }
}

/// The headers of both directions.
#[derive(Debug)]
struct HeaderPair {
    read: TcpHeaders,
    write: TcpHeaders,
}

impl HeaderPair {
    #[inline(always)]
    const fn of(&mut self, direction: Direction) -> &mut TcpHeaders {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

/// The consumer of frames, and the comments on the next one.
pub(super) struct Outlet<'a, S> {
    pub(super) out: &'a mut S,
    pub(super) comments: &'a mut Comments,
}

impl<S: Sink> Outlet<'_, S> {
    fn put(&mut self, label: Option<&Label>, frame: &Frame<'_>) -> Result<(), S::Error> {
        if label.is_none() {
            return self.out.frame(frame);
        }
        let comments = &self.comments.take();
        self.out.frame(&Frame {
            label,
            comments,
            ..*frame
        })
    }
}

impl Flow {
    /// A flow that carries datagrams.
    pub(super) fn udp(endpoints: Endpoints, label: Option<Label>) -> Self {
        Self {
            endpoints,
            carrier: Carrier::Udp,
            label: label.map(Box::new),
        }
    }

    /// A flow that carries a stream.
    pub(super) fn tcp(
        endpoints: Endpoints,
        conversation: Conversation,
        label: Option<Label>,
    ) -> Self {
        let headers = |direction| {
            let (source, destination) = endpoints.ends(direction);
            TcpHeaders::new(source, destination)
        };
        let headers = HeaderPair {
            read: headers(Direction::Read),
            write: headers(Direction::Write),
        };
        Self {
            endpoints,
            carrier: Carrier::Tcp(Box::new(Stream {
                conversation,
                headers,
            })),
            label: label.map(Box::new),
        }
    }

    pub(super) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Whether this many bytes exceed one datagram.
    pub(super) const fn is_too_much(&self, len: usize) -> bool {
        match self.carrier {
            Carrier::Tcp(..) => false,
            Carrier::Udp => len > headers::max_udp_payload(&self.endpoints),
        }
    }

    /// The TCP connection, if there are no comments on its frames.
    #[inline(always)]
    pub(super) fn plain_stream(&mut self) -> Option<&mut Stream> {
        match (&mut self.carrier, &self.label) {
            (Carrier::Tcp(stream), None) => Some(stream),
            _ => None,
        }
    }

    /// Opens the connection, if the opening is to be shown.
    pub(super) fn open<S: Sink>(
        &mut self,
        time: Timestamp,
        mut sink: Outlet<'_, S>,
    ) -> Result<(), S::Error> {
        let Self {
            endpoints,
            carrier,
            label,
        } = self;
        match carrier {
            Carrier::Tcp(stream) => stream.conversation.open(time, &mut |segment| {
                // A SYN has other headers, with options, and occurs once in each direction.
                let headers = headers::tcp(endpoints, &segment);
                let Segment {
                    time,
                    direction,
                    payload,
                    original_len,
                    ..
                } = segment;
                let frame = Frame::new(time, direction, &headers, payload, original_len);
                sink.put(label.as_deref(), &frame)
            }),
            Carrier::Udp => Ok(()),
        }
    }

    /// Sends bytes: `payload` is the beginning of `original_len` bytes.
    pub(super) fn data<S: Sink>(
        &mut self,
        (time, direction): (Timestamp, Direction),
        payload: &[u8],
        original_len: usize,
        end_stream: bool,
        mut sink: Outlet<'_, S>,
    ) -> Result<(), S::Error> {
        let Self {
            endpoints,
            carrier,
            label,
        } = self;
        if !sink.out.wants_bytes() {
            return Ok(());
        }
        match carrier {
            Carrier::Tcp(stream) => {
                let Stream {
                    conversation,
                    headers,
                } = &mut **stream;
                conversation.data(time, direction, payload, original_len, &mut |segment| {
                    sink.put(
                        label.as_deref(),
                        &headers.of(segment.direction).frame(&segment),
                    )
                })?;
                if end_stream {
                    conversation.end_local();
                }
                Ok(())
            }
            Carrier::Udp => {
                let limit = headers::max_udp_payload(endpoints);
                let (mut payload, mut left) = (payload, original_len);
                // An empty datagram is still sent. A datagram larger than IP's limit never existed; its bytes are
                // shown nevertheless.
                loop {
                    let len = left.min(limit);
                    let known;
                    (known, payload) = payload.split_at(len.min(payload.len()));
                    let headers = headers::udp(endpoints, direction, known, len);
                    let frame = Frame::new(time, direction, &headers, known, len);
                    sink.put(label.as_deref(), &frame)?;
                    left -= len;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Records that Envoy ended its side of the stream.
    pub(super) fn end_local(&mut self) {
        if let Carrier::Tcp(stream) = &mut self.carrier {
            stream.conversation.end_local();
        }
    }

    /// Closes the connection, if the close is recorded or to be shown.
    pub(super) fn close<S: Sink>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        mut sink: Outlet<'_, S>,
    ) -> Result<(), S::Error> {
        let Self { carrier, label, .. } = self;
        match carrier {
            Carrier::Tcp(stream) => stream.close(time, recorded, &mut |frame| {
                sink.put(label.as_deref(), frame)
            }),
            Carrier::Udp => Ok(()),
        }
    }
}
