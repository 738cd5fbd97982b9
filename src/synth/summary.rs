//! What there is to tell about a connection beside its packets.

use std::collections::BTreeSet;

use crate::model::event::{Connection, Direction, Timestamp, TraceId};
use crate::model::protocol::{self, Protocol, Role};
use crate::model::warning::WarningKind;

/// What there was to tell about a connection, once it is over.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSummary {
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
    /// What Envoy read, in bytes, as far as it is recorded.
    pub bytes_read: u64,
    /// What Envoy wrote, in bytes, as far as it is recorded.
    pub bytes_written: u64,
    /// The times of its first and last event, where events have times.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Events of which Envoy kept only the first bytes.
    pub truncated_events: u64,
    /// The bytes that those lack, as far as Envoy has counted them.
    pub truncated_bytes: u64,
    /// The bytes that truncated events lack at least, where Envoy has not counted them.
    pub estimated_bytes: u64,
    /// The bytes of events that are missing, as far as Envoy has counted them.
    pub lost_bytes: u64,
    /// Whether its end is recorded.
    pub closed: bool,
    /// The servers to which Envoy passed its HTTP requests on, as far as they are recorded.
    pub upstreams: BTreeSet<String>,
    /// The share of connections that the tap records, in parts of a million, where it is recorded.
    pub sample_rate: Option<u32>,
}

impl ConnectionSummary {
    /// What orders the summaries of a capture: the times of their first events.
    pub fn order(&self) -> (Option<Timestamp>, TraceId) {
        (self.span.map(|(first, _)| first), self.id)
    }

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

    /// Takes note of a warning.
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

    /// Takes note of the time of an event.
    pub(super) fn at(&mut self, time: Timestamp) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }
}

/// A share in parts of a million, as percent.
pub fn percent(rate: u32) -> String {
    format!("{} %", f64::from(rate) / 10_000.0)
}

/// In how many of a connection's first events gRPC's headers are looked for.
const GRPC_EVENTS: u64 = 8;
