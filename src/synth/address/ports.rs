//! The ports of an endpoint with a fixed address: one for each of its connections to the same other endpoint.
//!
//! Invariant: a port is examined once for each pair of an address and another endpoint, so assigning ports takes
//! time linear in the number of connections.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// The first port of IANA's dynamic range (RFC 6335, section 6), and the size of the range.
const FIRST_DYNAMIC_PORT: u16 = 49_152;
const DYNAMIC_PORTS: u32 = 65_536 - FIRST_DYNAMIC_PORT as u32;
/// The first port that needs no privilege.
const FIRST_USER_PORT: u16 = 1024;
/// The number of usable ports: the dynamic ones, then the user ports from the last to the first.
const PORTS: u32 = DYNAMIC_PORTS + (FIRST_DYNAMIC_PORT - FIRST_USER_PORT) as u32;

/// The dynamic port that `seed` selects.
pub(in super::super) const fn dynamic_port(seed: u64) -> u16 {
    FIRST_DYNAMIC_PORT + (seed % DYNAMIC_PORTS as u64) as u16
}

/// The remaining ports of an endpoint, starting from one that a seed selects.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PortsLeft {
    seed: u64,
    step: u32,
}

impl PortsLeft {
    pub(in super::super) const fn new(seed: u64) -> Self {
        Self { seed, step: 0 }
    }
}

impl Iterator for PortsLeft {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let step = self.step;
        if step >= PORTS {
            return None;
        }
        self.step += 1;
        Some(match step.checked_sub(DYNAMIC_PORTS) {
            None => dynamic_port(self.seed % u64::from(DYNAMIC_PORTS) + u64::from(step)),
            Some(step) => FIRST_DYNAMIC_PORT - 1 - step as u16,
        })
    }
}

/// The assigned ports.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// The endpoint with the port, and the other endpoint.
    taken: HashSet<(SocketAddr, SocketAddr)>,
    /// The remaining ports, if the first choice was taken.
    left: HashMap<(IpAddr, SocketAddr), PortsLeft>,
    /// The number of ports examined.
    #[cfg(test)]
    pub(super) steps: u64,
}

impl Ports {
    /// Assigns a port at `ip` that no other connection to `other` uses: `preferred`, or one that `seed` selects.
    /// Returns `None` if all are taken.
    pub(super) fn take(
        &mut self,
        ip: IpAddr,
        other: SocketAddr,
        preferred: u16,
        seed: u64,
    ) -> Option<u16> {
        if self.try_take(SocketAddr::new(ip, preferred), other) {
            return Some(preferred);
        }
        let left = self.left.get(&(ip, other)).copied();
        let mut left = left.unwrap_or_else(|| PortsLeft::new(seed));
        let port = left.find(|&port| self.try_take(SocketAddr::new(ip, port), other));
        self.left.insert((ip, other), left);
        port
    }

    fn try_take(&mut self, end: SocketAddr, other: SocketAddr) -> bool {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        // An endpoint cannot be connected to itself.
        end != other && self.taken.insert((end, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_returned_once() {
        for seed in [0, 5, 16_383, u64::MAX] {
            let ports: Vec<_> = PortsLeft::new(seed).collect();
            assert_eq!(ports.len(), 65_536 - 1024);
            assert_eq!(ports[0], dynamic_port(seed));
            assert!(ports[..16_384].iter().all(|&port| port >= 49_152));
            let different: HashSet<_> = ports.iter().collect();
            assert_eq!(different.len(), ports.len());
        }
    }

    /// All connections between two hosts prefer the same port.
    #[test]
    fn assigning_all_ports_takes_linear_time() {
        let mut ports = Ports::default();
        let (ip, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:443".parse().unwrap());
        let mut seen = HashSet::new();
        while let Some(port) = ports.take(ip, other, 49_152, 0) {
            assert!(seen.insert(port), "{port} twice");
        }
        assert_eq!(seen.len(), 65_536 - 1024);
        assert!(ports.steps < 3 * 65_536, "{} steps", ports.steps);
        // Another endpoint has all ports available.
        let another = "10.0.0.2:444".parse().unwrap();
        assert_eq!(ports.take(ip, another, 5000, 0), Some(5000));
        assert_eq!(ports.take(ip, another, 5000, 7), Some(49_159));
    }
}
