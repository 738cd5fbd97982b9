//! A conversion has the same capture, warnings and summary with and without the fast path for plain events, also with
//! redaction.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::encoded::{field, number};
use crate::redact::Names;
use support::secrets::{Choices, Conversation};

/// A conversion that counts the events taken on the fast path.
struct Counted<'a> {
    conversion: Conversion<'a, Vec<u8>>,
    takes_plain: bool,
    plain: usize,
}

impl Consumer for Counted<'_> {
    type Error = io::Error;

    fn takes_plain(&self) -> bool {
        self.takes_plain && self.conversion.takes_plain()
    }

    fn plain(
        &mut self,
        event: &PlainEvent<'_>,
        lent: &Lent<'_>,
        warnings: &mut Warnings,
    ) -> Option<io::Result<()>> {
        let done = self.conversion.plain(event, lent, warnings);
        self.plain += usize::from(done.is_some());
        done
    }

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> io::Result<()> {
        self.conversion.event(event, warnings)
    }
}

/// The capture of a trace, its warnings and summary, and the number of events taken on the fast path.
fn converted(trace: &[u8], options: &Options, takes_plain: bool) -> (Vec<u8>, String, usize) {
    let mut reader = Reader::new(Input::from_bytes(trace), Some(Encoding::Binary), None);
    let (mut warnings, mut summary) = (Warnings::default(), Summary::default());
    let mut synth = synthesizer(options, None);
    let mut capture = Capture::with_remark(Vec::new(), options.capture, &[], None).unwrap();
    let mut counted = Counted {
        conversion: Conversion::new(options, &mut synth, &mut summary, &mut capture),
        takes_plain,
        plain: 0,
    };
    let end = Pump {
        trace: &mut reader,
        sequencer: Sequencer::new(Memory::Bounded, false),
        interrupt: &Interrupt::default(),
        warnings: &mut warnings,
    }
    .run(None, &Wait::default(), &mut counted)
    .unwrap();
    counted.conversion.end(end, &mut warnings).unwrap();
    let plain = counted.plain;
    summary.complete(&mut synth, &reader);
    (
        capture.finish().unwrap(),
        format!("{summary:?} {warnings:?}"),
        plain,
    )
}

/// A streamed trace of conversations, in which some events are lost, truncated, repeated or late.
fn trace(conversations: &[Conversation], is_counted: bool, choices: &mut Choices) -> Vec<u8> {
    let mut segments = Vec::new();
    let mut counts = HashMap::new();
    let mut sent: Vec<_> = conversations
        .iter()
        .enumerate()
        .map(|(id, conversation)| (id as u64, conversation.sent.iter()))
        .collect();
    let (mut last, mut time, is_whole) = (0, 0, choices.one_in(2));
    while !sent.is_empty() {
        if choices.one_in(8) {
            last = choices.below(sent.len());
        }
        last = last.min(sent.len() - 1);
        let (id, next) = &mut sent[last];
        let Some(event) = next.next() else {
            drop(sent.remove(last));
            continue;
        };
        time += 1000;
        let rare = if is_whole { 0 } else { choices.below(40) };
        let count = counts.entry(*id).or_insert(1_u64);
        let late = if rare == 1 { 5000 } else { 0 };
        let stamp = [
            number(1, 1_795_327_726),
            number(2, 300_000_000 + time - late),
        ];
        let mut body = field(1, &event.bytes);
        if rare == 2 {
            body.extend(number(3, 1));
        }
        let direction = if event.from_client { 2 } else { 3 };
        let mut message = field(1, &stamp.concat());
        message.extend(field(direction, &field(1, &body)));
        if is_counted {
            message.extend(number(6, *count));
        }
        *count += event.bytes.len() as u64 + if rare == 2 { 3 } else { 0 };
        let segment = field(4, &[number(1, *id), field(3, &message)].concat());
        match rare {
            3 => {}
            4 => segments.extend([segment.clone(), segment]),
            _ => segments.push(segment),
        }
    }
    segments.concat()
}

/// Conversations, cut into events at random.
fn conversations(choices: &mut Choices) -> Vec<Conversation> {
    let conversation = |_| {
        let mut conversation = Conversation::new(choices);
        conversation.cut(choices);
        conversation
    };
    (0..3).map(conversation).collect()
}

fn options(redaction: usize) -> Options {
    let names: Names = "X-Token".parse().unwrap();
    let redaction = (redaction > 0).then_some(Redaction {
        names,
        bodies: redaction == 2,
    });
    Options {
        redaction,
        ..Options::default()
    }
}

#[test]
fn the_fast_path_makes_the_same_capture() {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(seed: u64, redaction in 0_usize..3, is_counted: bool)| {
        let mut choices = Choices(seed);
        let conversations = conversations(&mut choices);
        let bytes = trace(&conversations, is_counted, &mut choices);
        let options = options(redaction);
        let (capture, said, _) = converted(&bytes, &options, true);
        let (expected, general, lent) = converted(&bytes, &options, false);
        prop_assert_eq!(lent, 0);
        prop_assert_eq!(said, general);
        prop_assert!(capture == expected, "other bytes");
    });
}

/// The comparison alone would also succeed if no event took the fast path.
#[test]
fn nearly_all_events_take_the_fast_path_with_redaction() {
    let get = b"GET / HTTP/1.1\r\nCookie: secret\r\n\r\n";
    let segment = |i: u64| {
        let stamp = [number(1, 1_795_327_726), number(2, 300_000_000 + i)].concat();
        let data = field(2, &field(1, &field(1, get)));
        let message = field(3, &[field(1, &stamp), data].concat());
        field(4, &[number(1, 7), message].concat())
    };
    let bytes: Vec<u8> = (0..100).flat_map(segment).collect();
    for redaction in 0..3 {
        let (capture, _, lent) = converted(&bytes, &options(redaction), true);
        // Detection and the first event take the general way.
        assert_eq!(lent, 99);
        let found = memchr::memmem::find_iter(&capture, "Cookie: secret").count();
        assert_eq!(found, if redaction > 0 { 0 } else { 100 });
    }
}
