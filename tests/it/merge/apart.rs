//! Connections that share their endpoints or ids, also thousands of them: a merge keeps them apart.

use super::*;

/// A trace and its copy an hour later; then 150 µs later, so that both are open at once.
#[test]
fn the_same_endpoints_again() {
    for name in ["buf_proto_text_22.pb_text", "str_proto_text_67.pb_text"] {
        let path = fixtures::testdata().join("envoy-1.40/taps").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let single = Capture::parse(&alone(&path)).unwrap_or_else(|e| panic!("{e}"));
        let single: Vec<_> = single
            .streams()
            .into_iter()
            .map(|stream| stream.2)
            .collect();
        assert_eq!(single.len(), 2, "{name}");
        for (by, at_once) in [(3_600_000_000_000, false), (150_000, true)] {
            let place = format!("{name} {by} ns later");
            let scratch = Scratch::new();
            let traces = [
                scratch.write("a.pb_text", text.as_bytes()),
                scratch.write("b.pb_text", later(&text, by).as_bytes()),
            ];
            let (outcome, capture) = merge(&scratch, &[], &traces);
            let outcome = outcome.exits(0);
            let found = outcome
                .stderr
                .contains("b.pb_text: 1 connection with a stand-in client port");
            assert_eq!(found, at_once, "{place}{}", outcome.explain());
            assert!(
                !outcome.stderr.contains("a.pb_text: "),
                "{place}{}",
                outcome.explain()
            );
            assert_in_order(&capture);
            let path = scratch.path("all.pcap");
            assert_eq!(faults(&path, http2_ports(&capture), FAULTS), "", "{place}");
            let seen = streams(&path);
            assert_eq!(seen.len(), 2, "{place}: {seen:?}");
            let same = seen[0].1 == seen[1].1;
            assert_eq!(same, !at_once, "{place}: {seen:?}");
            assert_eq!(
                (count(&capture, SYN), count(&capture, FIN)),
                (4, 4),
                "{place}"
            );
            // Everything is there twice, one after the other or at the same time.
            let mut found: Vec<_> = capture
                .streams()
                .into_iter()
                .map(|stream| stream.2)
                .collect();
            let mut expected = if at_once {
                [&single[..], &single].concat()
            } else {
                single.iter().map(|stream| stream.repeat(2)).collect()
            };
            found.sort();
            expected.sort();
            assert!(found == expected, "{place}: other bytes");
        }
    }
}

/// Two thousand traces with one pair of endpoints, a second apart, with few open files.
#[test]
fn thousands_of_traces_one_after_the_other() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for i in 0..2000 {
        // Most of them overlap with their neighbours.
        let begin = 1_000_000 * i;
        let events = vec![
            Ev::new(What::Read, begin, format!("request {i}")),
            Ev::new(What::Write, begin + 900_000, format!("response {i}")),
        ];
        let name = format!("in/path_{}.pb", (i * 7) % 2000);
        write(&scratch, &name, Form::Binary, 50001, events);
    }
    for jobs in [1, 2] {
        let script = format!("ulimit -n 64; exec capture2pcap -j {jobs} -m in all_{jobs}.pcap");
        let outcome = scratch.shell(&script).run();
        outcome
            .exits(0)
            .says(["1 capture of 2,000 traces, 2,000 connections, 4,000 events "]);
    }
    let one = fs::read(scratch.path("all_1.pcap")).expect("a capture");
    let two = fs::read(scratch.path("all_2.pcap")).expect("a capture");
    assert!(one == two, "other bytes with two threads");
    fs::rename(scratch.path("all_1.pcap"), scratch.path("all.pcap")).expect("a capture");
    let capture = Capture::read(&scratch.path("all.pcap"));
    assert_in_order(&capture);
    let payloads: Vec<_> = places(&capture).into_iter().map(|place| place.2).collect();
    let expected = (0..2000).flat_map(|i| [format!("request {i}"), format!("response {i}")]);
    assert!(payloads.into_iter().eq(expected.map(String::into_bytes)));
    assert_eq!(count(&capture, SYN), 4000);
    assert_apart(&scratch, &capture, 2000);
}

/// Traces that all overlap need as many readers, but only few open files.
#[test]
fn overlapping_traces_are_merged_with_few_open_files() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    for i in 0..200 {
        let events = [0, 1_000_000].map(|at| Ev::new(What::Read, at + i, format!("{i} at {at}")));
        let client = 50000 + i as u16;
        write(
            &scratch,
            &format!("in/{i}.pb"),
            Form::Binary,
            client,
            events.to_vec(),
        );
    }
    let outcome = scratch
        .shell("ulimit -n 64; exec capture2pcap -m in all.pcap")
        .run();
    outcome
        .exits(0)
        .says(["1 capture of 200 traces, 200 connections, 400 events "]);
    let capture = Capture::read(&scratch.path("all.pcap"));
    assert_in_order(&capture);
    assert_eq!(capture.streams().len(), 200);
}

/// More simultaneous buffered traces than a conversion keeps open.
#[test]
fn more_traces_than_a_conversion_keeps_open_stay_whole() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).expect("a folder");
    const TRACES: u16 = 4500;
    for i in 0..TRACES {
        let at = |second| 1_000_000 * second + i32::from(i);
        let events = vec![
            Ev::new(What::Read, at(0), format!("GET /{i} HTTP/1.1\r\n\r\n")),
            Ev::new(What::Write, at(10), format!("HTTP/1.1 200 OK\r\n\r\n{i}")),
        ];
        write(
            &scratch,
            &format!("in/{i}.pb"),
            Form::Binary,
            50_000 + i,
            events,
        );
    }
    let (outcome, capture) = merge(&scratch, &[], &[scratch.path("in")]);
    let outcome = outcome.exits(0).says(["4,500 connections, 9,000 events"]);
    assert!(
        !outcome.stderr.contains("stand-in"),
        "{}",
        outcome.explain()
    );
    assert_in_order(&capture);
    assert_eq!(capture.streams().len(), 2 * usize::from(TRACES));
    assert_eq!(count(&capture, SYN), 2 * usize::from(TRACES));
    // No connection ends before each has had its response.
    let segments = capture.segments();
    let last_request = segments.iter().rposition(|s| s.payload.starts_with(b"GET"));
    let first_end = segments.iter().position(|s| s.flags & FIN != 0);
    assert!(last_request < first_end, "{last_request:?} {first_end:?}");
}

/// Two buffered messages of one file with the same id and times, but different addresses.
#[test]
fn messages_of_one_id_and_other_addresses_stay_apart() {
    for form in [Form::Binary, Form::Delimited, Form::Text, Form::Json] {
        let message = |client: u16, first: i32| {
            let events = (0..3).map(|i| {
                let what = if i == 2 { What::Write } else { What::Read };
                Ev::new(what, first + 100 * i, format!("{client} {i};"))
            });
            let mut made = Made::v4(events.collect());
            made.remote.1 = client;
            made.encode(form).bytes
        };
        let scratch = Scratch::new();
        let bytes = [message(50001, 0), message(50002, 50), message(50001, 1000)];
        let trace = scratch.write("trace", &bytes.concat());
        let (outcome, capture) = merge(&scratch, &[], &[trace]);
        outcome.exits(0).says_nothing();
        let seen: Vec<_> = places(&capture).into_iter().map(|p| (p.0, p.1)).collect();
        let expected = [
            (50001, 0),
            (50002, 50),
            (50001, 100),
            (50002, 150),
            (50001, 200),
            (50002, 250),
            (50001, 1000),
            (50001, 1100),
            (50001, 1200),
        ];
        assert_eq!(seen, expected, "{form:?}");
        assert_apart(&scratch, &capture, 2);
    }
}
