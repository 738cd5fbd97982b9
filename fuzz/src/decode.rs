//! The decoders, one at a time: bytes into events.

use std::collections::HashSet;

use bytes::Bytes;
use capture2pcap::input::{Input, Wait};
use capture2pcap::model::event::{Event, Field, Http, Part, What};
use capture2pcap::model::warning::Warnings;
use capture2pcap::sequence::{Memory, Sequencer};
use capture2pcap::trace::{Damage, Encoding, EventDecoder, Fault, Location, Reader, Step};

use crate::delivered;
use crate::memory::measured;
use crate::strings;

/// The memory of a decoder for any input, in bytes: one read of a stream, twice as much if the window grows, and small
/// state.
const FIXED_MEMORY: usize = 4 << 20;
/// Its further memory for each byte of the input. The worst case is an empty header field: two bytes are decoded into
/// three slices, and the vector has as much spare capacity.
const MEMORY_PER_BYTE: usize = 256;
/// The maximum number of events for one byte of the input: an empty field in a message of two bytes is an event, and
/// causes one for the connection and one for the start of the message.
const EVENTS_PER_BYTE: usize = 4;

/// The contents of a trace.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) events: Vec<Event>,
    pub(crate) damage: Option<Damage>,
    /// Whether the input was recognized as a trace.
    pub(crate) recognised: bool,
    /// The number of messages that Envoy failed to write.
    pub(crate) failures: usize,
}

/// Passes the events of `input` to `take`. Checks that there are not more events, and not more steps, than `len` bytes
/// can cause.
pub(crate) fn walk(
    reader: &mut Reader,
    len: usize,
    warnings: &mut Warnings,
    mut take: impl FnMut(&mut Event, &mut Warnings),
) -> Option<Damage> {
    let (mut events, mut fills) = (0, 0);
    loop {
        match reader.advance() {
            Ok(Step::Item(())) => {
                let event = reader.current_mut().expect("the current event");
                events += 1;
                assert!(
                    events <= EVENTS_PER_BYTE * len,
                    "{events} events of {len} bytes"
                );
                take(event, warnings);
            }
            Ok(Step::More) => {
                fills += 1;
                // Each fill adds a byte, or finds the end.
                assert!(fills <= len + 1, "{fills} reads of {len} bytes");
                reader.fill(&Wait::default()).expect("memory is readable");
            }
            Ok(Step::End) => return None,
            Err(damage) => {
                let at = damage.offset;
                assert!(at <= len as u64, "damage at {at} of {len} bytes");
                // The damage has to be printable.
                assert!(!damage.to_string().is_empty());
                return Some(damage);
            }
        }
    }
}

/// Passes the events of `input` to `read`, and then to `take` with the order and the connections of a conversion.
pub(crate) fn walk_in_order(
    reader: &mut Reader,
    len: usize,
    memory: Memory,
    warnings: &mut Warnings,
    mut read: impl FnMut(&Event),
    mut take: impl FnMut(&Event, &mut Warnings),
) -> Option<Damage> {
    let mut sequencer = Sequencer::new(memory, false);
    let damage = walk(reader, len, warnings, |event, warnings| {
        read(event);
        delivered::push(&mut sequencer, event, warnings, &mut take);
    });
    delivered::finish(&mut sequencer, warnings, &mut take);
    damage
}

/// The number of bytes that are missing in and between the events of `input`.
pub(crate) fn claimed(input: Input, len: usize, wanted: Option<Encoding>) -> u64 {
    let mut reader = Reader::new(input, wanted, None);
    let mut claimed = 0_u64;
    let ignore = |_: &Event| {};
    let (memory, warnings) = (Memory::Bounded, &mut Warnings::default());
    walk_in_order(&mut reader, len, memory, warnings, ignore, |event, _| {
        let gap = event.gap.as_ref().map_or(0, |gap| gap.bytes);
        claimed = claimed
            .saturating_add(event.missing.unwrap_or(0))
            .saturating_add(gap);
    });
    claimed
}

/// Reads all of `input`, which is `len` bytes long.
pub(crate) fn read(input: Input, len: usize, wanted: Option<Encoding>) -> Contents {
    let mut reader = Reader::new(input, wanted, None);
    let mut warnings = Warnings::default();
    let mut events = Vec::new();
    let damage = walk(&mut reader, len, &mut warnings, |event, _| {
        events.push(event.clone());
    });
    let failed = |event: &&Event| event.what == What::Failed;
    let failures = events.iter().filter(failed).count();
    Contents {
        events,
        damage,
        recognised: reader.recognised(),
        failures,
    }
}

/// The binary decoder: undelimited and delimited, set or detected, of both generations.
pub fn binary(data: &[u8]) {
    for wanted in [None, Some(Encoding::Binary), Some(Encoding::Delimited)] {
        let (contents, encoding) = decode(data, wanted);
        if !matches!(encoding, Some(Encoding::Binary | Encoding::Delimited)) {
            continue;
        }
        for event in &contents.events {
            each_bytes(event, |bytes, _| {
                let found = memchr::memmem::find(data, bytes);
                assert!(
                    found.is_some(),
                    "bytes that are not in the input: {event:?}"
                );
            });
        }
    }
}

/// The decoder of the text format.
pub fn text(data: &[u8]) {
    let (contents, _) = decode(data, Some(Encoding::Text));
    let strings: HashSet<_> = strings::of_text(data).into_iter().collect();
    for event in &contents.events {
        each_bytes(event, |bytes, _| {
            // A minus sign may be separate from its number.
            let word = bytes.strip_prefix(b"-").unwrap_or(bytes);
            let known = |string: &[u8]| strings.contains(string);
            let found = bytes.is_empty() || known(bytes) || known(word);
            assert!(found, "bytes that are not in the input: {event:?}");
        });
    }
}

/// The decoder of JSON.
pub fn json(data: &[u8]) {
    let (contents, _) = decode(data, Some(Encoding::Json));
    let Some(strings) = strings::of_json(data) else {
        return;
    };
    let decoded: HashSet<_> = strings.iter().map(|s| strings::plain_base64(s)).collect();
    let strings: HashSet<_> = strings.into_iter().collect();
    for event in &contents.events {
        each_bytes(event, |bytes, form| {
            let plain = || strings.contains(bytes);
            let base64 = || decoded.contains(&strings::base64(bytes));
            let found = bytes.is_empty()
                || match form {
                    Form::Base64 => base64(),
                    Form::Plain => plain(),
                    Form::Either => plain() || base64(),
                };
            assert!(found, "bytes that are not in the input: {event:?}");
        });
    }
}

/// Decodes `data`, and checks the properties of every encoding.
fn decode(data: &[u8], wanted: Option<Encoding>) -> (Contents, Option<Encoding>) {
    let bytes = Bytes::copy_from_slice(data);
    let (encoding, peak) = measured(|| {
        let mut reader = Reader::new(Input::from_bytes(bytes.clone()), wanted, None);
        // Events are not kept, as in a conversion.
        walk(&mut reader, data.len(), &mut Warnings::default(), |_, _| {});
        reader.encoding()
    });
    let most = FIXED_MEMORY + MEMORY_PER_BYTE * data.len();
    assert!(peak <= most, "{peak} bytes of memory for {}", data.len());
    if let Some(wanted) = wanted {
        assert!(encoding.is_none_or(|encoding| encoding == wanted));
    }
    let contents = read(Input::from_bytes(bytes), data.len(), wanted);
    locate(data, wanted);
    let len = data.len() as u64;
    for event in &contents.events {
        assert!(event.offset < len, "an event after the end: {event:?}");
    }
    let sorted = contents.events.is_sorted_by_key(|event| event.offset);
    assert!(sorted, "events out of their order: {:?}", contents.events);
    if !contents.recognised {
        assert!(contents.events.is_empty(), "events of no trace");
        assert_eq!(contents.failures, 0, "notes of no trace");
    }
    if let Some(damage) = &contents.damage
        && let Fault::Unrecognised { .. } = *damage.fault
    {
        assert!(!contents.recognised && damage.offset == 0);
    }
    (contents, encoding)
}

/// Decodes each event again, from its location.
fn locate(data: &[u8], wanted: Option<Encoding>) {
    let mut reader = Reader::new(Input::from_bytes(data), wanted, None);
    let mut decoder = EventDecoder::default();
    while let Ok(Step::Item(())) = reader.advance() {
        let event = reader.current().expect("the event just given");
        let location = reader.location();
        if location == Location::default() {
            continue;
        }
        let start = location.offset as usize;
        let bytes = &data[start..start + location.len as usize];
        let format = reader.format().expect("the format of an event");
        let decoded = decoder
            .decode(format, location, bytes)
            .expect("the same event");
        decoded.trace = event.trace;
        // The bytes between a field's name and its value may exceed what a location can express.
        decoded.offset = event.offset;
        assert_eq!(decoded, event, "at {location:?}");
    }
}

/// The ways in which JSON can represent some bytes.
#[derive(Clone, Copy)]
enum Form {
    Base64,
    Plain,
    /// A header's value may be in either of two fields.
    Either,
}

/// All bytes of `event` that are in a capture.
fn each_bytes(event: &Event, mut check: impl FnMut(&[u8], Form)) {
    let body = |as_string: bool| match as_string {
        true => Form::Plain,
        false => Form::Base64,
    };
    match &event.what {
        What::Data {
            payload, as_string, ..
        } => check(payload, body(*as_string)),
        What::Http(Http::Part {
            part: Part::Body {
                payload, as_string, ..
            },
            ..
        }) => check(payload, body(*as_string)),
        What::Http(Http::Part {
            part: Part::Headers(fields) | Part::Trailers(fields),
            ..
        }) => {
            for Field { name, value } in fields {
                check(name, Form::Plain);
                check(value, Form::Either);
            }
        }
        _ => {}
    }
}
