//! Counts of what the command has done, for its last line.

use capture2pcap::convert::Summary;
use capture2pcap::grouped;

use super::counted;

/// Counts over all traces.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Traces that were started.
    pub(super) traces: u64,
    pub(super) captures: u64,
    /// Captures that a signal ended early.
    pub(super) partial: u64,
    /// Traces that could not be converted.
    pub(super) failed_traces: u64,
    /// All failures, of traces, folders and outputs.
    pub(super) failures: u64,
    pub(super) damaged: u64,
    pub(super) warnings: u64,
    pub(super) connections: u64,
    pub(super) events: u64,
    pub(super) frames: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Counts {
    pub(super) fn add(&mut self, summary: &Summary) {
        self.connections += summary.connections;
        self.events += summary.events;
        self.frames += summary.frames;
        self.received += summary.bytes_read;
        self.sent += summary.bytes_written;
    }

    /// What the captures hold, e.g. `8 packets of 1 connection, 8 events (259 bytes received, 36,872 sent)`.
    pub(super) fn packets(&self) -> String {
        format!("{} of {}", counted(self.frames, "packet"), self.contents())
    }

    pub(super) fn contents(&self) -> String {
        format!(
            "{}, {} ({} received, {} sent)",
            counted(self.connections, "connection"),
            counted(self.events, "event"),
            counted(self.received, "byte"),
            grouped(self.sent)
        )
    }
}
