//! Every capture, checked by tshark, capinfos and tcpdump, which must find no fault.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::fixtures::{self, Fixture};
use crate::harness::{Scratch, capinfos, each, tcpdump};
use crate::judge::{FAULTS, faults, http2_ports};
use crate::pcap::Capture;

/// Converts a fixture to a file in `scratch`.
fn convert(scratch: &Scratch, fixture: &Fixture, options: &[&str]) -> PathBuf {
    let path = scratch.path(&fixture.name.replace('/', "_"));
    scratch
        .capture2pcap()
        .args(options)
        .arg(&fixture.path)
        .arg(&path)
        .run()
        .exits(fixture.code());
    path
}

/// Fails if a reader finds a fault in the capture of a fixture.
fn judge(fixture: &Fixture, options: &[&str]) {
    let name = format!("{} {options:?}", fixture.name);
    let scratch = Scratch::new();
    let path = convert(&scratch, fixture, options);
    let capture = Capture::read(&path);
    assert!(!capture.records.is_empty(), "{name}: no packets");
    assert!(!capture.streams().is_empty(), "{name}: no data");
    let ports = http2_ports(&capture);
    let found = faults(&path, ports.clone(), FAULTS);
    assert_eq!(found, "", "{name}, HTTP/2 on {ports:?}");

    let lines = tcpdump(
        ["-n", "-q", "-t", "-r"]
            .map(OsString::from)
            .into_iter()
            .chain([path.into()]),
    );
    assert_eq!(
        lines.lines().count(),
        capture.records.len(),
        "{name}: tcpdump read\n{lines}"
    );
}

#[test]
fn no_reader_finds_a_fault() {
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| judge(fixture, &[]),
    );
}

#[test]
fn no_reader_finds_a_fault_with_handshakes_and_small_segments() {
    let options = ["--handshake", "--mss=1000", "--nano"];
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| judge(fixture, &options),
    );
}

#[test]
fn capinfos_finds_strict_time_order() {
    let scratch = Scratch::new();
    let traces = fixtures::socket_traces();
    let paths: Vec<_> = traces
        .iter()
        .map(|fixture| convert(&scratch, fixture, &[]))
        .collect();
    // A table with the file, its encapsulation, its number of packets and their order.
    let table = capinfos(
        ["-T", "-r", "-E", "-c", "-o"]
            .map(OsString::from)
            .into_iter()
            .chain(paths.iter().map(|path| path.clone().into_os_string())),
    );
    assert_eq!(table.lines().count(), paths.len(), "{table}");
    for (path, line) in paths.iter().zip(table.lines()) {
        let fields: Vec<_> = line.split('\t').collect();
        let records = Capture::read(path).records.len().to_string();
        assert_eq!(fields[1..], ["ether", &records, "True"], "{line}");
    }
}

/// Captures with faults, which must be found: with a wrong name in a filter, the tests above would always pass.
#[test]
fn faults_are_found() {
    let scratch = Scratch::new();
    let wire = fixtures::wire();
    // In wire.pcap, the kernel left the checksums to the network card, and the loopback device computes none.
    assert_ne!(
        faults(&wire, None, "tcp.checksum.status == \"Bad\""),
        "",
        "bad checksums"
    );
    let path = fixtures::testdata().join("path_0.pb");
    let good = scratch.path("good.pcap");
    scratch.capture2pcap().arg(path).arg(&good).run().exits(0);
    assert_eq!(faults(&good, None, FAULTS), "");

    // The first record is there twice, and a later one is missing.
    let bytes = std::fs::read(&good).expect("a capture");
    let capture = Capture::read(&good);
    let length = |i: usize| 16 + capture.records[i].data.len();
    let twice = [&bytes[..24 + length(0)], &bytes[24..]].concat();
    let twice = scratch.write("twice.pcap", &twice);
    assert_ne!(faults(&twice, None, FAULTS), "", "a retransmission");
    let segments = capture.segments();
    let again = |i: &usize| {
        segments[*i + 1..]
            .iter()
            .any(|later| later.source == segments[*i].source)
    };
    let gap = (1..segments.len())
        .rev()
        .find(again)
        .expect("a record followed by another");
    let start: usize = 24 + (0..gap).map(length).sum::<usize>();
    let lacking = [&bytes[..start], &bytes[start + length(gap)..]].concat();
    let lacking = scratch.write("lacking.pcap", &lacking);
    assert_ne!(faults(&lacking, None, FAULTS), "", "a gap");
}
