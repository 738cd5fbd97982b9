//! The readers that the other tests use have to find faults in captures. Otherwise the other tests would prove nothing.

use crate::fixtures;
use crate::harness::Scratch;
use crate::judge::http2_ports;
use crate::pcap::{Capture, Record, checksum};
use crate::pdml::{View, view};

/// A reader that accepted wrong bytes would make all tests of packets pass.
#[test]
fn a_wrong_byte_is_seen() {
    let wire = Capture::read(&fixtures::wire());
    assert_eq!(wire.records.len(), 1934);
    // The kernel left the TCP checksums of wire.pcap to the network card, so a frame is made by hand.
    let mut data = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    data.extend([
        0x45, 0, 0, 43, 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
    ]);
    data.extend([
        0x27, 0x10, 0xd2, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    data.extend(b"abc");
    let ip = checksum(&[&data[14..34]]);
    data[24..26].copy_from_slice(&ip.to_be_bytes());
    let tcp = checksum(&[&data[26..34], &[0, 6, 0, 23], &data[34..]]);
    data[50..52].copy_from_slice(&tcp.to_be_bytes());
    let mut record = Record {
        time: 0,
        original: data.len(),
        data,
    };
    assert_eq!(record.segment().expect("a right frame").payload, b"abc");
    for at in 14..record.data.len() {
        record.data[at] ^= 0x10;
        assert!(record.segment().is_err(), "byte {at}");
        record.data[at] ^= 0x10;
    }
}

/// A view without faults of any capture would make all tests of HTTP/2 pass.
#[test]
fn a_view_shows_faults() {
    let scratch = Scratch::new();
    let output = scratch.path("out.pcap");
    let input = fixtures::http_traces().swap_remove(0);
    scratch
        .capture2pcap()
        .arg(&input)
        .arg(&output)
        .run()
        .exits(0);
    let port = |view: &View| view.exchanges[0].ends[1].1;
    let ports = http2_ports(&Capture::read(&output));
    let good = view(&output, ports.clone());
    assert!(ports.contains(&port(&good)));
    assert_eq!(good.faults, [""; 0]);

    let mut bytes = std::fs::read(&output).expect("a capture");
    // The first record is repeated, and the last byte of the last one changed.
    let again = bytes[24..24 + 16 + usize::from(bytes[32])].to_vec();
    bytes.splice(24..24, again);
    *bytes.last_mut().expect("a byte") ^= 1;
    let bad = view(&scratch.write("bad.pcap", &bytes), ports);
    for fault in ["retransmission", "tcp.checksum.status"] {
        let found = bad.faults.iter().any(|line| line.contains(fault));
        assert!(found, "{fault} not among {:?}", bad.faults);
    }
}
