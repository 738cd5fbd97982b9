//! The speed of each module with a trace in memory, without files.
//!
//! `cargo bench --bench modules`; an argument selects the benchmarks whose name contains it. `benches/compare.sh` compares
//! the whole program with others.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::expect_used, reason = "a trace made here is whole")]

use std::convert::Infallible;
use std::hint::black_box;
use std::io;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use capture2pcap::capture::{self, Capture};
use capture2pcap::input::Input;
use capture2pcap::model::event::Event;
use capture2pcap::model::warning::Warnings;
use capture2pcap::synth::checksum::Sum;
use capture2pcap::synth::{self, Synthesizer};
use capture2pcap::trace::{Reader, Step};

/// Small and large events: their payload in bytes, and their number; about 4 MiB in all.
const TRACES: [(usize, usize); 2] = [(100, 40_000), (16 << 10, 256)];

criterion_group!(benches, decode, checksum, synth, record, whole);
criterion_main!(benches);

/// Walking and decoding: bytes to events.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (size, count) in TRACES {
        for (name, trace) in [
            ("buffered", buffered(size, count)),
            ("streamed", streamed(size, count)),
        ] {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{name}/{size}"), |b| {
                b.iter_batched(
                    || trace.clone(),
                    |trace| each_event(trace, |event| drop(black_box(event))),
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

/// The checksum of a payload: of a small event, of a usual packet, and of the largest packet.
fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for size in [100, 1_460, 65_495] {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |b| {
            b.iter(|| Sum::default().bytes(black_box(&payload)).finish());
        });
    }
    group.finish();
}

/// Events to frames.
fn synth(c: &mut Criterion) {
    let mut group = c.benchmark_group("synth");
    for (size, count) in TRACES {
        let mut events = Vec::new();
        each_event(buffered(size, count), |event| events.push(event));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(size.to_string(), |b| {
            b.iter_batched(
                || events.clone(),
                |events| {
                    let mut synth = Synthesizer::new(synth::SynthOptions::default());
                    let mut warnings = Warnings::default();
                    for event in events {
                        let frames = synth.event(&event, &mut warnings, &mut |frame| {
                            black_box(&frame);
                            Ok::<_, Infallible>(())
                        });
                        frames.expect("nothing fails");
                    }
                    synth
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// One frame, written repeatedly to a capture that is discarded.
fn record(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for (size, _) in TRACES {
        group.throughput(Throughput::Elements(1));
        group.bench_function(size.to_string(), |b| {
            let mut capture =
                Capture::new(io::sink(), capture::CaptureOptions::default(), &[]).expect("a sink");
            let mut synth = Synthesizer::new(synth::SynthOptions::default());
            let mut warnings = Warnings::default();
            each_event(buffered(size, 1), |event| {
                // Made inside the loop, as in a conversion.
                let frames = synth.event(&event, &mut warnings, &mut |frame| {
                    b.iter(|| capture.frame(black_box(frame)).expect("a sink"));
                    Ok::<_, Infallible>(())
                });
                frames.expect("nothing fails");
            });
        });
    }
    group.finish();
}

/// The whole conversion, from bytes to a capture that is discarded.
fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("whole");
    for (size, count) in TRACES {
        let trace = buffered(size, count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(size.to_string(), |b| {
            let convert = |trace| {
                let options = capture::CaptureOptions::default();
                let mut capture = Capture::new(io::sink(), options, &[]).expect("a sink");
                let mut synth = Synthesizer::new(synth::SynthOptions::default());
                let mut warnings = Warnings::default();
                each_event(trace, |event| {
                    synth
                        .event(&event, &mut warnings, &mut |frame| capture.frame(frame))
                        .expect("memory");
                });
                synth
                    .finish(&mut Warnings::default(), &mut |frame| capture.frame(frame))
                    .expect("memory");
                capture.finish().expect("a sink")
            };
            b.iter_batched(|| trace.clone(), convert, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Reads a whole trace from memory.
fn each_event(trace: Vec<u8>, mut take: impl FnMut(Event)) {
    let mut reader = Reader::new(Input::from_bytes(trace), None, None);
    while let Step::Item(event) = reader.event().expect("a whole trace") {
        take(event);
    }
}

/// A trace of one message.
fn buffered(size: usize, count: usize) -> Vec<u8> {
    let events = (0..count).flat_map(|i| field(3, &event(i, size)));
    let trace: Vec<u8> = connection().into_iter().chain(events).collect();
    field(3, &trace)
}

/// A trace with one message per event.
fn streamed(size: usize, count: usize) -> Vec<u8> {
    let events = (0..count).map(|i| field(3, &event(i, size)));
    let segments = std::iter::once(connection()).chain(events);
    segments.flat_map(|segment| field(4, &segment)).collect()
}

/// Addresses, with the field numbers of Envoy 1.28 and later.
fn connection() -> Vec<u8> {
    let address = |ip: &str, port| field(1, &[field(2, ip.as_bytes()), number(3, port)].concat());
    let local = field(1, &address("192.0.2.1", 15_001));
    let remote = field(2, &address("10.0.0.7", 49_159));
    field(2, &[local, remote].concat())
}

/// The event with this index. Envoy receives and sends events in turn, 10 µs apart.
fn event(i: usize, size: usize) -> Vec<u8> {
    let nanos = i as u64 * 10_000;
    let seconds = number(1, 1_795_327_726 + nanos / 1_000_000_000);
    let time = field(1, &[seconds, number(2, nanos % 1_000_000_000)].concat());
    let payload: Vec<u8> = (0..size).map(|at| (i * 31 + at * 7) as u8).collect();
    let what = field(2 + i as u64 % 2, &field(1, &field(1, &payload)));
    [time, what].concat()
}

/// A field with bytes.
fn field(number_of: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(number_of << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// A field with a number.
fn number(number_of: u64, value: u64) -> Vec<u8> {
    [varint(number_of << 3), varint(value)].concat()
}

fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number, &mut bytes);
    bytes
}
