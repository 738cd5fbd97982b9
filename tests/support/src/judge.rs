//! tshark as a judge of captures: the findings that are faults, and the arguments with which it finds them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use crate::harness::{http2_on, tshark};
use crate::pcap::Capture;

/// A display filter for faults, which no capture may have.
pub const FAULTS: &str = "_ws.malformed \
    || tcp.analysis.retransmission || tcp.analysis.fast_retransmission \
    || tcp.analysis.spurious_retransmission || tcp.analysis.lost_segment \
    || tcp.analysis.ack_lost_segment || tcp.analysis.out_of_order || tcp.analysis.duplicate_ack \
    || tcp.analysis.window_full || tcp.checksum.status == \"Bad\" || ip.checksum.status == \"Bad\"";

/// The arguments that make tshark read a capture critically, with HTTP/2 on each of `http2`.
pub fn critically(path: &Path, http2: impl IntoIterator<Item = u16>) -> Vec<OsString> {
    let mut args = http2_on(path, http2);
    for option in [
        "tcp.check_checksum:TRUE",
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
    ] {
        args.extend(["-o", option].map(OsString::from));
    }
    // The gRPC bodies of the recordings are not protobuf. tshark reports them as malformed on the wire, too.
    args.extend(["--disable-protocol", "protobuf"].map(OsString::from));
    args
}

/// The frames of a capture with one of `faults`, one per line.
pub fn faults(path: &Path, http2: impl IntoIterator<Item = u16>, faults: &str) -> String {
    let mut args = critically(path, http2);
    args.extend(["-Y", faults].map(OsString::from));
    tshark(args)
}

/// The ports of servers with HTTP/2 in a capture.
///
/// tshark must not dissect HTTP/1 as HTTP/2, because it would show nothing then, not even faults.
pub fn http2_ports(capture: &Capture) -> BTreeSet<u16> {
    let preface = |payload: &[u8]| payload.starts_with(b"PRI * HTTP/2.0");
    let segments = capture.segments();
    segments
        .iter()
        .filter(|segment| preface(segment.payload))
        .map(|segment| segment.destination.port())
        .collect()
}
