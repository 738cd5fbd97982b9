//! Checks the ends of a connection: recorded by the trace, set by the user, or stand-ins.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use capture2pcap::model::event::{Connection, Endpoint};
use capture2pcap::synth::{AddressOverride, SynthOptions};

/// The stand-in port of a server, and the first one of a client.
const HTTP_PORT: u16 = 80;
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// The networks of stand-in addresses.
const STAND_INS: [(Ipv4Addr, u32); 5] = [
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Verifies the ends of a connection, of which `connection` was recorded so far.
pub(crate) fn check(
    connection: &Connection,
    local: SocketAddr,
    remote: SocketAddr,
    options: &SynthOptions,
) {
    end(connection.local.as_ref(), options.local, local);
    end(connection.remote.as_ref(), options.remote, remote);
    assert_eq!(local.is_ipv6(), remote.is_ipv6(), "{local}, {remote}");
}

fn end(recorded: Option<&Endpoint>, given: Option<AddressOverride>, placed: SocketAddr) {
    let ip = match recorded {
        Some(Endpoint::Ip(ip, _)) => Some(*ip),
        _ => given.map(|given| given.ip),
    };
    let is_right = match ip {
        Some(ip) => ip.to_canonical() == placed.ip().to_canonical(),
        None => is_stand_in(placed.ip()),
    };
    assert!(is_right, "{placed} for {recorded:?}");
    let port = match recorded {
        Some(Endpoint::Ip(_, port) | Endpoint::Host(_, port)) => Some(*port),
        _ => None,
    };
    let is_right = match port.filter(|port| *port != 0) {
        Some(port) => port == placed.port(),
        // Another connection may already have the port that was set.
        None => {
            given.is_some_and(|given| given.port == Some(placed.port()))
                || placed.port() == HTTP_PORT
                || placed.port() >= FIRST_DYNAMIC_PORT
        }
    };
    assert!(is_right, "{placed} for {recorded:?}");
}

fn is_stand_in(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => STAND_INS.iter().any(|(net, bits)| {
            let shift = 32 - bits;
            ip.to_bits() >> shift == net.to_bits() >> shift
        }),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    }
}
