//! A summary of a connection, apart from its packets.

use std::collections::BTreeSet;

use crate::model::event::{Connection, Direction, Timestamp, TraceId};
use crate::model::protocol::{self, Protocol, Role};
use crate::model::warning::WarningKind;

/// The summary of a connection that is over.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSummary {
    /// Its endpoints, as recorded.
    pub connection: Connection,
    /// The number that Envoy gives it.
    pub id: TraceId,
    /// The side of Envoy that it is on; `None` before its first event.
    pub role: Option<Role>,
    /// Its protocol, if its bytes show it.
    pub protocol: Option<Protocol>,
    /// The number of its reads, writes and closes, or of the parts of its HTTP messages.
    pub events: u64,
    /// The recorded bytes that Envoy received.
    pub bytes_read: u64,
    /// The recorded bytes that Envoy sent.
    pub bytes_written: u64,
    /// The times of its first and last event, if events have times.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The number of events of which Envoy kept only the first bytes.
    pub truncated_events: u64,
    /// The bytes missing from them, as far as Envoy counted them.
    pub truncated_bytes: u64,
    /// The minimum of bytes missing from them, if Envoy did not count them.
    pub estimated_bytes: u64,
    /// The bytes of missing events, as far as Envoy counted them.
    pub lost_bytes: u64,
    /// Whether its close is recorded.
    pub closed: bool,
    /// The servers to which Envoy forwarded its HTTP requests, as far as they are recorded.
    pub upstreams: BTreeSet<String>,
    /// The share of connections that the tap records, in millionths, if recorded.
    pub sample_rate: Option<u32>,
}

impl ConnectionSummary {
    /// The sort key of the summaries of a capture: the time of the first event.
    pub fn order(&self) -> (Option<Timestamp>, TraceId) {
        (self.span.map(|(first, _)| first), self.id)
    }

    /// Adds the bytes of an event.
    pub(super) fn add(&mut self, direction: Direction, payload: &[u8]) {
        match direction {
            Direction::Read => self.bytes_read += payload.len() as u64,
            Direction::Write => self.bytes_written += payload.len() as u64,
        }
        // gRPC is visible only in its headers, which come with or after HTTP/2's first bytes.
        if self.events <= GRPC_EVENTS
            && matches!(self.protocol, None | Some(Protocol::Http2))
            && protocol::is_grpc(payload)
        {
            self.protocol = Some(Protocol::Grpc);
        }
    }

    /// Adds a warning.
    pub(super) const fn note(&mut self, kind: WarningKind, bytes: u64) {
        match kind {
            WarningKind::Truncated => {
                self.truncated_events += 1;
                self.truncated_bytes += bytes;
            }
            WarningKind::TruncatedUnknown => {
                self.truncated_events += 1;
                self.estimated_bytes += bytes;
            }
            WarningKind::LostEvents | WarningKind::LostEventsUnplaced => self.lost_bytes += bytes,
            _ => {}
        }
    }

    /// Adds the time of an event.
    pub(super) fn at(&mut self, time: Timestamp) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }
}

/// Formats a share in millionths as percent.
pub fn percent(rate: u32) -> String {
    format!("{} %", f64::from(rate) / 10_000.0)
}

/// gRPC's headers are searched for in this many of a connection's first events.
const GRPC_EVENTS: u64 = 8;
