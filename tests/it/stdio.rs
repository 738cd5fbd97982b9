//! Standard input and standard output: the same capture as with files, written without delay.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::fixtures;
use crate::harness::{Running, Scratch, each};
use crate::make::{Ev, Form, Made, What, noise};
use crate::pcap::Capture;

/// The timeout for a packet that must be written without further input. It only prevents hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_stream_gives_the_capture_that_a_file_gives() {
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let (name, code) = (&fixture.name, fixture.code());
            let scratch = Scratch::new();
            let (a, b) = (scratch.path("a.pcap"), scratch.path("b.pcap"));
            scratch
                .capture2pcap()
                .arg(&fixture.path)
                .arg(&a)
                .run()
                .exits(code);
            scratch
                .capture2pcap()
                .arg("-")
                .arg(&b)
                .stdin(fixture.bytes())
                .run()
                .exits(code);
            let from_file = fs::read(&a).unwrap_or_else(|e| panic!("{name}: {e}"));
            let from_stdin = fs::read(&b).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(
                from_stdin == from_file,
                "{name}: another capture from standard input"
            );
            let outcome = scratch
                .capture2pcap()
                .arg(&fixture.path)
                .arg("-")
                .run()
                .exits(code);
            assert!(
                outcome.stdout == from_file,
                "{name}: another capture on standard output"
            );
            let outcome = scratch
                .capture2pcap()
                .args(["-", "-"])
                .stdin(fixture.bytes())
                .run()
                .exits(code);
            assert!(
                outcome.stdout == from_file,
                "{name}: another capture from standard input on standard output"
            );
        },
    );
}

/// `capture2pcap big.pb - | head -c 24`
#[test]
fn a_reader_that_goes_away_is_no_error() {
    for form in [
        Form::Binary,
        Form::StreamedDelimited,
        Form::Text,
        Form::Json,
    ] {
        let scratch = Scratch::new();
        let data: Vec<u8> = noise(1).take(5 << 20).collect();
        let input = scratch.write(
            "big",
            &Made::v4(vec![Ev::new(What::Read, 0, data)])
                .encode(form)
                .bytes,
        );
        let mut running = scratch
            .capture2pcap()
            .arg("--role=downstream")
            .arg(input)
            .arg("-")
            .start();
        let mut stdout = running.stdout.take().expect("a pipe");
        stdout
            .read(24, PATIENCE)
            .unwrap_or_else(|e| panic!("{form:?}: {e}"));
        drop(stdout);
        running.finish().exits(0).says_nothing();
    }
}

/// Closing Wireshark frees Envoy's `/tap`, which serves one client at a time, without another event.
#[test]
fn a_reader_that_goes_away_ends_a_live_conversion_without_another_event() {
    let made = Made::v4(vec![Ev::new(What::Read, 0, "GET / HTTP/1.1\r\n\r\n")]);
    let trace = made.encode(Form::StreamedDelimited).bytes;
    // The shell keeps the FIFO open, so that it does not end.
    let cases = [
        ("after an event", "cat trace >&3;", "head -c 24"),
        ("before the first", "", "true"),
    ];
    for format in ["pcap", "pcapng"] {
        for (when, before, reader) in cases {
            let scratch = Scratch::new();
            scratch.write("trace", &trace);
            let script = format!(
                "mkfifo in; exec 3<>in; {before} \
                 {{ capture2pcap -F {format} in -; echo $? >status; }} | {reader} >read"
            );
            let outcome = scratch.shell(&script).run().exits(0).says_nothing();
            let status = fs::read_to_string(scratch.path("status")).expect("a status");
            assert_eq!(status, "0\n", "{when}{}", outcome.explain());
        }
    }
    // The same for a FIFO as output.
    let scratch = Scratch::new();
    scratch.write("trace", &trace);
    let script =
        "mkfifo in out; exec 3<>in; cat trace >&3; head -c 24 <out >read & capture2pcap in out";
    scratch.shell(script).run().exits(0).says_nothing();
}

/// The next record on standard output, with its header.
pub(crate) fn next_record(running: &mut Running, place: &str) -> Vec<u8> {
    let stdout = running.stdout.as_mut().expect("a pipe");
    let fail = |e| -> ! { panic!("{place}: {e}") };
    let mut record = stdout.read(16, PATIENCE).unwrap_or_else(|e| fail(e));
    let length = u32::from_le_bytes(record[8..12].try_into().expect("four bytes"));
    record.extend(
        stdout
            .read(length as usize, PATIENCE)
            .unwrap_or_else(|e| fail(e)),
    );
    record
}

/// A packet is written before the next event is read, also inside one buffered message.
#[test]
fn packets_come_out_as_their_events_come_in() {
    let data = |i: i32| format!("GET /{i} HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let events = (0..5).map(|i| {
        Ev::new(
            if i % 2 == 0 { What::Read } else { What::Write },
            1000 * i,
            data(i),
        )
    });
    let made = Made::v4(events.collect());
    each(
        &Form::ALL,
        |form| format!("{form:?}"),
        |&form| {
            let encoded = made.encode(form);
            let scratch = Scratch::new();
            let mut running = scratch.capture2pcap().args(["-", "-"]).start();
            let mut stdin = running.stdin.take().expect("a pipe");
            let mut capture = Vec::new();
            let mut written = 0;
            for (i, (event, &(_, end))) in made.events.iter().zip(&encoded.events).enumerate() {
                let place = format!("{form:?}: packet {i}");
                stdin
                    .write_all(&encoded.bytes[written..end])
                    .unwrap_or_else(|e| panic!("{place}: {e}"));
                written = end;
                if i == 0 {
                    let stdout = running.stdout.as_mut().expect("a pipe");
                    capture.extend(
                        stdout
                            .read(24, PATIENCE)
                            .unwrap_or_else(|e| panic!("{place}: {e}")),
                    );
                }
                let record = next_record(&mut running, &place);
                assert!(record.ends_with(&event.data), "{place} holds other bytes");
                capture.extend(record);
            }
            stdin
                .write_all(&encoded.bytes[written..])
                .unwrap_or_else(|e| panic!("{form:?}: {e}"));
            drop(stdin);
            let outcome = running.finish().exits(0);
            assert!(
                outcome.stdout.is_empty(),
                "{form:?}: more than the events{}",
                outcome.explain()
            );
            let capture = Capture::parse(&capture).unwrap_or_else(|e| panic!("{form:?}: {e}"));
            assert_eq!(capture.streams().len(), 2, "{form:?}");
        },
    );
}
