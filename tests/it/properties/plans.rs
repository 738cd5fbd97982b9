//! Random connections: the plans of their events, and the traces made from them.

use super::*;

/// The plan of an event, and the number of bytes that Envoy truncates.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) read: bool,
    /// Nanoseconds since the event before.
    pub(super) after: u64,
    pub(super) seed: u64,
    pub(super) len: usize,
    pub(super) missing: usize,
    pub(super) end_stream: bool,
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
pub(super) fn plans() -> impl Strategy<Value = (bool, bool, Vec<Planned>)> {
    (
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(planned(), 0..12),
    )
}

/// Connections with the planned events, closed if planned.
pub(super) fn make(plans: &[(bool, bool, Vec<Planned>)]) -> Vec<Made> {
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
pub(super) fn encode(connections: &[Made], form: Form) -> (Vec<u8>, Vec<(usize, usize)>) {
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
