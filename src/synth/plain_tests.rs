//! The fast path for an event produces the same frames, warnings and state as the general path.

use std::convert::Infallible;

use proptest::prelude::*;

use super::{Frame, SynthOptions, Synthesizer};
use crate::model::event::{
    Connection, Direction, Endpoint, Event, Gap, GapKind, Timestamp, TraceId, What,
};
use crate::model::warning::Warnings;
use crate::properties::config;

/// Events of a few connections; most carry only bytes.
fn event() -> impl Strategy<Value = Event> {
    let payload = (0_usize..400, any::<u8>()).prop_map(|(len, byte)| match byte {
        0..50 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        50..60 => vec![byte; len * 300],
        _ => vec![byte; len],
    });
    let time = (0_u64..1_000, 0_u8..10);
    (
        0_u64..3,
        time,
        payload,
        any::<bool>(),
        0_u8..24,
        any::<u32>(),
    )
        .prop_map(|(number, (nanos, late), payload, is_read, kind, odd)| {
            let direction = match is_read {
                true => Direction::Read,
                false => Direction::Write,
            };
            let data = What::Data {
                direction,
                payload,
                truncated: kind == 0,
                as_string: kind == 1,
                end_stream: kind == 2,
            };
            let named = Endpoint::Ip("10.0.0.9".parse().unwrap(), 80);
            Event {
                trace: TraceId {
                    number,
                    ..TraceId::default()
                },
                offset: odd.into(),
                time: (late > 0).then(|| match late {
                    1 => Timestamp::from_nanos(u64::MAX - nanos),
                    _ => Timestamp::from_nanos(nanos),
                }),
                time_adjusted: kind == 3,
                seq_num: std::num::NonZeroU64::new(u64::from(kind == 4)),
                missing: (kind < 2).then_some(odd.into()),
                gap: (kind == 5).then(|| {
                    Box::new(Gap {
                        bytes: (odd % 5_000).into(),
                        direction: Some(direction).filter(|_| odd % 2 == 0),
                        kind: GapKind::Lost,
                    })
                }),
                what: match kind {
                    6 => What::Closed,
                    7 => What::Over,
                    8 => What::Truncated(direction),
                    9 => What::Connection(Box::new(Connection {
                        local: Some(named),
                        ..Connection::default()
                    })),
                    _ => data,
                },
            }
        })
}

/// The output and state after some events, with or without the fast path.
fn all_of(
    events: &[Event],
    options: &SynthOptions,
    summaries: bool,
    is_short: bool,
) -> Vec<String> {
    let mut synth = Synthesizer::new(options.clone());
    if summaries {
        synth.keep_summaries();
    }
    let (mut warnings, mut seen) = (Warnings::default(), Vec::new());
    let mut out = |frame: &Frame<'_>| {
        seen.push(format!("{frame:?}"));
        Ok::<(), Infallible>(())
    };
    for event in events {
        let Ok(()) = match is_short {
            true => synth.event(event, &mut warnings, &mut out),
            false => synth.any_event(event, &mut warnings, &mut out),
        };
    }
    let Ok(()) = synth.finish(&mut warnings, &mut out);
    seen.push(format!("{:?} {:?}", synth.take_summaries(), warnings));
    seen
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn the_fast_path_makes_the_same_frames(
        events in proptest::collection::vec(event(), 1..40),
        mss in prop_oneof![Just(None), (1_usize..3_000).prop_map(Some)],
        (labels, summaries, limited) in (0_u8..4, 0_u8..4, 0_u8..4),
    ) {
        let options = SynthOptions {
            mss,
            labels: (labels == 0).then(|| vec!["a.pb".into()]),
            latest: Timestamp::from_nanos(if limited == 0 { 500 } else { u64::MAX }),
            ..SynthOptions::default()
        };
        let short = all_of(&events, &options, summaries == 0, true);
        prop_assert_eq!(short, all_of(&events, &options, summaries == 0, false));
    }
}
