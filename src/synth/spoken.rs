//! The protocols of servers' ports, and what a reader needs to find them there.

use std::collections::BTreeMap;

use crate::protocol::{DecodeAs, Opening, Protocol};

/// The ports on which tshark and Wireshark look for HTTP/1, and for HTTP/2 with its preface, by themselves:
/// their preference `http.tcp.port` as it is since version 2.0.
///
/// On most other ports HTTP/1 is found too, but not on those of other dissectors (in 4.0: 248, such as 5432,
/// 6379, 7000, 8085 and 9092), which differ from version to version.
const HTTP_PORTS: [u16; 10] = [80, 1900, 2710, 2869, 3128, 3132, 5985, 8080, 8088, 11371];

/// The ports of servers on which HTTP is spoken.
#[derive(Debug, Default)]
pub(super) struct Spoken(BTreeMap<u16, Versions>);

/// The versions of HTTP on a port.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    http1: bool,
    /// Whether some of its HTTP/2 does not begin with the client's preface.
    headless: bool,
}

impl Spoken {
    /// Takes note of what a connection to a port begins with.
    pub(super) fn add(&mut self, port: u16, opening: Opening) {
        let versions = self.0.entry(port).or_default();
        match opening {
            Opening::Client(Protocol::Http1) | Opening::Server(Protocol::Http1) => {
                versions.http1 = true;
            }
            Opening::Server(_) => versions.headless = true,
            Opening::Client(_) => {}
        }
    }

    /// What a reader has to be told, port by port.
    pub(super) fn decode_as(&self) -> Vec<DecodeAs> {
        let needed = self.0.iter().filter(|(port, versions)| {
            let is_known = HTTP_PORTS.contains(port);
            // The dissector of HTTP/1 knows HTTP/2 by its preface.
            !is_known || (versions.headless && !versions.http1)
        });
        let told = needed.map(|(&port, versions)| DecodeAs {
            port,
            has_http1: versions.http1,
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Http1, Http2};

    #[test]
    fn what_readers_find_by_themselves_needs_no_option() {
        let (client, server) = (Opening::Client, Opening::Server);
        let cases: [(u16, &[Opening], &str); 12] = [
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
        ];
        for (port, openings, expected) in cases {
            let mut spoken = Spoken::default();
            for &opening in openings {
                spoken.add(port, opening);
            }
            let told: Vec<_> = spoken.decode_as().iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" "), expected, "{port} {openings:?}");
        }
    }
}
