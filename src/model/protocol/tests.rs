//! The recognized side of Envoy, and the sizes of a PROXY protocol header.

use crate::model::event::{Connection, Direction, Endpoint};

use super::*;

fn connection(local: u16, remote: u16) -> Connection {
    let end = |port| Some(Endpoint::Ip([127, 0, 0, 1].into(), port));
    Connection {
        local: end(local),
        remote: end(remote),
        ..Connection::default()
    }
}

#[test]
fn first_bytes_outweigh_ports() {
    let cases: [(&[u8], Option<Opening>); 33] = [
        (PREFACE, Some(Opening::Client(Protocol::Http2))),
        (&PREFACE[..16], Some(Opening::Client(Protocol::Http2))),
        (&PREFACE[..5], Some(Opening::Client(Protocol::Http2))),
        (b"PRI ", None),
        (
            b"GET / HTTP/1.1\r\n",
            Some(Opening::Client(Protocol::Http1)),
        ),
        (
            b"POST /a/long/path/that/is/cut",
            Some(Opening::Client(Protocol::Http1)),
        ),
        (
            b"HTTP/1.1 200 OK\r\n",
            Some(Opening::Server(Protocol::Http1)),
        ),
        (
            b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff",
            Some(Opening::Server(Protocol::Http2)),
        ),
        (b"\0\0\x07\x04\0\0\0\0\0", None),
        (b"\0\0\x06\x04\x01\0\0\0\0", None),
        (
            b"EHLO mail.example.com\r\n",
            Some(Opening::Client(Protocol::Smtp)),
        ),
        (b"220 (vsFTPd 3.0.3)\r\n", None),
        (
            b"220 mail.example.com ESMTP Postfix\r\n",
            Some(Opening::Server(Protocol::Smtp)),
        ),
        (
            b"\x49\0\0\0\x0a8.0.36\0",
            Some(Opening::Server(Protocol::Mysql)),
        ),
        (b"\x49\0\0\x01\x0a8.0.36\0", None),
        (
            b"\0\0\0\x10\0\x12\0\x03\0\0\0\x01\0\x02ab",
            Some(Opening::Client(Protocol::Kafka)),
        ),
        (b"\0\0\0\x10\0\x42\0\x03\0\0\0\x01\0\x02ab", None),
        (
            b"\0\0\0\x10\x80\x01\0\x01\0\0\0\x04ping",
            Some(Opening::Client(Protocol::Thrift)),
        ),
        (b"\x80\x01\0\x02\0\0\0\x04ping", None),
        (
            b"\x20\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0",
            Some(Opening::Client(Protocol::Mongo)),
        ),
        (b"\x20\0\0\0\x01\0\0\0\x01\0\0\0\xdd\x07\0\0\0", None),
        (b"HELLO THERE", None),
        (b" GET", None),
        (
            b"*1\r\n$4\r\nPING\r\n",
            Some(Opening::Client(Protocol::Redis)),
        ),
        (b"*1\r\n", None),
        (b"*\r\n$4\r\nPING\r\n", None),
        (b"*1\r\n+OK\r\n", None),
        (b"*-1\r\n$4\r\nPING", None),
        (
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            Some(Opening::Client(Protocol::Postgres)),
        ),
        (b"\0\0\0\x09\x04\xd2\x16\x2f", None),
        (
            b"\0\0\0\x13\0\x03\0\0user\0kim\0\0",
            Some(Opening::Client(Protocol::Postgres)),
        ),
        (b"\xff\0\0\x13\0\x03\0\0user\0kim\0\0", None),
        (b"", None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            opening(bytes),
            expected,
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
    let backwards = connection(50_000, 80);
    let first = Some((Direction::Read, &b"GET / HTTP/1.1\r\n"[..]));
    assert_eq!(
        role(&backwards, first),
        (Role::Downstream, Evidence::FirstBytes)
    );
    let first = Some((Direction::Write, &b"HTTP/1.1 200 OK\r\n"[..]));
    assert_eq!(
        role(&backwards, first),
        (Role::Downstream, Evidence::FirstBytes)
    );
}

#[test]
fn a_gap_at_the_first_upstream_event_may_be_a_proxy_header() {
    let v1 = [
        "PROXY UNKNOWN\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
         ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    ];
    let v1 = v1.map(|header| header.len() as u64);
    // Without addresses; with those of IPv4, IPv6 and Unix sockets; and with extensions.
    let v2 = [16, 16 + 12, 16 + 36, 16 + 216, 16 + 12 + 50];
    for header in v1.into_iter().chain(v2) {
        assert!(explains_proxy_header(header, Role::Upstream), "{header}");
        assert!(!explains_proxy_header(header, Role::Downstream), "{header}");
    }
    for other in [0, 1, 14, 537, u64::MAX] {
        assert!(!explains_proxy_header(other, Role::Upstream), "{other}");
    }
}

#[test]
fn without_http_the_addresses_and_then_the_first_speaker_decide() {
    let bytes = &b"\x16\x03\x01"[..];
    let read = Some((Direction::Read, bytes));
    let lone = Connection {
        local: None,
        ..connection(0, 80)
    };
    assert_eq!(
        role(&lone, read),
        (Role::Upstream, Evidence::NoLocalAddress)
    );
    assert_eq!(
        role(&connection(80, 50_000), read),
        (Role::Downstream, Evidence::Ports)
    );
    assert_eq!(
        role(&connection(50_000, 80), read),
        (Role::Upstream, Evidence::Ports)
    );
    let unsure = (Role::Downstream, Evidence::FirstSpeaker);
    assert_eq!(role(&connection(80, 81), read), unsure);
    let write = Some((Direction::Write, bytes));
    let unsure = (Role::Upstream, Evidence::FirstSpeaker);
    assert_eq!(role(&Connection::default(), write), unsure);
    assert!(role(&Connection::default(), None).1.is_guess());
}
