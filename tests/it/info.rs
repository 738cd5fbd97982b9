//! The contents of traces, reported by `--info` in a table for people and in JSON for scripts.

use std::path::Path;

use serde_json::Value;

use crate::fixtures;
use crate::harness::{Scratch, each, grouped};

fn object(path: &Path, code: i32) -> Value {
    let outcome = Scratch::new()
        .capture2pcap()
        .args(["--info", "--json"])
        .arg(path)
        .run()
        .exits(code);
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn recording(name: &str) -> Value {
    let path = fixtures::testdata().join(name);
    object(&path, i32::from(name.contains("/up_str")))
}

#[test]
fn encodings_and_releases_are_reported() {
    let cases = [
        ("envoy-1.7/buf_v6_99.pb", "binary", "1.7 to 1.9"),
        ("envoy-1.10/buf_v6_99.pb", "binary", "1.10 to 1.27"),
        ("envoy-1.40/taps/buf_v6_99.pb", "binary", "1.28 or later"),
        (
            "envoy-1.40/taps/str_proto_binary_51.pb",
            "binary",
            "1.28 or later",
        ),
        (
            "envoy-1.10/str_proto_binary_length_delimited_60.pb_length_delimited",
            "delimited",
            "1.10 to 1.27",
        ),
        (
            "envoy-1.40/taps/buf_proto_text_24.pb_text",
            "text",
            "1.10 or later",
        ),
        (
            "envoy-1.40/taps/str_json_body_as_bytes_78.json",
            "json",
            "1.10 or later",
        ),
        (
            "envoy-1.40/taps/http_str_proto_binary_102564249338562369.pb",
            "binary",
            "1.10 or later",
        ),
    ];
    for (name, encoding, releases) in cases {
        let info = recording(name);
        assert_eq!(
            (&info["encoding"], &info["envoy"]),
            (&encoding.into(), &releases.into()),
            "{name}"
        );
    }
}

#[test]
fn connections_are_reported_as_recorded() {
    let grpc = &recording("envoy-1.40/taps/str_grpc_140.pb_length_delimited")["connections"][0];
    let expected: [(&str, Value); 6] = [
        ("id", "140".into()),
        ("local", "127.0.0.1:10017".into()),
        ("side", "downstream".into()),
        ("protocol", "gRPC".into()),
        ("closed", true.into()),
        ("truncated_events", 0.into()),
    ];
    for (name, value) in expected {
        assert_eq!(grpc[name], value, "{name} of {grpc}");
    }
    let cases = [
        (
            "envoy-1.40/taps/buf_uds_236.pb",
            "HTTP/1",
            "unix:@capture-lab",
        ),
        ("envoy-1.40/taps/buf_v6_99.pb", "HTTP/2", "[::1]:10011"),
        ("envoy-1.40/taps/buf_grpc_138.pb", "gRPC", "127.0.0.1:10016"),
        (
            "envoy-1.40/taps/http_buf_proto_text_1300252175744176706.pb_text",
            "HTTP/2",
            "127.0.0.1:10023",
        ),
    ];
    for (name, protocol, local) in cases {
        let connection = &recording(name)["connections"][0];
        assert_eq!(
            (&connection["protocol"], &connection["local"]),
            (&protocol.into(), &local.into()),
            "{name}"
        );
    }
    let upstream = recording("envoy-1.40/taps/up_str_146.pb_length_delimited");
    let connection = &upstream["connections"][0];
    assert_eq!(
        (&connection["side"], &connection["local"]),
        (&"upstream".into(), &Value::Null)
    );
    assert_eq!(upstream["damage"]["offset"], 65_536);

    let cut = recording("envoy-1.40/taps/str_trunc_126.pb_length_delimited");
    let losses =
        ["truncated_events", "truncated_bytes", "lost_bytes"].map(|name| cut[name].clone());
    assert_eq!(losses, [2, 34_549, 0]);
    assert_eq!(cut["warnings"].as_array().map(Vec::len), Some(1), "{cut}");

    let timeless = recording("envoy-1.40/taps/http_str_proto_binary_102564249338562369.pb");
    assert_eq!(
        (&timeless["first"], &timeless["events"]),
        (&Value::Null, &4.into())
    );
}

/// The counts equal those of a conversion, and the sums over the connections.
#[test]
fn counts_are_those_of_the_conversion() {
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let info = object(&fixture.path, fixture.code());
            let scratch = Scratch::new();
            let outcome = scratch
                .capture2pcap()
                .arg("-v")
                .arg(&fixture.path)
                .arg("out.pcap")
                .run();
            let number = |name: &str| {
                info[name]
                    .as_u64()
                    .unwrap_or_else(|| panic!("{name}: {info}"))
            };
            let connections = info["connections"].as_array().map_or(0, Vec::len);
            let plural = |n: u64| if n == 1 { "" } else { "s" };
            let bytes = |n: u64| format!("{} byte{}", grouped(n), plural(n));
            let expected = format!(
                "{connections} connection{}, {} event{} ({} received, {} sent)",
                plural(connections as u64),
                number("events"),
                plural(number("events")),
                bytes(number("bytes_received")),
                grouped(number("bytes_sent")),
            );
            outcome.exits(fixture.code()).says([expected]);
            for name in ["events", "bytes_received", "bytes_sent"] {
                let sum: u64 = (0..connections)
                    .map(|i| info["connections"][i][name].as_u64().unwrap_or_default())
                    .sum();
                assert_eq!(sum, number(name), "{name}");
            }
        },
    );
}

#[test]
fn the_table_ends_with_the_command_that_opens_the_capture() {
    let scratch = Scratch::new();
    let trace = fixtures::testdata().join("path_0.pb");
    let outcome = scratch
        .capture2pcap()
        .arg("--info")
        .arg(&trace)
        .run()
        .exits(0)
        .says_nothing();
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert!(
        !text.contains('\x1b'),
        "colour although the output is not a terminal: {text:?}"
    );
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].ends_with("path_0.pb: binary, Envoy 1.28 or later"),
        "{text}"
    );
    let row: Vec<_> = lines[2].split_whitespace().collect();
    let expected = [
        "#0",
        "127.0.0.1:10000",
        "127.0.0.1:53806",
        "downstream",
        "HTTP/2",
        "8",
        "259",
        "B",
    ];
    assert_eq!(row[..8], expected, "{text}");
    let header = |name: &str| lines[1].find(name);
    assert_eq!(
        header("remote"),
        lines[2].find("127.0.0.1:53806"),
        "columns are aligned: {text}"
    );
    assert_eq!(
        lines[3].trim(),
        "tshark -r path_0.pcap -d tcp.port==10000,http2"
    );

    let bytes = std::fs::read(&trace).expect("path_0.pb");
    let piped = scratch
        .capture2pcap()
        .args(["--info", "-"])
        .stdin(bytes)
        .run()
        .exits(0);
    let piped = String::from_utf8(piped.stdout).expect("UTF-8");
    assert_eq!(piped.lines().nth(2), Some(lines[2]));
}

/// The capture in the printed command has the name that a conversion of the same traces gives it. Names with terminal
/// controls are quoted for a shell, and escaped in JSON.
#[test]
fn names_are_those_of_files() {
    let scratch = Scratch::new();
    let trace = std::fs::read(fixtures::testdata().join("path_0.pb")).expect("path_0.pb");
    scratch.shell("mkdir -p in/1 in/2").run().exits(0);
    let names = [
        "1/path_0.pb",
        "2/path_0.pb",
        "a.b.json",
        "a.b.pb",
        "it's.pb",
        "red\u{1b}[31m.pb",
    ];
    for name in names {
        scratch.write(&format!("in/{name}"), &trace);
    }
    let outcome = scratch.capture2pcap().args(["--info", "in"]).run().exits(0);
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    let commands = text
        .lines()
        .filter_map(|line| line.strip_prefix("  tshark -r "));
    let shown: Vec<_> = commands
        .map(|rest| rest.strip_suffix(" -d tcp.port==10000,http2"))
        .collect();
    let expected = [
        "1/path_0.pcap",
        "2/path_0.pcap",
        "a.b.json.pcap",
        "a.b.pb.pcap",
        r"'it'\''s.pcap'",
        r"$'red\x1b[31m.pcap'",
    ];
    assert_eq!(shown, expected.map(Some));
    scratch
        .capture2pcap()
        .args(["-q", "in", "out"])
        .run()
        .exits(0);
    // Bash understands all of these quotes.
    for name in expected {
        let script = format!("bash -c {}", quoted(&format!("cd out && test -f {name}")));
        scratch.shell(&script).run().exits(0);
    }
    let outcome = scratch
        .capture2pcap()
        .args(["--info", "--json", "in"])
        .run()
        .exits(0);
    let lines = outcome
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let paths: Vec<_> = lines
        .map(|line| serde_json::from_slice::<Value>(line).expect("JSON")["path"].clone())
        .collect();
    assert_eq!(paths, names.map(|name| format!("in/{name}")));
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[test]
fn folders_are_searched_and_unreadable_files_are_reported() {
    let scratch = Scratch::new();
    scratch.shell("mkdir in").run().exits(0);
    let noise = scratch.write("in/noise.pb", &[0xff; 100]);
    let trace = std::fs::read(fixtures::testdata().join("path_0.pb")).expect("path_0.pb");
    scratch.write("in/a.pb", &trace);
    scratch.write("in/z.pb", &trace[..3000]);
    scratch.write("in/empty.pb", b"");
    let outcome = scratch
        .capture2pcap()
        .args(["--info", "--json", "in"])
        .run()
        .exits(1);
    let lines: Vec<Value> = outcome
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    let paths: Vec<_> = lines
        .iter()
        .map(|line| line["path"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(paths, ["in/a.pb", "in/empty.pb", "in/noise.pb", "in/z.pb"]);
    assert_eq!(
        (&lines[0]["damage"], &lines[3]["damage"]["offset"]),
        (&Value::Null, &3000.into())
    );
    outcome.says(["capture2pcap: in/noise.pb: not recognized"]);
    scratch
        .capture2pcap()
        .arg("--info")
        .arg(noise)
        .run()
        .exits(1);
}

/// tshark does not look for HTTP/1 on a port of another dissector, unless an option sets it.
#[test]
fn the_command_shows_http1_on_the_port_of_another_protocol() {
    let scratch = Scratch::new();
    let folder = fixtures::testdata().join("field/http1-ports");
    let bytes = std::fs::read(folder.join("h1_7000.pb")).expect("a trace");
    scratch.write("h1_7000.pb", &bytes);
    let run = scratch.capture2pcap().args(["--info", "h1_7000.pb"]).run();
    let text = String::from_utf8(run.exits(0).stdout).expect("UTF-8");
    let command = text.lines().last().expect("a command").trim();
    assert_eq!(command, "tshark -r h1_7000.pcap -d tcp.port==7000,http");
    let run = scratch.capture2pcap().args(["h1_7000.pb", "h1_7000.pcap"]);
    run.run().exits(0);
    let script = format!("{command} -Y http.request.method");
    let shown = scratch.shell(&script).run().exits(0).stdout;
    let shown = String::from_utf8(shown).expect("UTF-8");
    assert!(shown.contains("GET "), "{shown}");
}
