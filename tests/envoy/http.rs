//! HTTP taps: in the captures, tshark shows the requests and responses that were on the wire.

use std::path::Path;

use crate::compare::{Figures, compare_bytes, convert};
use crate::exchange::{Exchange, exchanges, key};
use crate::judge::http2_ports;
use crate::lab::{Lab, lab};
use crate::pcap::Capture;
use crate::pdml::{Shown, view};
use crate::tree::Message;
use crate::variant::{Place, Variant, to_files};

/// Headers that Envoy adds before or after the tap, so that only one of the two has them.
const ENVOYS: [&str; 7] = [
    ":scheme",
    "x-envoy-expected-rq-timeout-ms",
    "x-forwarded-proto",
    "x-request-id",
    "date",
    "server",
    "x-envoy-upstream-service-time",
];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Fields sorted by name, without those that Envoy adds and that the other side lacks.
fn plain(fields: &Fields, other: &Fields) -> Vec<String> {
    let lacks = |name: &[u8]| other.iter().all(|(other, _)| other != name);
    let envoys = |name: &[u8]| ENVOYS.iter().any(|envoys| name == envoys.as_bytes());
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut shown: Vec<_> = fields
        .iter()
        .filter(|(name, _)| !(envoys(name) && lacks(name)))
        .map(|(name, value)| format!("{}: {}", show(name), show(value)))
        .collect();
    shown.sort_unstable();
    shown
}

/// Fails unless tshark's view of an exchange equals the wire. Returns whether Envoy itself lost bytes of a body by
/// writing it as a string.
fn compare(
    name: &str,
    shown: &Shown,
    wire: &Exchange,
    variant: Variant,
    figures: &mut Figures,
) -> bool {
    let mut lost = false;
    for (side, what) in ["request", "response"].into_iter().enumerate() {
        let place = format!("{name}: {}: {what}", wire.key());
        let (ours, wire): (&Message, &Message) = (&shown.messages[side], &wire.messages[side]);
        let is_lost = variant.is_string() && std::str::from_utf8(&wire.body).is_err();
        for (what, ours, wire) in [
            ("headers", &ours.headers, &wire.headers),
            ("trailers", &ours.trailers, &wire.trailers),
        ] {
            if what == "trailers" && is_lost {
                continue; // tshark may not be able to dissect this exchange.
            }
            assert_eq!(
                plain(ours, wire),
                plain(wire, ours),
                "{place}: {what}, left ours"
            );
        }
        if is_lost {
            lost = true;
            continue;
        }
        compare_bytes(&place, &ours.body, &wire.body);
        figures.bytes += ours.body.len();
        figures.frames += 1;
    }
    // A streamed trace has neither addresses nor times.
    if !variant.streamed {
        assert_eq!(shown.ends, wire.ends, "{name}: client and server");
        for side in 0..2 {
            figures.time(name, shown.times[side][0], wire.times[side]);
        }
    }
    lost
}

/// The exchanges with one server on the wire, each of which has to match exactly one of ours.
pub(crate) struct Pairing(Vec<Exchange>);

impl Pairing {
    pub(crate) fn new(lab: &Lab, listener: &str) -> Self {
        Self(exchanges(&lab.wire, lab.server(listener), &lab.dir))
    }

    /// Compares tshark's view of a capture with the wire, and fails if tshark finds a fault. Returns whether Envoy itself
    /// lost bytes. Exchanges with `cut` in their keys may be truncated.
    pub(crate) fn compare(
        &mut self,
        name: &str,
        path: &Path,
        variant: Variant,
        cut: Option<&str>,
        figures: &mut Figures,
    ) -> bool {
        let capture = Capture::read(path);
        capture.http_streams();
        let view = view(path, http2_ports(&capture));
        assert!(!view.exchanges.is_empty(), "{name}: no exchange");
        let mut lost = false;
        for shown in &view.exchanges {
            let ours = key(&shown.messages);
            let found = self.0.iter().position(|wire| wire.key() == ours);
            let found =
                found.unwrap_or_else(|| panic!("{name}: {ours}: not on the wire, or twice"));
            let wire = self.0.swap_remove(found);
            if cut.is_some_and(|cut| ours.contains(cut)) {
                continue;
            }
            lost |= compare(name, shown, &wire, variant, figures);
            figures.exchanges += 1;
        }
        // tshark reports a string in place of gRPC as malformed.
        assert!(
            lost || view.faults.is_empty(),
            "{name}: faults: {:#?}",
            view.faults
        );
        lost
    }

    /// The exchanges that were not matched.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.0.iter().map(Exchange::key).collect()
    }
}

#[test]
fn http_and_grpc_in_a_filter() {
    let lab = lab();
    let mut figures = Figures::default();
    for variant in to_files() {
        let tap = Place::Http.tap(variant);
        let mut pairing = Pairing::new(lab, &tap);
        let on_the_wire = pairing.rest();
        for kind in ["/echo.Echo/Unary", "Http1 /text/300", "Http2 /echo?"] {
            let there = on_the_wire.iter().any(|key| key.contains(kind));
            assert!(there, "{tap}: no {kind} among {on_the_wire:?}");
        }
        for trace in lab.traces(Place::Http, variant) {
            let (capture, stderr) = convert(lab, &trace);
            let name = trace.file_name().expect("a name").to_string_lossy();
            let lost = pairing.compare(&name, &capture, variant, None, &mut figures);
            // A space in a string may be real, so some warnings are about strings that lost nothing.
            let is_reported = variant.is_string() && stderr.contains(" in place of bytes");
            assert!(
                is_reported || !lost,
                "{name} has lost bytes, and nothing is said of it"
            );
            let lines = if variant.streamed { 4 } else { 0 };
            assert!(
                is_reported || stderr.lines().count() == lines,
                "{name}: {stderr}"
            );
            figures.traces += usize::from(!lost);
            figures.lossy += usize::from(lost);
        }
        assert_eq!(pairing.rest(), [""; 0], "{tap}: exchanges without a trace");
    }
    figures.print("http");
}
