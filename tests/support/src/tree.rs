//! Reads HTTP traces, independently of the code under test.
//!
//! Three small readers (protobuf, its text format, JSON) give the same tree of named fields, from which the exchanges are
//! made. Written from envoy.data.tap.v3. A field that is not in the table is an error, so that the comparison is
//! complete.

mod protobuf;

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use protobuf::{delimited, protobuf};

/// One side of an exchange, in a trace or by tshark.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether any part of it is recorded.
    pub there: bool,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, fields) in [("", &self.headers), ("trailer ", &self.trailers)] {
            for (name, value) in fields {
                let value = &value[..value.len().min(80)];
                writeln!(f, "{what}{}: {}", name.escape_ascii(), value.escape_ascii())?;
            }
        }
        let start = &self.body[..self.body.len().min(200)];
        writeln!(f, "{} bytes: {}", self.body.len(), start.escape_ascii())
    }
}

/// An exchange in a trace.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    id: Option<Vec<u8>>,
    /// The client's and the server's address, if both are known.
    pub ends: Option<[(String, u16); 2]>,
    /// The request and the response.
    pub messages: [Message; 2],
    /// The times of their headers, in nanoseconds since 1970.
    pub times: [Option<u64>; 2],
}

impl Recorded {
    /// Whether it comes from a streamed trace.
    pub const fn is_streamed(&self) -> bool {
        self.id.is_some()
    }
}

/// A field's value: a message, or bytes (numbers in decimal).
#[derive(Clone, Debug)]
enum Node {
    Message(Vec<(String, Node)>),
    Leaf(Vec<u8>),
}

impl Node {
    /// All fields of that name.
    fn all<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a Self> {
        let fields = match self {
            Self::Message(fields) => &fields[..],
            Self::Leaf(bytes) => panic!("no message but {bytes:?}, wanted for {name}"),
        };
        let named = fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, node)| node).collect::<Vec<_>>().into_iter()
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.all(name).last()
    }

    /// The bytes of a field; empty if it is missing, which is the same in protobuf.
    fn bytes(&self, name: &str) -> Vec<u8> {
        match self.get(name) {
            Some(Self::Leaf(bytes)) => bytes.clone(),
            Some(Self::Message(_)) => panic!("{name} is a message"),
            None => Vec::new(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        let digits = String::from_utf8(self.bytes(name)).expect("a number");
        if digits.is_empty() {
            return 0;
        }
        digits
            .parse()
            .unwrap_or_else(|e| panic!("{name}: {digits}: {e}"))
    }

    fn fields(&self, name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let field = |header: &Self| {
            let raw = header.bytes("raw_value");
            let value = if raw.is_empty() {
                header.bytes("value")
            } else {
                raw
            };
            (header.bytes("key"), value)
        };
        self.all(name).map(field).collect()
    }

    fn body(&self) -> Vec<u8> {
        [self.bytes("as_bytes"), self.bytes("as_string")].concat()
    }

    fn end(&self, name: &str) -> Option<(String, u16)> {
        let socket = self.get(name)?.get("socket_address")?;
        let ip = String::from_utf8(socket.bytes("address")).expect("an address");
        Some((ip, u16::try_from(socket.number("port_value")).ok()?))
    }
}

/// The exchanges of a trace, in the order in which they begin.
pub fn exchanges(extension: &str, trace: &[u8]) -> Vec<Recorded> {
    let root = Node::Message(match extension {
        "pb" => protobuf("wrapper", trace),
        "pb_length_delimited" | "delimited.out" => delimited(trace),
        "pb_text" => text(&mut trace.iter().copied().peekable()),
        "json" | "out" => json_stream(trace),
        other => panic!("no reader for .{other}"),
    });
    let mut exchanges: Vec<Recorded> = root.all("http_buffered_trace").map(buffered).collect();
    for segment in root.all("http_streamed_trace_segment") {
        let id = Some(segment.bytes("trace_id"));
        let known = exchanges.iter().position(|exchange| exchange.id == id);
        let at = known.unwrap_or_else(|| {
            exchanges.push(Recorded {
                id,
                ..Recorded::default()
            });
            exchanges.len() - 1
        });
        for (side, name) in ["request", "response"].into_iter().enumerate() {
            let message = &mut exchanges[at].messages[side];
            let piece = |what: &str| segment.get(&format!("{name}_{what}"));
            if let Some(headers) = piece("headers") {
                message.headers.extend(headers.fields("headers"));
                message.there = true;
            }
            if let Some(body) = piece("body_chunk") {
                message.body.extend(body.body());
                message.there = true;
            }
            if let Some(trailers) = piece("trailers") {
                message.trailers.extend(trailers.fields("headers"));
                message.there = true;
            }
        }
    }
    exchanges
}

fn buffered(trace: &Node) -> Recorded {
    let mut recorded = Recorded::default();
    for (side, name) in ["request", "response"].into_iter().enumerate() {
        let Some(message) = trace.get(name) else {
            continue;
        };
        recorded.messages[side] = Message {
            headers: message.fields("headers"),
            body: message.get("body").map(Node::body).unwrap_or_default(),
            trailers: message.fields("trailers"),
            there: true,
        };
        recorded.times[side] = message
            .get("headers_received_time")
            .map(|time| time.number("seconds") * 1_000_000_000 + time.number("nanos"));
    }
    recorded.ends = trace.get("downstream_connection").and_then(|connection| {
        let client = connection.end("remote_address")?;
        Some([client, connection.end("local_address")?])
    });
    recorded
}

type Bytes<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, u8>>>;

/// A text message up to its closing brace, or the end.
fn text(bytes: &mut Bytes<'_>) -> Vec<(String, Node)> {
    let mut fields = Vec::new();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        match bytes.peek() {
            None => return fields,
            Some(b'}') => {
                bytes.next();
                return fields;
            }
            Some(_) => {}
        }
        let name = word(bytes);
        assert!(!name.is_empty(), "no name at {:?}", bytes.peek());
        while bytes
            .next_if(|c| c.is_ascii_whitespace() || *c == b':')
            .is_some()
        {}
        let node = match bytes.peek() {
            Some(b'{') => {
                bytes.next();
                Node::Message(text(bytes))
            }
            Some(b'"') => Node::Leaf(quoted(bytes)),
            _ => Node::Leaf(word(bytes).into_bytes()),
        };
        fields.push((name, node));
    }
}

fn word(bytes: &mut Bytes<'_>) -> String {
    let mut word = String::new();
    while let Some(c) = bytes.next_if(|c| c.is_ascii_alphanumeric() || *c == b'_') {
        word.push(char::from(c));
    }
    word
}

fn quoted(bytes: &mut Bytes<'_>) -> Vec<u8> {
    assert_eq!(bytes.next(), Some(b'"'));
    let mut string = Vec::new();
    loop {
        match bytes.next().expect("a closing quote") {
            b'"' => return string,
            b'\\' => string.push(match bytes.next().expect("an escape") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                digit @ b'0'..=b'7' => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|c| matches!(c, b'0'..=b'7')) else {
                            break;
                        };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    u8::try_from(value).expect("an octal byte")
                }
                c @ (b'"' | b'\'' | b'\\') => c,
                c => panic!("escape {:?}", char::from(c)),
            }),
            byte => string.push(byte),
        }
    }
}

/// The first of 256 private-use characters, which stand for raw bytes in a string. Envoy never writes them.
const PRIVATE: u32 = 0xe000;

fn json_stream(bytes: &[u8]) -> Vec<(String, Node)> {
    // With bodies as strings, the file may not be UTF-8. So bytes above ASCII become private-use characters.
    let keep = |&byte: &u8| match byte {
        0..0x80 => char::from(byte),
        _ => char::from_u32(PRIVATE + u32::from(byte)).expect("a private character"),
    };
    let text: String = bytes.iter().map(keep).collect();
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut fields = Vec::new();
    for value in values {
        let value = value.unwrap_or_else(|e| panic!("JSON: {e}"));
        match json("", value) {
            Node::Message(more) => fields.extend(more),
            Node::Leaf(leaf) => panic!("no message but {leaf:?}"),
        }
    }
    fields
}

fn json(name: &str, value: Value) -> Node {
    match value {
        Value::Object(map) => {
            let mut fields = Vec::new();
            for (name, value) in map {
                let values = match value {
                    Value::Null => Vec::new(),
                    Value::Array(values) => values,
                    value => vec![value],
                };
                fields.extend(
                    values
                        .into_iter()
                        .map(|value| (name.clone(), json(&name, value))),
                );
            }
            Node::Message(fields)
        }
        Value::String(string) if name == "as_bytes" || name == "raw_value" => {
            Node::Leaf(BASE64_STANDARD.decode(&string).expect("base64"))
        }
        Value::String(string) if name.ends_with("_time") => {
            let time: jiff::Timestamp = string.parse().expect("a time");
            let leaf = |n: String| Node::Leaf(n.into_bytes());
            Node::Message(vec![
                ("seconds".into(), leaf(time.as_second().to_string())),
                ("nanos".into(), leaf(time.subsec_nanosecond().to_string())),
            ])
        }
        Value::String(string) => {
            let mut bytes = Vec::new();
            for c in string.chars() {
                match u32::from(c).checked_sub(PRIVATE) {
                    Some(byte @ 0..=0xff) => bytes.push(byte as u8),
                    _ => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            Node::Leaf(bytes)
        }
        other => Node::Leaf(other.to_string().into_bytes()),
    }
}
