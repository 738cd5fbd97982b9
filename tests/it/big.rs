//! Events of one packet, and of many packets.

use std::net::SocketAddr;

use crate::harness::{Scratch, each};
use crate::make::{Ev, Form, Made, What, noise};
use crate::pcap::{ACK, Capture, PSH};

/// The largest TCP payload of an IPv4 packet: 65,535 bytes minus two headers of 20 bytes.
const V4_MAX: usize = 65_495;
/// The largest TCP payload of an IPv6 packet, whose length does not include its own header.
const V6_MAX: usize = 65_515;

/// Events of one byte, of both limits and one more or less, of a power of two, and of 5 MiB; the first ones in both
/// directions.
fn events() -> Vec<Ev> {
    let sizes = [
        1,
        V4_MAX,
        V4_MAX + 1,
        V6_MAX,
        V6_MAX + 1,
        65_535,
        65_536,
        5 << 20,
    ];
    let mut events = Vec::new();
    for (i, size) in (0..).zip(sizes) {
        let both = if size > 1 << 20 {
            &[What::Write][..]
        } else {
            &[What::Read, What::Write]
        };
        for &what in both {
            let data: Vec<u8> = noise(size as u64 + u64::from(what == What::Read))
                .take(size)
                .collect();
            // Nanoseconds that round up, down, and half up.
            let mut event = Ev::new(what, 1000 * i + events.len() as i32, data);
            event.time.1 += [0, 499, 500, 999][events.len() % 4];
            events.push(event);
        }
    }
    events
}

/// Converts a trace, and compares the records with the events, byte for byte.
fn assert_whole(made: &Made, form: Form, options: &[&str], max: usize) {
    let scratch = Scratch::new();
    let input = scratch.write(
        &format!("big.{}", form.extension()),
        &made.encode(form).bytes,
    );
    let output = scratch.path("big.pcap");
    scratch
        .capture2pcap()
        .args(options)
        .arg(input)
        .arg(&output)
        .run()
        .exits(0);
    let capture = Capture::read(&output);
    assert_eq!(capture.snaplen, 262_144, "{form:?}");

    let nano = options.contains(&"--nano");
    let segments = capture.segments();
    let mut records = capture.records.iter().zip(&segments);
    for (i, event) in made.events.iter().enumerate() {
        let place = format!(
            "{form:?} {options:?}: event {i} of {} bytes",
            event.data.len()
        );
        let time = if nano {
            event.nanos()
        } else {
            (event.nanos() + 500) / 1000 * 1000
        };
        for (part, chunk) in event.data.chunks(max).enumerate() {
            let (record, segment) = records
                .next()
                .unwrap_or_else(|| panic!("{place}: no record"));
            assert_eq!(segment.payload.len(), chunk.len(), "{place}: part {part}");
            assert!(
                segment.payload == chunk,
                "{place}: part {part} holds other bytes"
            );
            assert_eq!(segment.flags, PSH | ACK, "{place}: flags of part {part}");
            assert_eq!(record.time, time, "{place}: time of part {part}");
            assert_eq!(
                segment.source.port() == made.remote.1,
                event.what == What::Read,
                "{place}: direction"
            );
        }
    }
    assert_eq!(
        records.count(),
        0,
        "{form:?} {options:?}: records after the last event"
    );

    for (what, (from, to)) in [
        (What::Read, (&made.remote, &made.local)),
        (What::Write, (&made.local, &made.remote)),
    ] {
        let address =
            |end: &(String, u16)| SocketAddr::new(end.0.parse().expect("an IP address"), end.1);
        let streams = capture.streams();
        let stream = streams
            .iter()
            .find(|stream| (stream.0, stream.1) == (address(from), address(to)));
        let sent = made
            .events
            .iter()
            .filter(|event| event.what == what)
            .flat_map(|event| &event.data);
        assert!(
            stream.is_some_and(|stream| stream.2.iter().eq(sent)),
            "{form:?} {options:?}: stream of {what:?}"
        );
    }
}

#[test]
fn events_of_any_size_come_out_whole() {
    let (v4, v6) = (Made::v4(events()), Made::v6(events()));
    let cases: Vec<_> = Form::ALL
        .iter()
        .flat_map(|&form| [(form, &v4, V4_MAX), (form, &v6, V6_MAX)])
        .collect();
    each(
        &cases,
        |(form, _, max)| format!("{form:?} {max}"),
        |(form, made, max)| assert_whole(made, *form, &[], *max),
    );
}

#[test]
fn nanoseconds_are_kept_on_request() {
    assert_whole(
        &Made::v4(events()),
        Form::StreamedDelimited,
        &["--nano"],
        V4_MAX,
    );
    assert_whole(&Made::v6(events()), Form::Json, &["--nano"], V6_MAX);
}

#[test]
fn an_mss_splits() {
    let (v4, v6) = (Made::v4(events()), Made::v6(events()));
    let cases = [
        (Form::Binary, &v4),
        (Form::Binary, &v6),
        (Form::StreamedText, &v4),
    ];
    each(
        &cases,
        |(form, _)| format!("{form:?}"),
        |(form, made)| assert_whole(made, *form, &["--mss", "1000"], 1000),
    );
}

/// An MSS larger than a packet has no effect.
#[test]
fn no_mss_makes_a_packet_too_long() {
    assert_whole(
        &Made::v4(events()),
        Form::Binary,
        &["--mss", "65535"],
        V4_MAX,
    );
}

/// Packets are truncated at the snaplen. Records keep the original length, and sequence numbers count every byte.
#[test]
fn a_snaplen_cuts() {
    let made = Made::v4(events());
    let scratch = Scratch::new();
    let input = scratch.write("big.pb", &made.encode(Form::Binary).bytes);
    let (output, whole) = (scratch.path("cut.pcap"), scratch.path("whole.pcap"));
    scratch
        .capture2pcap()
        .args(["-s", "100"])
        .arg(&input)
        .arg(&output)
        .run()
        .exits(0);
    scratch
        .capture2pcap()
        .arg(&input)
        .arg(&whole)
        .run()
        .exits(0);
    let (cut, whole) = (Capture::read(&output), Capture::read(&whole));
    assert_eq!(cut.snaplen, 100);
    assert_eq!(cut.records.len(), whole.records.len());
    for (i, (cut, whole)) in cut.records.iter().zip(&whole.records).enumerate() {
        assert_eq!(cut.original, whole.original, "record {i}");
        assert!(
            cut.data == whole.data[..whole.data.len().min(100)],
            "record {i} holds other bytes"
        );
    }
    cut.streams();
}
