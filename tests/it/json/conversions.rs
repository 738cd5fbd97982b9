//! The objects that conversions and merges print, also those of inputs that failed.

use super::*;

#[test]
fn a_conversion_prints_an_object_a_capture() {
    let scratch = with_traces();
    let run = scratch.capture2pcap();
    let run = run.args([
        "-j1",
        "--json",
        "truncated.pb",
        "none.pb",
        "cut.pb",
        "missing.pb",
        "out",
    ]);
    let outcome = run.run().exits(1);
    let mut objects = objects(&outcome);
    // They are printed in the order in which the captures are finished.
    objects.sort_by_key(|object| object["path"].to_string());
    assert_data_eq!(
        pretty(&objects),
        str![[r#"
{
  "path": "cut.pb",
  "capture": "out/cut.pcap",
  "packets": 5,
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
    },
    {
      "code": "stand-in-local",
      "count": 1,
      "bytes": 0,
      "message": "1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded (at offset 35, connection #146)"
    }
  ],
  "damage": {
    "offset": 65536,
    "message": "cut at offset 65536: an event needs 4020 bytes more"
  },
  "unread": null,
  "interrupted": false,
  "tshark": "tshark -r out/cut.pcap -d tcp.port==18081,http2",
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
{
  "path": "none.pb",
  "error": "not recognized at offset 0: not an Envoy tap trace in any encoding: it says \"hello, world\""
}
{
  "path": "truncated.pb",
  "capture": "out/truncated.pcap",
  "packets": 5,
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
  "interrupted": false,
  "tshark": "tshark -r out/truncated.pcap -d tcp.port==10014,http2",
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

"#]]
        .raw()
    );

    // The values equal those of --info.
    let run = scratch.capture2pcap();
    let info = run.args(["--info", "--json", "cut.pb"]).run().exits(1);
    let info = super::objects(&info).remove(0);
    for name in [
        "encoding",
        "envoy",
        "events",
        "bytes_received",
        "first",
        "last",
        "damage",
        "connections",
    ] {
        assert_eq!(info[name], objects[0][name], "{name}");
    }
}

#[test]
fn a_merge_prints_one_object() {
    let scratch = with_traces();
    let run = scratch.capture2pcap();
    let run = run.args([
        "--json",
        "-m",
        "truncated.pb",
        "none.pb",
        "cut.pb",
        "all.pcapng",
    ]);
    let outcome = run.run().exits(1);
    assert_data_eq!(
        pretty(&objects(&outcome)),
        str![[r#"
{
  "capture": "all.pcapng",
  "packets": 21,
  "error": null,
  "events": 10,
  "bytes_received": 49940,
  "bytes_sent": 16942,
  "first": "2026-11-22T06:08:48.485089000Z",
  "last": "2026-11-22T06:08:49.877361000Z",
  "truncated_events": 2,
  "truncated_bytes": 19138,
  "estimated_bytes": 0,
  "lost_bytes": 0,
  "warnings": [
    {
      "code": "truncated",
      "count": 2,
      "bytes": 19138,
      "message": "2 truncated events: 19,138 bytes are not in the trace, and the capture leaves a gap for them (the first at offset 53469, connection #146)"
    },
    {
      "code": "stand-in-local",
      "count": 1,
      "bytes": 0,
      "message": "1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded (at offset 35, connection #146)"
    }
  ],
  "interrupted": false,
  "tshark": "tshark -r all.pcapng -d tcp.port==10014,http2 -d tcp.port==18081,http2",
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
    },
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
  ],
  "traces": [
    {
      "path": "cut.pb",
      "error": null,
      "encoding": "delimited",
      "envoy": "1.10 or later",
      "events": 5,
      "bytes_received": 48907,
      "bytes_sent": 16419,
      "warnings": [
        {
          "code": "truncated",
          "count": 1,
          "bytes": 4016,
          "message": "1 truncated event: 4,016 bytes are not in the trace, and the capture leaves a gap for them (at offset 53469, connection #146)"
        },
        {
          "code": "stand-in-local",
          "count": 1,
          "bytes": 0,
          "message": "1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded (at offset 35, connection #146)"
        }
      ],
      "damage": {
        "offset": 65536,
        "message": "cut at offset 65536: an event needs 4020 bytes more"
      },
      "unread": null
    },
    {
      "path": "none.pb",
      "error": "not recognized at offset 0: not an Envoy tap trace in any encoding: it says \"hello, world\""
    },
    {
      "path": "truncated.pb",
      "error": null,
      "encoding": "delimited",
      "envoy": "1.28 or later",
      "events": 5,
      "bytes_received": 1033,
      "bytes_sent": 523,
      "warnings": [
        {
          "code": "truncated",
          "count": 1,
          "bytes": 15122,
          "message": "1 truncated event: 15,122 bytes are not in the trace, and the capture leaves a gap for them (at offset 53, connection #130)"
        }
      ],
      "damage": null,
      "unread": null
    }
  ]
}

"#]]
        .raw()
    );
}

/// A failure of any kind gives an object as well.
#[test]
fn every_input_gets_its_object() {
    let scratch = with_traces();
    scratch
        .shell("mkdir -p empty in out && touch out/no")
        .run()
        .exits(0);
    for (number, name) in (0..).zip(["in/a.pb", "in/no/b.pb"]) {
        write_trace(&scratch, name, number);
    }
    let errors = |arguments: &[&str]| {
        let run = scratch.capture2pcap().arg("--json").args(arguments);
        let mut objects = objects(&run.run().exits(1));
        objects.sort_by_key(|object| object["path"].to_string());
        let error = |object: &Value| format!("{} {}\n", object["path"], object["error"]);
        objects.iter().map(error).collect::<String>()
    };
    assert_data_eq!(
        errors(&["in", "none.pb", "out"]),
        str![[r#"
"in/a.pb" null
"in/no/b.pb" "cannot make the folder out/no: a file has its name"
"none.pb" "not recognized at offset 0: not an Envoy tap trace in any encoding: it says \"hello, world\""

"#]]
        .raw()
    );
    assert_data_eq!(
        errors(&["empty", "new"]),
        str![[r#"
"empty" "no traces found: no file ends in .pb, .pb_length_delimited, .pb_text, .json, compressed (.gz, .zst) or not"

"#]]
        .raw()
    );
    assert_data_eq!(
        errors(&["none.pb", "x.pcap"]),
        str![[r#"
"none.pb" "not recognized at offset 0: not an Envoy tap trace in any encoding: it says \"hello, world\""

"#]]
        .raw()
    );
    assert_data_eq!(
        errors(&["in/a.pb", "no/x.pcap"]),
        str![[r#"
"in/a.pb" "cannot write: there is no folder no"

"#]]
        .raw()
    );
    assert_data_eq!(
        errors(&["-m", "none.pb", "missing.pb", "x.pcap"]),
        str![[r#"
null "none of the traces can be read"

"#]]
        .raw()
    );
    assert_data_eq!(
        errors(&["--strict", "cut.pb", "x.pcap"]),
        str![[r#"
"cut.pb" "damaged, so --strict writes no capture: cut at offset 65536: an event needs 4020 bytes more"

"#]]
        .raw()
    );
}
