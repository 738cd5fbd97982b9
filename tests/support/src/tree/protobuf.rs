//! Reads the binary encoding of protobuf, for messages of the table below.

use super::Node;

/// Message, field number, field name, and the type of the field if it is a message.
const SCHEMA: [(&str, u64, &str, Option<&str>); 38] = [
    ("wrapper", 1, "http_buffered_trace", Some("buffered")),
    ("wrapper", 2, "http_streamed_trace_segment", Some("segment")),
    ("buffered", 1, "request", Some("message")),
    ("buffered", 2, "response", Some("message")),
    ("buffered", 3, "downstream_connection", Some("connection")),
    ("buffered", 4, "upstream_connection", Some("connection")),
    ("message", 1, "headers", Some("header")),
    ("message", 2, "body", Some("body")),
    ("message", 3, "trailers", Some("header")),
    ("message", 4, "headers_received_time", Some("time")),
    ("segment", 1, "trace_id", None),
    ("segment", 2, "request_headers", Some("map")),
    ("segment", 3, "request_body_chunk", Some("body")),
    ("segment", 4, "request_trailers", Some("map")),
    ("segment", 5, "response_headers", Some("map")),
    ("segment", 6, "response_body_chunk", Some("body")),
    ("segment", 7, "response_trailers", Some("map")),
    ("map", 1, "headers", Some("header")),
    ("header", 1, "key", None),
    ("header", 2, "value", None),
    ("header", 3, "raw_value", None),
    ("body", 1, "as_bytes", None),
    ("body", 2, "as_string", None),
    ("body", 3, "truncated", None),
    ("time", 1, "seconds", None),
    ("time", 2, "nanos", None),
    ("connection", 1, "local_address", Some("address")),
    ("connection", 2, "remote_address", Some("address")),
    ("address", 1, "socket_address", Some("socket")),
    ("address", 2, "pipe", Some("pipe")),
    ("pipe", 1, "path", None),
    ("socket", 1, "protocol", None),
    ("socket", 2, "address", None),
    ("socket", 3, "port_value", None),
    ("socket", 4, "named_port", None),
    ("socket", 5, "resolver_name", None),
    ("socket", 6, "ipv4_compat", None),
    ("wrapper", 5, "sample_rate", None),
];

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a varint");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes")
}

pub(super) fn protobuf(message: &str, mut bytes: &[u8]) -> Vec<(String, Node)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let known = SCHEMA
            .iter()
            .find(|(of, number, ..)| *of == message && *number == tag >> 3);
        let &(_, _, name, kind) = known.unwrap_or_else(|| panic!("{message}: field {}", tag >> 3));
        let node = match (tag & 7, kind) {
            (0, None) => Node::Leaf(varint(&mut bytes).to_string().into_bytes()),
            (2, kind) => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                match kind {
                    Some(kind) => Node::Message(protobuf(kind, value)),
                    None => Node::Leaf(value.to_vec()),
                }
            }
            (wire, _) => panic!("{message}.{name}: wire type {wire}"),
        };
        fields.push((name.to_owned(), node));
    }
    fields
}

pub(super) fn delimited(mut bytes: &[u8]) -> Vec<(String, Node)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let length = varint(&mut bytes) as usize;
        let (message, rest) = bytes.split_at(length);
        bytes = rest;
        fields.extend(protobuf("wrapper", message));
    }
    fields
}
