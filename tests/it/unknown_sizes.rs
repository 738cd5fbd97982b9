//! Truncated events without a recorded size: the gap has the size that the bytes before it imply, so that the next
//! message dissects.

use std::fs;
use std::path::Path;

use crate::fixtures;
use crate::harness::{Scratch, tshark};
use crate::make::{Ev, Form, Made, What};

/// The values of `fields` in each frame that passes `filter`, with HTTP on the server's port.
fn shown(path: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut args = vec!["-r", path.to_str().expect("a path"), "-Y", filter];
    args.extend(["-d", "tcp.port==8080,http", "-o", "tcp.check_checksum:TRUE"]);
    args.extend(["-d", "tcp.port==10000,http", "-T", "fields"]);
    args.extend(fields.iter().flat_map(|field| ["-e", field]));
    tshark(args).lines().map(str::to_owned).collect()
}

/// The warnings and errors that tshark reports: 6291456 is the severity of a warning.
fn objections(path: &Path) -> Vec<String> {
    let filter = "_ws.expert.severity >= 6291456 || _ws.malformed || tcp.analysis.flags \
        || tcp.checksum.status == \"Bad\"";
    let fields = ["frame.number", "_ws.malformed", "tcp.analysis.flags"];
    shown(path, filter, &fields)
}

/// The requests and responses of HTTP/1, and their times.
fn messages(path: &Path) -> Vec<String> {
    let fields = [
        "frame.time_relative",
        "http.request.uri",
        "http.response.code",
    ];
    shown(path, "http.request || http.response", &fields)
}

/// The header blocks of HTTP/2, and their times.
fn headers(path: &Path) -> Vec<String> {
    let fields = [
        "frame.time_relative",
        "http2.streamid",
        "http2.headers.path",
        "http2.headers.status",
    ];
    shown(path, "http2.headers", &fields)
}

fn convert(scratch: &Scratch, trace: &[u8], name: &str) -> std::path::PathBuf {
    let input = scratch.write(&format!("{name}.pb_length_delimited"), trace);
    let output = scratch.path(&format!("{name}.pcapng"));
    let run = scratch.capture2pcap().arg(&input).arg(&output);
    run.run().exits(0).says(["truncated event"]);
    output
}

fn field(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let file = format!("field/unknown-loss/{name}.pb_length_delimited");
    let path = fixtures::testdata().join(file);
    convert(scratch, &fs::read(&path).expect("a trace"), name)
}

/// A tap of Envoy before 1.37 with the limit of 1 KiB: the next response was once dissected as part of the truncated
/// one.
#[test]
fn after_a_truncation_of_unknown_size_the_next_message_dissects() {
    let scratch = Scratch::new();
    let [old, new] = ["str_old", "str_new"].map(|name| field(&scratch, name));
    assert_eq!(messages(&old), messages(&new));
    let responses = shown(&old, "http.response", &["http.response.code"]);
    assert_eq!(responses, ["200", "200", "200"]);
    let limited = shown(
        &old,
        "frame.cap_len < frame.len && http",
        &["frame.comment"],
    );
    assert_eq!(
        limited,
        [
            "truncated: 1024 bytes recorded, at least 8043 missing",
            "truncated: 1024 bytes recorded, at least 4 missing",
            "truncated: 1024 bytes recorded, at least 2043 missing",
        ]
    );

    let [old, new] = ["h2_old", "h2_new"].map(|name| field(&scratch, name));
    let everything = ["frame.len", "http2.streamid", "http2.type"];
    assert_eq!(
        shown(&old, "tcp", &everything),
        shown(&new, "tcp", &everything)
    );
    let streams = shown(&old, "http2.headers.status", &["http2.streamid"]);
    assert_eq!(streams, ["0,0,1,1", "3"]);
    assert_eq!(objections(&old), objections(&new));

    let real = field(&scratch, "cut-unknown-1.36");
    let seen = messages(&real);
    assert_eq!(
        seen.len(),
        25,
        "13 requests and 12 whole responses: {seen:?}"
    );
    assert_eq!(objections(&real), [""; 0]);
}

/// The same conversation truncated at `limit`, with and without Envoy's count.
fn cut(events: &[(What, Vec<u8>)], limit: usize) -> [Vec<u8>; 2] {
    [true, false].map(|counted| {
        let mut seq_num = 1;
        let event = |(i, (what, data)): (i32, &(What, Vec<u8>))| {
            let event = Ev {
                truncated: data.len() > limit,
                seq_num: if counted { seq_num } else { 0 },
                ..Ev::new(*what, 1000 * i, &data[..data.len().min(limit)])
            };
            seq_num += data.len() as u64;
            event
        };
        let mut events: Vec<_> = (0..).zip(events).map(event).collect();
        let closed = Ev {
            seq_num: if counted { seq_num + 1 } else { 0 },
            ..Ev::new(What::Closed, 1_000_000, [])
        };
        events.push(closed);
        Made::v4(events).encode(Form::StreamedDelimited).bytes
    })
}

/// Requests and responses with bodies of every kind, some of them longer than the limit.
fn http1() -> Vec<(What, Vec<u8>)> {
    let mut events = Vec::new();
    for (i, len) in [0, 10, 5000, 1, 3000, 70_000, 2].into_iter().enumerate() {
        let body = "b".repeat(len);
        let request = match i % 3 {
            0 => format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => format!("POST /{i} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}"),
            _ => format!("HEAD /{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
        };
        events.push((What::Read, request.into_bytes()));
        let length = format!("Content-Length: {len}\r\n\r\n");
        let response = match i {
            2 | 5 => format!("HTTP/1.1 200 OK\r\n{length}"),
            3 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            4 => format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{len:x}\r\n{body}\r\n0\r\n\r\n"
            ),
            _ => format!("HTTP/1.1 200 OK\r\n{length}{body}"),
        };
        events.push((What::Write, response.into_bytes()));
    }
    events
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Requests and responses like those of gRPC, with bodies of one frame and of several.
fn http2() -> Vec<(What, Vec<u8>)> {
    let (data, headers, settings) = (0, 1, 4);
    let mut client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    client.extend(frame(settings, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    let mut server = frame(settings, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let mut events = Vec::new();
    for (i, len) in [10, 5000, 40_000, 0, 3000, 9].into_iter().enumerate() {
        let stream = 2 * i as u8 + 1;
        // :method: POST, :path: /, :scheme: http; then :status: 200; then grpc-status: 0.
        client.extend(frame(headers, 4, stream, b"\x83\x84\x86"));
        client.extend(frame(data, 1, stream, &vec![b'q'; len / 2]));
        events.push((What::Read, std::mem::take(&mut client)));
        server.extend(frame(headers, 4, stream, b"\x88"));
        for chunk in vec![b'r'; len].chunks(16_384) {
            server.extend(frame(data, 0, stream, chunk));
            events.push((What::Write, std::mem::take(&mut server)));
        }
        let trailers = b"\x00\x0bgrpc-status\x010";
        server.extend(frame(headers, 5, stream, trailers));
        events.push((What::Write, std::mem::take(&mut server)));
    }
    events
}

/// At any limit, tshark shows the same messages as if the sizes were known.
#[test]
fn truncations_without_a_count_dissect_like_those_with_one() {
    for limit in [1024, 100, 40, 24, 9] {
        let scratch = Scratch::new();
        let [new, old] = cut(&http1(), limit);
        let [new, old] = [(new, "new"), (old, "old")].map(|(t, n)| convert(&scratch, &t, n));
        let seen = messages(&old);
        assert_eq!(seen, messages(&new), "HTTP/1, {limit}");
        assert!(limit < 100 || seen.len() == 14, "HTTP/1, {limit}: {seen:?}");
        assert_eq!(objections(&old), objections(&new), "HTTP/1, {limit}");

        let [new, old] = cut(&http2(), limit);
        let [new, old] = [(new, "new"), (old, "old")].map(|(t, n)| convert(&scratch, &t, n));
        let seen = headers(&old);
        assert_eq!(seen, headers(&new), "HTTP/2, {limit}");
        assert!(limit < 100 || seen.len() == 17, "HTTP/2, {limit}: {seen:?}");
        assert_eq!(objections(&old), objections(&new), "HTTP/2, {limit}");
    }
}
