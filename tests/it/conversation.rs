//! Handshakes and ends of connections, and truncated events.

use std::collections::HashSet;
use std::ffi::OsString;

use crate::bad;
use crate::harness::{Scratch, tshark};
use crate::judge::{FAULTS, faults};
use crate::make::{Encoded, Ev, Form, Made, What};
use crate::pcap::{ACK, Capture, FIN, PSH, Record, SYN};

/// Converts a trace with `options`.
fn convert(made: &Made, form: Form, options: &[&str]) -> Capture {
    let scratch = Scratch::new();
    let input = scratch.write("trace", &made.encode(form).bytes);
    let output = scratch.path("out.pcap");
    scratch
        .capture2pcap()
        .args(options)
        .arg(input)
        .arg(&output)
        .run()
        .exits(0);
    let capture = Capture::read(&output);
    capture.streams();
    capture
}

/// The source port, the flags and the original payload length of each frame.
pub(crate) fn frames(capture: &Capture) -> Vec<(u16, u8, usize)> {
    let segments = capture.segments();
    segments
        .iter()
        .map(|segment| (segment.source.port(), segment.flags, segment.length))
        .collect()
}

pub(crate) const LOCAL: u16 = 10000;
pub(crate) const REMOTE: u16 = 50000;
const DATA: u8 = PSH | ACK;

/// A request, a response and the end.
fn closed(end_stream: bool) -> Made {
    let mut response = Ev::new(What::Write, 2000, "HTTP/1.1 200 OK\r\n\r\n");
    response.end_stream = end_stream;
    let request = Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n");
    Made::v4(vec![request, response, Ev::new(What::Closed, 3000, "")])
}

#[test]
fn only_a_recorded_end_becomes_a_fin() {
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        for (end_stream, from) in [(true, LOCAL), (false, REMOTE)] {
            let made = closed(end_stream);
            let capture = convert(&made, form, &[]);
            let expected = [(REMOTE, DATA, 18), (LOCAL, DATA, 19), (from, FIN | ACK, 0)];
            assert_eq!(
                frames(&capture),
                expected,
                "{form:?}, end_stream {end_stream}"
            );
            assert_eq!(
                capture.records[2].time,
                made.events[2].nanos(),
                "{form:?}: the FIN's time"
            );
        }
    }
    // end_stream alone is not the end of the connection: later events may have it, too.
    let mut made = closed(true);
    made.events.truncate(2);
    made.events.push(made.events[1].clone());
    let expected = [(REMOTE, DATA, 18), (LOCAL, DATA, 19), (LOCAL, DATA, 19)];
    for form in Form::ALL {
        assert_eq!(frames(&convert(&made, form, &[])), expected, "{form:?}");
    }
}

#[test]
fn a_handshake_opens_and_closes() {
    for option in ["--handshake", "--handshake=always"] {
        let made = closed(true);
        let capture = convert(&made, Form::Streamed, &[option]);
        let frames = frames(&capture);
        let opening = [(REMOTE, SYN, 0), (LOCAL, SYN | ACK, 0), (REMOTE, ACK, 0)];
        assert_eq!(frames[..3], opening, "{option}");
        assert!(
            capture.records[..3]
                .iter()
                .all(|record| record.time == made.events[0].nanos()),
            "{option}"
        );
        let fins: Vec<_> = frames
            .iter()
            .filter(|frame| frame.1 & FIN != 0)
            .map(|frame| frame.0)
            .collect();
        assert_eq!(fins, [LOCAL, REMOTE], "{option}");
    }
    for option in ["--handshake=never", "--handshake=auto"] {
        let capture = convert(&closed(true), Form::Streamed, &[option]);
        assert!(
            frames(&capture).iter().all(|frame| frame.1 & SYN == 0),
            "{option}"
        );
    }
}

/// Each connection after the first is opened and closed, and times do not decrease.
#[test]
fn conversations_one_after_the_other_are_kept_apart() {
    for form in [
        Form::Binary,
        Form::Delimited,
        Form::Text,
        Form::Json,
        Form::Streamed,
    ] {
        let mut bytes = Vec::new();
        for i in 0..3 {
            let mut made = closed(true);
            made.events.truncate(2);
            made.id += u64::from(i);
            made.remote.1 += i;
            for event in &mut made.events {
                event.time.0 += 10 * i64::from(i);
            }
            bytes.extend(made.encode(form).bytes);
        }
        let scratch = Scratch::new();
        let input = scratch.write("trace", &bytes);
        let output = scratch.path("out.pcap");
        scratch
            .capture2pcap()
            .arg(input)
            .arg(&output)
            .run()
            .exits(0);
        let capture = Capture::read(&output);
        assert_eq!(capture.streams().len(), 6, "{form:?}");
        let with = |flag| {
            frames(&capture)
                .iter()
                .filter(|frame| frame.1 & flag != 0)
                .count()
        };
        assert_eq!(
            (with(SYN), with(FIN)),
            (4, 4),
            "{form:?}: two of three opened and closed"
        );
    }
}

/// Converts a sequence of messages. Returns the capture, and the number of TCP streams that tshark finds in it.
fn convert_all(messages: &[Made], form: Form) -> (Capture, usize) {
    let bytes = messages.iter().flat_map(|made| made.encode(form).bytes);
    let scratch = Scratch::new();
    let (outcome, records) = bad::convert(&scratch, &bytes.collect::<Vec<_>>(), &[]);
    let outcome = outcome.exits(0);
    let times_go_back = messages
        .windows(2)
        .any(|pair| pair[1].events[0].time < pair[0].events[0].time);
    match times_go_back {
        true => drop(outcome.says(["times in the capture go backwards", "--merge"])),
        false => drop(outcome.says_nothing()),
    }
    let output = scratch.path("output.pcap");
    assert_eq!(faults(&output, None, FAULTS), "", "{form:?}");
    let args = ["-T", "fields", "-e", "tcp.stream", "-r"].map(OsString::from);
    let streams = tshark(args.into_iter().chain([output.into()]));
    let streams: HashSet<_> = streams.lines().collect();
    let records = records.unwrap_or_default();
    let capture = Capture {
        snaplen: 0,
        records,
    };
    capture.streams();
    (capture, streams.len())
}

const BUFFERED: [Form; 4] = [Form::Binary, Form::Delimited, Form::Text, Form::Json];

/// A request and its response as one message, `at` seconds after the start.
fn message(at: i64) -> Made {
    let mut made = closed(false);
    made.events.truncate(2);
    for event in &mut made.events {
        event.time.0 += at;
    }
    made
}

/// Some releases of Envoy write a connection's buffered trace in several messages.
#[test]
fn messages_of_one_connection_are_one_conversation() {
    for form in BUFFERED {
        // Later times: shortly after, and an hour after.
        let mut at_once = message(0);
        at_once.events.remove(0);
        let messages = [message(0), at_once, message(3600)];
        let (capture, streams) = convert_all(&messages, form);
        assert_eq!(streams, 1, "{form:?}");
        let lengths: Vec<_> = frames(&capture).iter().map(|frame| frame.2).collect();
        assert_eq!(lengths, [18, 19, 19, 18, 19], "{form:?}");
    }
}

/// Ids begin again when Envoy restarts: an earlier time or another address means another connection.
#[test]
fn a_reused_id_is_another_conversation() {
    for form in BUFFERED {
        let mut other = message(5);
        other.remote.1 += 1;
        for again in [message(-5), other] {
            let (capture, streams) = convert_all(&[message(0), again], form);
            assert_eq!(streams, 2, "{form:?}");
            // The sequence numbers of the second connection differ. With equal ones, it would look like a retransmission.
            let segments = capture.segments();
            let data: Vec<_> = segments.iter().filter(|s| s.length == 18).collect();
            assert_eq!(data.len(), 2, "{form:?}");
            assert_ne!(data[0].sequence, data[1].sequence, "{form:?}");
        }
    }
    // Also after a recorded end.
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        let mut again = closed(true);
        for event in &mut again.events {
            event.time.0 += 10;
        }
        let (capture, streams) = convert_all(&[closed(true), again], form);
        assert_eq!(streams, 2, "{form:?}");
        let syns: Vec<_> = capture
            .segments()
            .iter()
            .filter(|segment| segment.flags & SYN != 0)
            .map(|segment| segment.sequence)
            .collect();
        assert_eq!(syns.len(), 2, "{form:?}: the second one's");
        assert_ne!(
            capture.segments()[0].sequence,
            syns[0].wrapping_add(1),
            "{form:?}"
        );
    }
}

/// Connections without a recorded end are closed in the order of their last events.
#[test]
fn open_connections_end_in_the_order_of_time() {
    let parts = [(1, 10), (2, 21), (3, 22)].map(|(id, last)| {
        let what = if id == 1 { What::Closed } else { What::Read };
        let mut made = Made::v4(vec![Ev::new(What::Read, id, "a"), Ev::new(what, last, "b")]);
        (made.id, made.remote.1) = (id as u64, REMOTE + id as u16);
        let Encoded {
            mut bytes, events, ..
        } = made.encode(Form::Streamed);
        let rest = bytes.split_off(events[1].0);
        (bytes, rest)
    });
    let begun = parts.iter().map(|(bytes, _)| bytes);
    let ended = parts.iter().map(|(_, rest)| rest);
    let trace = begun.chain(ended).flatten().copied().collect::<Vec<_>>();
    let scratch = Scratch::new();
    let input = scratch.write("trace", &trace);
    let run = scratch.capture2pcap().arg("--handshake=always");
    run.arg(input).arg("out.pcap").run().exits(0);
    let capture = Capture::read(&scratch.path("out.pcap"));
    let segments = capture.segments();
    let frames = capture.records.iter().zip(&segments);
    let ends: Vec<_> = frames
        .filter(|(_, segment)| segment.flags & FIN != 0 && segment.source.port() != LOCAL)
        .map(|(record, segment)| (segment.source.port(), record.time % 1_000_000 / 1000))
        .collect();
    assert_eq!(ends, [(REMOTE + 1, 10), (REMOTE + 2, 21), (REMOTE + 3, 22)]);
}

/// The tap's side decides which end opens the connection, if it is known.
#[test]
fn the_role_decides_who_opens() {
    for (role, client) in [("downstream", REMOTE), ("upstream", LOCAL)] {
        let capture = convert(
            &closed(true),
            Form::Streamed,
            &["--handshake", "--role", role],
        );
        assert_eq!(frames(&capture)[0], (client, SYN, 0), "{role}");
    }
}

/// The number of bytes that a record lacks.
pub(crate) fn lost(record: &Record) -> usize {
    record.original - record.data.len()
}

/// Envoy counts bytes that it does not record: packets have the lengths of the wire.
#[test]
fn a_counted_loss_is_reported_to_the_byte() {
    let mut events = vec![
        Ev::new(What::Read, 0, [b'a'; 100]),
        Ev::new(What::Write, 1000, [b'b'; 100]),
        Ev::new(What::Read, 2000, [b'c'; 50]),
        Ev::new(What::Write, 3000, [b'd'; 100]),
        Ev::new(What::Closed, 4000, ""),
    ];
    let sizes = [100, 100_000, 50, 300];
    let mut counted = 1;
    for (event, size) in events.iter_mut().zip(sizes) {
        event.seq_num = counted;
        event.truncated = event.data.len() < size;
        counted += size as u64;
    }
    events[4].seq_num = counted + 1;
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        let capture = convert(&Made::v4(events.clone()), form, &[]);
        let sum = |port| {
            let frames = frames(&capture);
            frames
                .iter()
                .filter(|frame| frame.0 == port)
                .map(|frame| frame.2)
                .sum::<usize>()
        };
        assert_eq!((sum(REMOTE), sum(LOCAL)), (150, 100_300), "{form:?}");
        let total: usize = capture.records.iter().map(lost).sum();
        assert_eq!(total, 100_000 - 100 + 300 - 100, "{form:?}");
        let fin = capture
            .segments()
            .into_iter()
            .filter(|segment| segment.flags & FIN != 0)
            .count();
        assert_eq!(fin, 1, "{form:?}");
    }
}
