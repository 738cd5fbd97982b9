//! Impossible times, and the resolution of possible ones.

use crate::bad::convert;
use crate::harness::Scratch;
use crate::make::parts::{
    Half, begin, body, connection, exchange, header, request, response, segment, socket,
};
use crate::make::{Ev, Form, Made, START, What};

const SECOND: u64 = 1_000_000_000;
/// The last microsecond that the 32 bits of seconds in a pcap can express.
const LAST: u64 = u32::MAX as u64 * SECOND + 999_999_000;

/// A trace with one event at each of these times.
fn at(times: &[(i64, i32)]) -> Made {
    let events = times.iter().map(|&time| Ev {
        time,
        ..Ev::new(What::Read, 0, "tick")
    });
    Made::v4(events.collect())
}

/// The times of the packets, and the number of impossible ones reported.
#[track_caller]
fn times(bytes: &[u8], options: &[&str]) -> (Vec<u64>, u64) {
    let scratch = Scratch::new();
    let (outcome, records) = convert(&scratch, bytes, options);
    let outcome = outcome.exits(0);
    let lines: Vec<_> = outcome
        .stderr
        .lines()
        .filter(|line| line.contains("impossible time"))
        .collect();
    assert!(
        lines.len() <= 1,
        "reported more than once{}",
        outcome.explain()
    );
    // Some cases are earlier than the one before.
    let goes_back = |line: &&str| line.contains("go back") || line.starts_with("hint: --merge");
    let others = outcome.stderr.lines().filter(|line| !goes_back(line));
    assert_eq!(lines.len(), others.count(), "{}", outcome.explain());
    let count = lines.first().map_or(0, |line| {
        let (before, _) = line.split_once(" impossible time").expect("it is there");
        let (_, count) = before.rsplit_once(' ').expect("a space");
        count.parse().expect("a count")
    });
    let records = records.unwrap_or_default();
    (records.iter().map(|record| record.time).collect(), count)
}

/// Recorded seconds and nanoseconds, the time in the capture, and whether the recorded time is impossible.
const CASES: [((i64, i32), u64, bool); 15] = [
    ((START, 0), START as u64 * SECOND, false),
    ((0, 0), 0, false),
    (
        (START, 999_999_000),
        START as u64 * SECOND + 999_999_000,
        false,
    ),
    // A second or more in nanoseconds, and negative nanoseconds.
    ((START, 1_000_000_000), (START as u64 + 1) * SECOND, true),
    (
        (START, 1_500_000_000),
        START as u64 * SECOND + 1_500_000_000,
        true,
    ),
    (
        (START, i32::MAX),
        START as u64 * SECOND + 2_147_484_000,
        true,
    ),
    ((START, -1_000), START as u64 * SECOND - 1_000, true),
    // Before 1970.
    ((-1, 0), 0, true),
    ((-5, 999_999_999), 0, true),
    ((i64::MIN, 0), 0, true),
    // 2106, the last second and beyond.
    ((u32::MAX as i64, 999_999_000), LAST, false),
    ((1 << 32, 0), LAST, true),
    // The year 3000.
    ((32_503_680_000, 0), LAST, true),
    ((1 << 62, 0), LAST, true),
    ((i64::MAX, i32::MAX), LAST, true),
];

#[test]
fn impossible_times_are_adjusted_and_counted() {
    for (time, expected, impossible) in CASES {
        let made = at(&[time]);
        for form in [
            Form::Binary,
            Form::Old,
            Form::Bare,
            Form::StreamedDelimited,
            Form::Streamed,
            Form::Text,
            Form::StreamedText,
        ] {
            let (got, count) = times(&made.encode(form).bytes, &["--strict"]);
            assert_eq!(got, [expected], "{form:?}: {time:?}");
            assert_eq!(count, u64::from(impossible), "{form:?}: {time:?}");
        }
    }
    // RFC 3339 excludes nanoseconds out of range, but allows any year up to 9999.
    for (second, expected) in [(32_503_680_000, LAST), (253_402_207_200, LAST), (-1, 0)] {
        for form in [Form::Json, Form::StreamedJson] {
            let (got, count) = times(&at(&[(second, 0)]).encode(form).bytes, &[]);
            assert_eq!((got, count), (vec![expected], 1), "{form:?}: {second}");
        }
    }
}

/// One warning for all of them, with each counted once.
#[test]
fn impossible_times_are_counted_once_each() {
    let odd = CASES.iter().filter(|(.., impossible)| *impossible);
    let recorded: Vec<_> = odd.map(|(time, ..)| *time).collect();
    for form in [Form::Streamed, Form::Binary, Form::Text] {
        let mut made = at(&recorded);
        // Large events, in many packets.
        made.events[3].data = vec![b'a'; 300_000];
        let (_, count) = times(&made.encode(form).bytes, &["--mss=1000"]);
        assert_eq!(count, recorded.len() as u64, "{form:?}");
    }
    // Also times that only the format of the capture cannot express.
    let trace = at(&[(1 << 33, 0), (1 << 33, 1)]).encode(Form::Binary).bytes;
    assert_eq!(times(&trace, &[]), (vec![LAST, LAST], 2));
}

/// An exchange with these times of its request and its response.
fn http(asked: (i64, i32), answered: (i64, i32)) -> Vec<u8> {
    let half = |headers, time| Half {
        headers,
        body: Some(body(b"hello")),
        trailers: vec![header("a", "b")],
        time: Some(time),
    };
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let connection = connection(Some(&local), Some(&remote));
    let asked = half(request("POST", &[]), asked);
    let answered = half(response("200", &[]), answered);
    exchange(Some(&asked), Some(&answered), Some(&connection))
}

/// A message's headers, body and trailers share one time.
#[test]
fn a_messages_impossible_time_is_counted_once() {
    let trace = http((START, 1_000_000_000), (START, 2_000_000_000));
    let (got, count) = times(&trace, &[]);
    assert_eq!(count, 2);
    let at = |seconds| Some((START as u64 + seconds) * SECOND);
    assert_eq!((got.first().copied(), got.last().copied()), (at(1), at(2)));
}

#[test]
fn a_messages_time_beyond_the_capture_is_counted_once() {
    let (got, count) = times(&http((1 << 33, 0), (1 << 33, 5_000)), &[]);
    assert!(got.iter().all(|&time| time == LAST), "{got:?}");
    assert_eq!(count, 2);
}

#[test]
fn microseconds_are_the_nearest() {
    let nanos = [
        0,
        1,
        499,
        500,
        999,
        1_000,
        1_499,
        1_500,
        999_999_499,
        999_999_500,
        999_999_999,
    ];
    let recorded = nanos.map(|nanos| (START, nanos));
    let base = START as u64 * SECOND;
    let nearest = |nanos: i32| base + (nanos as u64 + 500) / 1000 * 1000;
    for form in [Form::Binary, Form::StreamedText, Form::Json] {
        let trace = at(&recorded).encode(form).bytes;
        let (got, count) = times(&trace, &[]);
        assert_eq!((got, count), (nanos.map(nearest).to_vec(), 0), "{form:?}");
        for option in ["--nano", "--time-stamp-precision=nano"] {
            let (got, _) = times(&trace, &[option]);
            assert_eq!(got, nanos.map(|n| base + n as u64), "{form:?}");
        }
    }
    // The last second has no next one.
    let last = at(&[(i64::from(u32::MAX), 999_999_499)])
        .encode(Form::Binary)
        .bytes;
    assert_eq!(times(&last, &[]).0, [LAST]);
}

/// An event without a time gets the next microsecond after the last event, or after the start.
#[test]
fn missing_times_follow_the_last() {
    let (local, remote) = (socket("10.0.0.1", 10000), socket("10.0.0.2", 50000));
    let begin = begin(7, &connection(Some(&local), Some(&remote)));
    let tick = Ev::new(What::Read, 0, "tick");
    let (known, missing) = (tick.message(), tick.without_time());
    let trace = |events: &[&[u8]]| {
        let segments = events.iter().map(|event| segment(7, event));
        let segments: Vec<u8> = segments.flatten().collect();
        [begin.clone(), segments].concat()
    };
    let start = 1_577_836_800 * SECOND;
    let recorded = START as u64 * SECOND;
    for (events, options, expected, count) in [
        (&[&missing[..]; 3], &[][..], [0, 1_000, 2_000], 3),
        (
            &[&missing[..]; 3],
            &["--start", "2020-01-01T00:00:00Z"],
            [start, start + 1_000, start + 2_000],
            3,
        ),
        (
            &[&known[..], &missing, &missing],
            &["--start", "2020-01-01T00:00:00Z"],
            [recorded, recorded + 1_000, recorded + 2_000],
            2,
        ),
    ] {
        let scratch = Scratch::new();
        let (outcome, records) = convert(&scratch, &trace(events), options);
        let outcome = outcome
            .exits(0)
            .says([format!("{count} events without a time")]);
        assert_eq!(outcome.stderr.matches("without a time").count(), 1);
        let times = records.unwrap_or_default();
        let times: Vec<_> = times.iter().map(|record| record.time).collect();
        assert_eq!(times, expected, "{options:?}");
    }
}
