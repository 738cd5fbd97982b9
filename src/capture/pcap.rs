//! The classic libpcap format, little-endian on every host, Ethernet.

use std::borrow::Cow;
use std::io::{self, Write};

use byteorder_slice::LittleEndian;
use pcap_file::pcap::{PcapHeader, PcapTsResolution, PcapWriteError, RawPcapPacket};
use pcap_file::{DataLink, Endianness};

use crate::model::event::{NANOS_PER_SECOND, Timestamp};
use crate::synth::Frame;

use super::write_behind::WriteBehind;
use super::{LAST_PCAP_TIME, Options, Precision};

/// The version of the format that every reader knows.
const VERSION: (u16, u16) = (2, 4);

/// What stands before each frame, in bytes.
const RECORD_HEADER_LEN: usize = 16;

/// Writes frames to a classic libpcap file.
#[derive(Debug)]
pub(super) struct Pcap<W: Write + Send + 'static> {
    writer: WriteBehind<W>,
    precision: Precision,
    snaplen: u32,
}

impl<W: Write + Send + 'static> Pcap<W> {
    /// Starts a capture with its file header.
    pub(super) fn new(writer: W, options: Options) -> io::Result<Self> {
        let Options {
            precision, snaplen, ..
        } = options;
        let mut writer = WriteBehind::new(writer);
        let header = PcapHeader {
            version_major: VERSION.0,
            version_minor: VERSION.1,
            ts_correction: 0,
            ts_accuracy: 0,
            snaplen,
            datalink: DataLink::ETHERNET,
            ts_resolution: match precision {
                Precision::Micro => PcapTsResolution::MicroSecond,
                Precision::Nano => PcapTsResolution::NanoSecond,
            },
            endianness: Endianness::Little,
        };
        header.write_to(&mut writer).map_err(io_error)?;
        Ok(Self {
            writer,
            precision,
            snaplen,
        })
    }

    /// Writes one frame as a record.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let snaplen = self.snaplen as usize;
        let headers = &frame.headers[..frame.headers.len().min(snaplen)];
        let payload = &frame.payload[..frame.payload.len().min(snaplen - headers.len())];
        let (ts_sec, ts_frac) = pcap_time(frame.time, self.precision);
        let record = RawPcapPacket {
            ts_sec,
            ts_frac,
            // Both fit: a frame holds one IP packet.
            incl_len: (headers.len() + payload.len()) as u32,
            orig_len: frame.original_len,
            data: Cow::Borrowed(&[]),
        };
        // The library wants a frame's bytes in one piece. Ours lie in two, so it writes the record's
        // header and they follow.
        let mut header = [0; RECORD_HEADER_LEN];
        record
            .write_to::<_, LittleEndian>(&mut &mut header[..])
            .map_err(io_error)?;
        self.writer.write_three(&header, headers, payload)
    }

    /// Hands on what is gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Ends the capture, and gives back what it was written to.
    pub(super) fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }
}

/// Seconds, and the microseconds or nanoseconds behind them.
fn pcap_time(time: Timestamp, precision: Precision) -> (u32, u32) {
    let nanos = time.min(LAST_PCAP_TIME).nanos();
    // Cut off instead, times a microsecond apart would come out equal or two apart.
    let nanos = match precision {
        Precision::Micro => nanos + 500,
        Precision::Nano => nanos,
    };
    let (seconds, nanos) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
    let fraction = match precision {
        Precision::Micro => nanos / 1_000,
        Precision::Nano => nanos,
    };
    (seconds as u32, fraction as u32)
}

/// The reason that the library wraps, so that whoever looks for a broken pipe finds it.
fn io_error(error: PcapWriteError) -> io::Error {
    match error {
        PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_to_the_nearest_and_carry() {
        let cases = [
            (1_000_000_499, (1, 0), (1, 499)),
            (1_000_000_500, (1, 1), (1, 500)),
            (1_999_999_500, (2, 0), (1, 999_999_500)),
            (0, (0, 0), (0, 0)),
            (u64::MAX, (u32::MAX, 999_999), (u32::MAX, 999_999_000)),
        ];
        for (nanos, micro, nano) in cases {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(pcap_time(time, Precision::Micro), micro, "{nanos}");
            assert_eq!(pcap_time(time, Precision::Nano), nano, "{nanos}");
        }
    }
}
