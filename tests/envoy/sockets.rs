//! Socket taps: every connection on the wire is in a trace, and every trace is of a connection on the wire.

use std::net::SocketAddr;

use crate::compare::{Figures, Pairing, compare, convert, is_stand_in, judged};
use crate::connection::Connection;
use crate::lab::lab;
use crate::pcap::Capture;
use crate::variant::{Place, Variant, to_files};

/// The converter's warning about bodies that Envoy wrote as strings.
const LOSSY: &str = "in place of bytes";
/// The converter's warning about a missing address.
const STAND_IN: &str = "with stand-in addresses";

/// Which addresses, of the client and of the server, a trace lacks.
fn missing(place: Place, variant: Variant) -> [bool; 2] {
    match place {
        Place::Unix => [true, true],
        // In strings, Envoy writes the segment with the addresses as an empty one.
        _ if variant.is_string() && variant.streamed => [true, true],
        // Envoy writes the segment before it is connected.
        _ if place.is_upstream() && variant.streamed => [true, false],
        _ => [false, false],
    }
}

/// A kind of connection, and the test for it.
type Kind = (&'static str, fn(&Connection) -> bool);

/// Compares all traces of a place with the connections there.
fn compare_all(place: Place, kinds: &[Kind]) {
    let lab = lab();
    let mut figures = Figures::default();
    for variant in to_files() {
        let tap = place.tap(variant);
        let on_the_wire = lab.connections(place, variant);
        for (kind, is_it) in kinds {
            let count = on_the_wire
                .iter()
                .filter(|connection| is_it(connection))
                .count();
            assert!(count > 0, "{tap}: no connection with {kind}");
        }
        let is_server = |end: SocketAddr| place != Place::Unix && end == lab.server(&tap);
        let reads = usize::from(place.is_upstream());
        let mut pairing = Pairing::new(on_the_wire);
        let mut lossy = 0;
        for trace in lab.traces(place, variant) {
            let (capture, stderr) = convert(lab, &trace);
            let name = trace.file_name().expect("a name").to_string_lossy();
            let missing = missing(place, variant);
            assert_eq!(
                stderr.contains(STAND_IN),
                missing != [false; 2],
                "{name}: {stderr}"
            );
            if variant.is_string() && stderr.contains(LOSSY) {
                // HTTP/2 with lost bytes cannot be dissected.
                assert!(
                    !Capture::read(&capture).streams().is_empty(),
                    "{name}: no data"
                );
                lossy += 1;
                continue;
            }
            let connections = judged(&capture, is_server);
            let [ours] = &connections[..] else {
                panic!("{name}: {} connections", connections.len());
            };
            assert_eq!(
                ours.ends.map(is_stand_in),
                missing,
                "{name}: stand-ins: {stderr}"
            );
            let expected = if missing == [false; 2] { 0 } else { 2 };
            assert_eq!(stderr.lines().count(), expected, "{name}: {stderr}");
            compare(&name, ours, pairing.take(&name, ours), reads, &mut figures);
            figures.traces += 1;
        }
        let rest = pairing.rest();
        let not_text = rest.iter().filter(|wire| !wire.is_text()).count();
        assert_eq!(
            (rest.len(), not_text),
            (lossy, lossy),
            "{tap}: connections without a trace"
        );
        figures.lossy += lossy;
    }
    figures.print(place.name());
}

const HTTP1: Kind = ("HTTP/1", Connection::is_http1);
const HTTP2: Kind = ("HTTP/2", Connection::is_http2);
const GRPC: Kind = ("gRPC", |connection| {
    connection
        .flows
        .iter()
        .all(|flow| flow.items.contains_key("grpc.message_length"))
});

#[test]
fn http_over_ipv4() {
    compare_all(Place::V4, &[HTTP1, HTTP2]);
}

#[test]
fn http_over_ipv6() {
    compare_all(Place::V6, &[HTTP1, HTTP2]);
}

#[test]
fn http_inside_tls() {
    compare_all(Place::Tls, &[HTTP1, HTTP2]);
}

#[test]
fn http_on_unix_sockets() {
    compare_all(Place::Unix, &[HTTP1, HTTP2]);
}

#[test]
fn grpc() {
    compare_all(Place::Grpc, &[HTTP2, GRPC]);
}

#[test]
fn http_to_upstreams() {
    compare_all(Place::Upstream, &[HTTP1]);
}

#[test]
fn grpc_to_upstreams() {
    compare_all(Place::UpstreamGrpc, &[HTTP2, GRPC]);
}
