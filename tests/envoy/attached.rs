//! Captures of taps of the admin interface, compared with the wire.
//!
//! A streaming tap has to contain every run from the first that it recorded to the one with which it ended. A buffering
//! tap has to contain the requested number of traces.

use crate::admin::{ANY, LAST, TRACES, Tapped, WHOLE};
use crate::compare::{Figures, Pairing, compare, is_stand_in, judged};
use crate::config::{ADMIN_HTTP, ADMIN_SOCKET};
use crate::connection::Connection;
use crate::http;
use crate::lab::lab;
use crate::variant::to_admin;

fn tapped(id: &str) -> Vec<&'static Tapped> {
    let tapped: Vec<_> = lab()
        .tapped
        .iter()
        .filter(|tapped| tapped.id == id)
        .collect();
    assert_eq!(tapped.len(), to_admin().len(), "{id}: variants");
    tapped
}

/// Whether a connection's requests have `mark` in a header.
fn is_of(connection: &Connection, mark: &str) -> bool {
    let asked = &connection.flows[0];
    let mut http2 = asked.items.get("http2.header.value").into_iter().flatten();
    memchr::memmem::find(&asked.bytes, mark.as_bytes()).is_some()
        || http2.any(|(value, _)| value.contains(mark))
}

#[test]
fn sockets_by_the_admin_interface() {
    let lab = lab();
    let mut figures = Figures::default();
    let server = lab.server(ADMIN_SOCKET);
    for tapped in tapped(ADMIN_SOCKET) {
        let Tapped {
            variant, stderr, ..
        } = tapped;
        let name = tapped.name();
        let mark = |mark| format!("{name}-{mark}");
        let on_the_wire = lab.wire.to(server);
        let wanted = on_the_wire
            .iter()
            .filter(|wire| is_of(wire, &mark(WHOLE)))
            .count();
        let mut pairing = Pairing::new(on_the_wire);
        let (mut whole, mut any, mut http2) = (0, 0, 0);
        for ours in judged(&tapped.capture, |end| end == server) {
            // A streamed trace with strings lacks the segment with the addresses.
            let missing = variant.is_string() && variant.streamed;
            assert_eq!(ours.ends.map(is_stand_in), [missing; 2], "{name}: {stderr}");
            if is_of(&ours, &mark(LAST)) {
                continue; // The tap ended during this connection.
            }
            let wire = pairing.take(&name, &ours);
            compare(&name, &ours, wire, 0, &mut figures);
            whole += usize::from(is_of(wire, &mark(WHOLE)));
            any += usize::from(is_of(wire, &mark(ANY)));
            http2 += usize::from(wire.is_http2());
        }
        let expected = if variant.streamed {
            (wanted, 0)
        } else {
            (0, TRACES)
        };
        assert_eq!(
            (whole, any),
            expected,
            "{name}: connections of the runs: {stderr}"
        );
        assert!(whole > 2 || any > 2, "{name}: few connections");
        assert_eq!(
            http2 > 0,
            !variant.is_string(),
            "{name}: connections with HTTP/2"
        );
        figures.traces += 1;
    }
    figures.print("sockets by the admin interface");
}

#[test]
fn http_by_the_admin_interface() {
    let lab = lab();
    let mut figures = Figures::default();
    for tapped in tapped(ADMIN_HTTP) {
        let name = tapped.name();
        let mut pairing = http::Pairing::new(lab, ADMIN_HTTP);
        let count = |pairing: &http::Pairing, mark| {
            let start = format!("{name}-{mark}-");
            pairing
                .rest()
                .iter()
                .filter(|key| key.starts_with(&start))
                .count()
        };
        let wanted = count(&pairing, WHOLE);
        let before = count(&pairing, ANY);
        let cut = format!("{name}-{LAST}-");
        let Tapped {
            capture,
            variant,
            stderr,
            ..
        } = tapped;
        let lost = pairing.compare(&name, capture, *variant, Some(&cut), &mut figures);
        assert!(!lost, "{name}: {stderr}");
        assert_eq!(count(&pairing, WHOLE), 0, "{name}: {:?}", pairing.rest());
        let any = before - count(&pairing, ANY);
        assert_eq!(
            any,
            if variant.streamed { 0 } else { TRACES },
            "{name}: exchanges: {stderr}"
        );
        assert_eq!(wanted > 6, variant.streamed, "{name}: {wanted} exchanges");
        figures.traces += 1;
    }
    figures.print("HTTP by the admin interface");
}
