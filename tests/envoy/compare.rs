//! Compares captures with the wire: bytes, addresses, tshark's dissection, and times.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::connection::{Connection, Flow, read};
use crate::harness::Run;
use crate::judge::critically;
use crate::lab::Lab;
use crate::pcap::Capture;

/// The largest difference between the time of one event and the wire, in nanoseconds. On a busy machine, Envoy may read
/// a packet this long after its arrival.
const TOLERANCE: u64 = 250_000_000;
/// The largest median of these differences.
const MEDIAN: u64 = 20_000_000;

/// Counts of what was compared, printed as one line.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) traces: usize,
    pub(crate) connections: usize,
    pub(crate) exchanges: usize,
    pub(crate) bytes: usize,
    pub(crate) frames: usize,
    /// Traces of which Envoy itself has lost bytes.
    pub(crate) lossy: usize,
    /// The difference between the time of each event and the wire, in nanoseconds.
    pub(crate) differences: Vec<u64>,
}

impl Figures {
    /// Prints the line, and fails if the median of the time differences is too large.
    pub(crate) fn print(mut self, theme: &str) {
        self.differences.sort_unstable();
        println!("envoy: {theme}: {self}");
        assert!(
            self.traces > 0 && self.bytes > 0,
            "{theme}: nothing compared"
        );
        let median = self.differences.get(self.differences.len() / 2);
        assert!(
            median.is_some_and(|&median| median <= MEDIAN),
            "{theme}: median of the times"
        );
    }

    /// Records the times of an event in both captures.
    #[track_caller]
    pub(crate) fn time(&mut self, place: &str, ours: u64, wire: u64) {
        let off = ours.abs_diff(wire);
        assert!(
            off <= TOLERANCE,
            "{place}: {ours} is {off} ns off the wire, {wire}"
        );
        self.differences.push(off);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |at: usize| {
            self.differences
                .get(at)
                .map_or(f64::NAN, |&n| n as f64 / 1e6)
        };
        let count = self.differences.len();
        write!(f, "{} traces converted, ", self.traces)?;
        for (n, what) in [
            (self.connections, "connections"),
            (self.exchanges, "exchanges"),
            (self.bytes, "bytes"),
            (self.frames, "frames and messages"),
        ] {
            if n > 0 {
                write!(f, "{n} {what}, ")?;
            }
        }
        write!(
            f,
            "{count} times as on the wire; times at most {:.3} ms off, half of them {:.3} ms",
            millis(count.wrapping_sub(1)),
            millis(count / 2),
        )?;
        if self.lossy > 0 {
            write!(
                f,
                "; {} more traces of strings that Envoy made of other bytes",
                self.lossy
            )?;
        }
        Ok(())
    }
}

/// Converts a trace into the folder of the recording. Returns the path of the capture, and the messages.
pub(crate) fn convert(lab: &Lab, trace: &Path) -> (PathBuf, String) {
    let name = trace.file_name().expect("a name").to_str().expect("UTF-8");
    let capture = lab.dir.join(format!("{name}.pcap"));
    let outcome = Run::new(env!("CARGO_BIN_EXE_capture2pcap"))
        .arg(trace)
        .arg(&capture)
        .run()
        .exits(0);
    (capture, outcome.stderr)
}

/// The connections of the capture at `path`, after all readers have found no fault in it.
pub(crate) fn judged(path: &Path, is_server: impl Fn(SocketAddr) -> bool) -> Vec<Connection> {
    let name = path.display();
    let capture = Capture::read(path);
    let streams = capture.streams();
    assert!(!streams.is_empty(), "{name}: no data");
    let mut ports: Vec<_> = streams
        .iter()
        .flat_map(|s| [s.0.port(), s.1.port()])
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let connections = read(&critically(path, None), "tcp", &ports, is_server);
    for connection in &connections {
        let Connection { ends, remarks, .. } = connection;
        assert_eq!(*remarks, [""; 0], "{name}: tshark's remarks on {ends:?}");
    }
    for (from, to, bytes) in &streams {
        let side = |connection: &Connection| {
            let sides = [[from, to], [to, from]];
            sides.iter().position(|&[a, b]| connection.ends == [*a, *b])
        };
        let flows = connections.iter().find_map(|c| Some(&c.flows[side(c)?]));
        let shown = flows.is_some_and(|flow| flow.bytes == *bytes);
        assert!(
            shown,
            "{name}: tshark shows other bytes from {from} to {to}"
        );
    }
    connections
}

/// Whether an address is a stand-in.
pub(crate) fn is_stand_in(end: SocketAddr) -> bool {
    match end.ip() {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// Whether `ours` is the connection `wire`: by its addresses, and by its bytes if an address is a stand-in.
pub(crate) fn is_same(ours: &Connection, wire: &Connection) -> bool {
    let bytes =
        |connection: &Connection| connection.flows.each_ref().map(|flow| flow.bytes.clone());
    let same = |i: usize| is_stand_in(ours.ends[i]) || ours.ends[i] == wire.ends[i];
    let known = !ours.ends.into_iter().any(is_stand_in);
    same(0) && same(1) && (known || bytes(ours) == bytes(wire))
}

/// Fails unless a converted connection equals the one on the wire, byte for byte and event for event. `reads` is the side
/// whose bytes Envoy receives.
pub(crate) fn compare(
    name: &str,
    ours: &Connection,
    wire: &Connection,
    reads: usize,
    figures: &mut Figures,
) {
    for side in 0..2 {
        let place = format!("{name}: from {}", ["the client", "the server"][side]);
        let (ours, wire) = (&ours.flows[side], &wire.flows[side]);
        compare_bytes(&place, &ours.bytes, &wire.bytes);
        figures.bytes += ours.bytes.len();
        if !wire.items.is_empty() {
            compare_items(&place, ours, wire, figures);
        }
        let mut start = 0;
        for &(end, time) in &ours.pieces {
            if wire.pieces.is_empty() {
                break; // Inside TLS, only frames have a time.
            }
            // Envoy receives bytes after the last one has arrived, and sends them before the first one leaves.
            let on_the_wire = wire.time_of(if side == reads { end - 1 } else { start });
            figures.time(&format!("{place}: byte {start}"), time, on_the_wire);
            start = end;
        }
    }
    figures.connections += 1;
}

#[track_caller]
pub(crate) fn compare_bytes(place: &str, ours: &[u8], wire: &[u8]) {
    if let Some(i) = (0..ours.len().min(wire.len())).find(|&i| ours[i] != wire[i]) {
        panic!(
            "{place}: byte {i} is {:#04x}, on the wire {:#04x}",
            ours[i], wire[i]
        );
    }
    assert_eq!(ours.len(), wire.len(), "{place}: bytes");
}

/// Fails unless tshark dissects the same in both.
fn compare_items(place: &str, ours: &Flow, wire: &Flow, figures: &mut Figures) {
    let values = |flow: &Flow, field: &str| -> Vec<String> {
        let items = flow.items.get(field).into_iter().flatten();
        items.map(|(value, _)| value.clone()).collect()
    };
    for field in ours.items.keys().chain(wire.items.keys()) {
        let (ours, wire) = (values(ours, field), values(wire, field));
        assert_eq!(ours, wire, "{place}: {field}, left ours");
    }
    // One of these for each frame, or message.
    for field in ["http2.type", "http.request.method", "http.response.code"] {
        let of = |flow: &Flow| flow.items.get(field).cloned().unwrap_or_default();
        let times = of(ours).into_iter().zip(of(wire));
        for (i, ((_, ours), (_, wire))) in times.enumerate() {
            figures.time(&format!("{place}: {field} {i}"), ours, wire);
            figures.frames += 1;
        }
    }
}

/// The connections on the wire, each of which has to match exactly one of ours.
pub(crate) struct Pairing<'a>(Vec<&'a Connection>);

impl<'a> Pairing<'a> {
    pub(crate) fn new(wire: Vec<&'a Connection>) -> Self {
        Self(wire)
    }

    /// The connection on the wire that `ours` is. It is not returned again.
    pub(crate) fn take(&mut self, name: &str, ours: &Connection) -> &'a Connection {
        let found = self.0.iter().position(|wire| is_same(ours, wire));
        let found = found.unwrap_or_else(|| {
            let show = |c: &Connection| {
                let lengths = c.flows.each_ref().map(|flow| flow.bytes.len());
                format!("{:?} with {lengths:?} bytes", c.ends)
            };
            let rest: Vec<_> = self.0.iter().map(|c| show(c)).collect();
            panic!("{name}: {}: not among {rest:#?}", show(ours));
        });
        self.0.swap_remove(found)
    }

    /// The connections that were not matched.
    pub(crate) fn rest(self) -> Vec<&'a Connection> {
        self.0
    }
}
