//! Frames into a capture file, and the file into its place. It knows nothing of traces.

mod output;
mod pcap;

pub use output::{Output, Target};
pub use pcap::Pcap;

use crate::event::Timestamp;

/// The snaplen of a capture unless the user says otherwise, in bytes: tcpdump's.
pub const DEFAULT_SNAPLEN: u32 = 262_144;

/// The last moment that a classic pcap can tell, at either precision: its seconds have 32 bits.
pub const LAST_PCAP_TIME: Timestamp =
    Timestamp::from_nanos(u32::MAX as u64 * 1_000_000_000 + 999_999_000);

/// How finely a classic pcap tells the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Microseconds, rounded to the nearest.
    #[default]
    Micro,
    /// Nanoseconds.
    Nano,
}

/// How a capture is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How finely it tells the time; default: microseconds.
    pub precision: Precision,
    /// How many bytes of a frame it keeps; default: [`DEFAULT_SNAPLEN`].
    pub snaplen: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            precision: Precision::default(),
            snaplen: DEFAULT_SNAPLEN,
        }
    }
}
