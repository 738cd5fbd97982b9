//! The objects that `--json` prints. Scripts rely on their members, the order of the members, and the values.
//!
//! Snapshots; `SNAPSHOTS=overwrite cargo test --test it json::` updates them.

mod conversions;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use snapbox::{IntoData, assert_data_eq, str};

use crate::batch::write_trace;
use crate::fixtures;
use crate::harness::{Outcome, Scratch};

/// A truncated trace, a trace that is cut, and a file that is not a trace.
fn with_traces() -> Scratch {
    let scratch = Scratch::new();
    let recordings = [
        (
            "envoy-1.40/taps/str_trunc_130.pb_length_delimited",
            "truncated.pb",
        ),
        ("envoy-1.40/taps/up_str_146.pb_length_delimited", "cut.pb"),
    ];
    for (recording, name) in recordings {
        let from = fixtures::testdata().join(recording);
        std::fs::copy(&from, scratch.path(name)).unwrap_or_else(|e| panic!("{recording}: {e}"));
    }
    scratch.write("none.pb", b"hello, world\n");
    scratch
}

/// The objects on standard output.
fn objects(outcome: &Outcome) -> Vec<Value> {
    let lines = outcome.stdout.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let object =
        |line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}{}", outcome.explain()));
    lines.map(object).collect()
}

/// Objects in a readable layout.
fn pretty(objects: &[Value]) -> String {
    let pretty = |object| serde_json::to_string_pretty(object).expect("JSON") + "\n";
    objects.iter().map(pretty).collect()
}

#[test]
fn info_prints_an_object_a_trace() {
    let scratch = with_traces();
    let run = scratch.capture2pcap();
    let run = run.args([
        "--info",
        "--json",
        "truncated.pb",
        "none.pb",
        "cut.pb",
        "missing.pb",
    ]);
    let outcome = run.run().exits(1);
    assert_data_eq!(
        pretty(&objects(&outcome)),
        str![[r#"
{
  "path": "truncated.pb",
  "error": null,
  "encoding": "delimited",
  "envoy": "1.28 or later",
  "sample_rate": null,
  "events": 5,
  "bytes_received": 1033,
  "bytes_sent": 523,
  "first": "2026-11-22T06:08:48.485089000Z",
  "last": "2026-11-22T06:08:48.488247000Z",
  "truncated_events": 1,
  "truncated_bytes": 15122,
  "estimated_bytes": 0,
  "lost_bytes": 0,
  "warnings": [
    {
      "code": "truncated",
      "count": 1,
      "bytes": 15122,
      "message": "1 truncated event: 15,122 bytes are not in the trace, and the capture leaves a gap for them (at offset 53, connection #130)"
    }
  ],
  "damage": null,
  "unread": null,
  "tshark": "tshark -r truncated.pcap -d tcp.port==10014,http2",
  "connections": [
    {
      "id": "130",
      "local": "127.0.0.1:10014",
      "remote": "127.0.0.1:53040",
      "namespace": null,
      "upstreams": [],
      "side": "downstream",
      "protocol": "HTTP/2",
      "events": 5,
      "bytes_received": 1033,
      "bytes_sent": 523,
      "first": "2026-11-22T06:08:48.485089000Z",
      "last": "2026-11-22T06:08:48.488247000Z",
      "truncated_events": 1,
      "truncated_bytes": 15122,
      "estimated_bytes": 0,
      "lost_bytes": 0,
      "closed": true
    }
  ]
}
{
  "path": "none.pb",
  "error": "not recognized at offset 0: not an Envoy tap trace in any encoding: it says \"hello, world\""
}
{
  "path": "cut.pb",
  "error": null,
  "encoding": "delimited",
  "envoy": "1.10 or later",
  "sample_rate": null,
  "events": 5,
  "bytes_received": 48907,
  "bytes_sent": 16419,
  "first": "2026-11-22T06:08:49.864141000Z",
  "last": "2026-11-22T06:08:49.877361000Z",
  "truncated_events": 1,
  "truncated_bytes": 4016,
  "estimated_bytes": 0,
  "lost_bytes": 0,
  "warnings": [
    {
      "code": "truncated",
      "count": 1,
      "bytes": 4016,
      "message": "1 truncated event: 4,016 bytes are not in the trace, and the capture leaves a gap for them (at offset 53469, connection #146)"
    }
  ],
  "damage": {
    "offset": 65536,
    "message": "cut at offset 65536: an event needs 4020 bytes more"
  },
  "unread": null,
  "tshark": "tshark -r cut.pcap -d tcp.port==18081,http2",
  "connections": [
    {
      "id": "146",
      "local": null,
      "remote": "127.0.0.1:18081",
      "namespace": null,
      "upstreams": [],
      "side": "upstream",
      "protocol": "HTTP/2",
      "events": 5,
      "bytes_received": 48907,
      "bytes_sent": 16419,
      "first": "2026-11-22T06:08:49.864141000Z",
      "last": "2026-11-22T06:08:49.877361000Z",
      "truncated_events": 1,
      "truncated_bytes": 4016,
      "estimated_bytes": 0,
      "lost_bytes": 0,
      "closed": false
    }
  ]
}
{
  "path": "missing.pb",
  "error": "cannot open: No such file or directory"
}

"#]]
        .raw()
    );
}

/// The reader of the objects may close its end early.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scratch = Scratch::new();
    for number in 0..300 {
        write_trace(&scratch, format!("in/{number}.pb"), number);
    }
    for how in ["--json in out", "--info --json in"] {
        let script = format!("{{ capture2pcap -q {how}; echo $? >status; }} | head -n 1");
        let outcome = scratch.shell(&script).run().exits(0).says_nothing();
        let status = std::fs::read_to_string(scratch.path("status")).expect("a status");
        assert_eq!(status, "0\n", "{how}{}", outcome.explain());
        assert_eq!(objects(&outcome).len(), 1);
    }
}

/// Codes do not change when messages do. Each kind has its own, and the man page and the README list all.
#[test]
fn every_warning_has_a_code_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let source = read("src/model/warning/kind.rs");
    let from = source.find("fn code(").expect("the codes");
    let to = from + source[from..].find("\n    }\n").expect("their end");
    // The compiler ensures that every kind has a code.
    let codes: Vec<_> = source[from..to].split('"').skip(1).step_by(2).collect();
    assert!(codes.len() >= 16, "{codes:?}");
    assert_eq!(
        codes.iter().collect::<BTreeSet<_>>().len(),
        codes.len(),
        "{codes:?}"
    );
    let (man, readme) = (read("src/cli/man.roff"), read("README.md"));
    for code in codes {
        let word = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(code.chars().all(word), "{code}");
        assert!(
            man.contains(&format!(".B {}\n", code.replace('-', r"\-"))),
            "the man page lacks {code}"
        );
        assert!(
            readme.contains(&format!("`{code}`")),
            "the README lacks {code}"
        );
    }
}
