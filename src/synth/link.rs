//! A connection's side on the wire: its endpoints and carrier, and the frames that they make.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Direction, Timestamp};

use super::frame::{self, Endpoints, Frame, Label};
use super::tcp::Conversation;

/// A connection that has packets in the capture.
#[derive(Debug)]
pub(super) struct Link {
    endpoints: Endpoints,
    carrier: Carrier,
    label: Option<Arc<Label>>,
}

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Carrier {
    Tcp(Conversation),
    Udp,
}

/// Where frames go, and what there is to say about the next of them.
pub(super) struct Sink<'a, E> {
    pub(super) out: &'a mut dyn FnMut(Frame) -> Result<(), E>,
    pub(super) comments: Vec<String>,
}

impl<E> Sink<'_, E> {
    fn put(&mut self, label: Option<&Arc<Label>>, mut frame: Frame) -> Result<(), E> {
        if label.is_some() {
            frame.label = label.cloned();
            frame.comments = std::mem::take(&mut self.comments);
        }
        (self.out)(frame)
    }
}

impl Link {
    pub(super) const fn new(
        endpoints: Endpoints,
        carrier: Carrier,
        label: Option<Arc<Label>>,
    ) -> Self {
        Self {
            endpoints,
            carrier,
            label,
        }
    }

    pub(super) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Whether so many bytes are more than one datagram holds.
    pub(super) const fn is_too_much(&self, len: usize) -> bool {
        match self.carrier {
            Carrier::Tcp(_) => false,
            Carrier::Udp => len > frame::max_udp_payload(&self.endpoints),
        }
    }

    /// Opens the connection, as far as that is to be shown.
    pub(super) fn open<E>(&mut self, time: Timestamp, mut sink: Sink<'_, E>) -> Result<(), E> {
        let Self {
            endpoints,
            carrier,
            label,
        } = self;
        match carrier {
            Carrier::Tcp(conversation) => conversation.open(time, &mut |segment| {
                sink.put(label.as_ref(), frame::tcp(endpoints, segment))
            }),
            Carrier::Udp => Ok(()),
        }
    }

    /// Puts bytes on the wire, the first of `original_len`.
    pub(super) fn data<E>(
        &mut self,
        (time, direction): (Timestamp, Direction),
        mut payload: Bytes,
        original_len: usize,
        end_stream: bool,
        mut sink: Sink<'_, E>,
    ) -> Result<(), E> {
        let Self {
            endpoints,
            carrier,
            label,
        } = self;
        match carrier {
            Carrier::Tcp(conversation) => {
                conversation.data(time, direction, payload, original_len, &mut |segment| {
                    sink.put(label.as_ref(), frame::tcp(endpoints, segment))
                })?;
                if end_stream {
                    conversation.end_local();
                }
                Ok(())
            }
            Carrier::Udp => {
                let limit = frame::max_udp_payload(endpoints);
                let mut left = original_len;
                // A datagram of nothing is a datagram. One beyond IP's limit never was one; its bytes
                // are shown all the same.
                loop {
                    let len = left.min(limit);
                    let known = payload.split_to(len.min(payload.len()));
                    let frame = frame::udp(endpoints, direction, time, known, len);
                    sink.put(label.as_ref(), frame)?;
                    left -= len;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Closes the connection, as far as that is recorded or to be shown.
    pub(super) fn close<E>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        mut sink: Sink<'_, E>,
    ) -> Result<(), E> {
        let Self {
            endpoints,
            carrier,
            label,
        } = self;
        match carrier {
            Carrier::Tcp(conversation) => conversation.close(time, recorded, &mut |segment| {
                sink.put(label.as_ref(), frame::tcp(endpoints, segment))
            }),
            Carrier::Udp => Ok(()),
        }
    }
}
