//! The connection of each event, and the order of the events: ids that several connections share, and events that a
//! collector has received twice, out of order, or not at all.

use std::io::Write;

use crate::bad::convert;
use crate::conversation::{LOCAL, REMOTE, frames, lost};
use crate::harness::{Scratch, tshark};
use crate::judge::{FAULTS, faults};
use crate::losses::{assert_content, assert_warns, captured, counted, cut};
use crate::make::parts::{begin, connection, segment, socket};
use crate::make::{Ev, What};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// A connection between a server and the client on a port.
fn between(server: &str, client: u64) -> Vec<u8> {
    let (local, remote) = (socket(server, 8080), socket("10.1.0.9", client));
    connection(Some(&local), Some(&remote))
}

/// A request and its response with counts, beginning at a time in microseconds.
fn exchange(from: i32, name: &str) -> [Ev; 2] {
    let request = format!("GET /{name} HTTP/1.1\r\n\r\n");
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
    let count = 1 + request.len() as u64;
    [
        counted(What::Read, from, request.as_bytes(), 1),
        counted(What::Write, from + 10, response.as_bytes(), count),
    ]
}

/// The bytes of each stream.
fn streams(capture: &Capture) -> Vec<Vec<u8>> {
    let mut streams: Vec<_> = capture.streams().into_iter().map(|s| s.2).collect();
    streams.sort();
    streams
}

/// Two Envoys write to one collector, and each has a connection #1.
#[test]
fn two_envoys_with_one_trace_id_are_two_connections() {
    let (one, two) = (exchange(0, "a"), exchange(5, "b"));
    let (first, second) = (between("10.1.0.5", 41003), between("10.1.0.6", 41004));
    let message = |event: &Ev, connection: &[u8]| segment(1, &event.with_connection(connection));
    let trace = [
        message(&one[0], &first),
        message(&two[0], &second),
        message(&one[1], &first),
        message(&two[1], &second),
    ];
    let scratch = Scratch::new();
    for options in [&[][..], &["-m"]] {
        let (outcome, capture) = captured(&scratch, &trace.concat(), options);
        outcome.exits(0).says_nothing();
        let expected = [&one[0], &one[1], &two[0], &two[1]].map(|event| event.data.clone());
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(streams(&capture), expected, "{options:?}");
        assert_content(&scratch);
    }
}

/// The same, but only the first message of each connection names it: the counts distinguish the events.
#[test]
fn counts_tell_connections_of_one_id_apart() {
    let (one, two) = (exchange(0, "a"), exchange(5, "a longer name"));
    let mut trace = [
        begin(1, &between("10.1.0.5", 41003)),
        segment(1, &one[0].message()),
        begin(1, &between("10.1.0.6", 41004)),
        segment(1, &two[0].message()),
        segment(1, &one[1].message()),
        segment(1, &two[1].message()),
    ];
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, &trace.concat(), &[]);
    outcome.exits(0).says_nothing();
    let mut expected = [&one[0], &one[1], &two[0], &two[1]]
        .map(|event| event.data.clone())
        .to_vec();
    expected.sort();
    assert_eq!(streams(&capture), expected);

    // Without counts, nothing distinguishes them, which is reported.
    let uncounted = |event: &Ev| {
        let mut event = event.clone();
        event.seq_num = 0;
        segment(1, &event.message())
    };
    for (message, event) in [(1, &one[0]), (3, &two[0]), (4, &one[1]), (5, &two[1])] {
        trace[message] = uncounted(event);
    }
    let (outcome, _) = captured(&scratch, &trace.concat(), &[]);
    assert_warns(
        &outcome.exits(0),
        &["1 trace id shared by several open connections"],
    );
}

/// Thousands of simultaneous connections with one id must not take quadratic time.
#[test]
fn thousands_of_connections_share_one_id() {
    let mut trace = Vec::new();
    for at in [0, 1000] {
        for client in 0..5000 {
            let event = Ev::new(What::Read, at + client, format!("{client};"));
            let connection = between("10.1.0.5", 40_000 + client as u64);
            trace.extend(segment(1, &event.with_connection(&connection)));
        }
    }
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, &trace, &["-m"]);
    outcome.exits(0).says_nothing();
    let records = records.expect("a capture");
    let capture = Capture {
        snaplen: 0,
        records,
    };
    let expected = (0..5000).map(|client| format!("{client};").repeat(2));
    let mut expected: Vec<_> = expected.map(String::into_bytes).collect();
    expected.sort();
    assert_eq!(streams(&capture), expected);
}

/// An upstream tap records its own address late.
#[test]
fn a_later_address_belongs_to_the_same_connection() {
    let remote = socket("10.0.0.2", 443);
    let half = connection(None, Some(&remote));
    let local = socket("10.0.0.1", 40000);
    let whole = connection(Some(&local), Some(&remote));
    let events = exchange(0, "a");
    let late = [
        begin(7, &half),
        segment(7, &events[0].with_connection(&whole)),
        segment(7, &events[1].message()),
    ];
    let scratch = Scratch::new();
    for options in [&[][..], &["-m"]] {
        let (outcome, capture) = captured(&scratch, &late.concat(), options);
        outcome.exits(0).says_nothing();
        assert_eq!(streams(&capture).len(), 2, "{options:?}");
        let ports: Vec<_> = capture.segments().iter().map(|s| s.source.port()).collect();
        assert!(ports.contains(&40000), "{ports:?}");
    }
    // Too late: packets that are written keep their stand-in, and so do the later ones. A merge uses the address.
    let too_late = [
        begin(7, &half),
        segment(7, &events[0].message()),
        segment(7, &events[1].with_connection(&whole)),
    ];
    let (outcome, capture) = captured(&scratch, &too_late.concat(), &[]);
    let warnings = ["1 connection whose addresses were recorded too late"];
    assert_warns(&outcome.exits(0), &warnings);
    assert_eq!(streams(&capture).len(), 2);
    let (outcome, capture) = captured(&scratch, &too_late.concat(), &["-m"]);
    outcome.exits(0).says_nothing();
    let ports: Vec<_> = capture.segments().iter().map(|s| s.source.port()).collect();
    assert!(ports.contains(&40000), "{ports:?}");
}

/// A conversation of many counted events.
fn many(events: u64) -> Vec<Ev> {
    let mut count = 1;
    let event = |i: u64| {
        let what = if i % 3 == 2 { What::Write } else { What::Read };
        let event = counted(
            what,
            1000 * i as i32,
            format!("event {i};").as_bytes(),
            count,
        );
        count += event.data.len() as u64;
        event
    };
    let mut all: Vec<_> = (0..events).map(event).collect();
    all.push(counted(What::Closed, 1000 * events as i32, b"", count + 1));
    all
}

fn segments(events: &[Ev]) -> Vec<u8> {
    let connection = between("10.1.0.5", 41000);
    let first = begin(5, &connection);
    let events = events
        .iter()
        .flat_map(|event| segment(5, &event.with_connection(&connection)));
    first.into_iter().chain(events).collect()
}

/// The messages and packets of converting a trace.
fn packets(trace: &[u8], options: &[&str]) -> (String, Vec<(u64, Vec<u8>)>) {
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, trace, options);
    let outcome = outcome.exits(0);
    let packets = capture.records.into_iter();
    (
        outcome.stderr,
        packets.map(|record| (record.time, record.data)).collect(),
    )
}

/// A collector may receive events out of order and twice.
#[test]
fn repeated_and_reordered_events_are_corrected() {
    let events = many(40);
    for options in [&[][..], &["-m"]] {
        let (_, expected) = packets(&segments(&events), options);
        let mut twice = Vec::new();
        for (i, event) in events.iter().enumerate() {
            twice.push(event.clone());
            if i % 4 == 0 {
                twice.push(event.clone());
            }
            if i > 10 && i % 7 == 0 {
                twice.push(events[i - 8].clone());
            }
        }
        // Also after the end of the connection.
        twice.extend([events[40].clone(), events[39].clone()]);
        let (said, seen) = packets(&segments(&twice), options);
        assert!(seen == expected, "{options:?}: other packets");
        assert!(said.contains(" 17 repeated events: dropped"), "{said}");

        for shift in [1, 2, 5, 20] {
            let mut shuffled = events.clone();
            for chunk in shuffled.chunks_mut(shift + 1) {
                chunk.reverse();
            }
            let (said, seen) = packets(&segments(&shuffled), options);
            assert!(seen == expected, "{options:?}, {shift}: other packets");
            assert!(
                said.contains("out of order: put in order by seq_num"),
                "{said}"
            );
        }
        // The first event comes last, and all others wait for it.
        let mut rotated = events.clone();
        rotated.rotate_left(1);
        let (_, seen) = packets(&segments(&rotated), options);
        assert!(seen == expected, "{options:?}, rotated: other packets");
    }
}

/// If both events around missing bytes have the same direction, a gap is left. Otherwise the loss is only reported.
#[test]
fn a_gap_is_left_if_its_direction_is_known() {
    let request = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n";
    let head = request.len() as u64;
    let events = [
        counted(What::Read, 0, request, 1),
        // 100 bytes are lost before it.
        counted(What::Read, 1000, &[b'Q'; 200], head + 101),
        counted(
            What::Write,
            2000,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            head + 301,
        ),
        counted(
            What::Read,
            3000,
            b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n",
            head + 339,
        ),
        // 30 bytes in an unknown direction.
        counted(
            What::Write,
            4000,
            b"HTTP/1.1 204 No Content\r\n\r\n",
            head + 402,
        ),
    ];
    for options in [&["-v"][..], &["-v", "-m"]] {
        let scratch = Scratch::new();
        let (outcome, capture) = captured(&scratch, &segments(&events), options);
        let outcome = outcome.exits(0).says([
            "1 gap in Envoy's count: events with 100 bytes are not in the trace, and the capture leaves a gap",
            "1 gap in Envoy's count: events with 30 bytes are not in the trace; their direction is unknown",
        ]);
        let total: usize = capture.records.iter().map(lost).sum();
        assert_eq!(total, 100, "{options:?}{}", outcome.explain());
        let output = scratch.path("output.pcap");
        let args = [
            "-Y",
            "http.request",
            "-T",
            "fields",
            "-e",
            "http.request.uri",
            "-r",
        ];
        let shown = tshark(args.iter().map(AsRef::as_ref).chain([output.as_os_str()]));
        assert!(shown.contains("/second"), "{options:?}: {shown}");
        assert_eq!(faults(&output, None, FAULTS), "");
    }
}

/// An event that is later than the window allows is damage.
#[test]
fn an_event_that_comes_far_too_late_is_damage() {
    let mut events = many(100);
    let late = events.remove(3);
    events.insert(90, late);
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, &segments(&events), &[]);
    let outcome = outcome.exits(1);
    let warnings = [
        "1 gap in Envoy's count",
        "1 impossible seq_num",
        "times in the capture go backwards",
    ];
    assert_warns(&outcome, &warnings);
    let total = records.map_or(0, |records| records.len());
    assert!(total >= 101, "{total}{}", outcome.explain());
}

/// Envoy counts its PROXY protocol header on an upstream connection, but does not record it.
#[test]
fn a_proxy_header_explains_the_first_gap() {
    let events = [
        counted(What::Write, 0, b"GET / HTTP/1.1\r\n\r\n", 1),
        counted(What::Read, 1000, b"HTTP/1.1 204 No Content\r\n\r\n", 47),
    ];
    let scratch = Scratch::new();
    let (outcome, capture) = captured(&scratch, &segments(&events), &["--strict"]);
    assert_warns(
        &outcome.exits(0),
        &["1 connection opened by Envoy with a PROXY protocol header: its 28 bytes"],
    );
    assert_eq!(capture.records.iter().map(lost).sum::<usize>(), 0);
    let seen: Vec<_> = frames(&capture).iter().map(|f| f.0).collect();
    assert_eq!(seen.len(), 2);
}

/// In a live stream, an event waits for a missing one, or for its size, for a second at most.
#[test]
fn a_live_event_waits_for_a_second_at_most() {
    let connection = between("10.1.0.5", u64::from(REMOTE));
    let message = |event: &Ev| segment(5, &event.with_connection(&connection));
    let scratch = Scratch::new();
    let mut running = scratch.capture2pcap().args(["-", "-"]).start();
    let mut stdin = running.stdin.take().expect("a pipe");
    let mut send = |bytes: &[u8]| stdin.write_all(bytes).expect("a reader");
    let mut capture = running
        .stdout
        .as_mut()
        .expect("a pipe")
        .read(24, PATIENCE)
        .unwrap_or_default();
    send(&message(&counted(What::Read, 0, b"first;", 1)));
    if capture.is_empty() {
        capture = running
            .stdout
            .as_mut()
            .expect("a pipe")
            .read(24, PATIENCE)
            .expect("a header");
    }
    capture.extend(next_record(&mut running, "the first"));
    // Four bytes are missing, and no further event arrives.
    send(&message(&counted(What::Read, 1000, b"third;", 11)));
    capture.extend(next_record(&mut running, "the gap"));
    capture.extend(next_record(&mut running, "the third"));
    // Its size is unknown until the next event, which arrives much later.
    send(&message(&cut(What::Read, 2000, b"cut", 17)));
    capture.extend(next_record(&mut running, "the truncated one"));
    send(&message(&counted(What::Write, 3000, b"next", 117)));
    drop(stdin);
    let outcome = running.finish().exits(0);
    capture.extend(&outcome.stdout);
    let capture = Capture::parse(&capture).unwrap_or_else(|e| panic!("{e}"));
    capture.streams();
    let seen: Vec<_> = frames(&capture).iter().map(|f| (f.0, f.2)).collect();
    let sent: usize = seen.iter().filter(|f| f.0 == REMOTE).map(|f| f.1).sum();
    assert_eq!(sent, 6 + 4 + 6 + 100, "{seen:?}");
    assert_ne!(LOCAL, REMOTE);
}
