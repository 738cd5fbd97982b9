//! The connection of each event, as a sequencer delivers it.

use std::num::NonZeroU64;

use super::*;
use crate::model::event::Direction;
use crate::model::warning::{WarningKind, Warnings};
use crate::sequence::buffered::MAX_RESUMABLE;
use crate::sequence::{MAX_ENDED, Memory, Next, Sequencer};

/// A sequencer, and the events that it has delivered.
struct Run {
    sequencer: Sequencer,
    warnings: Warnings,
    delivered: Vec<Event>,
    offset: u64,
}

impl Run {
    fn new(memory: Memory) -> Self {
        Self {
            sequencer: Sequencer::new(memory, false),
            warnings: Warnings::default(),
            delivered: Vec::new(),
            offset: 0,
        }
    }

    /// Pushes events that have the same offset in the trace.
    fn push(&mut self, events: &[Event]) -> &mut Self {
        self.offset += 10;
        for event in events {
            let mut event = Event {
                offset: self.offset,
                ..event.clone()
            };
            if self.sequencer.push(&mut event, &mut self.warnings) == Next::Deliver {
                self.delivered.push(event);
            }
            self.drain();
        }
        self
    }

    fn drain(&mut self) {
        while let Some(event) = self.sequencer.pop() {
            self.delivered.push(event);
        }
    }

    fn finish(&mut self) -> &mut Self {
        self.sequencer.finish(&mut self.warnings);
        self.drain();
        self
    }

    /// The payloads of each connection, in the order in which they began.
    fn streams(&self) -> Vec<String> {
        let mut open = HashMap::new();
        let mut streams = Vec::new();
        for event in &self.delivered {
            match &event.what {
                // The ids of ended connections are used again.
                What::Closed | What::Over => drop(open.remove(&event.trace)),
                What::Data { payload, .. } => {
                    let at = *open.entry(event.trace).or_insert(streams.len());
                    if at == streams.len() {
                        streams.push(String::new());
                    }
                    streams[at].push_str(std::str::from_utf8(payload).unwrap());
                }
                _ => {}
            }
        }
        streams
    }

    /// The addresses delivered for the connection with this payload, as `local > remote`.
    fn addresses(&self, payload: &str) -> Option<String> {
        let mut known: HashMap<TraceId, Connection> = HashMap::new();
        let mut found = None;
        for event in &self.delivered {
            match &event.what {
                What::Closed | What::Over => drop(known.remove(&event.trace)),
                What::Connection(recorded) => {
                    known.entry(event.trace).or_default().learn(recorded);
                }
                _ if event
                    .payload()
                    .is_some_and(|(_, found)| found == payload.as_bytes()) =>
                {
                    found = Some(known.get(&event.trace).cloned().unwrap_or_default());
                }
                _ => {}
            }
        }
        let known = found?;
        let show =
            |end: &Option<Endpoint>| end.as_ref().map(ToString::to_string).unwrap_or_default();
        Some(format!("{} > {}", show(&known.local), show(&known.remote)))
    }
}

const ID: TraceId = TraceId {
    source: 0,
    number: 7,
    instance: 0,
};

fn event_of(what: What) -> Event {
    Event {
        trace: ID,
        what,
        ..Event::default()
    }
}

fn named(local: Option<u8>, remote: Option<u8>) -> Event {
    let end = |host: u8| Endpoint::Ip([10, 0, 0, host].into(), 80);
    event_of(What::Connection(Box::new(Connection {
        local: local.map(end),
        remote: remote.map(end),
        ..Connection::default()
    })))
}

fn data(seq_num: u64, millis: u64, payload: &str) -> Event {
    Event {
        time: Some(Timestamp::from_nanos(1_000_000 * millis)),
        seq_num: NonZeroU64::new(seq_num),
        ..event_of(What::Data {
            direction: Direction::Read,
            payload: payload.as_bytes().to_vec(),
            truncated: false,
            as_string: false,
            end_stream: false,
        })
    }
}

fn closed(seq_num: u64, millis: u64) -> Event {
    Event {
        what: What::Closed,
        ..data(seq_num, millis, "")
    }
}

#[test]
fn an_event_belongs_to_the_connection_that_it_names() {
    let (one, two) = (named(Some(1), Some(2)), named(Some(1), Some(3)));
    let mut run = Run::new(Memory::Bounded);
    run.push(&[one.clone(), data(0, 0, "a")])
        .push(&[two.clone(), data(0, 1, "b")])
        .push(&[one, data(0, 2, "c")])
        .push(&[two, data(0, 3, "d")]);
    assert_eq!(run.streams(), ["ac", "bd"]);
    assert_eq!(
        run.addresses("d").as_deref(),
        Some("10.0.0.1:80 > 10.0.0.3:80")
    );
    assert_eq!(run.warnings.tallies().count(), 0);
    // The addresses of each connection are delivered once.
    let connections = run.delivered.iter().filter_map(connection_of);
    assert_eq!(connections.count(), 2);
}

#[test]
fn the_counts_distinguish_connections_of_one_id() {
    let mut run = Run::new(Memory::Bounded);
    run.push(&[named(Some(1), Some(2))])
        .push(&[data(1, 0, "abc")])
        .push(&[named(Some(1), Some(3))])
        .push(&[data(1, 1, "defg")])
        .push(&[data(4, 2, "h")])
        .push(&[data(5, 3, "i")])
        // A repeated event of the first connection.
        .push(&[data(1, 0, "abc")]);
    assert_eq!(run.streams(), ["abch", "defgi"]);
    assert_eq!(run.warnings.count(WarningKind::SharedId), 0);
    assert_eq!(run.warnings.count(WarningKind::Repeated), 1);
    // An event without a count may belong to either connection.
    run.push(&[data(0, 4, "j")]).push(&[data(0, 5, "k")]);
    assert_eq!(run.streams(), ["abch", "defgijk"]);
    assert_eq!(run.warnings.count(WarningKind::SharedId), 1);
}

#[test]
fn a_connection_that_has_ended_gets_no_more_events() {
    let mut run = Run::new(Memory::Bounded);
    run.push(&[named(Some(1), Some(2))])
        .push(&[data(1, 0, "abc")])
        .push(&[named(Some(1), Some(3))])
        .push(&[data(1, 1, "defg")])
        .push(&[closed(6, 2)]);
    // The second connection ended at the count 5, so this event belongs to the first one, which lost an event.
    run.push(&[data(5, 3, "h")]).finish();
    assert_eq!(run.streams(), ["abch", "defg"]);
    assert_eq!(
        run.warnings.count(WarningKind::SharedId),
        0,
        "one of them is open"
    );
}

#[test]
fn the_next_connection_of_an_id_has_its_own_addresses() {
    // A count that restarts shows that the second connection is another one. It names fewer addresses than the first.
    let mut run = Run::new(Memory::Bounded);
    run.push(&[named(Some(1), Some(2))])
        .push(&[data(1, 0, "abc")])
        .push(&[closed(5, 1)])
        .push(&[named(None, Some(2))])
        .push(&[data(1, 10, "def")])
        .push(&[named(Some(3), Some(2)), data(4, 11, "g")]);
    assert_eq!(run.streams(), ["abc", "defg"]);
    assert_eq!(
        run.addresses("g").as_deref(),
        Some("10.0.0.3:80 > 10.0.0.2:80")
    );
    // A connection that names no addresses has those of the one before.
    run.push(&[closed(6, 12)]).push(&[data(1, 20, "hi")]);
    assert_eq!(run.streams(), ["abc", "defg", "hi"]);
    assert_eq!(
        run.addresses("hi").as_deref(),
        Some("10.0.0.3:80 > 10.0.0.2:80")
    );
    assert_eq!(run.warnings.tallies().count(), 0);
}

#[test]
fn a_repeated_event_of_an_ended_connection_opens_no_connection() {
    let whole = [
        (named(Some(1), Some(2)), data(1, 0, "abc")),
        (named(Some(1), Some(2)), closed(5, 1)),
    ];
    for partly in [
        named(Some(1), Some(2)),
        named(None, Some(2)),
        named(None, None),
    ] {
        let mut run = Run::new(Memory::Bounded);
        for (connection, event) in &whole {
            run.push(&[connection.clone(), event.clone()]);
        }
        for (_, event) in &whole {
            run.push(&[partly.clone(), event.clone()]);
        }
        assert_eq!(run.streams(), ["abc"]);
        assert_eq!(run.warnings.count(WarningKind::Repeated), 2);
    }
}

#[test]
fn a_late_address_belongs_to_the_same_connection() {
    let mut run = Run::new(Memory::Bounded);
    run.push(&[named(None, Some(2))])
        .push(&[data(0, 0, "a")])
        .push(&[named(Some(1), Some(2))])
        .push(&[data(0, 1, "b")])
        // Fewer addresses than are known.
        .push(&[named(Some(1), None)])
        .push(&[data(0, 2, "c")]);
    assert_eq!(run.streams(), ["abc"]);
    assert_eq!(
        run.addresses("c").as_deref(),
        Some("10.0.0.1:80 > 10.0.0.2:80")
    );
}

/// A buffered message about a connection.
fn message(connection: &Event, events: &[Event]) -> Vec<Event> {
    let begin = event_of(What::Begin);
    [&[begin, connection.clone()], events].concat()
}

#[test]
fn a_buffered_message_with_later_times_continues_its_connection() {
    let (one, two) = (named(Some(1), Some(2)), named(Some(1), Some(3)));
    let mut run = Run::new(Memory::Bounded);
    run.push(&message(&one, &[data(0, 10, "a")]))
        .push(&message(&two, &[data(0, 5, "b")]))
        .push(&message(&one, &[data(0, 11, "c")]))
        // Earlier times: Envoy was restarted.
        .push(&message(&one, &[data(0, 1, "d")]))
        .push(&message(&two, &[data(0, 6, "e")]))
        .finish();
    assert_eq!(run.streams(), ["ac", "be", "d"]);
    let over = run
        .delivered
        .iter()
        .filter(|event| matches!(event.what, What::Over));
    assert_eq!(over.count(), 1);
}

#[test]
fn a_buffered_message_without_events_has_a_connection() {
    let one = named(Some(1), Some(2));
    let mut run = Run::new(Memory::Bounded);
    run.push(&message(&one, &[])).finish();
    let connections: Vec<_> = run.delivered.iter().filter_map(connection_of).collect();
    assert_eq!(connections.len(), 1);
}

#[test]
fn the_number_of_remembered_connections_is_limited() {
    let mut run = Run::new(Memory::Bounded);
    let of = |number: u64, event: &Event| Event {
        trace: TraceId { number, ..ID },
        ..event.clone()
    };
    let connection = named(Some(1), Some(2));
    for number in 0..10_000 {
        let message = message(&connection, &[data(0, number, "a")]);
        let message: Vec<_> = message.iter().map(|event| of(number, event)).collect();
        run.push(&message);
        run.push(&[of(20_000 + number, &data(1, 0, "abc"))]);
        run.push(&[of(20_000 + number, &closed(5, 0))]);
    }
    let directory = &run.sequencer.directory;
    assert_eq!(directory.ids.len(), MAX_RESUMABLE + MAX_ENDED);
    assert!(directory.tracks.len() <= MAX_RESUMABLE + MAX_ENDED + 2);
    assert_eq!(directory.by_ends.len(), MAX_RESUMABLE + MAX_ENDED);
    assert_eq!(run.sequencer.resumable.len(), MAX_RESUMABLE);
    assert_eq!(run.sequencer.ended.len(), MAX_ENDED);
}

/// Each event is compared with only a few of the connections that have its id.
#[test]
fn many_connections_with_one_id_take_linear_time() {
    let mut run = Run::new(Memory::Bounded);
    const COUNT: u64 = 20_000;
    for client in 0..COUNT {
        let end = |host: u64| Endpoint::Host(host.to_string(), 80);
        let connection = event_of(What::Connection(Box::new(Connection {
            local: Some(end(COUNT)),
            remote: Some(end(client)),
            ..Connection::default()
        })));
        run.push(&[connection]).push(&[data(1, client, "abc")]);
    }
    assert_eq!(run.streams().len(), COUNT as usize);
    // Events that name no connection are assigned to one of those that are compared.
    for i in 0..COUNT {
        run.push(&[data(9 + i, i, "d")]);
    }
    run.finish();
    assert_eq!(run.warnings.count(WarningKind::SharedId), 1);
    assert_eq!(run.streams().len(), COUNT as usize);
}
