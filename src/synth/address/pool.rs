//! Addresses for names and for missing addresses.
//!
//! They come from ranges that no host on the Internet has: first the documentation ranges (192.0.2.0/24,
//! 198.51.100.0/24 and 203.0.113.0/24, RFC 5737; 2001:db8::/32, RFC 3849), then the benchmark range
//! (198.18.0.0/15, RFC 2544), then the reserved range (240.0.0.0/4, RFC 1112). Odd addresses are local endpoints,
//! even ones remote endpoints.
//!
//! Invariant: an address has at most one name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::event::Direction;

/// The ranges of IPv4: the first /24 and the number of /24s.
const RANGES: [(Ipv4Addr, u64); 5] = [
    (Ipv4Addr::new(192, 0, 2, 0), 1),
    (Ipv4Addr::new(198, 51, 100, 0), 1),
    (Ipv4Addr::new(203, 0, 113, 0), 1),
    (Ipv4Addr::new(198, 18, 0, 0), 1 << 9),
    (Ipv4Addr::new(240, 0, 0, 0), 1 << 20),
];

/// The number of hosts in a /24.
const HOSTS: u64 = 254;

/// The stand-in with this number, from 0, for one side of a connection.
fn stand_in(number: u64, side: Direction, v6: bool) -> IpAddr {
    let number = number * 2 + u64::from(side == Direction::Read);
    if v6 {
        let base = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).to_bits();
        return Ipv6Addr::from_bits(base + u128::from(number)).into();
    }
    let nets: u64 = RANGES.iter().map(|(_, nets)| nets).sum();
    // A capture with more of them would not fit on a disk.
    let number = number % (nets * HOSTS);
    let (mut net, host) = (number / HOSTS, number % HOSTS + 1);
    for (first, nets) in RANGES {
        if net < nets {
            return Ipv4Addr::from_bits(first.to_bits() + (net as u32) * 256 + host as u32).into();
        }
        net -= nets;
    }
    Ipv4Addr::UNSPECIFIED.into()
}

/// The stand-ins of one address family.
#[derive(Debug, Default)]
struct Family {
    named: HashMap<Name, IpAddr>,
    local: Side,
    remote: Side,
}

/// The stand-ins for endpoints on one side of their connections.
#[derive(Debug, Default)]
struct Side {
    /// The number of assigned addresses.
    used: u64,
    /// The addresses of endpoints without a name.
    unnamed: Vec<IpAddr>,
}

/// The name of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) name: String,
    /// Whether the other endpoint of the connection has the same name.
    pub(super) is_second: bool,
}

/// All stand-in addresses of a capture.
#[derive(Debug, Default)]
pub(super) struct Pool {
    v4: Family,
    v6: Family,
}

impl Pool {
    fn family(&mut self, v6: bool) -> &mut Family {
        if v6 { &mut self.v6 } else { &mut self.v4 }
    }

    /// An unused address.
    pub(super) fn fresh(&mut self, side: Direction, v6: bool) -> IpAddr {
        self.family(v6).fresh(side, v6)
    }

    /// The address of a name that first occurs on this side of a connection.
    pub(super) fn named(&mut self, name: Name, side: Direction, v6: bool) -> IpAddr {
        let family = self.family(v6);
        if let Some(&ip) = family.named.get(&name) {
            return ip;
        }
        let ip = family.fresh(side, v6);
        family.named.insert(name, ip);
        ip
    }

    /// The address of an endpoint without a name, by its number from 0.
    pub(super) fn unnamed(&mut self, number: usize, side: Direction, v6: bool) -> IpAddr {
        let family = self.family(v6);
        loop {
            if let Some(&ip) = family.side(side).unnamed.get(number) {
                return ip;
            }
            let ip = family.fresh(side, v6);
            family.side(side).unnamed.push(ip);
        }
    }
}

impl Family {
    const fn side(&mut self, side: Direction) -> &mut Side {
        match side {
            Direction::Write => &mut self.local,
            Direction::Read => &mut self.remote,
        }
    }

    fn fresh(&mut self, side: Direction, v6: bool) -> IpAddr {
        let used = &mut self.side(side).used;
        *used += 1;
        stand_in(*used - 1, side, v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Read, Write};
    use std::collections::HashSet;

    #[test]
    fn stand_ins_come_from_the_reserved_ranges_one_after_the_other() {
        let cases = [
            (0, Write, "192.0.2.1"),
            (0, Read, "192.0.2.2"),
            (126, Read, "192.0.2.254"),
            (127, Write, "198.51.100.1"),
            (254, Write, "203.0.113.1"),
            (381, Write, "198.18.0.1"),
            (381 + 127 * 512 - 1, Read, "198.19.255.254"),
            (381 + 127 * 512, Write, "240.0.0.1"),
            (381 + 127 * (512 + (1 << 20)) - 1, Read, "255.255.255.254"),
        ];
        for (number, side, expected) in cases {
            assert_eq!(stand_in(number, side, false).to_string(), expected);
        }
        assert_eq!(stand_in(0, Write, true).to_string(), "2001:db8::1");
        assert_eq!(stand_in(32_767, Read, true).to_string(), "2001:db8::1:0");
        let both = |number| [Write, Read].map(|side| stand_in(number, side, false));
        let different: HashSet<_> = (0..100_000).flat_map(both).collect();
        assert_eq!(different.len(), 200_000);
    }

    #[test]
    fn each_name_has_its_own_address() {
        let mut pool = Pool::default();
        let mut seen = HashSet::new();
        for v6 in [false, true] {
            for side in [Write, Read] {
                for number in [0, 1, 2] {
                    assert!(seen.insert(pool.unnamed(number, side, v6)));
                }
            }
            for name in ["a", "b"] {
                for is_second in [false, true] {
                    let name = Name {
                        name: name.to_owned(),
                        is_second,
                    };
                    let ip = pool.named(name.clone(), Write, v6);
                    assert!(seen.insert(ip), "{ip}");
                    // A name has the same address on either side.
                    assert_eq!(pool.named(name, Read, v6), ip);
                }
            }
            assert!(seen.insert(pool.fresh(Read, v6)));
        }
        assert_eq!(pool.unnamed(2, Read, false).to_string(), "192.0.2.6");
    }
}
