//! The addresses of packets: the recorded ones, and stand-ins for what a trace lacks.
//!
//! Recorded addresses are kept. A server without a port gets [`HTTP_PORT`], on which Wireshark recognizes every
//! version of HTTP; a client without a port gets one derived from the trace id.
//!
//! Invariant: no two connections of a capture have the same pair of endpoints, unless both endpoints are recorded
//! or given completely. The same connection alone always gets the same stand-ins, and the same name the same
//! address.

mod pool;
mod ports;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::model::event::{Connection, Direction, Endpoint};
use crate::model::protocol::Role;

use super::frame::Endpoints;
use pool::{Name, Pool};
use ports::Ports;

pub(super) use ports::{PortsLeft, dynamic_port};

/// The port of a server whose port is not recorded.
const HTTP_PORT: u16 = 80;

/// The user's override of a missing address: `ADDR` or `ADDR:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOverride {
    /// The IP address.
    pub ip: IpAddr,
    /// The port, if given; 0 counts as none.
    pub port: Option<u16>,
}

impl FromStr for AddressOverride {
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

/// An endpoint of a connection whose recorded address a packet cannot carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// The direction of the bytes that it sends.
    pub(super) side: Direction,
    pub(super) address: SocketAddr,
    /// The recorded endpoint, if there is one.
    pub(super) recorded: Option<Endpoint>,
}

impl StandIn {
    /// The name of the stand-in's IP address, escaped for display.
    pub(super) fn name(&self) -> Option<String> {
        match self.recorded.as_ref()? {
            // Only the port is a stand-in.
            Endpoint::Ip(ip, _) if ip.to_canonical() == self.address.ip().to_canonical() => None,
            Endpoint::Ip(ip, _) => Some(ip.to_string()),
            recorded => name(recorded),
        }
    }
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

/// The name of an endpoint that is not an IP address, without its port, escaped for display.
fn name(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Ip(..) => None,
        Endpoint::Host(host, _) => Some(host.escape_debug().to_string()),
        Endpoint::Pipe(_) | Endpoint::Internal { .. } => Some(endpoint.to_string()),
    }
}

/// The addresses of a connection's packets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) endpoints: Endpoints,
    /// The endpoints that replace a missing address without an override.
    pub(super) stand_ins: Vec<StandIn>,
    /// The endpoint from an override that another connection uses, and its replacement.
    pub(super) moved: Option<(SocketAddr, SocketAddr)>,
}

/// Assigns addresses to connections.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    local: Option<AddressOverride>,
    remote: Option<AddressOverride>,
    pool: Pool,
    ports: Ports,
    /// The number of connections of an endpoint without a name, by the other endpoint, its side and its port.
    /// Each connection gets its own address.
    unnamed: HashMap<(SocketAddr, Direction, u16), usize>,
    /// The replacements of addresses whose ports are all in use, by the other endpoint.
    full: HashMap<(IpAddr, SocketAddr), IpAddr>,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug)]
struct End {
    side: Direction,
    /// `None`: any address is suitable.
    ip: Option<IpAddr>,
    port: u16,
    /// Where the port comes from.
    source: AddressSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressSource {
    Recorded,
    AddressOverride,
    Nowhere,
}

impl End {
    /// Whether its address or port may be chosen freely.
    fn can_vary(&self, is_client: bool) -> bool {
        match self.source {
            _ if self.ip.is_none() => true,
            AddressSource::Nowhere => true,
            AddressSource::AddressOverride => is_client,
            AddressSource::Recorded => false,
        }
    }
}

impl AddressBook {
    pub(super) fn new(local: Option<AddressOverride>, remote: Option<AddressOverride>) -> Self {
        Self {
            local,
            remote,
            ..Self::default()
        }
    }

    /// An unused address that replaces `ip` on one side of its connection.
    pub(super) fn fresh(&mut self, ip: IpAddr, side: Direction) -> IpAddr {
        self.pool.fresh(side, ip.is_ipv6())
    }

    /// Assigns the endpoints of `connection`; `seed` selects the client's port.
    pub(super) fn place(&mut self, seed: u64, connection: &Connection, role: Role) -> Placed {
        let Connection { local, remote, .. } = connection;
        let given = [self.local, self.remote];
        let v6 = [(local, given[0]), (remote, given[1])]
            .iter()
            .filter_map(|(end, given)| ip_of(end.as_ref(), *given))
            .any(|ip| ip.is_ipv6());
        let names = [local, remote].map(|end| end.as_ref().and_then(name));
        let is_same = names[0] == names[1];
        let [local_name, remote_name] = names;
        let client = role.from_client();
        let mut end = |side, recorded: &Option<Endpoint>, given, name: Option<String>| {
            let ip = ip_of(recorded.as_ref(), given).or_else(|| {
                let is_second = is_same && side == Direction::Read;
                let name = name.map(|name| Name { name, is_second })?;
                Some(self.pool.named(name, side, v6))
            });
            let ip = ip.map(|ip| match ip {
                IpAddr::V4(ip) if v6 => ip.to_ipv6_mapped().into(),
                ip => ip,
            });
            let (port, source) = port_of(recorded.as_ref(), given).unwrap_or_else(|| {
                let port = if side == client {
                    dynamic_port(seed)
                } else {
                    HTTP_PORT
                };
                (port, AddressSource::Nowhere)
            });
            End {
                side,
                ip,
                port,
                source,
            }
        };
        let local_end = end(Direction::Write, local, given[0], local_name);
        let remote_end = end(Direction::Read, remote, given[1], remote_name);
        let (client_end, server_end) = match role {
            Role::Downstream => (remote_end, local_end),
            Role::Upstream => (local_end, remote_end),
        };
        let (client, server, moved) = self.assign(client_end, server_end, seed, v6);
        let endpoints = match role {
            Role::Downstream => Endpoints {
                local: server,
                remote: client,
            },
            Role::Upstream => Endpoints {
                local: client,
                remote: server,
            },
        };
        let stand_in =
            |side, recorded: &Option<Endpoint>, given: Option<AddressOverride>, address| {
                let carried = matches!(recorded, Some(Endpoint::Ip(_, port)) if *port != 0);
                // An override needs no report.
                (!carried && given.is_none()).then(|| StandIn {
                    side,
                    address,
                    recorded: recorded.clone(),
                })
            };
        let stand_ins = [
            stand_in(Direction::Write, local, given[0], endpoints.local),
            stand_in(Direction::Read, remote, given[1], endpoints.remote),
        ];
        Placed {
            endpoints,
            stand_ins: stand_ins.into_iter().flatten().collect(),
            moved,
        }
    }

    /// Assigns the addresses of a client and its server. Also returns the client's endpoint from an override that another
    /// connection uses, and its replacement.
    fn assign(
        &mut self,
        client_end: End,
        server_end: End,
        seed: u64,
        v6: bool,
    ) -> (SocketAddr, SocketAddr, Option<(SocketAddr, SocketAddr)>) {
        if client_end.can_vary(true) {
            let server = self.fixed(server_end, v6);
            let client = self.vary(client_end, server, seed, v6);
            let mut moved = None;
            if let (Some(ip), AddressSource::AddressOverride) = (client_end.ip, client_end.source) {
                let was = SocketAddr::new(ip, client_end.port);
                moved = (client != was).then_some((was, client));
            }
            return (client, server, moved);
        }
        let client = self.fixed(client_end, v6);
        let server = match server_end.can_vary(false) {
            true => self.vary(server_end, client, seed, v6),
            false => self.fixed(server_end, v6),
        };
        (client, server, None)
    }

    /// The address of an endpoint that is the same for all its connections.
    fn fixed(&mut self, end: End, v6: bool) -> SocketAddr {
        let ip = end.ip.unwrap_or_else(|| self.pool.unnamed(0, end.side, v6));
        SocketAddr::new(ip, end.port)
    }

    /// An address that no other connection of this endpoint to `other` uses.
    fn vary(&mut self, end: End, other: SocketAddr, seed: u64, v6: bool) -> SocketAddr {
        let Some(mut ip) = end.ip else {
            let count = self.unnamed.entry((other, end.side, end.port)).or_default();
            loop {
                let ip = self.pool.unnamed(*count, end.side, v6);
                *count += 1;
                let address = SocketAddr::new(ip, end.port);
                if address != other {
                    return address;
                }
            }
        };
        let fixed = ip;
        if let Some(&in_place) = self.full.get(&(fixed, other)) {
            ip = in_place;
        }
        loop {
            if let Some(port) = self.ports.take(ip, other, end.port, seed) {
                return SocketAddr::new(ip, port);
            }
            ip = self.pool.fresh(end.side, v6);
            self.full.insert((fixed, other), ip);
        }
    }
}

/// The IP address of an endpoint, recorded or given.
fn ip_of(recorded: Option<&Endpoint>, given: Option<AddressOverride>) -> Option<IpAddr> {
    let recorded = match recorded {
        Some(Endpoint::Ip(ip, _)) => Some(*ip),
        _ => None,
    };
    let ip = recorded.or_else(|| given.map(|given| given.ip))?;
    Some(ip.to_canonical())
}

/// The port of an endpoint and its source, recorded or given. Port 0 counts as none.
fn port_of(
    recorded: Option<&Endpoint>,
    given: Option<AddressOverride>,
) -> Option<(u16, AddressSource)> {
    let recorded = match recorded {
        Some(Endpoint::Ip(_, port) | Endpoint::Host(_, port)) => {
            Some((*port, AddressSource::Recorded))
        }
        _ => None,
    };
    let given = given.and_then(|given| Some((given.port?, AddressSource::AddressOverride)));
    [recorded, given]
        .into_iter()
        .flatten()
        .find(|(port, _)| *port != 0)
}

#[cfg(test)]
mod tests;
