//! HTTP exchanges: which of them share a connection, and at which times.

use std::ffi::OsString;

use crate::fixtures;
use crate::harness::{Scratch, tshark};
use crate::http::{convert, downstream, halves};
use crate::make::START;
use crate::make::parts::{
    Half, Piece, body, connection, exchange, header, piece, request, response, socket,
};
use crate::pdml::View;

fn usual(at: i64, took: i64) -> Vec<u8> {
    let (asked, answered) = halves(at, took);
    exchange(Some(&asked), Some(&answered), Some(&downstream()))
}

/// The TCP stream and the HTTP/2 stream of each exchange.
fn streams(view: &View) -> Vec<(u64, u64)> {
    view.exchanges.iter().map(|shown| shown.stream).collect()
}

#[test]
fn exchanges_on_one_connection_are_its_streams() {
    let (_, capture, view, _) = convert(&[usual(0, 1), usual(2, 1)].concat(), &[]);
    assert_eq!(streams(&view), [(0, 1), (0, 3)]);
    capture.streams();

    // An idle time of up to sixty seconds does not end the connection.
    for (silence, expected) in [(60, [(0, 1), (0, 3)]), (61, [(0, 1), (1, 1)])] {
        let trace = [usual(0, 1), usual(1 + silence, 1)].concat();
        let (_, capture, view, _) = convert(&trace, &[]);
        assert_eq!(streams(&view), expected, "{silence} s of silence");
        capture.streams();
    }
    // The idle time counts from the last event so far, in any order of the exchanges.
    let trace = [usual(0, 50), usual(100, 1), usual(45, 1)].concat();
    assert_eq!(streams(&convert(&trace, &[]).2), [(0, 1), (0, 3), (0, 5)]);
}

/// Another port of the client or the server means another connection.
#[test]
fn other_ends_are_other_connections() {
    let (asked, answered) = halves(0, 1);
    let ends = [
        (10000, 50000),
        (10000, 50001),
        (10001, 50000),
        (10000, 50000),
    ];
    let trace = ends.map(|(local, remote)| {
        let (local, remote) = (socket("10.0.0.1", local), socket("10.0.0.2", remote));
        let downstream = connection(Some(&local), Some(&remote));
        exchange(Some(&asked), Some(&answered), Some(&downstream))
    });
    let (_, _, view, _) = convert(&trace.concat(), &[]);
    assert_eq!(streams(&view), [(0, 1), (1, 1), (2, 1), (0, 3)]);
}

/// Envoy records an exchange when it ends, so the one that began first may be recorded last.
#[test]
fn overlapping_exchanges_keep_their_times() {
    let trace = [usual(1, 1), usual(0, 5)].concat();
    let (_, capture, view, recorded) = convert(&trace, &[]);
    assert_eq!(streams(&view), [(0, 1), (0, 3)]);
    assert_eq!(
        recorded[1].times,
        [0, 5].map(|s| Some((START as u64 + s) * 1_000_000_000))
    );
    assert!(!capture.records.is_sorted_by_key(|record| record.time));
}

#[test]
fn without_times_the_start_is_the_first() {
    let (mut asked, mut answered) = halves(0, 1);
    (asked.time, answered.time) = (None, None);
    let one = exchange(Some(&asked), Some(&answered), Some(&downstream()));
    let start = 1_577_836_800_000_000_000;
    let (outcome, capture, view, _) = convert(
        &[one.clone(), one].concat(),
        &["--start", "2020-01-01T00:00:00Z"],
    );
    outcome.says(["6 events without a time"]);
    assert_eq!(capture.records[0].time, start);
    let times: Vec<_> = view
        .exchanges
        .iter()
        .flat_map(|e| e.times.clone())
        .collect();
    let expected = [vec![0], vec![1000, 2000], vec![3000], vec![4000, 5000]];
    assert_eq!(
        times,
        expected.map(|t| t.iter().map(|t| start + t).collect::<Vec<_>>())
    );
    capture.streams();
}

#[test]
fn a_start_is_a_time() {
    let (asked, _) = halves(0, 1);
    let asked = Half {
        time: None,
        ..asked
    };
    let trace = exchange(Some(&asked), None, Some(&downstream()));
    let accepted = [
        ("1970-01-01T00:00:00Z", 0),
        ("2020-01-01T00:00:00.000001Z", 1_577_836_800_000_001_000),
        ("2020-01-01T00:00:00+02:00", 1_577_829_600_000_000_000),
    ];
    for (start, first) in accepted {
        let capture = convert(&trace, &["--start", start]).1;
        assert_eq!(capture.records[0].time, first, "{start}");
    }
    let now = convert(&trace, &["--start", "now"]).1.records[0].time;
    assert!(
        now > START as u64 * 1_000_000_000 - 365 * 86_400_000_000_000,
        "{now}"
    );
    let scratch = Scratch::new();
    let input = scratch.write("trace.pb", &trace);
    for start in [
        "",
        "yesterday",
        "1960-01-01T00:00:00Z",
        "2020-01-01",
        "12:00:00Z",
    ] {
        let run = scratch.capture2pcap().args(["--start", start]);
        run.arg(&input).arg("out").run().exits(2).says(["--start"]);
    }
}

/// Such a response was once put on another connection, as its own had been idle for a minute.
#[test]
fn an_answer_after_a_minute_is_on_the_stream_of_its_request() {
    let scratch = Scratch::new();
    let input = fixtures::testdata().join("field/merge/18-idle");
    let output = scratch.path("all.pcapng");
    let run = scratch.capture2pcap().arg("-m").arg(input).arg(&output);
    run.run().exits(0);
    let args = ["-Y", "http2.headers", "-T", "fields", "-r"].map(OsString::from);
    let fields = [
        "tcp.stream",
        "http2.streamid",
        "http2.headers.path",
        "http2.headers.status",
    ];
    let fields = fields.into_iter().flat_map(|field| ["-e", field]);
    let args = args.into_iter().chain([output.into()]);
    let shown = tshark(args.chain(fields.map(OsString::from)));
    let shown: Vec<_> = shown.lines().collect();
    let expected = [
        "0\t1\t/slow\t",
        "0\t3\t/fast\t",
        "0\t3\t\t200",
        "0\t1\t\t200",
    ];
    assert_eq!(shown, expected);
}

/// Two exchanges with alternating segments.
#[test]
fn interleaved_segments_stay_apart() {
    let body = |text: &str| body(text.as_bytes());
    let trace = [
        piece(1 << 63, &Piece::RequestHeaders(request("POST", &[]))),
        piece(5, &Piece::RequestHeaders(request("PUT", &[]))),
        piece(1 << 63, &Piece::RequestBody(body("one "))),
        piece(5, &Piece::RequestBody(body("two"))),
        piece(5, &Piece::ResponseHeaders(response("204", &[]))),
        piece(1 << 63, &Piece::RequestBody(body("more"))),
        piece(1 << 63, &Piece::RequestTrailers(vec![header("sum", "1")])),
        piece(1 << 63, &Piece::ResponseHeaders(response("200", &[]))),
        piece(5, &Piece::ResponseBody(body("late"))),
        piece(1 << 63, &Piece::ResponseBody(body("answer"))),
        piece(
            1 << 63,
            &Piece::ResponseTrailers(vec![header("grpc-status", "0")]),
        ),
    ];
    let (outcome, capture, view, _) = convert(&trace.concat(), &[]);
    capture.streams();
    outcome.says([
        "2 connections with stand-in addresses",
        "11 events without a time",
    ]);
    assert_eq!(streams(&view), [(0, 1), (1, 1)]);
    let bodies = view.exchanges.iter().flat_map(|e| &e.messages);
    let bodies: Vec<_> = bodies.map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [&b"one more"[..], b"answer", b"two", b"late"]);
    let trailers = &view.exchanges[0].messages[1].trailers;
    assert_eq!(trailers[..], [(b"grpc-status".to_vec(), b"0".to_vec())]);
}
