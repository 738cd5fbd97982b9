//! With and without the fast path for plain events, a consumer gets the same events in the same order, with the same
//! warnings.

use std::convert::Infallible;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::encoded::{field, number};
use crate::input::Input;
use crate::model::event::What;
use crate::properties::config;
use crate::sequence::Memory;
use crate::trace::Encoding;

/// A consumer that records its events.
struct Recorder {
    takes_plain: bool,
    /// A bit for each event on the fast path, in turn: whether it is refused there.
    refused: u64,
    lent: usize,
    seen: Vec<String>,
}

impl Consumer for Recorder {
    type Error = Infallible;

    fn takes_plain(&self) -> bool {
        self.takes_plain
    }

    fn plain(
        &mut self,
        event: &PlainEvent<'_>,
        lent: &Lent<'_>,
        _: &mut Warnings,
    ) -> Option<Result<(), Infallible>> {
        self.refused = self.refused.rotate_left(1);
        if self.refused & 1 > 0 {
            return None;
        }
        self.lent += 1;
        let event = Event {
            trace: event.trace,
            offset: lent.offset,
            time: Some(event.time),
            seq_num: event.seq_num,
            what: What::Data {
                direction: event.direction,
                payload: event.payload.to_vec(),
                truncated: false,
                as_string: false,
                end_stream: false,
            },
            ..Event::default()
        };
        self.seen.push(format!("{event:?}"));
        Some(Ok(()))
    }

    fn event(&mut self, event: &Event, _: &mut Warnings) -> Result<(), Infallible> {
        self.seen.push(format!("{event:?}"));
        Ok(())
    }
}

/// The events of a trace as a consumer gets them, the warnings, and the number of events on the fast path.
fn all_of(bytes: &[u8], takes_plain: bool, refused: u64) -> (Vec<String>, String, usize) {
    let mut trace = Reader::new(Input::from_bytes(bytes), Some(Encoding::Binary), None);
    let mut warnings = Warnings::default();
    let mut recorder = Recorder {
        takes_plain,
        refused,
        lent: 0,
        seen: Vec::new(),
    };
    let Ok(end) = Pump {
        trace: &mut trace,
        sequencer: Sequencer::new(Memory::Bounded, false),
        interrupt: &Interrupt::default(),
        warnings: &mut warnings,
    }
    .run(None, &Wait::default(), &mut recorder);
    recorder.seen.push(format!("{end:?} {}", trace.offset()));
    (recorder.seen, format!("{warnings:?}"), recorder.lent)
}

/// How an event appears in a trace.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Plain,
    Uncounted,
    Truncated,
    Empty,
    EmptyTwice,
    Lost,
    Twice,
    Late,
    Timeless,
    Closed,
}

fn fate() -> impl Strategy<Value = Fate> {
    use Fate::{
        Closed, Empty, EmptyTwice, Late, Lost, Plain, Timeless, Truncated, Twice, Uncounted,
    };
    prop_oneof![
        30 => Just(Plain),
        1 => prop::sample::select(vec![Uncounted, Truncated, Empty, EmptyTwice, Lost, Twice, Late, Timeless, Closed
        ]),
    ]
}

/// A streamed trace of one or two connections, of which each event is `(id, len, fate)`.
fn trace(events: &[(u64, usize, Fate)], is_counted: bool) -> Vec<u8> {
    let (mut segments, mut counts, mut late) = (Vec::new(), [1_u64; 4], None);
    for (i, &(id, len, fate)) in events.iter().enumerate() {
        let is_empty = matches!(fate, Fate::Empty | Fate::EmptyTwice);
        let len = if is_empty { 0 } else { len };
        let count = &mut counts[id as usize];
        let time = field(
            1,
            &[number(1, 1_795_327_726), number(2, 300_000_000 + i as u64)].concat(),
        );
        let mut body = field(1, &vec![i as u8; len]);
        if matches!(fate, Fate::Truncated) {
            body.extend(number(3, 1));
            *count += 5;
        }
        let what = match fate {
            Fate::Closed => field(4, &[]),
            _ => field(2 + i as u64 % 2, &field(1, &body)),
        };
        let mut event = match fate {
            Fate::Timeless => what,
            _ => [time, what].concat(),
        };
        if is_counted && !matches!(fate, Fate::Uncounted) {
            event.extend(number(6, *count + u64::from(matches!(fate, Fate::Closed))));
        }
        *count += len as u64;
        let segment = field(4, &[number(1, id), field(3, &event)].concat());
        match fate {
            Fate::Lost => continue,
            Fate::Late => late = Some(segment),
            Fate::Twice | Fate::EmptyTwice => segments.extend([segment.clone(), segment]),
            _ => {
                segments.push(segment);
                segments.extend(late.take());
            }
        }
    }
    segments.concat()
}

/// Buffered messages of one connection. Each is `(start, events)`: the time of its first event in seconds, and the number
/// of its events.
fn buffered(messages: &[(u64, usize)]) -> Vec<u8> {
    let connection = field(2, &field(1, &field(1, &field(2, b"10.0.0.1"))));
    let message = |&(start, events): &(u64, usize)| {
        let event = |i: usize| {
            let time = field(1, &[number(1, start + i as u64), number(2, 0)].concat());
            let data = field(2, &field(1, &field(1, &[i as u8; 9])));
            field(3, &[time, data].concat())
        };
        let events = (0..events).flat_map(event).collect();
        field(3, &[number(1, 5), connection.clone(), events].concat())
    };
    messages.iter().flat_map(message).collect()
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn the_fast_path_delivers_the_same_events(
        events in vec((prop_oneof![20 => Just(0_u64), 1 => 0_u64..3], 1_usize..300, fate()), 1..60),
        is_counted in any::<bool>(),
        refused in prop_oneof![Just(0), any::<u64>()],
    ) {
        let bytes = trace(&events, is_counted);
        let (seen, warnings, _) = all_of(&bytes, true, refused);
        let (general, expected, _) = all_of(&bytes, false, 0);
        prop_assert_eq!(seen, general);
        prop_assert_eq!(warnings, expected);
    }

    #[test]
    fn the_fast_path_delivers_the_same_events_of_buffered_messages(
        messages in vec((1_u64..20, 0_usize..8), 1..6),
        refused in prop_oneof![Just(0), any::<u64>()],
    ) {
        let bytes = buffered(&messages);
        let (seen, warnings, _) = all_of(&bytes, true, refused);
        let (general, expected, _) = all_of(&bytes, false, 0);
        prop_assert_eq!(seen, general);
        prop_assert_eq!(warnings, expected);
    }
}

/// The comparison alone would also succeed if no event took the fast path.
#[test]
fn nearly_all_events_of_a_usual_trace_take_the_fast_path() {
    let events = vec![(0, 100, Fate::Plain); 100];
    for is_counted in [false, true] {
        let (_, _, lent) = all_of(&trace(&events, is_counted), true, 0);
        // Detection and the first event take the general way.
        assert_eq!(lent, 99, "{is_counted}");
    }
}
