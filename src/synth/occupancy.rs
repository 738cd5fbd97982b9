//! Which endpoints are in use, so that no two connections have the same ones at the same time. Wireshark would
//! take them for one connection.
//!
//! Knows nothing of packets. If the recorded endpoints are in use, the client gets another port, and if all its
//! ports are in use, another address.
//!
//! Invariant: a port is examined once for each pair of a client's address and a server, or when it is released.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use crate::model::event::TraceId;
use crate::model::protocol::Role;

use super::address::{AddressBook, PortsLeft};
use super::frame::Endpoints;
use super::mix;

/// A connection that requests endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointRequest<'a> {
    pub(super) id: TraceId,
    pub(super) role: Role,
    pub(super) lease: Lease,
    pub(super) namespace: Option<&'a str>,
}

/// How long a connection keeps its endpoints, unless it [releases](Occupancy::release) them earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// Until the connection releases them when it ends.
    Firm,
    /// The same, unless its id appears again: Envoy was restarted, and records no end.
    Restartable,
    /// Until another connection requests them, since its end is not recorded.
    Revocable,
}

/// The endpoints in use.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// The owners, by endpoints, the lesser first.
    owners: HashMap<(SocketAddr, SocketAddr), Owner>,
    /// The replacements, by the client's address and the server.
    others: HashMap<(IpAddr, SocketAddr), Others>,
    /// The number of endpoints examined.
    #[cfg(test)]
    steps: u64,
}

#[derive(Debug)]
struct Owner {
    id: TraceId,
    lease: Lease,
    namespace: Option<Box<str>>,
    /// The client's recorded address, if another endpoint replaces it.
    moved_from: Option<IpAddr>,
}

/// The client's endpoints that replace those in use.
#[derive(Debug)]
struct Others {
    ip: IpAddr,
    left: PortsLeft,
    /// Endpoints that were released.
    free: Vec<SocketAddr>,
}

impl Occupancy {
    /// Assigns `endpoints` to a connection, with another client endpoint if they are in use.
    pub(super) fn occupy(
        &mut self,
        endpoints: Endpoints,
        request: EndpointRequest<'_>,
        book: &mut AddressBook,
    ) -> Endpoints {
        if self.try_occupy(endpoints, request, None) {
            return endpoints;
        }
        let (client, server) = match request.role {
            Role::Downstream => (endpoints.remote, endpoints.local),
            Role::Upstream => (endpoints.local, endpoints.remote),
        };
        let key = (client.ip(), server);
        let seed = mix(request.id.number);
        let mut others = self.others.remove(&key).unwrap_or_else(|| Others {
            ip: client.ip(),
            left: PortsLeft::new(seed),
            free: Vec::new(),
        });
        let found = loop {
            let ip = others.ip;
            let next = others.free.pop();
            let Some(client) = next.or_else(|| Some(SocketAddr::new(ip, others.left.next()?)))
            else {
                others.ip = book.fresh(ip, request.role.from_client());
                others.left = PortsLeft::new(seed);
                continue;
            };
            let endpoints = match request.role {
                Role::Downstream => Endpoints {
                    remote: client,
                    local: server,
                },
                Role::Upstream => Endpoints {
                    local: client,
                    remote: server,
                },
            };
            if self.try_occupy(endpoints, request, Some(key.0)) {
                break endpoints;
            }
        };
        self.others.insert(key, others);
        found
    }

    fn try_occupy(
        &mut self,
        endpoints: Endpoints,
        request: EndpointRequest<'_>,
        moved_from: Option<IpAddr>,
    ) -> bool {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        let owner = Owner {
            id: request.id,
            lease: request.lease,
            namespace: request.namespace.map(Into::into),
            moved_from,
        };
        match self.owners.entry(endpoints.in_order()) {
            Entry::Vacant(entry) => {
                entry.insert(owner);
                true
            }
            Entry::Occupied(mut entry) => {
                let old = entry.get();
                let is_same_id =
                    (old.id.source, old.id.number) == (owner.id.source, owner.id.number);
                let is_over = match old.lease {
                    Lease::Firm => false,
                    Lease::Restartable => is_same_id,
                    // This may be the next connection of the same client.
                    Lease::Revocable => true,
                };
                if is_over && old.namespace == owner.namespace && moved_from.is_none() {
                    entry.insert(owner);
                    return true;
                }
                false
            }
        }
    }

    /// Releases the endpoints of a connection.
    pub(super) fn release(&mut self, endpoints: &Endpoints, id: TraceId) {
        let Entry::Occupied(entry) = self.owners.entry(endpoints.in_order()) else {
            return;
        };
        // Another connection may own them by now.
        if entry.get().id != id {
            return;
        }
        let Some(ip) = entry.remove().moved_from else {
            return;
        };
        for (client, server) in [
            (endpoints.remote, endpoints.local),
            (endpoints.local, endpoints.remote),
        ] {
            if let Some(others) = self.others.get_mut(&(ip, server)) {
                others.free.push(client);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn request(number: u64) -> EndpointRequest<'static> {
        EndpointRequest {
            id: TraceId {
                number,
                ..TraceId::default()
            },
            role: Role::Downstream,
            lease: Lease::Firm,
            namespace: None,
        }
    }

    fn endpoints() -> Endpoints {
        Endpoints {
            local: "10.0.0.1:80".parse().unwrap(),
            remote: "10.0.0.2:5000".parse().unwrap(),
        }
    }

    /// With more simultaneous connections than ports, each connection takes two steps. A search from the first port would
    /// take up to a hundred thousand.
    #[test]
    fn simultaneous_connections_on_the_same_endpoints_take_linear_time() {
        let mut occupancy = Occupancy::default();
        let mut book = AddressBook::default();
        let mut seen = HashSet::new();
        const COUNT: u64 = 70_000;
        for number in 0..COUNT {
            let placed = occupancy.occupy(endpoints(), request(number), &mut book);
            assert_eq!(placed.local, endpoints().local);
            assert!(seen.insert(placed.remote), "{} twice", placed.remote);
        }
        assert!(occupancy.steps < 3 * COUNT, "{} steps", occupancy.steps);
        let ips: HashSet<_> = seen.iter().map(SocketAddr::ip).collect();
        assert_eq!(
            ips.len(),
            2,
            "the recorded address, and a stand-in: {ips:?}"
        );
    }

    #[test]
    fn a_released_port_is_used_again() {
        let mut occupancy = Occupancy::default();
        let mut book = AddressBook::default();
        occupancy.occupy(endpoints(), request(0), &mut book);
        let mut seen = HashSet::new();
        for number in 1..50_000 {
            let placed = occupancy.occupy(endpoints(), request(number), &mut book);
            seen.insert(placed.remote);
            occupancy.release(&placed, request(number).id);
        }
        assert_eq!(seen.len(), 1);
        assert!(occupancy.steps < 150_000);
        // The first connection keeps the recorded endpoints until it releases them.
        occupancy.release(&endpoints(), request(7).id);
        let placed = occupancy.occupy(endpoints(), request(7), &mut book);
        assert_ne!(placed, endpoints());
        occupancy.release(&endpoints(), request(0).id);
        let placed = occupancy.occupy(endpoints(), request(8), &mut book);
        assert_eq!(placed, endpoints());
    }

    #[test]
    fn a_connection_without_a_recorded_end_releases_its_endpoints_on_request() {
        let unsure = |number, namespace| EndpointRequest {
            lease: Lease::Revocable,
            namespace,
            ..request(number)
        };
        let mut occupancy = Occupancy::default();
        let mut book = AddressBook::default();
        for number in 0..3 {
            let placed = occupancy.occupy(endpoints(), unsure(number, Some("a")), &mut book);
            assert_eq!(placed, endpoints());
        }
        let other = occupancy.occupy(endpoints(), unsure(3, Some("b")), &mut book);
        assert_ne!(other, endpoints());
        let none = occupancy.occupy(endpoints(), unsure(4, None), &mut book);
        assert!(none != endpoints() && none != other);
    }

    #[test]
    fn a_repeated_id_takes_over_the_endpoints() {
        let streamed = |number, instance| EndpointRequest {
            id: TraceId {
                instance,
                ..request(number).id
            },
            lease: Lease::Restartable,
            ..request(number)
        };
        let mut occupancy = Occupancy::default();
        let mut book = AddressBook::default();
        for instance in 0..3 {
            let placed = occupancy.occupy(endpoints(), streamed(7, instance), &mut book);
            assert_eq!(placed, endpoints());
        }
        let other = occupancy.occupy(endpoints(), streamed(8, 0), &mut book);
        assert_ne!(other, endpoints());
    }
}
