//! Fields of newer releases of Envoy: sample rates, upstream connections, network namespaces; and other fields of older
//! releases with the same numbers.

use capture2pcap::input::Input;
use capture2pcap::model::event::{Connection, Endpoint, Event, Http, What as Said};
use capture2pcap::trace::{Encoding, Reader, Step};

use crate::fixtures;
use crate::harness::{Scratch, tshark};
use crate::make::parts::{self, Half, connection, exchange, request, socket};
use crate::make::{Ev, What, field, number, varint};

/// The events of a trace.
fn read(bytes: &[u8], encoding: Encoding) -> Vec<Event> {
    let mut reader = Reader::new(Input::from_bytes(bytes), Some(encoding), None);
    let mut events = Vec::new();
    loop {
        match reader.event() {
            Ok(Step::Item(event)) => events.push(event),
            Ok(Step::More) => panic!("more is wanted of a whole input"),
            Ok(Step::End) => return events,
            Err(damage) => panic!("{damage}"),
        }
    }
}

fn recorded(name: &str) -> Vec<Event> {
    let path = fixtures::testdata().join("field").join(name);
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    read(&bytes, Encoding::Json)
}

/// Envoy recorded the upstream connection, but not the downstream connection.
#[test]
fn an_exchange_of_an_upstream_connection_alone_has_its_addresses() {
    let trace = fixtures::testdata().join("field/upstream-connection/conn_up_only.pb");
    let scratch = Scratch::new();
    let capture = scratch.path("x.pcapng");
    let convert = scratch.capture2pcap().arg(&trace).arg(&capture).run();
    convert.exits(0).says_nothing();
    let fields = ["-e", "ip.dst", "-e", "tcp.dstport", "-e", "frame.comment"];
    let capture = capture.to_str().expect("a path in UTF-8");
    let request = ["-r", capture, "-Y", "frame.number==4", "-T", "fields"];
    assert_eq!(
        tshark(request.iter().chain(&fields)).trim_end(),
        "10.2.0.7\t9000\tGET /x,upstream: 10.2.0.7:9000"
    );
    let info = scratch.capture2pcap().args(["--info", "--json"]).arg(trace);
    let printed = String::from_utf8(info.run().exits(0).stdout).expect("UTF-8");
    assert!(
        printed.contains(r#""upstreams":["10.2.0.7:9000"]"#),
        "{printed}"
    );
}

fn rates(events: &[Event]) -> Vec<u32> {
    let rate = |event: &Event| match event.what {
        Said::SampleRate(rate) => Some(rate),
        _ => None,
    };
    events.iter().filter_map(rate).collect()
}

#[test]
fn a_recorded_sample_rate_is_half() {
    let events = recorded("sampled-1.40.json");
    assert_eq!(rates(&events), [500_000]);
    assert_eq!(events.iter().filter(|event| event.is_timed()).count(), 3);
}

#[test]
fn sample_rates_are_parts_of_a_million() {
    let of = |numerator, denominator| {
        let rate = [number(1, numerator), number(2, denominator)].concat();
        let segment = parts::segment(7, &Ev::new(What::Read, 1, "x").message());
        let wrapper = [segment, field(5, &rate)].concat();
        let delimited = [varint(wrapper.len() as u64), wrapper.clone()].concat();
        let rates_of = |bytes, encoding| rates(&read(bytes, encoding));
        let rate = rates_of(&wrapper, Encoding::Binary);
        assert_eq!(rates_of(&delimited, Encoding::Delimited), rate);
        rate
    };
    assert_eq!(of(50, 0), [500_000]);
    assert_eq!(of(1, 1), [100]);
    assert_eq!(of(123, 2), [123]);
    assert_eq!(of(100, 0), [1_000_000]);
    // A rate above 100 % is 100 %, and a missing one is unknown.
    assert_eq!(of(1 << 31, 0), [1_000_000]);
    assert!(of(0, 0).is_empty());
    // An unknown denominator.
    assert_eq!(of(50, 9), [500_000]);
}

#[test]
fn a_recorded_network_namespace_is_the_connections() {
    let events = recorded("network-namespace.json");
    let namespaces: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            Said::Connection(connection) => Some(connection.namespace.as_deref()),
            _ => None,
        })
        .collect();
    assert_eq!(namespaces, [Some("/run/netns/b")]);
}

#[test]
fn an_exchange_has_both_its_connections() {
    let (local, remote) = (socket("10.0.0.1", 80), socket("10.0.0.2", 4000));
    let down = connection(Some(&local), Some(&remote));
    let up = connection(Some(&remote), Some(&local));
    let half = Half {
        headers: request("GET", &[]),
        ..Half::default()
    };
    let with = |upstream: Option<&[u8]>| {
        let mut trace = exchange(Some(&half), None, Some(&down));
        // The wrapper's member has a length of two bytes.
        trace.drain(..1 + varint(trace.len() as u64 - 3).len());
        trace.extend(upstream.iter().flat_map(|up| field(4, up)));
        read(&field(1, &trace), Encoding::Binary)
    };
    let connections = |events: &[Event]| match &events[0].what {
        Said::Http(Http::Begin {
            downstream,
            upstream,
        }) => (downstream.clone(), upstream.clone()),
        other => panic!("{other:?}"),
    };
    let ip = |last, port| Some(Endpoint::Ip([10, 0, 0, last].into(), port));
    let of = |local, remote| {
        Some(Box::new(Connection {
            local,
            remote,
            ..Connection::default()
        }))
    };
    let (down, up_is) = (of(ip(1, 80), ip(2, 4000)), of(ip(2, 4000), ip(1, 80)));
    assert_eq!(connections(&with(Some(&up))), (down.clone(), up_is));
    assert_eq!(connections(&with(None)), (down, None));
}

/// Batches that JSON_BODY_AS_STRING leaves empty are read without events.
#[test]
fn empty_batches_are_read() {
    let events = recorded("batch-as-string-1.36.json");
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(|event| event.what == Said::Nothing));
    assert!(events.iter().all(|event| event.trace.number == 49));
}

#[test]
fn empty_batches_are_explained() {
    let trace = fixtures::testdata().join("field/batch-as-string-1.36.json");
    for options in [&["-m"][..], &[], &["--info"]] {
        let scratch = Scratch::new();
        let run = scratch.capture2pcap().args(options).arg(&trace);
        let run = match options {
            ["--info"] => run,
            _ => run.arg("x.pcap"),
        };
        let outcome = run.run().exits(0);
        let said = [outcome.stderr.as_bytes(), &outcome.stdout].concat();
        let said = String::from_utf8(said).expect("UTF-8");
        assert!(said.contains("empty events only"), "{options:?}: {said}");
    }
}

/// Before 1.39 there was no such field. A field of another type with its number is ignored.
#[test]
fn a_number_in_the_sample_rates_place_is_unknown() {
    let segment = parts::segment(7, &Ev::new(What::Read, 1, "x").message());
    let trace = [segment, number(5, 50)].concat();
    let events = read(&trace, Encoding::Binary);
    assert!(rates(&events).is_empty());
    assert_eq!(events.len(), 1);
}
