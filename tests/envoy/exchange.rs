//! The HTTP exchanges on the wire, in HTTP/1 or HTTP/2.

use std::net::SocketAddr;
use std::path::Path;

use crate::connection::{Connection, Flow};
use crate::harness::http2_on;
use crate::pdml::view_by;
use crate::tree::Message;
use crate::wire::Wire;

/// A request and its response.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The client's and the server's address.
    pub(crate) ends: [(String, u16); 2],
    /// The request and the response.
    pub(crate) messages: [Message; 2],
    /// The times of their headers, in nanoseconds since 1970.
    pub(crate) times: [u64; 2],
}

impl Exchange {
    /// Its key: its run and its path.
    pub(crate) fn key(&self) -> String {
        key(&self.messages)
    }
}

/// The value of a request's header.
fn asked<'a>(messages: &'a [Message; 2], name: &str) -> Option<&'a [u8]> {
    let mut fields = messages[0].headers.iter();
    let found = fields.find(|(other, _)| other == name.as_bytes());
    found.map(|(_, value)| &value[..])
}

/// The key that identifies an exchange.
pub(crate) fn key(messages: &[Message; 2]) -> String {
    let part = |name| String::from_utf8_lossy(asked(messages, name).unwrap_or(b"none"));
    format!("{} {}", part("x-run"), part(":path"))
}

/// The exchanges with one server. A capture of its HTTP/2 connections is written to `dir`.
pub(crate) fn exchanges(wire: &Wire, server: SocketAddr, dir: &Path) -> Vec<Exchange> {
    let connections = wire.to(server);
    let (http2, http1): (Vec<_>, Vec<_>) = connections.into_iter().partition(|c| c.is_http2());
    assert!(
        !http1.is_empty() && !http2.is_empty(),
        "{server}: HTTP/1 and HTTP/2"
    );
    let mut exchanges: Vec<_> = http1.into_iter().flat_map(of_http1).collect();
    let path = dir.join(format!("wire-{}.pcap", server.port()));
    wire.cut_out(&http2, &path);
    // tshark does not reassemble segments with wrong checksums, and the kernel leaves checksums to the network card.
    let shown = view_by(http2_on(&path, [server.port()])).exchanges;
    exchanges.extend(shown.into_iter().map(|shown| Exchange {
        times: shown.times.each_ref().map(|times| times[0]),
        ends: shown.ends,
        messages: shown.messages,
    }));
    exchanges
}

/// The exchanges of a connection with HTTP/1.
fn of_http1(connection: &Connection) -> Vec<Exchange> {
    let [asked, answered] = connection.flows.each_ref().map(messages);
    assert_eq!(asked.len(), answered.len(), "requests and responses");
    let ends = connection
        .ends
        .map(|end| (end.ip().to_string(), end.port()));
    let both = asked.into_iter().zip(answered);
    both.map(|((request, asked), (response, answered))| Exchange {
        ends: ends.clone(),
        messages: [request, response],
        times: [asked, answered],
    })
    .collect()
}

/// The messages of one side of HTTP/1, with field names as in HTTP/2, and the time of each.
fn messages(flow: &Flow) -> Vec<(Message, u64)> {
    let mut messages = Vec::new();
    let mut rest = &flow.bytes[..];
    while !rest.is_empty() {
        let time = flow.time_of(flow.bytes.len() - rest.len());
        let head = memchr::memmem::find(rest, b"\r\n\r\n").expect("an end of the headers");
        let text = std::str::from_utf8(&rest[..head]).expect("headers in UTF-8");
        rest = &rest[head + 4..];
        let mut lines = text.split("\r\n");
        let first: Vec<_> = lines.next().expect("a line").splitn(3, ' ').collect();
        let mut headers = Vec::new();
        let mut add = |name: &str, value: &str| headers.push((name.into(), value.into()));
        if first[0] == "HTTP/1.1" {
            add(":status", first[1]);
        } else {
            add(":method", first[0]);
            add(":path", first[1]);
        }
        let mut length = 0;
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            let name = name.to_ascii_lowercase();
            assert_ne!(name, "transfer-encoding", "not read here");
            if name == "content-length" {
                length = value.parse().expect("a length");
            }
            add(if name == "host" { ":authority" } else { &name }, value);
        }
        let (body, after) = rest.split_at_checked(length).expect("a whole body");
        rest = after;
        let message = Message {
            headers,
            body: body.to_vec(),
            trailers: Vec::new(),
            there: true,
        };
        messages.push((message, time));
    }
    messages
}
