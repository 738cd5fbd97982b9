//! The addresses that packets carry: the recorded ones, and stand-ins for what a trace lacks.
//!
//! What is known is kept, the ports above all, for readers pick the protocol by them. Stand-ins come
//! from the ranges that are reserved for documentation (192.0.2.0/24, RFC 5737; 2001:db8::/32, RFC
//! 3849), with a port made of the trace id.
//!
//! Invariant: no two connections of a capture with a stand-in have the same pair of endpoints, as long
//! as the ranges have any left for what is known of them. The same connection alone always gets the same
//! stand-ins.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::event::{Connection, Direction, Endpoint, TraceId};

use super::frame::Endpoints;

/// The first port of IANA's dynamic range (RFC 6335, section 6), and how many there are.
const FIRST_DYNAMIC_PORT: u16 = 49_152;
const DYNAMIC_PORTS: u64 = 65_536 - FIRST_DYNAMIC_PORT as u64;
/// All dynamic ports, from one that `seed` picks.
pub(super) fn dynamic_ports(seed: u64) -> impl Iterator<Item = u16> {
    (0..DYNAMIC_PORTS).map(move |step| dynamic_port(seed, step))
}

/// The dynamic port so many steps behind the one that `seed` picks.
const fn dynamic_port(seed: u64, step: u64) -> u16 {
    FIRST_DYNAMIC_PORT + ((seed % DYNAMIC_PORTS + step) % DYNAMIC_PORTS) as u16
}

/// How many pairs of hosts 192.0.2.0/24 has: 1 and 2, 3 and 4, … 253 and 254.
const HOST_PAIRS: u64 = 127;

/// An address that the user gives for one that a trace lacks: `ADDR` or `ADDR:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The IP address.
    pub ip: IpAddr,
    /// The port, where one is given.
    pub port: Option<u16>,
}

impl FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: address.ip(),
                port: Some(address.port()),
            });
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        match bare.parse() {
            Ok(ip) => Ok(Self { ip, port: None }),
            Err(_) => {
                Err("not an IP address with or without a port, e.g. 10.0.0.1:443 or [::1]:443")
            }
        }
    }
}

/// An end of a connection whose recorded address a packet cannot carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// The direction whose bytes come from there.
    pub(super) side: Direction,
    pub(super) address: SocketAddr,
    /// What the trace says there, if anything.
    pub(super) recorded: Option<Endpoint>,
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Direction::Write => "local",
            Direction::Read => "remote",
        };
        match &self.recorded {
            Some(recorded) => write!(f, "{} for the {side} {recorded}", self.address),
            None => write!(
                f,
                "{} for the {side} one, which is not recorded",
                self.address
            ),
        }
    }
}

/// Gives connections the addresses that their packets carry.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    local: Option<Given>,
    remote: Option<Given>,
    /// Whose the endpoints are that have a stand-in among them.
    taken: HashMap<Endpoints, TraceId>,
    /// How far the search has gone from the endpoints that it began with.
    attempts: HashMap<Endpoints, u64>,
}

/// What is known of an end.
#[derive(Clone, Copy)]
struct Known {
    ip: Option<IpAddr>,
    port: Option<u16>,
}

impl Known {
    fn of(endpoint: Option<&Endpoint>, given: Option<Given>) -> Self {
        let (ip, port) = match endpoint {
            Some(Endpoint::Ip(ip, port)) => (Some(ip.to_canonical()), Some(*port)),
            Some(Endpoint::Host(_, port)) => (None, Some(*port)),
            Some(Endpoint::Pipe(_) | Endpoint::Internal { .. }) | None => (None, None),
        };
        let port = port.filter(|&port| port != 0);
        Self {
            ip: ip.or_else(|| given.map(|given| given.ip.to_canonical())),
            // Only for an address that is missing: a port alone is no address.
            port: port.or_else(|| given.and_then(|given| given.port)),
        }
    }

    const fn is_whole(self) -> bool {
        self.ip.is_some() && self.port.is_some()
    }
}

impl AddressBook {
    pub(super) fn new(local: Option<Given>, remote: Option<Given>) -> Self {
        Self {
            local,
            remote,
            taken: HashMap::new(),
            attempts: HashMap::new(),
        }
    }

    /// The endpoints that the packets of `connection` carry, and which of them stand for another that
    /// the user has given no address for.
    pub(super) fn place(
        &mut self,
        trace: TraceId,
        connection: &Connection,
    ) -> (Endpoints, Vec<StandIn>) {
        let local = Known::of(connection.local.as_ref(), self.local);
        let remote = Known::of(connection.remote.as_ref(), self.remote);
        let v6 = [local, remote]
            .iter()
            .any(|end| end.ip.is_some_and(|ip| ip.is_ipv6()));
        let mut endpoints = candidate(local, remote, v6, trace, 0);
        if !(local.is_whole() && remote.is_whole()) {
            let first = endpoints;
            // Where the last one that began here found its place, the next one need not look before.
            let mut attempt = self.attempts.get(&first).copied().unwrap_or(0);
            loop {
                endpoints = candidate(local, remote, v6, trace, attempt);
                let theirs = |owner: &TraceId| *owner != trace;
                let is_taken = self.taken.get(&endpoints).is_some_and(theirs);
                // All of them taken, some have to be shared; a handshake keeps them apart in time.
                if !is_taken || (attempt > 0 && endpoints == first) {
                    break;
                }
                attempt += 1;
            }
            if attempt > 0 && self.taken.get(&first) != Some(&trace) {
                self.attempts.insert(first, attempt);
            }
            if self.taken.get(&first) == Some(&trace) {
                endpoints = first;
            }
            self.taken.insert(endpoints, trace);
        }
        let stand_in = |side, recorded: &Option<Endpoint>, given: Option<Given>, address| {
            let carried = matches!(recorded, Some(Endpoint::Ip(_, port)) if *port != 0);
            // What the user has said needs no telling.
            (!carried && given.is_none()).then(|| StandIn {
                side,
                address,
                recorded: recorded.clone(),
            })
        };
        let stand_ins = [
            stand_in(
                Direction::Write,
                &connection.local,
                self.local,
                endpoints.local,
            ),
            stand_in(
                Direction::Read,
                &connection.remote,
                self.remote,
                endpoints.remote,
            ),
        ];
        (endpoints, stand_ins.into_iter().flatten().collect())
    }
}

/// The endpoints of what is known and, for the rest, the stand-ins of the given attempt.
fn candidate(local: Known, remote: Known, v6: bool, trace: TraceId, attempt: u64) -> Endpoints {
    let pair = (attempt % HOST_PAIRS) * 2;
    // Where an address is known, only the port can make a difference.
    let port_step = if local.ip.is_some() && remote.ip.is_some() {
        attempt
    } else {
        attempt / HOST_PAIRS
    };
    let port = dynamic_port(trace.number, port_step);
    let end = |known: Known, host: u64| {
        let ip = known.ip.unwrap_or_else(|| {
            if v6 {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16).into()
            } else {
                Ipv4Addr::new(192, 0, 2, host as u8).into()
            }
        });
        let ip = match ip {
            IpAddr::V4(ip) if v6 => ip.to_ipv6_mapped().into(),
            ip => ip,
        };
        SocketAddr::new(ip, known.port.unwrap_or(port))
    };
    Endpoints {
        local: end(local, pair + 1),
        remote: end(remote, pair + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str, port: u16) -> Option<Endpoint> {
        Some(Endpoint::Ip(text.parse().unwrap(), port))
    }

    fn place(
        book: &mut AddressBook,
        trace: u64,
        local: Option<Endpoint>,
        remote: Option<Endpoint>,
    ) -> (String, usize) {
        let connection = Connection {
            local,
            remote,
            ..Connection::default()
        };
        let (ends, stand_ins) = book.place(
            TraceId {
                source: 0,
                number: trace,
                instance: 0,
            },
            &connection,
        );
        (format!("{} {}", ends.local, ends.remote), stand_ins.len())
    }

    #[test]
    fn recorded_addresses_stay_and_mapped_ones_become_ipv4() {
        let mut book = AddressBook::default();
        let cases = [
            ("10.0.0.1", "10.0.0.2", "10.0.0.1:80 10.0.0.2:99"),
            (
                "::ffff:10.0.0.1",
                "::ffff:10.0.0.2",
                "10.0.0.1:80 10.0.0.2:99",
            ),
            ("::ffff:10.0.0.1", "10.0.0.2", "10.0.0.1:80 10.0.0.2:99"),
            ("2001:db8::1", "::1", "[2001:db8::1]:80 [::1]:99"),
            ("::1", "::ffff:10.0.0.2", "[::1]:80 [::ffff:10.0.0.2]:99"),
            ("10.0.0.1", "::1", "[::ffff:10.0.0.1]:80 [::1]:99"),
        ];
        for (local, remote, expected) in cases {
            let placed = place(&mut book, 1, ip(local, 80), ip(remote, 99));
            assert_eq!(placed, (expected.to_owned(), 0), "{local} {remote}");
        }
    }

    #[test]
    fn what_is_missing_gets_a_stand_in_and_what_is_known_stays() {
        let mut book = AddressBook::default();
        let host = Some(Endpoint::Host("db.internal".into(), 5432));
        let pipe = Some(Endpoint::Pipe("@lab".into()));
        let cases = [
            (None, ip("10.0.0.2", 443), "192.0.2.1:49159 10.0.0.2:443", 1),
            (
                None,
                ip("2001:db8::9", 443),
                "[2001:db8::1]:49159 [2001:db8::9]:443",
                1,
            ),
            (
                ip("10.0.0.1", 0),
                ip("10.0.0.2", 443),
                "10.0.0.1:49159 10.0.0.2:443",
                1,
            ),
            (
                host.clone(),
                ip("10.0.0.2", 443),
                "192.0.2.1:5432 10.0.0.2:443",
                1,
            ),
            (pipe.clone(), pipe, "192.0.2.1:49159 192.0.2.2:49159", 2),
        ];
        for (local, remote, expected, stand_ins) in cases {
            let placed = place(&mut book, 7, local.clone(), remote.clone());
            assert_eq!(
                placed,
                (expected.to_owned(), stand_ins),
                "{local:?} {remote:?}"
            );
        }
    }

    #[test]
    fn stand_ins_are_unique_within_a_capture_and_stable() {
        let mut book = AddressBook::default();
        let mut seen = std::collections::HashSet::new();
        // As many ids with the same port as there are pairs of hosts, and some more.
        for i in 0..1000 {
            let trace = i * DYNAMIC_PORTS;
            let placed = place(&mut book, trace, None, None);
            assert!(seen.insert(placed.0.clone()), "{} twice", placed.0);
            let alone = place(&mut AddressBook::default(), trace, None, None);
            assert_eq!(alone.0, "192.0.2.1:49152 192.0.2.2:49152");
        }
        let lone: Vec<_> = (0..3)
            .map(|i| {
                place(
                    &mut book,
                    i * DYNAMIC_PORTS,
                    ip("10.0.0.1", 0),
                    ip("10.0.0.2", 443),
                )
                .0
            })
            .collect();
        let expected = [
            "10.0.0.1:49152 10.0.0.2:443",
            "10.0.0.1:49153 10.0.0.2:443",
            "10.0.0.1:49154 10.0.0.2:443",
        ];
        assert_eq!(lone, expected);
    }

    #[test]
    fn given_addresses_fill_what_is_missing_only() {
        let given = |text: &str| Some(text.parse::<Given>().unwrap());
        let mut book = AddressBook::new(given("10.9.9.9:80"), given("[fd00::1]"));
        let placed = place(&mut book, 3, None, ip("10.0.0.2", 443)).0;
        assert_eq!(placed, "10.9.9.9:80 10.0.0.2:443");
        let placed = place(&mut book, 3, ip("::1", 1), None).0;
        assert_eq!(placed, "[::1]:1 [fd00::1]:49155");
        for bad in ["", "host", "10.0.0.1:", "10.0.0.1:99999", "[::1"] {
            assert!(bad.parse::<Given>().is_err(), "{bad}");
        }
    }
}
