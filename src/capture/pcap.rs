//! The classic libpcap format, little-endian on every host, Ethernet.

use std::io::{self, Write};

use pcap_file::pcap::{PcapHeader, PcapTsResolution, PcapWriteError};
use pcap_file::{DataLink, Endianness};

use crate::model::event::{NANOS_PER_SECOND, Timestamp};
use crate::synth::Frame;

use super::write_behind::WriteBehind;
use super::{CaptureOptions, LAST_PCAP_TIME, Precision};

/// The version of the format that every reader knows.
const VERSION: (u16, u16) = (2, 4);

/// The length of the header before each frame, in bytes.
const RECORD_HEADER_LEN: usize = 16;

/// The length of the headers of nearly all frames, in bytes: Ethernet, IPv4 and TCP without options.
const USUAL_HEADERS: usize = 54;

/// Writes frames to a classic libpcap file.
#[derive(Debug)]
pub(super) struct Pcap<W: Write + Send + 'static> {
    writer: WriteBehind<W>,
    precision: Precision,
    snaplen: u32,
}

impl<W: Write + Send + 'static> Pcap<W> {
    /// Starts a capture with its file header.
    pub(super) fn new(writer: W, options: CaptureOptions) -> io::Result<Self> {
        let CaptureOptions {
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
    #[inline(always)]
    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let (headers, payload) = self.kept(frame.headers, frame.payload);
        let (ts_sec, ts_frac) = pcap_time(frame.time, self.precision);
        let mut record = [0; RECORD_HEADER_LEN];
        // Both lengths fit, because a frame holds one IP packet.
        let len = (headers.len() + payload.len()) as u32;
        let numbers = [ts_sec, ts_frac, len, frame.original_len];
        for (place, number) in record.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        // The common case: headers of the usual length, and enough space. With a constant length, the compiler omits
        // the bounds checks.
        if let Ok(usual) = <&[u8; USUAL_HEADERS]>::try_from(headers)
            && !frame.is_partial
            && let Some(room) = self
                .writer
                .claim(RECORD_HEADER_LEN + USUAL_HEADERS + payload.len())
            && let Some((front, room)) = room.split_first_chunk_mut::<RECORD_HEADER_LEN>()
            && let Some((middle, room)) = room.split_first_chunk_mut()
        {
            (*front, *middle) = (record, *usual);
            room.copy_from_slice(payload);
            return Ok(());
        }
        self.write_parts(record, *frame)
    }

    /// The parts of headers and a payload that are within the snaplen.
    #[inline(always)]
    fn kept<'a>(&self, headers: &'a [u8], payload: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let snaplen = self.snaplen as usize;
        let headers = &headers[..headers.len().min(snaplen)];
        let payload = &payload[..payload.len().min(snaplen - headers.len())];
        (headers, payload)
    }

    /// Writes a record of any kind. It takes copies, so that the compiler need not keep the originals in memory.
    #[inline(never)]
    fn write_parts(&mut self, record: [u8; RECORD_HEADER_LEN], frame: Frame<'_>) -> io::Result<()> {
        let len = frame.headers.len() + frame.payload.len();
        // The writer has to see the whole packet to complete its checksum.
        if frame.is_partial
            && len <= self.snaplen as usize
            && let Some(room) = self.writer.claim(record.len() + len)
        {
            let (front, room) = room.split_at_mut(record.len());
            let (middle, room) = room.split_at_mut(frame.headers.len());
            front.copy_from_slice(&record);
            middle.copy_from_slice(frame.headers);
            room.copy_from_slice(frame.payload);
            self.writer.offload(frame.payload.len());
            return Ok(());
        }
        let headers = frame.complete_headers();
        let (headers, payload) = self.kept(&headers, frame.payload);
        self.writer.write_all(&record)?;
        self.writer.write_all(headers)?;
        self.writer.write_all(payload)
    }

    /// Writes all buffered data.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Ends the capture, and returns the writer.
    pub(super) fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }
}

/// The seconds, and the remaining microseconds or nanoseconds.
fn pcap_time(time: Timestamp, precision: Precision) -> (u32, u32) {
    let nanos = time.min(LAST_PCAP_TIME).nanos();
    // Truncated times a microsecond apart could become equal, or two microseconds apart.
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

/// Unwraps the cause from the library's error, so that the caller finds a broken pipe.
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
