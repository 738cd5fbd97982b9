//! The pcapng format: an interface a connection, directions, comments, names.

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

use crate::event::{Direction, Timestamp};
use crate::synth::{Frame, Label};

use super::behind::WriteBehind;

/// What wrote the capture.
const APPLICATION: &str = concat!("capture2pcap ", env!("CARGO_PKG_VERSION"));
/// The longest text of an option that is written, in bytes; the format's lengths have 16 bits.
const MAX_TEXT: usize = 16_384;
/// The direction of a packet in its flags (section 4.3.1 of the pcapng draft).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Writes frames to a pcapng file.
pub(super) struct Pcapng<W: Write + Send + 'static> {
    writer: PcapNgWriter<WriteBehind<W>>,
    snaplen: u32,
    /// The interfaces by the numbers of their connections.
    interfaces: HashMap<u64, u32>,
    statistics: Vec<Statistics>,
    /// The names that addresses have been given.
    names: HashMap<IpAddr, String>,
    /// Where a frame's headers and payload come together: the library wants them in one piece.
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
    /// Starts a capture of `sources` with its section header.
    pub(super) fn new(writer: W, snaplen: u32, sources: &[String]) -> io::Result<Self> {
        let writer = WriteBehind::new(writer);
        let comment = match sources {
            [] => "no traces".to_owned(),
            [source] => format!("from {source}"),
            sources => format!("from {} traces: {}", sources.len(), sources.join(", ")),
        };
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Common(CommonOption::Comment(text(&comment))),
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
    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let interface_id = self.interface(frame)?;
        if let Some(statistics) = self.statistics.get_mut(interface_id as usize) {
            statistics.packets += 1;
            statistics.first = statistics.first.min(frame.time);
            statistics.last = statistics.last.max(frame.time);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(frame.headers);
        self.scratch.extend_from_slice(frame.payload);
        self.scratch.truncate(self.snaplen as usize);
        let mut options = Vec::with_capacity(1 + frame.comments.len());
        options.push(EnhancedPacketOption::Flags(match frame.direction {
            Direction::Read => INBOUND,
            Direction::Write => OUTBOUND,
        }));
        let comment = |comment| EnhancedPacketOption::Common(CommonOption::Comment(text(comment)));
        options.extend(frame.comments.iter().map(|said| comment(said)));
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

    /// The interface of a frame's connection, which is described before its first packet.
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
            // An address has one name; a second one would hide the first from the packets before.
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

    /// Hands on what is gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Ends the capture with its statistics, and gives back what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        // libpcap refuses a file without an interface.
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

/// Text as an option may hold it: no longer than readers take, cut at a character.
fn text(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(MAX_TEXT)]))
}

/// The reason that the library wraps, so that whoever looks for a broken pipe finds it.
fn io_error(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::other(other),
    }
}
