//! The limits of waiting, and impossible counts.

use super::*;

#[test]
fn an_event_waits_no_longer_than_the_window_allows() {
    let first = read(1, 0, "abc");
    let late = |count: u64| {
        let byte = |i: u64| read(10 + i, 1, "x");
        std::iter::once(first.clone()).chain((0..count).map(byte))
    };
    let mut run = Run::default();
    for event in late(64) {
        run.push(event);
    }
    assert_eq!(run.delivered.len(), 1, "64 events wait");
    run.push(read(74, 1, "x"));
    assert_eq!(run.delivered.len(), 66, "of 65, none does");
    assert_eq!(run.delivered[1].gap.as_ref().map(|gap| gap.bytes), Some(6));

    let mut run = Run::default();
    run.push(first.clone());
    run.push(read(10, 1, "x"));
    run.push(read(11, 1001, "y"));
    assert_eq!(run.delivered.len(), 1, "for a second");
    run.push(read(12, 1002, "z"));
    assert_eq!(run.delivered.len(), 4, "and no longer");

    let mut run = Run::default();
    run.push(first);
    run.push(data(10, Direction::Read, 1, &vec![7; 8 << 20]));
    assert_eq!(run.delivered.len(), 1, "with 8 MiB");
    run.push(read(10 + (8 << 20), 1, "x"));
    assert_eq!(run.delivered.len(), 3, "and with no more");
}

#[test]
fn an_impossible_count_is_reported_and_leaves_no_gap() {
    let far = 10 + MAX_EVENT_LOSS;
    for events in [
        vec![read(1, 0, "abc"), read(far, 1, "d")],
        vec![cut(read(1, 0, "abc")), read(far, 1, "d")],
        // The gap before a waiting event is counted from the end of the event before it, not from an impossible count in
        // between.
        vec![
            read(1, 0, "abc"),
            read(u64::MAX / 2, 1, "d"),
            read(u64::MAX / 2 + 10, 2, "e"),
            read(5, 3, "f"),
            read(2 + MAX_EVENT_LOSS * 2, 3, "g"),
        ],
    ] {
        let count = events.len();
        let run = Run::of(events);
        assert_eq!(run.delivered.len(), count);
        assert!(run.warnings.count(WarningKind::ImpossibleCount) > 0);
        for event in &run.delivered {
            let gap = event.gap.as_ref().map_or(0, |gap| gap.bytes);
            assert!(gap <= 10 && event.missing.unwrap_or(0) <= 10, "{event:?}");
        }
    }
}

#[test]
fn one_impossible_count_does_not_affect_later_events() {
    let run = Run::of([
        read(1, 0, "abc"),
        read(4, 1, "def"),
        write(2, 2, "x"),
        read(7, 3, "g"),
        // Two bytes are missing before this event.
        read(10, 4, "h"),
    ]);
    let expected = [(1, 0, 0), (4, 0, 0), (2, 0, 0), (7, 0, 0), (10, 2, 0)];
    assert_eq!(run.seen(), expected);
    assert_eq!(run.warned(), [(WarningKind::ImpossibleCount, 1)]);
}

#[test]
fn the_waiting_events_of_all_connections_share_a_limit() {
    let mut run = Run {
        held: 64 << 20,
        ..Run::default()
    };
    // Other connections use all of the memory, so no event waits here.
    run.push(read(1, 0, "abc"));
    run.push(read(10, 1, "d"));
    assert_eq!(run.delivered.len(), 2);
    run.push(cut(read(11, 2, "e")));
    assert_eq!(run.delivered.len(), 3);
    run.push(read(20, 3, "f"));
    let kinds: Vec<_> = run
        .delivered
        .iter()
        .map(|event| event.gap.as_ref())
        .collect();
    assert_eq!(
        kinds[1].map(|gap| (gap.kind, gap.bytes)),
        Some((GapKind::Lost, 6))
    );
    assert_eq!(
        kinds[3].map(|gap| (gap.kind, gap.bytes)),
        Some((GapKind::Cut, 8))
    );
    assert_eq!(run.held, 64 << 20);
}

/// The detail once had a plural noun after 1.
#[test]
fn the_detail_of_a_mismatch_has_a_singular_noun() {
    let events = [
        cut(read(1, 0, "x")),
        Event {
            seq_num: NonZeroU64::new(MAX_EVENT_LOSS * 2),
            ..read(1, 1, "y")
        },
    ];
    let run = Run::of(events);
    let details: Vec<_> = run
        .warnings
        .tallies()
        .map(|tally| &tally.first.detail[..])
        .collect();
    assert!(
        details
            .iter()
            .any(|detail| detail.ends_with(" over an event of 1 byte")),
        "{details:?}"
    );
}
