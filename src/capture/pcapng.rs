//! The pcapng format: an interface for each connection, directions, comments, names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use crate::model::event::{Direction, Timestamp};
use crate::plural;
use crate::synth::{Frame, Label};

use super::write_behind::WriteBehind;

/// The name of this program in the file.
const APPLICATION: &str = concat!("capture2pcap ", env!("CARGO_PKG_VERSION"));
/// The longest text of an option that is written, in bytes; the format's lengths have 16 bits.
const MAX_TEXT: usize = 16_384;
/// The longest section header that dumpcap reads from a pipe, in bytes. A longer one ends dumpcap (4.0), and with
/// it `tshark -i -` and `wireshark -k -i -`.
const MAX_SECTION: usize = 2048;
/// The longest text about the sources in it. The rest is needed for the fixed parts, the heads and padding of the
/// options, and the application's name.
const MAX_ORIGIN: usize = MAX_SECTION - 28 - (4 + 3) - (4 + APPLICATION.len() + 3) - 4;
/// The longest remark after it, in bytes.
const MAX_REMARK: usize = 1000;
/// The maximum total length of one packet's comments, in bytes: dumpcap accepts no block above 262,144 from a
/// pipe.
const MAX_COMMENTS: usize = 65_536;
/// The direction of a packet in its flags (section 4.3.1 of the pcapng draft).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Writes frames to a pcapng file.
pub(super) struct Pcapng<W: Write + Send + 'static> {
    writer: PcapNgWriter<WriteBehind<W>>,
    snaplen: u32,
    /// The interfaces, by the numbers of their connections.
    interfaces: HashMap<u64, u32>,
    statistics: Vec<Statistics>,
    /// The addresses that have been given names.
    names: HashMap<IpAddr, String>,
    /// The buffer that joins a frame's headers and payload, since the library needs them in one piece.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Statistics {
    packets: u64,
    first: Timestamp,
    last: Timestamp,
}

impl<W: Write + Send + 'static> std::fmt::Debug for Pcapng<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pcapng")
            .field("interfaces", &self.interfaces.len())
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send + 'static> Pcapng<W> {
    /// Starts a capture of `sources` with its section header, which has `remark` as well.
    pub(super) fn new(
        writer: W,
        snaplen: u32,
        sources: &[String],
        remark: Option<&str>,
    ) -> io::Result<Self> {
        let writer = WriteBehind::new(writer);
        let remark = remark.map(|remark| cut(format!("; {remark}"), MAX_REMARK));
        let remark = remark.unwrap_or_default();
        let comment = origin(sources, MAX_ORIGIN - remark.len()) + &remark;
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Common(CommonOption::Comment(comment.into())),
                SectionHeaderOption::UserApplication(APPLICATION.into()),
            ],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(writer, section).map_err(io_error)?;
        Ok(Self {
            writer,
            snaplen,
            interfaces: HashMap::new(),
            statistics: Vec::new(),
            names: HashMap::new(),
            scratch: Vec::new(),
        })
    }

    /// Writes one frame as a packet.
    #[inline(never)]
    pub(super) fn frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let interface_id = self.interface(&frame)?;
        if let Some(statistics) = self.statistics.get_mut(interface_id as usize) {
            statistics.packets += 1;
            statistics.first = statistics.first.min(frame.time);
            statistics.last = statistics.last.max(frame.time);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&frame.complete_headers());
        self.scratch.extend_from_slice(frame.payload);
        self.scratch.truncate(self.snaplen as usize);
        let mut options = Vec::with_capacity(1 + frame.comments.len());
        options.push(EnhancedPacketOption::Flags(match frame.direction {
            Direction::Read => INBOUND,
            Direction::Write => OUTBOUND,
        }));
        let comment = |comment| EnhancedPacketOption::Common(CommonOption::Comment(comment));
        options.extend(comments(frame.comments).map(comment));
        let packet = EnhancedPacketBlock {
            interface_id,
            timestamp: duration(frame.time),
            original_len: frame.original_len,
            data: Cow::Borrowed(&self.scratch),
            options,
        };
        self.writer.write_pcapng_block(packet).map_err(io_error)?;
        Ok(())
    }

    /// The interface of a frame's connection; it is written before the connection's first packet.
    fn interface(&mut self, frame: &Frame<'_>) -> io::Result<u32> {
        let unlabelled = Label::default();
        let label = frame.label.unwrap_or(&unlabelled);
        if let Some(&interface) = self.interfaces.get(&label.number) {
            return Ok(interface);
        }
        let interface = self.describe(&label.name, &label.description, frame.time)?;
        self.interfaces.insert(label.number, interface);
        let mut records = Vec::new();
        for (ip, name) in &label.names {
            // An address has one name; a second one would hide the first in earlier packets.
            if self.names.contains_key(ip) {
                continue;
            }
            self.names.insert(*ip, name.clone());
            let names = vec![text(name)];
            records.push(match *ip {
                IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
                IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
            });
        }
        if !records.is_empty() {
            let block = NameResolutionBlock {
                records,
                options: Vec::new(),
            };
            self.writer.write_pcapng_block(block).map_err(io_error)?;
        }
        Ok(interface)
    }

    fn describe(&mut self, name: &str, description: &str, time: Timestamp) -> io::Result<u32> {
        let resolution = InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO);
        let mut options = vec![resolution];
        if !name.is_empty() {
            options.push(InterfaceDescriptionOption::IfName(text(name)));
        }
        if !description.is_empty() {
            options.push(InterfaceDescriptionOption::IfDescription(text(description)));
        }
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: self.snaplen,
            options,
        };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        self.statistics.push(Statistics {
            packets: 0,
            first: time,
            last: time,
        });
        u32::try_from(self.statistics.len() - 1).map_err(io::Error::other)
    }

    /// Writes all buffered data.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Ends the capture with its statistics, and returns the writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        // libpcap rejects a file without an interface.
        if self.statistics.is_empty() {
            self.describe("", "", Timestamp::default())?;
        }
        for (i, statistics) in std::mem::take(&mut self.statistics).iter().enumerate() {
            let block = InterfaceStatisticsBlock {
                interface_id: i as u32,
                timestamp: duration(statistics.last),
                options: vec![
                    InterfaceStatisticsOption::IsbStartTime(duration(statistics.first)),
                    InterfaceStatisticsOption::IsbEndTime(duration(statistics.last)),
                    InterfaceStatisticsOption::IsbIfRecv(statistics.packets),
                    InterfaceStatisticsOption::IsbIfDrop(0),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(io_error)?;
        }
        self.writer.into_inner().finish()
    }
}

const fn duration(time: Timestamp) -> Duration {
    Duration::from_nanos(time.nanos())
}

/// The sources in the section header: as many as fit into `max` bytes, and the number of the others.
fn origin(sources: &[String], max: usize) -> String {
    let (first, others) = match sources {
        [] => return "no traces".to_owned(),
        [source] => return cut(format!("from {source}"), max),
        [first, others @ ..] => (first, others),
    };
    let more = |left: usize| format!(", … and {left} more");
    // No number is longer than the first.
    let room = max - more(sources.len()).len();
    let mut comment = cut(format!("from {} traces: {first}", sources.len()), room);
    for (i, source) in others.iter().enumerate() {
        let left = others.len() - i;
        let room = if left == 1 { max } else { room };
        if comment.len() + ", ".len() + source.len() > room {
            return comment + &more(left);
        }
        comment += ", ";
        comment += source;
    }
    comment
}

/// A packet's comments: as many as fit, and the number of the others.
fn comments(comments: &[String]) -> impl Iterator<Item = Cow<'_, str>> {
    let mut room = MAX_COMMENTS;
    let fits = |comment: &&String| {
        let len = text(comment).len();
        let fits = len <= room;
        room = room.saturating_sub(len);
        fits
    };
    let fit = comments.iter().take_while(fits).count();
    let left = comments.len() - fit;
    let more =
        (left > 0).then(|| format!("… and {left} more {}", plural(left as u64, "comment")).into());
    comments[..fit]
        .iter()
        .map(|comment| text(comment))
        .chain(more)
}

/// Truncates text for an option to the length that readers accept, at a character boundary.
fn text(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    Cow::Owned(cut(text.to_owned(), MAX_TEXT + "…".len()))
}

/// Truncates text to at most `room` bytes, at a character boundary.
fn cut(mut text: String, room: usize) -> String {
    if text.len() > room {
        text.truncate(text.floor_char_boundary(room - "…".len()));
        text.push('…');
    }
    text
}

/// Unwraps the cause from the library's error, so that the caller finds a broken pipe.
fn io_error(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// dumpcap exits on a longer one.
    #[test]
    fn a_section_header_is_never_longer_than_dumpcap_reads() {
        let lists: [Vec<String>; 7] = [
            vec![],
            vec!["a.pb".to_owned()],
            vec!["é".repeat(4000)],
            vec!["x".repeat(1000), "y".repeat(905), "z".repeat(30)],
            vec!["é".repeat(1000); 3],
            (0..400).map(|i| format!("path_{i}.pb")).collect(),
            (0..3000).map(|i| format!("{i}")).collect(),
        ];
        for sources in lists {
            let section = |remark: Option<&str>| {
                let capture = Pcapng::new(Vec::new(), 262_144, &sources, remark).unwrap();
                let bytes = capture.finish().unwrap();
                let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
                let count = sources.len();
                assert!(length as usize <= MAX_SECTION, "{length}: {count}");
                bytes
            };
            let bytes = section(None);
            let long = "é".repeat(3000);
            section(Some(&long));
            let bytes_with_remark = section(Some("a remark"));
            assert!(String::from_utf8_lossy(&bytes_with_remark).contains("; a remark"));
            // Nothing that would fit is left out.
            let whole = sources.iter().map(|source| source.len() + 2).sum::<usize>();
            let is_cut = String::from_utf8_lossy(&bytes).contains('…');
            assert_eq!(is_cut, whole > MAX_ORIGIN - 20, "{whole} of {MAX_ORIGIN}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let names: Vec<_> = (0..400).map(|i| format!("path_{i}.pb")).collect();
        let said = origin(&names, MAX_ORIGIN);
        let listed = said.matches(".pb").count();
        assert!(
            said.starts_with("from 400 traces: path_0.pb, path_1.pb, "),
            "{said}"
        );
        assert!(
            said.ends_with(&format!(".pb, … and {} more", 400 - listed)),
            "{said}"
        );
        assert!(listed > 100);

        let many = vec!["c".repeat(16_000); 40];
        let said: Vec<_> = comments(&many).collect();
        assert_eq!(said.len(), 5);
        assert_eq!(said[4], "… and 36 more comments");
        assert!(said[..4].iter().all(|comment| comment.len() == 16_000));
        let said: Vec<_> = comments(&many[..5]).collect();
        assert_eq!(said[4], "… and 1 more comment");
    }
}
