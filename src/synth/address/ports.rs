//! The ports of an end whose address is fixed, one for each of its connections to the same other end.
//!
//! Invariant: a port is looked at once for each pair of an address and another end, so that to place any
//! number of connections takes time in proportion to it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// The first port of IANA's dynamic range (RFC 6335, section 6), and how many there are.
const FIRST_DYNAMIC_PORT: u16 = 49_152;
const DYNAMIC_PORTS: u32 = 65_536 - FIRST_DYNAMIC_PORT as u32;
/// The first port that needs no privilege.
const FIRST_USER_PORT: u16 = 1024;
/// How many ports an end can have: the dynamic ones, and then those of users from the last to the first.
const PORTS: u32 = DYNAMIC_PORTS + (FIRST_DYNAMIC_PORT - FIRST_USER_PORT) as u32;

/// The dynamic port that `seed` picks.
pub(in super::super) const fn dynamic_port(seed: u64) -> u16 {
    FIRST_DYNAMIC_PORT + (seed % DYNAMIC_PORTS as u64) as u16
}

/// The ports that are left to an end, from one that a seed picks.
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

/// The ports that are given away.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// The end with the port, and the other end.
    taken: HashSet<(SocketAddr, SocketAddr)>,
    /// What is left where the first choice was taken.
    left: HashMap<(IpAddr, SocketAddr), PortsLeft>,
    /// How many ports have been looked at.
    #[cfg(test)]
    pub(super) steps: u64,
}

impl Ports {
    /// A port at `ip` for a connection to `other` that no other has: `preferred`, or one that `seed` picks.
    /// There is none where all are taken.
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
        // One end of a connection is not the other.
        end != other && self.taken.insert((end, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_there_once() {
        for seed in [0, 5, 16_383, u64::MAX] {
            let ports: Vec<_> = PortsLeft::new(seed).collect();
            assert_eq!(ports.len(), 65_536 - 1024);
            assert_eq!(ports[0], dynamic_port(seed));
            assert!(ports[..16_384].iter().all(|&port| port >= 49_152));
            let different: HashSet<_> = ports.iter().collect();
            assert_eq!(different.len(), ports.len());
        }
    }

    /// All connections between two hosts, with the same first choice for each.
    #[test]
    fn to_give_all_ports_away_takes_a_step_for_each() {
        let mut ports = Ports::default();
        let (ip, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:443".parse().unwrap());
        let mut seen = HashSet::new();
        while let Some(port) = ports.take(ip, other, 49_152, 0) {
            assert!(seen.insert(port), "{port} twice");
        }
        assert_eq!(seen.len(), 65_536 - 1024);
        assert!(ports.steps < 3 * 65_536, "{} steps", ports.steps);
        // Another end has them all again.
        let another = "10.0.0.2:444".parse().unwrap();
        assert_eq!(ports.take(ip, another, 5000, 0), Some(5000));
        assert_eq!(ports.take(ip, another, 5000, 7), Some(49_159));
    }
}
