//! Stand-in addresses in Wireshark's view: HTTP is recognized, each name is shown, and connections stay apart.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fixtures;
use crate::harness::{Scratch, tshark};
use crate::make::parts::{begin, connection, pipe, segment, socket};
use crate::make::{Ev, What};

fn field(name: &str) -> PathBuf {
    fixtures::testdata().join("field").join(name)
}

/// Converts into pcapng.
fn convert(scratch: &Scratch, options: &[&str], input: &Path) -> PathBuf {
    let output = scratch.path("out.pcapng");
    let run = scratch.capture2pcap().args(options).arg(input).arg(&output);
    run.run().exits(0);
    output
}

/// tshark's view with the names that the capture itself contains.
fn named(path: &Path) -> String {
    let args = ["-N", "n", "-r"].map(OsString::from);
    tshark(args.into_iter().chain([path.into()]))
}

fn fields(path: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut args: Vec<OsString> = ["-Y", filter, "-T", "fields", "-r"].map(Into::into).into();
    args.push(path.into());
    args.extend(fields.iter().flat_map(|field| ["-e".into(), field.into()]));
    tshark(args).lines().map(str::to_owned).collect()
}

/// Servers once got ports such as 49152, on which tshark does not look for HTTP/2.
#[test]
fn http_without_addresses_is_seen_as_http2_without_options() {
    let scratch = Scratch::new();
    let path = convert(&scratch, &[], &field("http-without-addresses/many.json"));
    let asked = ["tcp.stream", "http2.headers.path", "tcp.dstport"];
    let asked = fields(&path, "http2.headers.path", &asked);
    assert_eq!(asked.len(), 40);
    let streams: HashSet<_> = asked
        .iter()
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            assert_eq!(columns[2], "80", "{line}");
            columns[0].to_owned()
        })
        .collect();
    assert_eq!(streams.len(), 40);
    let answered = fields(&path, "http2.headers.status", &["http2.headers.status"]);
    assert_eq!(answered.len(), 40);
}

/// All stand-ins were once 192.0.2.1 and .2, so that only the first name was shown.
#[test]
fn each_host_and_each_path_is_shown_under_its_own_name() {
    let scratch = Scratch::new();
    let shown = named(&convert(&scratch, &[], &field("names/13-names.pb")));
    for host in ["10.0.0.1 → db.internal ", "10.0.0.1 → cache.internal "] {
        assert!(shown.contains(host), "{shown}");
    }
    let shown = named(&convert(&scratch, &[], &field("names/13-uds.pb")));
    for path in ["unix:/run/a.sock", "unix:/run/b.sock"] {
        assert!(shown.contains(&format!("{path} → {path} ")), "{shown}");
    }
    // Many names, some in several connections, with IPv4 and IPv6 at the other end.
    let event = Ev::new(What::Write, 0, "GET / HTTP/1.1\r\n\r\n").message();
    let name = |i: u64| format!("host-{}.example", i % 500);
    let trace: Vec<u8> = (1..=700)
        .flat_map(|i| {
            let local = ["10.0.0.1", "fd00::1"][(i % 2) as usize];
            let (local, remote) = (socket(local, 40_000 + i), socket(&name(i), 443));
            let connection = connection(Some(&local), Some(&remote));
            [begin(i, &connection), segment(i, &event)].concat()
        })
        .collect();
    let input = scratch.write("many.pb", &trace);
    let path = convert(&scratch, &["--handshake=never"], &input);
    let shown = named(&path);
    assert_eq!(shown.lines().count(), 700);
    for (i, line) in (1..).zip(shown.lines()) {
        let expected = format!("→ {} ", name(i));
        assert!(line.contains(&expected), "{expected}: {line}");
    }
}

/// A path may contain terminal controls. A name record ends each name with a NUL.
#[test]
fn a_name_record_has_no_terminal_controls() {
    let scratch = Scratch::new();
    let event = Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n").message();
    for odd in ["\x1b[31mred", "nul\0nul", "new\nline", "right\u{202e}left"] {
        for local in [pipe(odd), socket(odd, 80)] {
            let remote = socket("10.0.0.2", 50000);
            let connection = connection(Some(&local), Some(&remote));
            let trace = [begin(7, &connection), segment(7, &event)].concat();
            let path = convert(&scratch, &[], &scratch.write("odd.pb", &trace));
            let shown = named(&path);
            assert_eq!(shown.lines().count(), 1, "{shown:?}");
            let escaped = odd.escape_debug().to_string();
            assert!(shown.contains(&escaped), "{escaped}: {shown:?}");
            // The name is escaped in the file, however tshark shows it.
            let bytes = std::fs::read(&path).expect("a capture");
            let raw = bytes.windows(odd.len()).any(|part| part == odd.as_bytes());
            assert!(!raw, "{odd:?}");
        }
    }
}

/// Both once had 10.1.1.1:80 and 10.1.1.2:5000, without a warning.
#[test]
fn two_connections_with_given_addresses_are_two_streams() {
    let options = ["--local", "10.1.1.1:80", "--remote", "10.1.1.2:5000"];
    for more in [&[][..], &["--merge"]] {
        let scratch = Scratch::new();
        let output = scratch.path("out.pcapng");
        let run = scratch.capture2pcap().args(options).args(more);
        let run = run.arg(field("merge/21-two.pb")).arg(&output).run();
        run.exits(0).says([
            "1 connection with a stand-in client port: another connection uses the same endpoints",
            "10.1.1.2:49154 for 10.1.1.2:5000",
        ]);
        let bytes = fields(&output, "tcp.len > 0", &["tcp.stream", "tcp.payload"]);
        let expected = ["0\t6330", "1\t6331"].repeat(3);
        assert_eq!(bytes, expected);
        let said = fields(
            &output,
            "frame.comment contains stand-in",
            &["frame.comment"],
        );
        let comment = "stand-in: 10.1.1.2:49154 for 10.1.1.2:5000, which another connection has";
        assert_eq!(said, [comment]);
    }
}

/// Two connections in one trace that are open at once, as neither is closed.
#[test]
fn streamed_connections_at_once_on_the_same_endpoints_are_two_streams() {
    let (local, remote) = (socket("10.0.0.1", 80), socket("10.0.0.2", 50000));
    let both = connection(Some(&local), Some(&remote));
    let event =
        |id, micros: i32, text: &str| segment(id, &Ev::new(What::Read, micros, text).message());
    let closed = |id, micros| segment(id, &Ev::new(What::Closed, micros, "").message());
    let trace = [
        begin(1, &both),
        event(1, 0, "a0"),
        begin(2, &both),
        event(2, 1, "b0"),
        event(1, 2, "a1"),
        event(2, 3, "b1"),
        closed(1, 4),
        // The port is free again after the connection was closed.
        begin(3, &both),
        event(3, 5, "c0"),
        event(2, 6, "b2"),
    ];
    let scratch = Scratch::new();
    let input = scratch.write("trace.pb", &trace.concat());
    let output = scratch.path("out.pcapng");
    let run = scratch.capture2pcap().arg(&input).arg(&output).run();
    run.exits(0)
        .says(["1 connection with a stand-in client port"]);
    let shown = ["tcp.stream", "tcp.srcport", "tcp.payload"];
    let shown = fields(&output, "tcp.len > 0", &shown);
    let ports: Vec<_> = shown
        .iter()
        .map(|line| line.split('\t').nth(1).expect("a port"))
        .collect();
    assert_ne!(ports[1], "50000");
    assert_eq!(
        ports,
        ["50000", ports[1], "50000", ports[1], "50000", ports[1]]
    );
    let streams: Vec<_> = shown.iter().map(|line| &line[..1]).collect();
    assert_eq!(streams, ["0", "1", "0", "1", "2", "1"]);
}
