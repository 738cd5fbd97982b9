//! tshark's view of HTTP/2, from its XML output (PDML), which contains the raw bytes of each field.
//!
//! The reader relies on tshark's layout of one field per line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use crate::harness::tshark;
use crate::judge::{FAULTS, critically};
use crate::tree::Message;

/// An HTTP exchange, by tshark.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The number of the TCP stream, and that of the HTTP/2 stream in it.
    pub stream: (u64, u64),
    /// The client's and the server's address.
    pub ends: [(String, u16); 2],
    /// The request and the response.
    pub messages: [Message; 2],
    /// Whether each side ended its stream. Nothing may follow after that.
    pub ended: [bool; 2],
    /// The times of each side's frames, in nanoseconds since 1970.
    pub times: [Vec<u64>; 2],
    /// The number of header blocks from each side.
    blocks: [usize; 2],
}

/// tshark's view of a capture.
#[derive(Debug, Default)]
pub struct View {
    /// The exchanges, in the order in which they begin.
    pub exchanges: Vec<Shown>,
    /// The number of prefaces in each TCP stream.
    pub prefaces: HashMap<u64, usize>,
    /// The number of frames of each type.
    pub frames: HashMap<u64, usize>,
    /// The faults that tshark finds.
    pub faults: Vec<String>,
}

/// tshark's status of a wrong checksum.
const BAD: &str = "0";

/// The position of the reader in the file.
#[derive(Default)]
struct Cursor {
    time: u64,
    tcp: u64,
    source: (String, u16),
    destination: (String, u16),
    kind: u64,
    end_stream: bool,
    /// The exchange and the side of the last frame.
    at: Option<(usize, usize)>,
    name: Vec<u8>,
    /// Whether the data of the last frame is the whole body, reassembled by tshark.
    reassembled: bool,
}

/// Bytes from their hexadecimal digits, as tshark prints them.
pub fn unhex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hexadecimal digit") as u8;
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    pairs
        .iter()
        .map(|&[high, low]| digit(high) << 4 | digit(low))
        .collect()
}

/// Whether a field shows what [`FAULTS`] names.
fn is_fault(name: &str, show: &str) -> bool {
    let named = FAULTS.split_whitespace().any(|word| word == name);
    named && (!name.ends_with(".checksum.status") || show == BAD)
}

/// The value of an attribute in a line of the file.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Reads a capture with HTTP/2 on each of `ports`.
pub fn view(path: &Path, ports: impl IntoIterator<Item = u16>) -> View {
    view_by(critically(path, ports))
}

/// Reads a capture by the arguments that name it.
pub fn view_by(mut args: Vec<OsString>) -> View {
    args.extend(["-T".into(), "pdml".into()]);
    let mut view = View::default();
    let mut clients: HashMap<u64, (String, u16)> = HashMap::new();
    let mut cursor = Cursor::default();
    for line in tshark(args).lines() {
        let Some(name) = attribute(line, "name") else {
            continue;
        };
        let show = || attribute(line, "show").unwrap_or_default();
        let number = || {
            show()
                .parse::<u64>()
                .unwrap_or_else(|e| panic!("{line}: {e}"))
        };
        let bytes = || unhex(attribute(line, "value").unwrap_or_default());
        match name {
            "timestamp" => {
                let (seconds, nanos) = attribute(line, "value")
                    .and_then(|value| value.split_once('.'))
                    .unwrap_or_else(|| panic!("{line}"));
                let parse = |digits: &str| digits.parse::<u64>().expect("a number");
                cursor = Cursor {
                    time: parse(seconds) * 1_000_000_000 + parse(nanos),
                    ..Cursor::default()
                };
            }
            "ip.src" | "ipv6.src" => cursor.source.0 = show().to_owned(),
            "ip.dst" | "ipv6.dst" => cursor.destination.0 = show().to_owned(),
            "tcp.srcport" => cursor.source.1 = number() as u16,
            "tcp.dstport" => cursor.destination.1 = number() as u16,
            "tcp.stream" => cursor.tcp = number(),
            _ if is_fault(name, show()) => view.faults.push(line.to_owned()),
            "http2.magic" => {
                *view.prefaces.entry(cursor.tcp).or_default() += 1;
                clients.insert(cursor.tcp, cursor.source.clone());
            }
            "http2.type" => {
                cursor.kind = number();
                cursor.reassembled = false;
                cursor.end_stream = false;
                *view.frames.entry(cursor.kind).or_default() += 1;
            }
            "http2.flags.end_stream" => cursor.end_stream = number() == 1,
            // DATA, HEADERS, CONTINUATION.
            "http2.streamid" if matches!(cursor.kind, 0 | 1 | 9) => {
                let at = view.stream((cursor.tcp, number()), &cursor, &clients);
                let shown = &mut view.exchanges[at.0];
                assert!(
                    !shown.ended[at.1] || cursor.kind == 9,
                    "{line}: after the stream's end"
                );
                shown.times[at.1].push(cursor.time);
                shown.ended[at.1] |= cursor.end_stream;
                shown.messages[at.1].there = true;
                if cursor.kind == 1 {
                    shown.blocks[at.1] += 1;
                    let trailers = shown.blocks[at.1] > 1;
                    assert!(
                        !trailers || cursor.end_stream,
                        "{line}: trailers without an end"
                    );
                }
                cursor.at = Some(at);
            }
            "http2.header.name" => cursor.name = bytes(),
            "http2.header.value" => {
                let (at, side) = cursor
                    .at
                    .unwrap_or_else(|| panic!("{line}: outside a frame"));
                let field = (std::mem::take(&mut cursor.name), bytes());
                let shown = &mut view.exchanges[at];
                let message = &mut shown.messages[side];
                match shown.blocks[side] {
                    1 => message.headers.push(field),
                    2 => message.trailers.push(field),
                    n => panic!("{line}: block {n} of fields"),
                }
            }
            "http2.body.fragments" => cursor.reassembled = true,
            "http2.data.data" => {
                let (at, side) = cursor
                    .at
                    .unwrap_or_else(|| panic!("{line}: outside a frame"));
                let body = &mut view.exchanges[at].messages[side].body;
                if cursor.reassembled {
                    let before = std::mem::replace(body, bytes());
                    assert!(body.starts_with(&before), "the frames of another body");
                } else {
                    body.extend(bytes());
                }
            }
            _ => {}
        }
    }
    view
}

impl View {
    /// The exchange on a stream, and the side that sends the packet there.
    fn stream(
        &mut self,
        stream: (u64, u64),
        cursor: &Cursor,
        clients: &HashMap<u64, (String, u16)>,
    ) -> (usize, usize) {
        let client = clients
            .get(&cursor.tcp)
            .unwrap_or_else(|| panic!("no preface in TCP stream {}", cursor.tcp));
        let side = usize::from(cursor.source != *client);
        let known = self.exchanges.iter().position(|e| e.stream == stream);
        let at = known.unwrap_or_else(|| {
            let mut ends = [cursor.source.clone(), cursor.destination.clone()];
            if side == 1 {
                ends.reverse();
            }
            self.exchanges.push(Shown {
                stream,
                ends,
                messages: Default::default(),
                ended: [false; 2],
                times: Default::default(),
                blocks: [0; 2],
            });
            self.exchanges.len() - 1
        });
        (at, side)
    }
}
