//! Frames into a capture file, and the file into its place. Knows nothing of traces.

#[cfg(feature = "cli")]
mod output;
mod pcap;
mod pcapng;
#[cfg(feature = "cli")]
mod stream;
mod write_behind;

#[cfg(feature = "cli")]
pub(crate) use output::follow;
#[cfg(feature = "cli")]
pub use output::{Output, Target, is_same};

use std::io::{self, Write};
use std::path::Path;

use pcap::Pcap;
use pcapng::Pcapng;

use crate::model::event::Timestamp;
use crate::synth::Frame;

/// The default snaplen in bytes: tcpdump's.
pub const DEFAULT_SNAPLEN: u32 = 262_144;

/// A file format for captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Classic libpcap.
    #[default]
    Pcap,
    /// pcapng, with everything a trace records beyond packets.
    Pcapng,
}

impl Format {
    /// The format of files with this name.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        let mut formats = [Self::Pcap, Self::Pcapng].into_iter();
        formats.find(|format| extension.eq_ignore_ascii_case(format.extension()))
    }

    /// The extension of its files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::Pcapng => "pcapng",
        }
    }

    /// The last moment that the format can represent.
    pub const fn last_time(self) -> Timestamp {
        match self {
            Self::Pcap => LAST_PCAP_TIME,
            Self::Pcapng => Timestamp::from_nanos(u64::MAX),
        }
    }
}

/// The last moment that a classic pcap can represent, at either precision: its seconds have 32 bits.
const LAST_PCAP_TIME: Timestamp =
    Timestamp::from_nanos(u32::MAX as u64 * 1_000_000_000 + 999_999_000);

/// The time resolution of a classic pcap.
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
pub struct CaptureOptions {
    /// The file format; default: classic libpcap.
    pub format: Format,
    /// The time resolution of a classic pcap; default: microseconds. pcapng has nanoseconds.
    pub precision: Precision,
    /// How many bytes of a frame are kept; default: [`DEFAULT_SNAPLEN`].
    pub snaplen: u32,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            precision: Precision::default(),
            snaplen: DEFAULT_SNAPLEN,
        }
    }
}

/// A capture being written, in either format.
#[derive(Debug)]
pub struct Capture<W: Write + Send + 'static>(Writer<W>);

#[derive(Debug)]
enum Writer<W: Write + Send + 'static> {
    Pcap(Pcap<W>),
    Pcapng(Box<Pcapng<W>>),
}

impl<W: Write + Send + 'static> Capture<W> {
    /// Starts a capture of the traces named in `sources`.
    ///
    /// # Errors
    /// When the capture cannot be written.
    pub fn new(writer: W, options: CaptureOptions, sources: &[String]) -> io::Result<Self> {
        Self::with_remark(writer, options, sources, None)
    }

    /// Starts a capture with a remark on all of it, where the format has a place for one.
    ///
    /// # Errors
    /// Those of writing.
    pub fn with_remark(
        writer: W,
        options: CaptureOptions,
        sources: &[String],
        remark: Option<&str>,
    ) -> io::Result<Self> {
        Ok(Self(match options.format {
            Format::Pcap => Writer::Pcap(Pcap::new(writer, options)?),
            Format::Pcapng => {
                let pcapng = Pcapng::new(writer, options.snaplen, sources, remark)?;
                Writer::Pcapng(Box::new(pcapng))
            }
        }))
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// When the capture cannot be written.
    #[inline(always)]
    pub fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        match &mut self.0 {
            Writer::Pcap(pcap) => pcap.frame(frame),
            // A copy, so that the compiler need not keep the original in memory.
            Writer::Pcapng(pcapng) => pcapng.frame(*frame),
        }
    }

    /// Writes all buffered frames.
    ///
    /// # Errors
    /// When the capture cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Writer::Pcap(pcap) => pcap.flush(),
            Writer::Pcapng(pcapng) => pcapng.flush(),
        }
    }

    /// Ends the capture, and returns the writer.
    ///
    /// # Errors
    /// When the capture cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Writer::Pcap(pcap) => pcap.finish(),
            Writer::Pcapng(pcapng) => pcapng.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
