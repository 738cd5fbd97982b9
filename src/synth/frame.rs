//! Frames as they would have been captured, and the endpoints and labels of their connections.

use std::net::{IpAddr, SocketAddr};

use crate::model::event::{Direction, Timestamp};

use super::checksum::offload;
use super::headers::Headers;

/// A packet as it would have been captured.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// Everything before the payload.
    pub headers: &'a [u8],
    /// The payload, as far as it is recorded.
    pub payload: &'a [u8],
    /// The length of the frame on the wire in bytes, including the unknown part of the payload.
    pub original_len: u32,
    /// The direction of its bytes.
    pub direction: Direction,
    /// The connection that it belongs to, if labels are requested.
    pub label: Option<&'a Label>,
    /// Comments on it, if labels are requested.
    pub comments: &'a [String],
    /// Whether the TCP checksum does not include the payload yet, see [`offload`]: the writer of the frame has to
    /// complete it.
    pub is_partial: bool,
}

impl<'a> Frame<'a> {
    /// Creates a frame with `headers` and the beginning of a payload of `original_len` bytes.
    pub(super) fn new(
        time: Timestamp,
        direction: Direction,
        headers: &'a [u8],
        payload: &'a [u8],
        original_len: usize,
    ) -> Self {
        Self {
            time,
            headers,
            payload,
            original_len: u32::try_from(headers.len() + original_len).unwrap_or(u32::MAX),
            direction,
            label: None,
            comments: &[],
            is_partial: false,
        }
    }

    /// The headers with all checksums.
    pub(crate) fn complete_headers(&self) -> Headers {
        let mut headers: Headers = self.headers.iter().copied().collect();
        if self.is_partial {
            offload::complete(&mut headers, self.payload);
        }
        headers
    }
}

/// The label of a connection in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its number within the capture, from 0.
    pub number: u64,
    /// A short name.
    pub name: String,
    /// The trace and the id that it comes from.
    pub description: String,
    /// The names of stand-in addresses.
    pub names: Vec<(IpAddr, String)>,
}

/// The endpoints of a conversation, as in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Envoy's end.
    pub local: SocketAddr,
    /// The peer's end, of the same family.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Both endpoints, the lesser first: the same for both directions and for a tap on either side.
    pub(super) fn in_order(&self) -> (SocketAddr, SocketAddr) {
        (self.local.min(self.remote), self.local.max(self.remote))
    }

    /// The source and the destination of bytes in this direction.
    pub(super) const fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        match direction {
            Direction::Read => (self.remote, self.local),
            Direction::Write => (self.local, self.remote),
        }
    }
}
