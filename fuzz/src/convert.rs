//! A whole conversion, from memory to memory.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;
use capture2pcap::capture::{Capture, DEFAULT_SNAPLEN, Format};
use capture2pcap::convert::Options;
use capture2pcap::input::Input;
use capture2pcap::model::event::{Event, Field, Http, Part, What};
use capture2pcap::model::warning::Warnings;
use capture2pcap::sequence::Memory;
use capture2pcap::synth::Synthesizer;
use capture2pcap::trace::{Damage, Reader};

use crate::decode::{claimed, walk_in_order};
use crate::delivered;
use crate::memory::measured;
use crate::options;
use crate::oracle;
use crate::pcap::{self, Record};

/// The memory of a conversion for any input, in bytes: its buffers of a few MiB.
const FIXED_MEMORY: usize = 16 << 20;
/// Its further memory for each byte of the input: every few bytes may be a connection.
const MEMORY_PER_BYTE: usize = 1024;
/// The number of bytes that may be missing in all. A few bytes of a trace can claim large losses, for which the capture
/// leaves gaps. More than this makes runs slow, and tests nothing new.
const MAX_CLAIMED: u64 = 16 << 30;
/// The largest gap for an event of unknown size, in bytes.
pub(crate) const MAX_ESTIMATE: u64 = 1 << 24;
/// How much of a capture is kept, in bytes. The rest is only counted.
const KEPT: usize = 48 << 20;
/// The length of the longest text in a pcapng option, with its ellipsis.
const MAX_TEXT: u64 = 16_384 + 3;

/// The result of a conversion.
pub(crate) struct Made {
    /// The capture; `None` if it is too long to keep.
    pub(crate) capture: Option<Vec<u8>>,
    /// Its length.
    pub(crate) len: u64,
    pub(crate) kept: Kept,
    pub(crate) frames: usize,
    pub(crate) damage: Option<Damage>,
}

/// The events of a conversion.
#[derive(Default)]
pub(crate) struct Kept {
    /// The events as they were delivered, and the range of frames of each.
    pub(crate) delivered: Vec<(Event, Range<usize>)>,
    pub(crate) warnings: Warnings,
}

/// The output of a capture.
#[derive(Debug)]
struct Sink {
    bytes: Vec<u8>,
    len: u64,
    /// The maximum number of bytes that are kept.
    keep: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        if self.len <= self.keep as u64 {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Converts `input`, which is `len` bytes long. Stores its events if requested.
fn run(
    input: Input,
    len: usize,
    options: &Options,
    sink: Sink,
    keep: Option<&mut Kept>,
) -> (Sink, usize, Option<Damage>) {
    let mut reader = Reader::new(input, options.encoding, None);
    let mut synth = Synthesizer::new(options.synth.clone());
    let sources = options.synth.labels.clone().unwrap_or_default();
    let mut capture = Capture::new(sink, options.capture, &sources).expect("memory is writable");
    let mut warnings = Warnings::default();
    let mut frames = 0;
    let (mut read, mut delivered) = (Vec::new(), Vec::new());
    let is_kept = keep.is_some();
    let damage = walk_in_order(
        &mut reader,
        len,
        Memory::Bounded,
        &mut warnings,
        |event| read.extend(is_kept.then(|| event.clone())),
        |event, warnings| {
            let before = frames;
            synth
                .event(event, warnings, &mut |frame| {
                    frames += 1;
                    capture.frame(frame)
                })
                .expect("memory is writable");
            delivered.extend(is_kept.then(|| (event.clone(), before..frames)));
        },
    );
    if is_kept {
        let events: Vec<_> = delivered.iter().map(|(event, _)| event.clone()).collect();
        delivered::check(&read, &events, &warnings, Memory::Bounded);
    }
    synth
        .finish(&mut warnings, &mut |frame| {
            frames += 1;
            capture.frame(frame)
        })
        .expect("memory is writable");
    // Every warning has to be printable.
    for tally in warnings.tallies() {
        assert!(!tally.to_string().is_empty());
    }
    if let Some(keep) = keep {
        *keep = Kept {
            delivered,
            warnings,
        };
    }
    let sink = capture.finish().expect("memory is writable");
    (sink, frames, damage)
}

/// Converts `input`, which is `len` bytes long, and returns the result.
pub(crate) fn make(input: Input, len: usize, options: &Options) -> Made {
    let mut kept = Kept::default();
    let sink = Sink {
        bytes: Vec::new(),
        len: 0,
        keep: KEPT,
    };
    let (sink, frames, damage) = run(input, len, options, sink, Some(&mut kept));
    Made {
        capture: (sink.len <= KEPT as u64).then_some(sink.bytes),
        len: sink.len,
        kept,
        frames,
        damage,
    }
}

/// The whole conversion, in both formats, with options from the first bytes.
///
/// The capture is well formed, its size is bounded, and it agrees with the events.
pub fn convert(data: &[u8]) {
    let Some((options, trace)) = options::split(data) else {
        return;
    };
    let trace = Bytes::copy_from_slice(trace);
    let input = Input::from_bytes(trace.clone());
    if claimed(input, trace.len(), options.encoding) > MAX_CLAIMED {
        return;
    }
    let (cut, frames) = converted(&trace, &options);
    if options.capture.snaplen == DEFAULT_SNAPLEN {
        return;
    }
    // A snaplen truncates frames, and changes nothing else.
    let mut uncut = options.clone();
    uncut.capture.snaplen = DEFAULT_SNAPLEN;
    let (whole, all) = converted(&trace, &uncut);
    assert_eq!(frames, all, "frames");
    for (cut, mut whole) in cut.into_iter().flatten().zip(whole.into_iter().flatten()) {
        whole.data.truncate(options.capture.snaplen as usize);
        assert_eq!(cut, whole, "a snapped frame");
    }
}

/// Converts `trace`, and checks the result. Returns the records and their number.
fn converted(trace: &Bytes, options: &Options) -> (Option<Vec<Record>>, usize) {
    let input = || Input::from_bytes(trace.clone());
    let (len, sink) = measured_len(&input, trace.len(), options);
    let most = FIXED_MEMORY + MEMORY_PER_BYTE * trace.len();
    assert!(sink <= most, "{sink} bytes of memory for {}", trace.len());

    let made = make(input(), trace.len(), options);
    assert_eq!(made.len, len, "the same again is another capture");
    let most = bound(&made, trace.len(), options);
    assert!(len <= most, "a capture of {len} bytes, not {most} at most");
    let Some(capture) = &made.capture else {
        return (None, made.frames);
    };
    let (capture, metadata) = parse(capture, options.capture.format);
    let records = capture.records;
    assert_eq!(capture.snaplen, options.capture.snaplen);
    assert_eq!(records.len(), made.frames, "frames");
    if options.capture.snaplen == DEFAULT_SNAPLEN {
        oracle::check(&made.kept, &records, metadata.as_deref(), options);
    }
    (Some(records), made.frames)
}

/// The length of the capture, and the memory for a conversion of which nothing is kept.
fn measured_len(input: &impl Fn() -> Input, len: usize, options: &Options) -> (u64, usize) {
    let (sink, peak) = measured(|| {
        let (bytes, keep) = (Vec::new(), 0);
        let sink = Sink {
            bytes,
            len: 0,
            keep,
        };
        run(input(), len, options, sink, None).0
    });
    (sink.len, peak)
}

/// Reads a capture of either format, with the metadata of a pcapng.
pub(crate) fn parse(
    capture: &[u8],
    format: Format,
) -> (pcap::Capture, Option<Vec<pcap::ng::PacketMetadata>>) {
    match format {
        Format::Pcap => (pcap::Capture::parse(capture).expect("a pcap file"), None),
        Format::Pcapng => {
            let section = pcap::ng::Section::parse(capture).expect("a pcapng file");
            (section.capture, Some(section.metadata))
        }
    }
}

/// An upper bound for the size of a capture of these events: their bytes, the headers, and the gaps up to their limits.
fn bound(made: &Made, input: usize, options: &Options) -> u64 {
    // A record's header, or a block's with its flags and padding; Ethernet, IPv6, TCP with options.
    const FRAME: u64 = 48 + 14 + 40 + 28;
    // Frames without payload: two handshakes, an end, two SETTINGS, WINDOW_UPDATEs.
    const FRAMES_PER_EVENT: u64 = 16;
    // The interface, names and statistics of a connection, and the comment on its first frame.
    const TEXTS_PER_EVENT: u64 = 12;
    // The size of an address with escapes or replacement characters, in each place where it is written.
    let text = match options.capture.format {
        Format::Pcap => 0,
        Format::Pcapng => MAX_TEXT.min(10 * input as u64 + 128) + 16,
    };
    // The smallest payload of a packet.
    let largest = 65_495;
    let segment = options.synth.mss.unwrap_or(largest).min(largest) as u64;
    let fields = |fields: &[Field]| -> u64 {
        let each = |field: &Field| (field.name.len() + field.value.len() + 12) as u64;
        fields.iter().map(each).sum()
    };
    let mut most = 1024 + 2 * text;
    for (event, _) in &made.kept.delivered {
        let mut known = 0;
        let mut lost = event.gap.as_ref().map_or(0, |gap| gap.bytes);
        match &event.what {
            What::Data {
                payload, truncated, ..
            } => {
                known = payload.len() as u64;
                if *truncated {
                    lost += event.missing.unwrap_or(MAX_ESTIMATE);
                }
            }
            What::Http(http) => {
                known += 512;
                if let Http::Part { part, .. } = http {
                    known += match part {
                        Part::Headers(list) | Part::Trailers(list) => fields(list),
                        Part::Body { payload, .. } => payload.len() as u64,
                    };
                }
                // An HTTP/2 frame header for each 16 KiB.
                known += known / 1024;
            }
            _ => {}
        }
        let frames = FRAMES_PER_EVENT + known / segment + lost / largest as u64;
        most += known + frames * FRAME + TEXTS_PER_EVENT * text;
    }
    most
}
