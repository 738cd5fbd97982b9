//! Reads pcapng files, independently of the code under test.
//!
//! Written from draft-ietf-opsawg-pcapng. It supports only what the program writes: one little-endian section, times in
//! nanoseconds, and the blocks below.

use super::{Capture, Record, le32};

/// Block types (section 11.1 of the draft).
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Option codes: the end of options, a comment, and those of single kinds of blocks.
const END: u16 = 0;
const COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_IFRECV: u16 = 4;

/// A pcapng file of one section.
#[derive(Debug)]
pub struct Section {
    pub capture: Capture,
    /// The metadata of each record.
    pub metadata: Vec<PacketMetadata>,
    pub interfaces: usize,
}

/// The metadata of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketMetadata {
    pub interface: usize,
    /// The direction in its flags: 1 inbound, 2 outbound.
    pub direction: u32,
    pub comments: Vec<String>,
}

fn le16(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

fn le64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The options in `bytes`, which end with the last of them.
fn options(bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, String> {
    let mut options = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (Some(code), Some(length)) = (le16(bytes, at), le16(bytes, at + 2)) else {
            return Err("a cut option".to_owned());
        };
        let padded = at + 4 + length.next_multiple_of(4);
        let value = bytes.get(at + 4..at + 4 + length);
        let (Some(value), true) = (value, padded <= bytes.len()) else {
            return Err(format!("option {code} of {length} bytes is cut"));
        };
        at = padded;
        if code == usize::from(END) {
            return match (length, at == bytes.len()) {
                (0, true) => Ok(options),
                _ => Err("bytes after the end of the options".to_owned()),
            };
        }
        options.push((code as u16, value));
    }
    match options.is_empty() {
        true => Ok(options),
        false => Err("options without an end".to_owned()),
    }
}

impl Section {
    /// Reads a whole file. Bytes after the last block are an error.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let mut section = Self {
            capture: Capture {
                snaplen: 0,
                records: Vec::new(),
            },
            metadata: Vec::new(),
            interfaces: 0,
        };
        let (mut received, mut counted) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < file.len() {
            let fail = |what: &str| format!("block at {at}: {what}");
            let (Some(kind), Some(length)) = (le32(file, at), le32(file, at + 4)) else {
                return Err(fail("cut"));
            };
            let length = length as usize;
            if length < 12 || !length.is_multiple_of(4) {
                return Err(fail("an impossible length"));
            }
            let Some(block) = file.get(at..at + length) else {
                return Err(fail("cut"));
            };
            if le32(block, length - 4) != Some(length as u32) {
                return Err(fail("two lengths"));
            }
            if (at == 0) != (kind == SECTION_HEADER) {
                return Err(fail("not one section header at the front"));
            }
            let body = &block[8..length - 4];
            section
                .block(kind, body, &mut received, &mut counted)
                .map_err(|what| fail(&what))?;
            at += length;
        }
        // libpcap refuses a file without an interface.
        if section.interfaces == 0 {
            return Err("no interface".to_owned());
        }
        if received != counted {
            return Err(format!(
                "{received:?} packets, and statistics of {counted:?}"
            ));
        }
        Ok(section)
    }

    fn block(
        &mut self,
        kind: u32,
        body: &[u8],
        received: &mut Vec<u64>,
        counted: &mut Vec<u64>,
    ) -> Result<(), String> {
        let after = |fixed: usize| body.get(fixed..).ok_or_else(|| format!("kind {kind}: cut"));
        match kind {
            SECTION_HEADER => {
                // Little-endian, version 1.0, with an unknown length or up to the end of the file.
                options(after(16)?)?;
                if le32(body, 0) != Some(0x1a2b_3c4d) || body[4..8] != [1, 0, 0, 0] {
                    return Err(format!("section header {:02x?}", &body[..16]));
                }
            }
            INTERFACE_DESCRIPTION => {
                let options = options(after(8)?)?;
                let snaplen = le32(body, 4).expect("8 bytes");
                if body[..4] != [1, 0, 0, 0] {
                    return Err("not Ethernet".to_owned());
                }
                // libpcap refuses a file whose interfaces differ in that.
                if self.interfaces > 0 && self.capture.snaplen != snaplen {
                    return Err("another snaplen".to_owned());
                }
                if !options.contains(&(IF_TSRESOL, &[9])) {
                    return Err("times that are not nanoseconds".to_owned());
                }
                self.capture.snaplen = snaplen;
                self.interfaces += 1;
                received.push(0);
            }
            ENHANCED_PACKET => {
                let field = |i: usize| le32(body, 4 * i).map(|n| n as usize);
                let (Some(interface), Some(high), Some(low), Some(captured), Some(original)) =
                    (field(0), field(1), field(2), field(3), field(4))
                else {
                    return Err("a cut packet".to_owned());
                };
                let snaplen = self.capture.snaplen as usize;
                if captured > original || captured > snaplen {
                    return Err("captured length above the original or the snaplen".to_owned());
                }
                let options = options(after(20 + captured.next_multiple_of(4))?)?;
                let Some(count) = received.get_mut(interface) else {
                    return Err(format!("interface {interface}"));
                };
                *count += 1;
                self.capture.records.push(Record {
                    time: (high as u64) << 32 | low as u64,
                    original,
                    data: body[20..20 + captured].to_vec(),
                });
                let mut metadata = PacketMetadata {
                    interface,
                    ..PacketMetadata::default()
                };
                for (code, value) in options {
                    match code {
                        EPB_FLAGS => metadata.direction = le32(value, 0).ok_or("flags")? & 3,
                        COMMENT => {
                            let text = std::str::from_utf8(value).map_err(|e| e.to_string())?;
                            metadata.comments.push(text.to_owned());
                        }
                        other => return Err(format!("option {other} of a packet")),
                    }
                }
                self.metadata.push(metadata);
            }
            INTERFACE_STATISTICS => {
                let options = options(after(12)?)?;
                if le32(body, 0) != Some(counted.len() as u32) {
                    return Err("statistics of another interface".to_owned());
                }
                let of = |(code, value): &(u16, &[u8])| (*code == ISB_IFRECV).then(|| le64(value));
                counted.push(options.iter().find_map(of).flatten().ok_or("no count")?);
            }
            NAME_RESOLUTION => names(body)?,
            other => return Err(format!("kind {other}")),
        }
        Ok(())
    }
}

/// Verifies the records of a name resolution block.
fn names(mut body: &[u8]) -> Result<(), String> {
    loop {
        let (Some(kind), Some(length)) = (le16(body, 0), le16(body, 2)) else {
            return Err("a cut name".to_owned());
        };
        let Some(value) = body.get(4..4 + length) else {
            return Err("a cut name".to_owned());
        };
        let address = match kind {
            0 => return options(&body[4..]).map(drop),
            1 => 4,
            2 => 16,
            other => return Err(format!("name of kind {other}")),
        };
        let name = value.get(address..).ok_or("a name without an address")?;
        if name.last() != Some(&0) || std::str::from_utf8(name).is_err() {
            return Err(format!("name {:?}", name.escape_ascii().to_string()));
        }
        body = body
            .get(4 + length.next_multiple_of(4)..)
            .ok_or("a name without its padding")?;
    }
}
