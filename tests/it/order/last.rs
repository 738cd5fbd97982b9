//! Messages that name their connection only after their events, and the limits of the search for it.

use super::*;

/// The packets and messages of converting `bytes`, as a file and from a stream.
fn both(bytes: &[u8]) -> [(Vec<Record>, String); 2] {
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, bytes, &[]);
    let from_file = (records.expect("a capture"), outcome.exits(0).stderr);
    let outcome = scratch.capture2pcap().args(["-", "-"]).stdin(bytes).run();
    let outcome = outcome.exits(0);
    let capture = Capture::parse(&outcome.stdout).expect("a capture");
    [from_file, (capture.records, outcome.stderr)]
}

/// A conversation of `len` bytes in events of `size`.
fn long(len: usize, size: usize) -> Made {
    let events = (0..len / size).map(|i| {
        let what = [What::Read, What::Write][i % 2];
        let data: Vec<u8> = noise(i as u64).take(size).collect();
        Ev::new(what, i as i32, data)
    });
    Made::v4(events.collect())
}

/// The members of the one buffered message of `made`.
fn members(made: &Made) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let events = made
        .events
        .iter()
        .flat_map(|event| field(3, &event.message()));
    (
        number(1, made.id),
        field(2, &connection()),
        events.collect(),
    )
}

/// Messages larger than the window, and larger than the part of a file that is buffered.
#[test]
fn a_long_message_names_its_connection_last() {
    let made = long(3 << 20, 3000);
    let (id, connection, events) = members(&made);
    let whole = field(3, &[&id[..], &connection, &events].concat());
    let last = field(3, &[&events[..], &connection, &id].concat());
    let id_last = field(3, &[&connection[..], &events, &id].concat());
    let split = [
        field(3, &[&connection[..], &events].concat()),
        field(3, &id),
    ];
    let rated = [&whole[..], &field(5, &number(1, 50))].concat();
    let Value::Object(json) = serde_json::from_slice(&made.encode(Form::Json).bytes).expect("JSON")
    else {
        panic!("no object")
    };
    let json = Value::Object(json);
    let text = String::from_utf8(made.encode(Form::Text).bytes).expect("text");
    // The id and the connection come before the first event.
    let (head, tail) = text.split_once("  events").expect("events");
    let (name, connection) = head.split_once('\n').expect("a line");
    let tail = tail.trim_end().strip_suffix('}').expect("an end");
    let text = format!("{name}\n  events{tail}\n{connection}\n}}\n");
    let cases = [
        ("last", last.clone()),
        ("the id last", id_last),
        ("delimited, in pieces", delimit(&split.concat())),
        ("delimited, with a rate", delimit(&rated)),
        ("delimited, last", delimit(&last)),
        ("sorted JSON", sorted(&json).into_bytes()),
        ("text", text.into_bytes()),
    ];
    let expected = both(&whole).map(|(records, _)| records);
    assert_eq!(expected[0].len(), made.events.len());
    each(
        &cases,
        |(name, _)| (*name).to_owned(),
        |(name, bytes)| {
            for (got, (records, stderr)) in both(bytes).into_iter().enumerate() {
                // Real addresses and stand-ins differ in their ports.
                let payloads = |records: &[Record]| -> Vec<_> {
                    records
                        .iter()
                        .map(|r| r.segment().expect("TCP").payload.to_vec())
                        .collect()
                };
                assert_eq!(payloads(&records), payloads(&expected[got]), "{name}");
                assert_eq!(stderr, "", "{name}");
            }
        },
    );
}

/// A stream is buffered only up to a limit. Events after that have stand-in addresses, with a warning.
#[test]
fn a_stream_that_names_its_connection_too_late_says_so() {
    let made = long(12 << 20, 40_000);
    let (id, connection, events) = members(&made);
    let last = field(3, &[&id[..], &events, &connection].concat());
    let [(from_file, file_said), (from_stream, stream_said)] = both(&last);
    assert_eq!(file_said, "");
    assert!(
        from_file[0]
            .segment()
            .expect("TCP")
            .source
            .ip()
            .to_string()
            .starts_with("10.0.0.")
    );
    assert_eq!(from_stream.len(), from_file.len());
    for (one, other) in from_stream.iter().zip(&from_file) {
        let (one, other) = (one.segment().expect("TCP"), other.segment().expect("TCP"));
        assert_eq!(one.payload, other.payload);
    }
    for part in [
        "addresses were recorded too late",
        "hint: convert the trace from a file",
    ] {
        assert!(stream_said.contains(part), "{stream_said}");
    }
    assert!(
        !stream_said.contains("with stand-in addresses"),
        "{stream_said}"
    );

    // A message without a connection has stand-ins, as a file and from a stream.
    let never = field(3, &[&id[..], &events].concat());
    for (records, stderr) in both(&never) {
        assert_eq!(records.len(), from_file.len());
        assert!(
            stderr.contains("1 connection with stand-in addresses"),
            "{stderr}"
        );
        assert!(!stderr.contains("too late"), "{stderr}");
    }
}

/// A message is complete at its end: its packets do not wait for the next message.
#[test]
fn a_live_stream_does_not_wait_for_the_next_message() {
    let one = Ev::new(What::Read, 1, "streamed");
    let segment = field(4, &[field(3, &one.message()), number(1, 9)].concat());
    let json = json!({"socket_streamed_trace_segment": {
        "event": {"read": {"data": {"as_bytes": "c3RyZWFtZWQ="}}},
        "trace_id": "9",
    }});
    let text = "socket_streamed_trace_segment { event { read { data { as_bytes: 'streamed' } } } trace_id: 9 }";
    let cases = [
        ("binary", segment.clone()),
        ("delimited", delimit(&segment)),
        ("json", sorted(&json).into_bytes()),
        ("text", text.as_bytes().to_vec()),
    ];
    for (encoding, message) in cases {
        let scratch = Scratch::new();
        let mut running = scratch
            .capture2pcap()
            .args(["--input-format", encoding, "-", "-"])
            .start();
        let stdin = running.stdin.as_mut().expect("a pipe");
        stdin.write_all(&message).expect("a reader");
        stdin.flush().expect("a reader");
        let stdout = running.stdout.as_mut().expect("a pipe");
        // The header of the file, and a packet with eight bytes.
        let got = stdout.read(24 + 16 + 54 + 8, PATIENCE);
        let got = got.unwrap_or_else(|why| panic!("{encoding}: {why}"));
        assert!(got.ends_with(b"streamed"), "{encoding}");
        running.finish().exits(0);
    }
}

/// If the trace is cut before the connection, the events are kept, and the offset of the cut is reported.
#[test]
fn a_cut_message_that_names_its_connection_last_keeps_its_events() {
    let events = vec![
        Ev::new(What::Read, 1, "one"),
        Ev::new(What::Write, 2, "two"),
    ];
    let (id, connection, events) = members(&Made::v4(events));
    let whole = field(3, &[&events[..], &connection, &id].concat());
    let head = whole.len() - connection.len() - id.len();
    for cut in [head, head + 1, head + 10] {
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, &whole[..cut], &[]);
        assert_eq!(records.expect("a capture").len(), 2, "{cut}");
        outcome.exits(1).says([&format!("cut at offset {cut}")]);
        let outcome = scratch
            .capture2pcap()
            .args(["-", "-"])
            .stdin(&whole[..cut])
            .run();
        let capture = Capture::parse(&outcome.stdout).expect("a capture");
        assert_eq!(capture.records.len(), 2, "{cut}");
        outcome.exits(1).says([&format!("cut at offset {cut}")]);
    }
}

/// Many messages that each need a look ahead, and messages with many fields.
#[test]
fn looking_ahead_takes_linear_time() {
    let small = Made::v4(vec![Ev::new(What::Read, 1, "one")]);
    let (id, connection, events) = members(&small);
    let one = field(3, &[&events[..], &connection, &id].concat());
    let many = one.repeat(50_000);
    let pieces = field(
        3,
        &[connection.repeat(50_000), events.repeat(50_000)].concat(),
    );
    let rate = field(5, &number(1, 50));
    let segment = field(4, &field(3, &small.events[0].message()));
    let rated = delimit(&[segment, rate.repeat(100_000)].concat());
    let read = AtomicUsize::new(0);
    let cases = [
        ("many", many, Encoding::Binary),
        ("pieces", pieces, Encoding::Binary),
        ("rates", rated, Encoding::Delimited),
    ];
    each(
        &cases,
        |(name, ..)| (*name).to_owned(),
        |(_, bytes, encoding)| {
            for (_, input) in inputs(bytes) {
                let mut reader = Reader::new(input, Some(*encoding), None);
                loop {
                    match reader.advance() {
                        Ok(Step::Item(())) => drop(read.fetch_add(1, Ordering::Relaxed)),
                        Ok(Step::More) => {
                            reader.fill(&Wait::default()).expect("memory is readable");
                        }
                        Ok(Step::End) => break,
                        Err(damage) => panic!("{damage}"),
                    }
                }
            }
        },
    );
    assert!(read.into_inner() > 3 * 100_000);
}

/// The addresses had the offset of the first event, which the merge then lost.
#[test]
fn a_merge_keeps_the_events_before_their_connection() {
    let scratch = Scratch::new();
    let merged = |name: &str| {
        let input = fixtures::testdata().join("field").join(name);
        let run = scratch.capture2pcap().arg("--merge").arg(input);
        run.arg(scratch.path("out.pcap")).run().exits(0);
        Capture::read(&scratch.path("out.pcap")).streams()
    };
    let streams = merged("buf_connlast.pb");
    assert_eq!(streams.len(), 2);
    assert_eq!(streams, merged("buf.json"));
}
