//! Properties of all lists of events, and of all prefixes of the recordings.
//!
//! The thousands of conversions run in this process, in memory. The default numbers of cases suit a run of all tests;
//! `PROPTEST_CASES` sets a higher number.

mod numbers;
mod plans;
mod prefixes;

use std::sync::OnceLock;

use bytes::Bytes;
use capture2pcap::capture::{self, Capture as Writer, Format, Precision};
use capture2pcap::input::Input;
use capture2pcap::model::event::{Event, What as Said};
use capture2pcap::model::warning::Warnings;
use capture2pcap::sequence::{Memory, Next, Sequencer};
use capture2pcap::synth::{self, Frame, Handshake, Synthesizer};
use capture2pcap::trace::{Damage, Encoding, Fault, Reader, Step};
use proptest::prelude::*;

use crate::fixtures;
use crate::harness::each;
use crate::losses::STREAMED;
use crate::make::parts::{begin, connection, segment, udp_socket};
use crate::make::{Ev, Form, Made, START, What, noise};
use crate::pcap::{Capture, Record, ng};

use plans::{encode, make, plans};

/// The number of cases of a property, unless `PROPTEST_CASES` sets it.
fn cases(usual: u32) -> u32 {
    let said = std::env::var("PROPTEST_CASES").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(usual)
}

/// The configuration of a property.
fn config(usual: u32) -> ProptestConfig {
    ProptestConfig {
        cases: cases(usual),
        // A failing case is printed, to become a test with a name. It is not stored in a file.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The events of a trace, and the damage, if there is any.
fn read(bytes: &[u8]) -> (Vec<Event>, Option<Damage>) {
    let input = Input::from_bytes(Bytes::copy_from_slice(bytes));
    let mut reader = Reader::new(input, None, None);
    let mut events = Vec::new();
    loop {
        match reader.event() {
            Ok(Step::Item(event)) => events.push(event),
            Ok(Step::More) => panic!("more is wanted of a whole input"),
            Ok(Step::End) => return (events, None),
            Err(damage) => return (events, Some(damage)),
        }
    }
}

/// The detected encoding of a trace.
fn encoding(bytes: &[u8]) -> Option<Encoding> {
    let input = Input::from_bytes(Bytes::copy_from_slice(bytes));
    let mut reader = Reader::new(input, None, None);
    drop(reader.event());
    reader.encoding()
}

/// The options of a conversion.
#[derive(Clone, Copy, Debug, Default)]
struct How {
    format: Format,
    precision: Precision,
    mss: Option<usize>,
    handshake: Handshake,
}

impl How {
    /// The time in the capture for a recorded time, both in nanoseconds.
    const fn shown(self, nanos: u64) -> u64 {
        match (self.format, self.precision) {
            (Format::Pcap, Precision::Micro) => (nanos + 500) / 1000 * 1000,
            _ => nanos,
        }
    }
}

fn hows() -> impl Strategy<Value = How> {
    let format = prop_oneof![
        Just((Format::Pcap, Precision::Micro)),
        Just((Format::Pcap, Precision::Nano)),
        Just((Format::Pcapng, Precision::Nano)),
    ];
    let mss = prop::option::of(prop_oneof![1..2000_usize, 60_000..70_000_usize]);
    (format, mss).prop_map(|((format, precision), mss)| How {
        format,
        precision,
        mss,
        handshake: Handshake::Auto,
    })
}

/// The records of a conversion, and the directions that pcapng gives them.
fn convert(bytes: &[u8], how: How) -> (Capture, Vec<u32>) {
    let input = Input::from_bytes(Bytes::copy_from_slice(bytes));
    let mut reader = Reader::new(input, None, None);
    let options = capture::CaptureOptions {
        format: how.format,
        precision: how.precision,
        ..capture::CaptureOptions::default()
    };
    let names = vec!["a trace".to_owned()];
    let mut writer = Writer::new(Vec::new(), options, &names).expect("memory is writable");
    let mut synth = Synthesizer::new(synth::SynthOptions {
        mss: how.mss,
        handshake: how.handshake,
        latest: how.format.last_time(),
        labels: (how.format == Format::Pcapng).then_some(names),
        ..synth::SynthOptions::default()
    });
    let mut warnings = Warnings::default();
    let mut sequencer = Sequencer::new(Memory::Bounded, false);
    let mut put = |event: &Event, warnings: &mut Warnings| {
        let mut out = |frame: &Frame<'_>| writer.frame(frame);
        synth
            .event(event, warnings, &mut out)
            .expect("memory is writable");
    };
    while let Ok(Step::Item(mut event)) = reader.event() {
        if sequencer.push(&mut event, &mut warnings) == Next::Deliver {
            put(&event, &mut warnings);
        }
        while let Some(event) = sequencer.pop() {
            put(&event, &mut warnings);
        }
    }
    sequencer.finish(&mut warnings);
    while let Some(event) = sequencer.pop() {
        put(&event, &mut warnings);
    }
    synth
        .finish(&mut warnings, &mut |frame| writer.frame(frame))
        .expect("memory is writable");
    let file = writer.finish().expect("memory is writable");
    match how.format {
        Format::Pcap => (Capture::parse(&file).expect("a pcap file"), Vec::new()),
        Format::Pcapng => {
            let section = ng::Section::parse(&file).expect("a pcapng file");
            let directions = section.metadata.iter().map(|packet| packet.direction);
            (section.capture, directions.collect())
        }
    }
}

/// A packet: its time, its source and destination ports, its payload, and the payload's length on the wire.
type Shown = (u64, u16, u16, Vec<u8>, usize);

/// The expected packets of an event with payload.
fn expected(made: &Made, event: &Ev, missing: usize, how: How) -> Vec<Shown> {
    let largest = if made.local.0.contains(':') {
        65_515
    } else {
        65_495
    };
    let ports = match event.what {
        What::Read => (made.remote.1, made.local.1),
        What::Write | What::Closed => (made.local.1, made.remote.1),
    };
    let mut rest = &event.data[..];
    let mut left = rest.len() + missing;
    let mut packets = Vec::new();
    while left > 0 {
        // Missing bytes are not split by the MSS.
        let limit = if rest.is_empty() {
            largest
        } else {
            how.mss.unwrap_or(largest).min(largest)
        };
        let len = left.min(limit);
        let (known, after) = rest.split_at(len.min(rest.len()));
        let time = how.shown(event.nanos());
        packets.push((time, ports.0, ports.1, known.to_vec(), len));
        (rest, left) = (after, left - len);
    }
    packets
}

/// The packets of a capture that have a payload.
fn shown(capture: &Capture) -> Vec<Shown> {
    let segments = capture.segments().into_iter().zip(&capture.records);
    segments
        .filter(|(segment, _)| segment.length > 0)
        .map(|(segment, record)| {
            let (from, to) = (segment.source.port(), segment.destination.port());
            (
                record.time,
                from,
                to,
                segment.payload.to_vec(),
                segment.length,
            )
        })
        .collect()
}

/// Compares packets, and prints only the first difference.
fn same(shown: &[Shown], expected: &[Shown]) -> Result<(), TestCaseError> {
    for (i, (shown, expected)) in shown.iter().zip(expected).enumerate() {
        let brief = |(time, from, to, payload, len): &Shown| {
            format!("{time} {from} > {to}, {} of {len} bytes", payload.len())
        };
        prop_assert_eq!(brief(shown), brief(expected), "packet {}", i);
        prop_assert!(shown == expected, "packet {}: other bytes", i);
    }
    prop_assert_eq!(shown.len(), expected.len(), "packets");
    Ok(())
}

/// Verifies the sequence numbers of all packets, and the directions in the pcapng.
fn consistent(capture: &Capture, directions: &[u32], local: u16) -> Result<(), TestCaseError> {
    capture.streams();
    for (segment, direction) in capture.segments().iter().zip(directions) {
        let inbound = segment.destination.port() == local;
        prop_assert_eq!(*direction, if inbound { 1 } else { 2 }, "{:?}", segment);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(64))]

    /// For any events, in every encoding and generation, each byte is in the capture once, at its time, in its direction
    /// and order.
    #[test]
    fn any_events_come_out_as_recorded(
        plans in prop::collection::vec(plans(), 1..4),
        how in hows(),
    ) {
        let all = make(&plans);
        for form in Form::ALL {
            let mut connections = all.clone();
            if form == Form::Bare {
                // A trace of that generation has one connection, and does not record that it was closed.
                connections.truncate(1);
                connections[0].events.retain(|event| event.what != What::Closed);
            }
            let (bytes, order) = encode(&connections, form);
            let (capture, directions) = convert(&bytes, how);
            let packets = order.iter().flat_map(|&(i, j)| {
                expected(&connections[i], &connections[i].events[j], 0, how)
            });
            let context = |e| TestCaseError::fail(format!("{form:?}: {e}"));
            same(&shown(&capture), &packets.collect::<Vec<_>>()).map_err(context)?;
            consistent(&capture, &directions, connections[0].local.1).map_err(context)?;
        }
    }

    /// Events that Envoy truncated and counted have their true size.
    #[test]
    fn truncated_events_keep_their_size(
        (v6, _, planned) in plans(),
        cut in any::<u16>(),
        how in hows(),
    ) {
        let is_cut = |i: usize| i < planned.len() && cut >> i & 1 == 1;
        let mut made = make(&[(v6, true, planned.clone())]).remove(0);
        let mut count = 1;
        for (i, event) in made.events.iter_mut().enumerate() {
            event.truncated = is_cut(i);
            event.seq_num = count + u64::from(event.what == What::Closed);
            let missing = if is_cut(i) { planned[i].missing } else { 0 };
            count += (event.data.len() + missing) as u64;
        }
        let packets: Vec<_> = (made.events.iter().enumerate())
            .flat_map(|(i, event)| {
                let missing = if is_cut(i) { planned[i].missing } else { 0 };
                expected(&made, event, missing, how)
            })
            .collect();
        for form in STREAMED {
            let (capture, directions) = convert(&made.encode(form).bytes, how);
            let context = |e| TestCaseError::fail(format!("{form:?}: {e}"));
            same(&shown(&capture), &packets).map_err(context)?;
            consistent(&capture, &directions, made.local.1).map_err(context)?;
        }
    }
}

/// The properties above need a detection that tells encodings apart.
#[test]
fn the_forms_are_what_they_are_called() {
    let made = Made::v4(vec![Ev::new(What::Read, 0, b"abc")]);
    for form in Form::ALL {
        let bytes = made.encode(form).bytes;
        let expected = match form.extension() {
            "pb" => Encoding::Binary,
            "pb_text" => Encoding::Text,
            "json" => Encoding::Json,
            _ => Encoding::Delimited,
        };
        assert_eq!(encoding(&bytes), Some(expected), "{form:?}");
    }
}
