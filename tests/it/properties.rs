//! Properties of all lists of events, and of all prefixes of the recordings.
//!
//! The thousands of conversions run in this process, in memory. The default numbers of cases suit a run of all tests;
//! `PROPTEST_CASES` sets a higher number.

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
            let directions = section.beside.iter().map(|beside| beside.direction);
            (section.capture, directions.collect())
        }
    }
}

/// The plan of an event, and the number of bytes that Envoy truncates.
#[derive(Clone, Debug)]
struct Planned {
    read: bool,
    /// Nanoseconds since the event before.
    after: u64,
    seed: u64,
    len: usize,
    missing: usize,
    end_stream: bool,
}

fn planned() -> impl Strategy<Value = Planned> {
    let after = prop_oneof![
        1 => Just(0),
        2 => 1..3000_u64,
        4 => (0..5_000_000_u64).prop_map(|micros| micros * 1000),
    ];
    // A few bytes, a usual write, and more than a packet has room for.
    let len = prop_oneof![12 => 0..64_usize, 6 => 0..3000_usize, 1 => 65_400..140_000_usize];
    let missing = prop_oneof![1..5000_usize, 60_000..200_000_usize];
    (
        any::<bool>(),
        after,
        any::<u64>(),
        len,
        missing,
        any::<bool>(),
    )
        .prop_map(|(read, after, seed, len, missing, end_stream)| Planned {
            read,
            after,
            seed,
            len,
            missing,
            end_stream: end_stream && !read,
        })
}

/// A connection, and the plan of its events.
fn plans() -> impl Strategy<Value = (bool, bool, Vec<Planned>)> {
    (
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(planned(), 0..12),
    )
}

/// Connections with the planned events, closed if planned.
fn make(plans: &[(bool, bool, Vec<Planned>)]) -> Vec<Made> {
    let connections = plans.iter().enumerate().map(|(i, (v6, closed, planned))| {
        // They do not all begin at once.
        let mut nanos = 1_000_000 * i as u64;
        let mut events = Vec::new();
        let mut place = |after: u64, what, data: Vec<u8>| {
            nanos += after;
            let seconds = i64::try_from(nanos / 1_000_000_000).expect("a few minutes");
            Ev {
                time: (START + seconds, (nanos % 1_000_000_000) as i32),
                ..Ev::new(what, 0, data)
            }
        };
        for plan in planned {
            let what = if plan.read { What::Read } else { What::Write };
            let data: Vec<u8> = noise(plan.seed).take(plan.len).collect();
            events.push(Ev {
                end_stream: plan.end_stream,
                ..place(plan.after, what, data)
            });
        }
        if *closed {
            events.push(place(5000, What::Closed, Vec::new()));
        }
        let made = if *v6 {
            Made::v6(events)
        } else {
            Made::v4(events)
        };
        Made {
            id: 7 + i as u64,
            remote: (made.remote.0, 50_000 + i as u16),
            ..made
        }
    });
    connections.collect()
}

/// All connections in one trace, and the order of their events as pairs of connection and event.
fn encode(connections: &[Made], form: Form) -> (Vec<u8>, Vec<(usize, usize)>) {
    let encoded: Vec<_> = connections.iter().map(|made| made.encode(form)).collect();
    let mut order: Vec<_> = (0..connections.len())
        .flat_map(|i| (0..connections[i].events.len()).map(move |j| (i, j)))
        .collect();
    if !form.is_streamed() {
        let bytes = encoded.into_iter().flat_map(|encoded| encoded.bytes);
        return (bytes.collect(), order);
    }
    order.sort_by_key(|&(i, j)| (connections[i].events[j].nanos(), i, j));
    let mut bytes = Vec::new();
    for encoded in &encoded {
        let first = encoded.events.first().map_or(encoded.bytes.len(), |e| e.0);
        bytes.extend(&encoded.bytes[..first]);
    }
    for &(i, j) in &order {
        let (start, end) = encoded[i].events[j];
        bytes.extend(&encoded[i].bytes[start..end]);
    }
    (bytes, order)
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

/// Positions at which to cut a trace: around the start of each event, and others evenly between. All positions, if the
/// trace is short or the run long.
fn cuts(len: usize, events: &[Event]) -> Vec<usize> {
    let even = cases(120) as usize;
    let step = (len / even).max(1);
    let mut cuts: Vec<usize> = (0..len).step_by(step).collect();
    // A trace with many events is cut at some of them.
    let near = (events.len() / even).max(1);
    for event in events.iter().step_by(near) {
        let at = event.offset as usize;
        cuts.extend([at.saturating_sub(1), at, at + 1, at + 2]);
    }
    cuts.extend(len.saturating_sub(3)..len);
    cuts.retain(|&cut| cut < len);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Whether `events` are the first ones of `whole`. The last may be the start of an event, with the number of missing
/// bytes, and without its connection, which follows the payload.
fn are_first(events: &[Event], whole: &[Event]) -> bool {
    let Some((last, before)) = events.split_last() else {
        return true;
    };
    let mut rest = whole.iter().skip(before.len());
    let Some(there) = rest.next() else {
        return false;
    };
    let there = match there.what {
        Said::Connection(_) if last.payload().is_some() => rest.next().unwrap_or(there),
        _ => there,
    };
    let is_front = || match (last.payload(), there.payload()) {
        (Some((way, front)), Some((whole_way, payload))) => {
            let missing = (payload.len() - front.len()) as u64;
            way == whole_way
                && payload.starts_with(front)
                && last.missing.unwrap_or_default() == missing + there.missing.unwrap_or_default()
                && (last.trace, last.offset) == (there.trace, there.offset)
        }
        _ => false,
    };
    whole.starts_with(before) && (last == there || is_front())
}

/// Fails unless `records` are the first ones of `whole`. The last one or two may differ: an event that Envoy truncated,
/// whose true size is unknown without the next event, and an event at which the trace is cut, perhaps before its
/// addresses.
#[track_caller]
fn assert_first(records: &[Record], whole: &[Record], place: &str) {
    let same = records.iter().zip(whole).take_while(|(a, b)| a == b);
    let same = same.count();
    assert!(records.len() <= same + 2, "{place}: other records");
    assert!(
        records.len() <= whole.len(),
        "{place}: more records than of the whole"
    );
    for (i, (got, full)) in records.iter().zip(whole).enumerate().skip(same) {
        let at = (got.time, full.time);
        let (got, full) = (got.segment(), full.segment());
        let (got, full) = (got.expect("a segment"), full.expect("a segment"));
        // A first event may have stand-in addresses, and after an unknown size the sequence numbers differ.
        let is_there = got.sequence == full.sequence || i == 0 || i > same;
        assert!(
            at.0 == at.1
                && is_there
                && got.length <= full.length
                && full.payload.starts_with(got.payload),
            "{place}: {got:?}, and {full:?} of the whole"
        );
    }
}

/// Whether `bytes` end at the end of an outermost message, judged only by Envoy's layout.
fn is_whole(bytes: &[u8], encoding: Encoding) -> bool {
    let varint = |bytes: &[u8]| {
        let len = bytes.iter().position(|&byte| byte < 0x80)? + 1;
        let value = bytes[..len].iter().rev();
        let value = value.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
        Some((value, len))
    };
    let mut rest = bytes;
    match encoding {
        // Envoy indents all lines except those of the outermost level.
        Encoding::Text | Encoding::Json => {
            let rest = bytes.trim_ascii_end();
            rest.is_empty() || rest.ends_with(b"\n}")
        }
        Encoding::Binary | Encoding::Delimited => {
            while !rest.is_empty() {
                // A message without a delimiter has a field key before its length.
                let key = usize::from(encoding == Encoding::Binary);
                let Some((len, header)) = rest.get(key..).and_then(varint) else {
                    return false;
                };
                let Some(after) = rest.get(key + header + len..) else {
                    return false;
                };
                rest = after;
            }
            true
        }
    }
}

/// For every prefix of every recording: either there is no damage, or its offset is right, and the events before it are
/// those of the whole trace.
#[test]
fn a_prefix_gives_the_first_events_of_the_whole() {
    let sockets = fixtures::socket_traces();
    let sockets = sockets.iter().map(|fixture| (fixture.path.clone(), true));
    let http = fixtures::http_traces()
        .into_iter()
        .map(|path| (path, false));
    let traces: Vec<_> = sockets.chain(http).collect();
    each(
        &traces,
        |(path, _)| path.display().to_string(),
        |(path, socket)| {
            let bytes = std::fs::read(path).expect("a recording");
            let (whole, _) = read(&bytes);
            let encoding = encoding(&bytes).expect("a trace");
            // The closing packets are synthesized, and follow the last event of the prefix.
            let how = How {
                handshake: Handshake::Never,
                ..How::default()
            };
            let (records, _) = convert(&bytes, how);
            for cut in cuts(bytes.len(), &whole) {
                let place = format!("{} cut at {cut}", path.display());
                let (events, damage) = read(&bytes[..cut]);
                assert!(are_first(&events, &whole), "{place}: other events");
                match damage {
                    None => assert!(is_whole(&bytes[..cut], encoding), "{place}: no damage"),
                    // Too short to be recognised. Otherwise the only damage is the cut.
                    Some(damage) => match *damage.fault {
                        Fault::Unrecognised { .. } => assert!(events.is_empty(), "{place}"),
                        Fault::Cut { .. } => {
                            assert_eq!(damage.offset, cut as u64, "{place}: {damage}");
                        }
                        _ => panic!("{place}: {damage}"),
                    },
                }
                // The end of an exchange is synthesized if its start was delivered.
                if *socket {
                    let (cut, _) = convert(&bytes[..cut], how);
                    assert_first(&cut.records, &records.records, &place);
                }
            }
        },
    );
}

/// Datagrams of IPv4 and IPv6.
fn datagrams(ips: [&str; 2], payloads: &[Vec<u8>]) -> Vec<u8> {
    let (local, remote) = (udp_socket(ips[0], 10000), udp_socket(ips[1], 50000));
    let mut trace = begin(7, &connection(Some(&local), Some(&remote)));
    for (i, payload) in payloads.iter().enumerate() {
        let event = Ev::new(What::Write, 10 * i as i32, payload.clone());
        trace.extend(segment(7, &event.message()));
    }
    trace
}

proptest! {
    #![proptest_config(config(64))]

    /// Checksums are right for any payload. In UDP, a checksum of 0 is written as all ones, because 0 means that there is
    /// none (RFC 768). In TCP, 0 is written as it is.
    #[test]
    fn checksums_are_right_for_any_payload(
        v6 in any::<bool>(),
        seed in any::<u64>(),
        // With the two bytes, it is still one segment of at most 65,495 bytes.
        len in prop_oneof![0..70_usize, 1000..1500_usize, 65_000..65_494_usize],
    ) {
        let ips = if v6 { ["fd00::1", "fd00::2"] } else { ["10.0.0.1", "10.0.0.2"] };
        let payload: Vec<u8> = noise(seed).take(len).collect();
        // Two more bytes, at an even position, make the checksum 0.
        let even: Vec<u8> = noise(seed).take(len / 2 * 2).chain([0, 0]).collect();
        let completed = |checksum: u16| {
            let len = even.len() - 2;
            [&even[..len], &checksum.to_be_bytes()].concat()
        };

        let (capture, _) = convert(&datagrams(ips, &[payload.clone(), even.clone()]), How::default());
        prop_assert_eq!(capture.records.len(), 2);
        prop_assert!(capture.records.iter().all(Record::is_udp));
        let [first, second] =
            [0, 1].map(|i| capture.records[i].datagram().expect("a datagram"));
        prop_assert_eq!((first.payload, first.length), (&payload[..], payload.len()));
        prop_assert_eq!((first.source.port(), first.destination.port()), (10000, 50000));
        let trace = datagrams(ips, &[completed(second.checksum)]);
        let (capture, _) = convert(&trace, How::default());
        let datagram = capture.records[0].datagram().expect("a datagram");
        prop_assert_eq!(datagram.checksum, 0xffff);

        let of = |data: &[u8]| {
            let made = [Made::v4, Made::v6][usize::from(v6)](vec![Ev::new(What::Read, 0, data)]);
            convert(&made.encode(Form::Binary).bytes, How::default()).0
        };
        let (odd, even) = (of(&payload), of(&even));
        for segment in odd.segments() {
            prop_assert_eq!(segment.payload, &payload[..]);
        }
        let zero = of(&completed(even.segments()[0].checksum));
        prop_assert_eq!(zero.segments()[0].checksum, 0);
    }
}

/// The ends of the space of sequence numbers, and of its half, where signed arithmetic would fail.
const BORDERS: [u64; 2] = [1 << 31, 1 << 32];

/// The id of a connection, and the sequence number of its first byte in one direction.
#[derive(Clone, Copy, Debug)]
struct Start {
    id: u64,
    first: u32,
}

/// Connections whose sequence numbers begin shortly before one of these ends, for each end and direction.
fn starts() -> &'static [[Start; 2]; 2] {
    static STARTS: OnceLock<[[Start; 2]; 2]> = OnceLock::new();
    STARTS.get_or_init(|| {
        let firsts: Vec<_> = (0..2000)
            .map(|id| {
                let events = vec![Ev::new(What::Read, 0, b"a"), Ev::new(What::Write, 1, b"b")];
                let made = Made {
                    id,
                    ..Made::v4(events)
                };
                let (capture, _) = convert(&made.encode(Form::Streamed).bytes, How::default());
                let numbers = capture.segments();
                (id, [numbers[0].sequence, numbers[1].sequence])
            })
            .collect();
        let closest = |border: u64, way: usize| {
            let before = |&&(_, first): &&(u64, [u32; 2])| u64::from(first[way]) < border - 4000;
            let (id, first) = (firsts.iter().filter(before))
                .max_by_key(|(_, first)| first[way])
                .expect("one in two thousand");
            Start {
                id: *id,
                first: first[way],
            }
        };
        BORDERS.map(|border| [0, 1].map(|way| closest(border, way)))
    })
}

proptest! {
    #![proptest_config(config(64))]

    /// Sequence numbers and acknowledgements continue across 2^31 and 2^32, at any position in an event.
    #[test]
    fn sequence_numbers_wrap_around(
        border in 0..2_usize,
        way in 0..2_usize,
        short_of in 1..3000_u64,
        lens in prop::collection::vec(0..2500_usize, 1..8),
        mss in prop::option::of(1..1500_usize),
    ) {
        let start = starts()[border][way];
        let there = [What::Read, What::Write][way];
        let back = [What::Write, What::Read][way];
        let distance = BORDERS[border] - u64::from(start.first);
        // A truncated event moves the numbers to the position wanted.
        let size = distance - short_of;
        let mut events = vec![Ev {
            truncated: true,
            seq_num: 1,
            ..Ev::new(there, 0, b"abc")
        }];
        let mut count = 1 + size;
        // The last event crosses the border in any case.
        for (i, len) in lens.iter().copied().chain([3000]).enumerate() {
            for (what, len) in [(there, len), (back, 1)] {
                let data: Vec<u8> = noise(i as u64).take(len).collect();
                events.push(Ev {
                    seq_num: count,
                    ..Ev::new(what, 10 + i as i32, data)
                });
                count += len as u64;
            }
        }
        let made = Made { id: start.id, ..Made::v4(events) };
        let how = How { mss, ..How::default() };
        let (capture, _) = convert(&made.encode(Form::Streamed).bytes, how);
        // The bytes that each side has sent, counted in 64 bits.
        let mut sent = [None, None];
        let mut crossed = false;
        for segment in capture.segments() {
            let from = usize::from(segment.source.port() == made.local.1);
            prop_assert_eq!(segment.source.port() == made.remote.1, from == 0);
            let next = *sent[from].get_or_insert(u64::from(segment.sequence));
            prop_assert_eq!(u64::from(segment.sequence), next % (1 << 32), "{:?}", segment);
            let acknowledged = *sent[1 - from].get_or_insert(u64::from(segment.acknowledgement));
            prop_assert_eq!(u64::from(segment.acknowledgement), acknowledged % (1 << 32));
            sent[from] = Some(next + segment.length as u64);
            crossed |= from == way && (next..next + segment.length as u64).contains(&BORDERS[border]);
        }
        prop_assert!(crossed, "{:?} short by {}", start, short_of);
        capture.streams();
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
