//! Recorded addresses, overrides and stand-ins.

use super::*;
use std::collections::HashSet;

fn ip(text: &str, port: u16) -> Option<Endpoint> {
    Some(Endpoint::Ip(text.parse().unwrap(), port))
}

fn host(name: &str, port: u16) -> Option<Endpoint> {
    Some(Endpoint::Host(name.into(), port))
}

fn pipe(path: &str) -> Option<Endpoint> {
    Some(Endpoint::Pipe(path.into()))
}

fn given(text: &str) -> Option<AddressOverride> {
    Some(text.parse().unwrap())
}

fn place(
    book: &mut AddressBook,
    seed: u64,
    role: Role,
    local: Option<Endpoint>,
    remote: Option<Endpoint>,
) -> Placed {
    let connection = Connection {
        local,
        remote,
        ..Connection::default()
    };
    book.place(seed, &connection, role)
}

fn shown(placed: &Placed) -> String {
    format!("{} {}", placed.endpoints.local, placed.endpoints.remote)
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
    for role in [Role::Downstream, Role::Upstream] {
        for (local, remote, expected) in cases {
            // The same each time the addresses are recorded.
            for _ in 0..3 {
                let placed = place(&mut book, 1, role, ip(local, 80), ip(remote, 99));
                assert_eq!(shown(&placed), expected);
                assert_eq!((placed.stand_ins, placed.moved), (vec![], None));
            }
        }
    }
}

#[test]
fn what_is_missing_gets_a_stand_in_and_what_is_known_stays() {
    let (down, up) = (Role::Downstream, Role::Upstream);
    let known = || ip("10.0.0.2", 443);
    let cases = [
        (down, None, None, "192.0.2.1:80 192.0.2.2:49159", 2),
        (up, None, None, "192.0.2.1:49159 192.0.2.2:80", 2),
        (up, None, known(), "192.0.2.1:49159 10.0.0.2:443", 1),
        (down, None, known(), "192.0.2.1:80 10.0.0.2:443", 1),
        (down, known(), None, "10.0.0.2:443 192.0.2.2:49159", 1),
        (
            up,
            None,
            ip("2001:db8::9", 443),
            "[2001:db8::1]:49159 [2001:db8::9]:443",
            1,
        ),
        (
            up,
            ip("10.0.0.1", 0),
            known(),
            "10.0.0.1:49159 10.0.0.2:443",
            1,
        ),
        (
            down,
            ip("10.0.0.1", 0),
            known(),
            "10.0.0.1:80 10.0.0.2:443",
            1,
        ),
        (
            down,
            host("db", 5432),
            known(),
            "192.0.2.1:5432 10.0.0.2:443",
            1,
        ),
        (down, host("db", 0), known(), "192.0.2.1:80 10.0.0.2:443", 1),
        (
            down,
            pipe("@a"),
            pipe("@a"),
            "192.0.2.1:80 192.0.2.2:49159",
            2,
        ),
        (
            up,
            pipe("@a"),
            pipe("@b"),
            "192.0.2.1:49159 192.0.2.2:80",
            2,
        ),
    ];
    for (role, local, remote, expected, stand_ins) in cases {
        let placed = place(
            &mut AddressBook::default(),
            7,
            role,
            local.clone(),
            remote.clone(),
        );
        let case = format!("{role:?} {local:?} {remote:?}");
        assert_eq!(shown(&placed), expected, "{case}");
        assert_eq!(placed.stand_ins.len(), stand_ins, "{case}");
        assert_eq!(placed.moved, None, "{case}");
    }
}

/// The ids of these connections select the same client port.
#[test]
fn stand_ins_are_unique_within_a_capture() {
    let known = || ip("10.0.0.2", 443);
    let zero = || ip("10.0.0.1", 0);
    let (down, up) = (Role::Downstream, Role::Upstream);
    let cases = [
        (down, None, None),
        (up, None, None),
        (up, None, known()),
        (down, None, known()),
        (down, known(), None),
        (up, zero(), known()),
        (down, zero(), known()),
        (down, zero(), zero()),
        (down, pipe("@a"), pipe("@a")),
        (down, pipe("@a"), known()),
        (up, None, host("db", 5432)),
    ];
    for (role, local, remote) in cases {
        let mut book = AddressBook::default();
        let mut seen = HashSet::new();
        let case = format!("{role:?} {local:?} {remote:?}");
        let alone = place(
            &mut AddressBook::default(),
            7,
            role,
            local.clone(),
            remote.clone(),
        );
        for i in 0..1000 {
            let placed = place(
                &mut book,
                7 + 16_384 * i,
                role,
                local.clone(),
                remote.clone(),
            );
            assert!(i > 0 || placed == alone, "{case}");
            assert!(seen.insert(placed.endpoints), "{case}: {placed:?} twice");
            let server = match role {
                Role::Downstream => placed.endpoints.local,
                Role::Upstream => placed.endpoints.remote,
            };
            let can_stay = !matches!(
                (role, &remote, &local),
                (Role::Downstream, Some(Endpoint::Ip(_, 443)), Some(_))
            );
            if can_stay {
                let ports = [80, 443, 5432];
                assert!(ports.contains(&server.port()), "{case}: {server}");
            }
        }
    }
    // Endpoints that are both recorded may occur again, as on the wire.
    let mut book = AddressBook::default();
    let mut again = || place(&mut book, 7, up, ip("10.0.0.9", 5000), host("db", 5432));
    assert_eq!(again(), again());
}

/// Endpoints without a name have addresses, too.
#[test]
fn each_name_has_one_address_and_each_address_one_name() {
    let mut book = AddressBook::default();
    let mut names = HashMap::new();
    let mut endpoints = HashSet::new();
    for i in 0..20_000_u64 {
        // Hosts, paths, the same name at both ends, and an end without a name.
        let (local, remote) = match i % 4 {
            0 => (ip("10.0.0.1", 5000), host(&format!("host-{i}"), 443)),
            1 => (
                pipe(&format!("/run/{i}.sock")),
                pipe(&format!("/run/{i}.sock")),
            ),
            2 => (None, host(&format!("host-{}", i / 8 * 4), 443)),
            _ => (None, None),
        };
        let role = [Role::Upstream, Role::Downstream, Role::Upstream][i as usize % 3];
        let placed = place(&mut book, i, role, local, remote);
        assert!(endpoints.insert(placed.endpoints), "{placed:?}");
        for stand_in in &placed.stand_ins {
            let name = stand_in.name();
            let known = names.entry(stand_in.address.ip()).or_insert(name.clone());
            assert_eq!(*known, name, "{}", stand_in.address.ip());
        }
    }
    let placed = |book: &mut AddressBook| place(book, 0, Role::Upstream, None, host("host-0", 1));
    let first = placed(&mut book).endpoints.remote.ip();
    assert_eq!(placed(&mut book).endpoints.remote.ip(), first);
}

/// The names of hosts come from the trace, and a reader displays them.
#[test]
fn a_name_is_escaped() {
    let mut book = AddressBook::default();
    let odd = "\x1b[31m\0\n\u{202e}name";
    for recorded in [host(odd, 80), pipe(odd)] {
        let placed = place(&mut book, 0, Role::Upstream, None, recorded);
        let name = placed.stand_ins[1].name().unwrap();
        assert!(!name.chars().any(crate::is_terminal_control), "{name:?}");
        assert!(name.ends_with("name"), "{name:?}");
    }
    // A stand-in for the port alone gives the address no name.
    let placed = place(&mut book, 0, Role::Upstream, ip("10.0.0.1", 0), None);
    assert_eq!(placed.stand_ins[0].name(), None);
}

#[test]
fn given_addresses_fill_what_is_missing_only() {
    let (down, up) = (Role::Downstream, Role::Upstream);
    let mut book = AddressBook::new(given("10.9.9.9:80"), given("[fd00::1]"));
    let placed = place(&mut book, 3, down, None, ip("10.0.0.2", 443));
    assert_eq!(shown(&placed), "10.9.9.9:80 10.0.0.2:443");
    let placed = place(&mut book, 3, down, ip("::1", 1), None);
    assert_eq!(shown(&placed), "[::1]:1 [fd00::1]:49155");
    // Port 0 counts as none.
    let mut book = AddressBook::new(given("10.1.1.1:0"), given("10.1.1.2:0"));
    let placed = place(&mut book, 3, down, None, None);
    assert_eq!(shown(&placed), "10.1.1.1:80 10.1.1.2:49155");
    let placed = place(
        &mut AddressBook::new(given("10.1.1.1:0"), None),
        3,
        up,
        None,
        None,
    );
    assert_eq!(shown(&placed), "10.1.1.1:49155 192.0.2.2:80");
    for bad in ["", "host", "10.0.0.1:", "10.0.0.1:99999", "[::1"] {
        assert!(bad.parse::<AddressOverride>().is_err(), "{bad}");
    }
}

#[test]
fn given_addresses_never_join_two_connections() {
    for (local, remote, role) in [
        ("10.1.1.1:80", "10.1.1.2:5000", Role::Downstream),
        ("10.1.1.1:5000", "10.1.1.2:80", Role::Upstream),
        ("10.1.1.1", "10.1.1.2", Role::Downstream),
        ("10.1.1.1:80", "10.1.1.1:80", Role::Downstream),
        ("10.1.1.1:80", "10.1.1.2", Role::Downstream),
    ] {
        let mut book = AddressBook::new(given(local), given(remote));
        let mut seen = HashSet::new();
        // Once, more than there are ports.
        let count = if remote.ends_with(":5000") {
            65_000
        } else {
            2000
        };
        for i in 0..count {
            let placed = place(&mut book, 7, role, None, None);
            assert!(seen.insert(placed.endpoints), "{placed:?} twice");
            assert_eq!(placed.stand_ins, []);
            let Endpoints { local, remote } = placed.endpoints;
            let (client, server) = match role {
                Role::Downstream => (remote, local),
                Role::Upstream => (local, remote),
            };
            assert_eq!(server.port(), 80);
            assert_ne!(client, server);
            // `moved` is a given address that another connection uses.
            match placed.moved {
                Some((was, is)) => assert!(was != is && is == client, "{placed:?}"),
                None => assert!(i == 0 || client.port() >= 1024, "{placed:?}"),
            }
        }
    }
}
