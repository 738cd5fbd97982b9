//! The protocols on servers' ports, and the options that a reader needs for them.

use std::collections::BTreeMap;

use crate::model::protocol::{DecodeAs, HTTP, HTTP2, Opening, Protocol};

/// The ports on which tshark and Wireshark look for HTTP/1, and for HTTP/2 with its preface, by themselves:
/// their preference `http.tcp.port` as it is since version 2.0.
///
/// On most other ports HTTP/1 is found too, but not on those of other dissectors (in 4.0: 248, such as 5432,
/// 6379, 7000, 8085 and 9092), which differ from version to version.
const HTTP_PORTS: [u16; 10] = [80, 1900, 2710, 2869, 3128, 3132, 5985, 8080, 8088, 11371];

/// The ports of servers with a recognized protocol.
#[derive(Debug, Default)]
pub(super) struct PortProtocols(BTreeMap<u16, Protocols>);

/// The protocols on a port.
#[derive(Clone, Copy, Debug, Default)]
struct Protocols {
    http1: bool,
    http2: bool,
    /// Whether some of its HTTP/2 lacks the client's preface.
    headless: bool,
    /// Another protocol.
    other: Option<Protocol>,
    /// Whether there are several other protocols.
    is_mixed: bool,
}

impl PortProtocols {
    /// Records what a connection to a port begins with.
    pub(super) fn add(&mut self, port: u16, opening: Opening) {
        let spoken = self.0.entry(port).or_default();
        match opening.protocol() {
            Protocol::Http1 => spoken.http1 = true,
            Protocol::Http2 | Protocol::Grpc => {
                spoken.http2 = true;
                spoken.headless |= matches!(opening, Opening::Server(_));
            }
            other => {
                spoken.is_mixed |= spoken.other.is_some_and(|before| before != other);
                spoken.other = Some(other);
            }
        }
    }

    /// The options that a reader needs, port by port.
    pub(super) fn decode_as(&self) -> Vec<DecodeAs> {
        let needed = self.0.iter().filter_map(|(&port, spoken)| {
            let dissector = spoken.dissector(port)?;
            Some(DecodeAs {
                port,
                dissector,
                is_headless: spoken.headless,
            })
        });
        needed.collect()
    }
}

impl Protocols {
    /// The dissector that shows the most, if a reader does not choose it by itself.
    fn dissector(self, port: u16) -> Option<&'static str> {
        // The dissector of HTTP/1 recognizes HTTP/2 by its preface.
        if self.http1 || self.http2 {
            let is_known = HTTP_PORTS.contains(&port);
            return match (self.http1, self.headless) {
                (false, true) => Some(HTTP2),
                _ if is_known => None,
                (true, _) => Some(HTTP),
                (false, false) => Some(HTTP2),
            };
        }
        // With several protocols, one dissector cannot show them all.
        let other = self.other.filter(|_| !self.is_mixed)?;
        let (dissector, own_ports) = other.dissector()?;
        (!own_ports.contains(&port)).then_some(dissector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Http1, Http2, Mysql, Postgres, Redis, Smtp, Thrift};

    #[test]
    fn a_protocol_that_readers_find_by_themselves_needs_no_option() {
        let (client, server) = (Opening::Client, Opening::Server);
        let cases: [(u16, &[Opening], &str); 21] = [
            (80, &[client(Http1)], ""),
            (80, &[server(Http1)], ""),
            (8080, &[client(Http2)], ""),
            (8080, &[client(Http1), client(Http2)], ""),
            (8080, &[server(Http2)], "tcp.port==8080,http2"),
            (
                8080,
                &[client(Http2), server(Http2)],
                "tcp.port==8080,http2",
            ),
            (8080, &[server(Http2), client(Http1)], ""),
            (7000, &[client(Http1)], "tcp.port==7000,http"),
            (7000, &[server(Http1)], "tcp.port==7000,http"),
            (7000, &[client(Http2)], "tcp.port==7000,http2"),
            (7000, &[server(Http2)], "tcp.port==7000,http2"),
            (7000, &[client(Http2), client(Http1)], "tcp.port==7000,http"),
            (7000, &[client(Redis)], "tcp.port==7000,resp"),
            (6379, &[client(Redis)], ""),
            (7000, &[client(Postgres)], "tcp.port==7000,pgsql"),
            (5432, &[client(Postgres)], ""),
            (7000, &[client(Postgres), client(Redis)], ""),
            (7000, &[server(Mysql)], "tcp.port==7000,mysql"),
            (3306, &[server(Mysql)], ""),
            (587, &[server(Smtp)], ""),
            (9090, &[client(Thrift)], "tcp.port==9090,thrift"),
        ];
        for (port, openings, expected) in cases {
            let mut spoken = PortProtocols::default();
            for &opening in openings {
                spoken.add(port, opening);
            }
            let options: Vec<_> = spoken.decode_as().iter().map(ToString::to_string).collect();
            assert_eq!(options.join(" "), expected, "{port} {openings:?}");
        }
    }
}
