//! Bytes into events: each decoder by itself.

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

/// What a decoder may hold whatever the input is: what it asks of a stream at once, twice as much where
/// the window grows, and its own small things.
const FIXED_MEMORY: usize = 4 << 20;
/// What it may hold for each byte of the input. The worst is a header field of nothing: two bytes, and
/// three slices where it is decoded, with as much again kept free behind them.
const MEMORY_PER_BYTE: usize = 256;
/// The most events that one byte of the input makes: an empty field of a message of two bytes is one,
/// with the connection before it and the message's beginning before that.
const EVENTS_PER_BYTE: usize = 4;

/// What a trace tells.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) events: Vec<Event>,
    pub(crate) damage: Option<Damage>,
    /// Whether anything came that only a trace holds.
    pub(crate) recognised: bool,
    /// The messages that Envoy failed to write.
    pub(crate) failures: usize,
}

/// Hands the events of `input` to `take`, at most as many as `len` bytes can make; none comes of fewer
/// steps than that, or the decoder does not get on.
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
                let event = reader.current_mut().expect("the event just told");
                events += 1;
                assert!(
                    events <= EVENTS_PER_BYTE * len,
                    "{events} events of {len} bytes"
                );
                take(event, warnings);
            }
            Ok(Step::More) => {
                fills += 1;
                // Each brings a byte, or finds the end.
                assert!(fills <= len + 1, "{fills} reads of {len} bytes");
                reader.fill(&Wait::default()).expect("memory is readable");
            }
            Ok(Step::End) => return None,
            Err(damage) => {
                let at = damage.offset;
                assert!(at <= len as u64, "damage at {at} of {len} bytes");
                // It has to be sayable, too.
                assert!(!damage.to_string().is_empty());
                return Some(damage);
            }
        }
    }
}

/// Hands the events of `input` to `take` in the order and of the connections that a conversion puts them in; `read`
/// gets each before that.
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

/// How many bytes the events of `input` say are missing of them and between them.
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
pub(crate) fn read(input: Input, len: usize, wanted: Option<Encoding>) -> Told {
    let mut reader = Reader::new(input, wanted, None);
    let mut warnings = Warnings::default();
    let mut events = Vec::new();
    let damage = walk(&mut reader, len, &mut warnings, |event, _| {
        events.push(event.clone());
    });
    let failed = |event: &&Event| event.what == What::Failed;
    let failures = events.iter().filter(failed).count();
    Told {
        events,
        damage,
        recognised: reader.recognised(),
        failures,
    }
}

/// The binary decoder: undelimited and delimited, said or told from the bytes, of both generations.
pub fn binary(data: &[u8]) {
    for wanted in [None, Some(Encoding::Binary), Some(Encoding::Delimited)] {
        let (told, encoding) = decode(data, wanted);
        if !matches!(encoding, Some(Encoding::Binary | Encoding::Delimited)) {
            continue;
        }
        for event in &told.events {
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
    let (told, _) = decode(data, Some(Encoding::Text));
    let strings: HashSet<_> = strings::of_text(data).into_iter().collect();
    for event in &told.events {
        each_bytes(event, |bytes, _| {
            // A minus may stand apart from its number.
            let word = bytes.strip_prefix(b"-").unwrap_or(bytes);
            let known = |string: &[u8]| strings.contains(string);
            let found = bytes.is_empty() || known(bytes) || known(word);
            assert!(found, "bytes that are not in the input: {event:?}");
        });
    }
}

/// The decoder of JSON.
pub fn json(data: &[u8]) {
    let (told, _) = decode(data, Some(Encoding::Json));
    let Some(strings) = strings::of_json(data) else {
        return;
    };
    let decoded: HashSet<_> = strings.iter().map(|s| strings::plain_base64(s)).collect();
    let strings: HashSet<_> = strings.into_iter().collect();
    for event in &told.events {
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

/// Decodes `data`, and checks what holds in every encoding.
fn decode(data: &[u8], wanted: Option<Encoding>) -> (Told, Option<Encoding>) {
    let bytes = Bytes::copy_from_slice(data);
    let (encoding, peak) = measured(|| {
        let mut reader = Reader::new(Input::from_bytes(bytes.clone()), wanted, None);
        // Not kept, as in a conversion.
        walk(&mut reader, data.len(), &mut Warnings::default(), |_, _| {});
        reader.encoding()
    });
    let most = FIXED_MEMORY + MEMORY_PER_BYTE * data.len();
    assert!(peak <= most, "{peak} bytes of memory for {}", data.len());
    if let Some(wanted) = wanted {
        assert!(encoding.is_none_or(|encoding| encoding == wanted));
    }
    let told = read(Input::from_bytes(bytes), data.len(), wanted);
    locate(data, wanted);
    let len = data.len() as u64;
    for event in &told.events {
        assert!(event.offset < len, "an event behind the end: {event:?}");
    }
    let sorted = told.events.is_sorted_by_key(|event| event.offset);
    assert!(sorted, "events out of their order: {:?}", told.events);
    if !told.recognised {
        assert!(told.events.is_empty(), "events of no trace");
        assert_eq!(told.failures, 0, "notes of no trace");
    }
    if let Some(damage) = &told.damage
        && let Fault::Unrecognised { .. } = *damage.fault
    {
        assert!(!told.recognised && damage.offset == 0);
    }
    (told, encoding)
}

/// Decodes each event once more, from where it lies.
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
        // Between a field's name and its value may lie more than a location can say.
        decoded.offset = event.offset;
        assert_eq!(decoded, event, "at {location:?}");
    }
}

/// How JSON writes some bytes.
#[derive(Clone, Copy)]
enum Form {
    Base64,
    Plain,
    /// A header's value may stand in either of two fields.
    Either,
}

/// All bytes of `event` that a capture shows.
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
