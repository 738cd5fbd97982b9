//! What tshark shows of HTTP/2, by its XML output, which holds each field's raw bytes.
//!
//! It reads what tshark prints, a field a line, and nothing else.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use crate::fixtures;
use crate::harness::{Scratch, tshark};
use crate::judge::{FAULTS, critically, http2_ports};
use crate::pcap::Capture;
use crate::tree::Message;

/// An exchange as tshark shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The TCP stream, and the HTTP/2 stream in it.
    pub(crate) stream: (u64, u64),
    /// The client's and the server's address.
    pub(crate) ends: [(String, u16); 2],
    /// The request and the response.
    pub(crate) messages: [Message; 2],
    /// Whether each side ended its stream, and sent nothing after.
    pub(crate) ended: [bool; 2],
    /// When each side's frames came, in nanoseconds since 1970.
    pub(crate) times: [Vec<u64>; 2],
    /// How many header blocks each side has sent.
    blocks: [usize; 2],
}

/// What tshark shows of a capture.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// In the order in which they begin.
    pub(crate) exchanges: Vec<Shown>,
    /// How many connection prefaces each TCP stream has.
    pub(crate) prefaces: HashMap<u64, usize>,
    /// How many frames of each type there are.
    pub(crate) frames: HashMap<u64, usize>,
    /// What tshark finds fault with.
    pub(crate) faults: Vec<String>,
}

/// What tshark calls a wrong checksum.
const BAD: &str = "0";

/// Where in the file the reader is.
#[derive(Default)]
struct Cursor {
    time: u64,
    tcp: u64,
    source: (String, u16),
    destination: (String, u16),
    kind: u64,
    end_stream: bool,
    /// The exchange and the side that the last frame was about.
    at: Option<(usize, usize)>,
    name: Vec<u8>,
    /// Whether the last frame's data is the whole body, put together by tshark.
    reassembled: bool,
}

/// Bytes from their hexadecimal digits, as tshark prints them.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
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
pub(crate) fn view(path: &Path, ports: impl IntoIterator<Item = u16>) -> View {
    view_by(critically(path, ports))
}

/// Reads a capture by the arguments that name it.
pub(crate) fn view_by(mut args: Vec<OsString>) -> View {
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
                    "{line}: behind the stream's end"
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

/// A view in which every capture is without fault would prove nothing.
#[test]
fn a_view_shows_faults() {
    let scratch = Scratch::new();
    let output = scratch.path("out.pcap");
    let input = fixtures::http_traces().swap_remove(0);
    scratch
        .capture2pcap()
        .arg(&input)
        .arg(&output)
        .run()
        .exits(0);
    let port = |view: &View| view.exchanges[0].ends[1].1;
    let ports = http2_ports(&Capture::read(&output));
    let good = view(&output, ports.clone());
    assert!(ports.contains(&port(&good)));
    assert_eq!(good.faults, [""; 0]);

    let mut bytes = std::fs::read(&output).expect("a capture");
    // The first record again, and the last byte of the last another.
    let again = bytes[24..24 + 16 + usize::from(bytes[32])].to_vec();
    bytes.splice(24..24, again);
    *bytes.last_mut().expect("a byte") ^= 1;
    let bad = view(&scratch.write("bad.pcap", &bytes), ports);
    for fault in ["retransmission", "tcp.checksum.status"] {
        let found = bad.faults.iter().any(|line| line.contains(fault));
        assert!(found, "{fault} not among {:?}", bad.faults);
    }
}
