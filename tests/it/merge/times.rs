//! The times of a merge, and the order of its events.

use super::*;

/// If the clock steps back, a merge keeps the last time until the trace has caught up. Without --merge, times stay as
/// recorded.
#[test]
fn a_clock_that_steps_back_keeps_the_order() {
    for form in [Form::Binary, Form::StreamedDelimited, Form::StreamedJson] {
        let scratch = Scratch::new();
        let event = |micros, data: &str| Ev::new(What::Read, micros, data);
        let stepping = [(0, "a"), (5000, "b"), (3000, "c"), (4500, "d"), (6000, "e")];
        let events = stepping.map(|(micros, data)| event(micros, data));
        let steady = [(4000, "A"), (5500, "B")].map(|(micros, data)| event(micros, data));
        let traces = [
            write(&scratch, "back", form, 50001, events.to_vec()),
            write(&scratch, "steady", form, 50002, steady.to_vec()),
        ];
        let (outcome, capture) = merge(&scratch, &[], &traces);
        let outcome = outcome
            .exits(0)
            .says(["back: 2 events moved to a later time"]);
        assert!(
            !outcome.stderr.contains("steady: "),
            "{form:?}{}",
            outcome.explain()
        );
        let expected = [
            (50001, 0, "a"),
            (50002, 4000, "A"),
            (50001, 5000, "b"),
            (50001, 5000, "c"),
            (50001, 5000, "d"),
            (50002, 5500, "B"),
            (50001, 6000, "e"),
        ];
        let expected = expected.map(|(port, at, data)| (port, at, data.as_bytes().to_vec()));
        assert_eq!(places(&capture), expected, "{form:?}");
        assert_in_order(&capture);
        assert_apart(&scratch, &capture, 2);

        let single = Capture::parse(&alone(&traces[0])).unwrap_or_else(|e| panic!("{e}"));
        let times: Vec<_> = places(&single).into_iter().map(|place| place.1).collect();
        assert_eq!(times, [0, 5000, 3000, 4500, 6000], "{form:?} alone");
    }
}

/// Events with the same time are sorted by the names of their traces.
#[test]
fn equal_times_keep_the_order_of_the_traces() {
    let scratch = Scratch::new();
    let events = |data: [&str; 3]| {
        let times = [1000, 1000, 2000].into_iter().zip(data);
        times
            .map(|(at, data)| Ev::new(What::Read, at, data))
            .collect()
    };
    let (a, b) = (events(["a", "b", "c"]), events(["A", "B", "C"]));
    let mut traces = [
        write(&scratch, "a", Form::Streamed, 50001, a),
        write(&scratch, "b", Form::Streamed, 50002, b),
    ];
    for _ in 0..2 {
        let (_, capture) = merge(&scratch, &[], &traces);
        let found: Vec<_> = places(&capture)
            .into_iter()
            .flat_map(|place| place.2)
            .collect();
        assert_eq!(String::from_utf8_lossy(&found), "abABcC");
        traces.reverse();
    }
}

/// Traces without times are placed at `--start`, among the others.
#[test]
fn traces_without_time_are_put_at_the_start() {
    let timeless: Vec<_> = fixtures::http_traces()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("http_str_proto_binary_1"))
        .collect();
    assert_eq!(timeless.len(), 5);
    let scratch = Scratch::new();
    let events = [0, 2_000_000].map(|micros| Ev::new(What::Read, micros, "x"));
    let timed = write(&scratch, "timed", Form::Binary, 50001, events.to_vec());
    let traces = [&timeless[..], &[timed]].concat();
    // In the middle of the trace with times.
    let start = START as u64 + 1;
    let (outcome, capture) = merge(&scratch, &["--start", "2026-11-22T06:08:47Z"], &traces);
    let outcome = outcome.exits(0);
    // One warning for all of them.
    let outcome =
        outcome.says([".pb and 4 other traces: 22 events without a time: stand-in times"]);
    let lines = outcome.stderr.matches("without a time").count();
    assert_eq!(lines, 1, "{}", outcome.explain());
    assert_in_order(&capture);
    assert_apart(&scratch, &capture, traces.len());
    let segments = capture.segments();
    let frames = capture.records.iter().zip(&segments);
    let (mut timed, mut stood) = (Vec::new(), Vec::new());
    for (record, segment) in frames {
        let ports = [segment.source.port(), segment.destination.port()];
        if ports.contains(&50001) {
            timed.push(record.time);
        } else {
            stood.push(record.time);
        }
    }
    assert_eq!(timed.first(), Some(&(START as u64 * 1_000_000_000)));
    assert_eq!(timed.last(), Some(&((START as u64 + 2) * 1_000_000_000)));
    assert_eq!(stood.first(), Some(&(start * 1_000_000_000)));
    assert!(
        stood
            .last()
            .is_some_and(|&last| last < start * 1_000_000_000 + 1_000_000)
    );
}

/// A truncated event has its true size in a merge, although only the next event of its trace shows it, which comes
/// after many others.
#[test]
fn a_counted_loss_keeps_its_size() {
    let sizes = [100, 100_000, 300];
    let mut counted = 1;
    let mut events = Vec::new();
    for (i, size) in (0..).zip(sizes) {
        let mut event = Ev::new(What::Write, 100_000 * i, vec![b'x'; size.min(200)]);
        (event.truncated, event.seq_num) = (size > 200, counted);
        counted += size as u64;
        events.push(event);
    }
    let mut closed = Ev::new(What::Closed, 300_000, "");
    closed.seq_num = counted + 1;
    events.push(closed);
    let between = (0..200).map(|i| Ev::new(What::Read, 1500 * i, "between"));
    for form in Form::ALL.into_iter().filter(|form| form.is_streamed()) {
        let scratch = Scratch::new();
        let traces = [
            write(&scratch, "cut", form, 50001, events.clone()),
            write(&scratch, "between", form, 50002, between.clone().collect()),
        ];
        let (outcome, capture) = merge(&scratch, &[], &traces);
        outcome
            .exits(0)
            .says(["cut: 2 truncated events: 99,900 bytes are not in the trace"]);
        let mut expected = Vec::new();
        for trace in &traces {
            let single = Capture::parse(&alone(trace)).unwrap_or_else(|e| panic!("{e}"));
            expected.extend(data(&single));
        }
        expected.sort();
        assert_eq!(data(&capture), expected, "{form:?}");
        let sent: usize = data(&capture)
            .iter()
            .filter(|frame| frame.2.port() == 50001)
            .map(|frame| frame.4)
            .sum();
        assert_eq!(sent, 100_400, "{form:?}");
        assert_apart(&scratch, &capture, 2);
    }
}

/// Messages of one file whose times overlap: Envoy writes each when its connection ends, or in pieces.
#[test]
fn messages_of_one_file_overlap() {
    for form in [Form::Binary, Form::Delimited, Form::Text, Form::Json] {
        let message = |client: u16, times: &[i32]| {
            let events = times
                .iter()
                .map(|&micros| Ev::new(What::Read, micros, format!("{client} {micros};")));
            let mut made = Made::v4(events.collect());
            made.remote.1 = client;
            made.id = u64::from(client);
            made.encode(form).bytes
        };
        let scratch = Scratch::new();
        // A1 B1 A2, and last a connection that ended before all of them.
        let bytes = [
            message(50001, &[1000, 3000]),
            message(50002, &[2000, 4000, 6000]),
            message(50001, &[5000, 7000]),
            message(50003, &[500, 900]),
        ];
        let trace = scratch.write("trace", &bytes.concat());
        let (outcome, capture) = merge(&scratch, &[], &[trace]);
        let outcome = outcome.exits(0);
        assert!(
            !outcome.stderr.contains("later time"),
            "{form:?}{}",
            outcome.explain()
        );
        let expected = [
            (50003, 500),
            (50003, 900),
            (50001, 1000),
            (50002, 2000),
            (50001, 3000),
            (50002, 4000),
            (50001, 5000),
            (50002, 6000),
            (50001, 7000),
        ];
        let expected = expected
            .map(|(client, micros)| (client, micros, format!("{client} {micros};").into_bytes()));
        assert_eq!(places(&capture), expected, "{form:?}");
        assert_in_order(&capture);
        assert_eq!(
            (count(&capture, SYN), count(&capture, FIN)),
            (6, 6),
            "{form:?}"
        );
        assert_apart(&scratch, &capture, 3);
    }
}

/// A batched `/tap` stream, recorded by a real Envoy: each batch belongs to one connection, and has earlier times than
/// the batch before.
#[test]
fn a_stream_of_several_connections_keeps_the_recorded_times() {
    let trace = fixtures::testdata().join("field/merge/batch-three-connections.json");
    let json = fs::read_to_string(&trace).expect("a fixture");
    let times = json.split("\"timestamp\": \"").skip(1);
    let mut recorded: Vec<_> = times
        .map(|rest| {
            let time = rest.split('"').next().expect("a time");
            let (_, fraction) = time.split_once(":20.").expect("one second");
            fraction
                .trim_end_matches('Z')
                .parse::<u64>()
                .expect("microseconds")
        })
        .collect();
    assert_eq!(recorded.len(), 33);
    recorded.sort_unstable();
    recorded.dedup();
    let scratch = Scratch::new();
    let (outcome, capture) = merge(&scratch, &[], std::slice::from_ref(&trace));
    outcome.exits(0).says_nothing();
    let times = capture
        .records
        .iter()
        .map(|record| record.time / 1000 % 1_000_000);
    let mut times: Vec<_> = times.collect();
    assert_in_order(&capture);
    times.dedup();
    assert_eq!(times, recorded);
    assert_apart(&scratch, &capture, 3);

    // Without --merge, the capture has the order of the trace, with a warning.
    let run = scratch.capture2pcap().arg(&trace).arg("alone.pcap").run();
    run.exits(0).says([
        " events earlier than the one before: times in the capture go backwards",
        "hint: --merge puts all packets in the order of their times",
    ]);
}

/// A truncated event keeps its time, for any number of events before the one that shows its size.
#[test]
fn a_truncated_event_keeps_its_time_among_thousands() {
    let mut events = vec![(1, 0, "cut", true, 1)];
    events.extend((0..3000).map(|i| (2, 1 + i, "B", false, 1 + i as u64)));
    events.push((1, 5_000_000, "answer", false, 1001));
    let connection = |id: u64| {
        use crate::make::parts::{connection, socket};
        let (local, remote) = (socket("10.0.0.1", 80), socket("10.0.0.2", 50_000 + id));
        crate::make::parts::begin(id, &connection(Some(&local), Some(&remote)))
    };
    let mut trace = [connection(1), connection(2)].concat();
    for (id, at, data, truncated, seq_num) in events {
        let mut event = Ev::new(What::Read, at, data);
        (event.truncated, event.seq_num) = (truncated, seq_num);
        trace.extend(crate::make::parts::segment(id, &event.message()));
    }
    let scratch = Scratch::new();
    let trace = scratch.write("trace", &trace);
    let (outcome, capture) = merge(&scratch, &["--role=downstream"], &[trace]);
    let outcome = outcome.exits(0);
    let found = outcome
        .stderr
        .lines()
        .filter(|line| !line.starts_with("hint"));
    assert_eq!(found.count(), 1, "{}", outcome.explain());
    assert_in_order(&capture);
    let first = &places(&capture)[0];
    assert_eq!((first.0, first.1, &first.2[..]), (50_001, 0, &b"cut"[..]));
}
