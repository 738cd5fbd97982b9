//! Traces in JSON and text, and the traces in testdata/field, with their fields in another order.

use super::*;

#[test]
fn sorted_json_is_the_same_trace() {
    for form in [Form::Json, Form::StreamedJson] {
        let made = Made::v4(vec![
            Ev::new(What::Read, 1, "one"),
            Ev::new(What::Write, 2, "two"),
            Ev::new(What::Closed, 3, ""),
        ]);
        let bytes = made.encode(form).bytes;
        let whole = said("whole", &bytes, Encoding::Json);
        let messages = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let messages: Vec<_> = messages
            .map(|message| sorted(&message.expect("JSON")))
            .collect();
        for between in ["", "\n"] {
            let bytes = messages.join(between);
            assert_eq!(said("sorted", bytes.as_bytes(), Encoding::Json), whole);
        }
    }
}

#[test]
fn text_in_another_order_is_the_same_trace() {
    let event = |text: &str| {
        format!(
            "{{ read {{ data {{ as_bytes: '{text}' }} }} timestamp {{ nanos: 5 seconds: 9 }} }}"
        )
    };
    let connection = "connection { remote_address { pipe { path: '/b' } } local_address { pipe { path: '/a' } } }";
    let (one, two) = (event("one"), event("two"));
    let of = |name: &str, parts: &[&str]| {
        let text = format!("{name} {{ {} }}", parts.join(" "));
        said(&text, text.as_bytes(), Encoding::Text)
    };
    let (one, two) = (&*format!("events {one}"), &*format!("events {two}"));
    let buffered = |parts: &[&str]| of("socket_buffered_trace", parts);
    let whole = buffered(&["trace_id: 9", connection, one, two]);
    assert_eq!(whole.len(), 4);
    assert_eq!(buffered(&[one, connection, two, "trace_id: 9"]), whole);
    assert_eq!(buffered(&["trace_id: 9", one, two, connection]), whole);
    assert_eq!(
        buffered(&[connection, one, two, "what: 1", "trace_id: 9"]),
        whole
    );
    let streamed = |parts: &[&str]| of("socket_streamed_trace_segment", parts);
    let batch = &*format!("events {{ {one} {two} }}");
    let single = &*event("one").replacen('{', "event {", 1);
    for piece in [batch, single, connection] {
        assert_eq!(
            streamed(&[piece, "trace_id: 9"]),
            streamed(&["trace_id: 9", piece])
        );
    }
}

/// Traces that differ only in the order of their fields have the same packets.
#[test]
fn field_traces_in_another_order_are_the_same() {
    let scratch = Scratch::new();
    let read = |name: &str| {
        let path = fixtures::testdata().join("field").join(name);
        std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let records = |name: &str| {
        let (outcome, records) = convert(&scratch, &read(name), &[]);
        // In some traces, the events of two simultaneous connections are not interleaved.
        let outcome = outcome.exits(0);
        let lines = outcome.stderr.lines();
        let others: Vec<_> = lines
            .filter(|line| !line.contains("times in the capture go backwards"))
            .filter(|line| !line.contains("--merge puts all packets"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        records.expect("a capture")
    };
    assert_eq!(records("sorted.json"), records("inter.json"));
    assert_eq!(records("buf_connlast.pb"), records("buf.json"));
    let [first, second, third] = ["conn_last", "split_wrapper", "trace_id_last"]
        .map(|name| records(&format!("12-{name}.pb_length_delimited")));
    assert_eq!(first.len(), 2);
    assert_eq!(first, second);
    assert_eq!(first, third);
    for record in &first {
        let segment = record.segment().expect("TCP");
        let ips = [
            segment.source.ip().to_string(),
            segment.destination.ip().to_string(),
        ];
        assert!(ips.iter().all(|ip| ip.starts_with("10.0.0.")), "{ips:?}");
    }
}

/// An unknown field before the trace.
#[test]
fn an_unknown_field_before_a_text_trace_is_no_damage() {
    let scratch = Scratch::new();
    let trace = Made::v4(vec![Ev::new(What::Read, 0, "hello")]).encode(Form::Text);
    let rate = b"sample_rate { numerator: 50 }\n";
    let (outcome, with) = convert(&scratch, &[&rate[..], &trace.bytes].concat(), &[]);
    outcome.exits(0).says_nothing();
    let (outcome, without) = convert(&scratch, &trace.bytes, &[]);
    outcome.exits(0).says_nothing();
    assert_eq!(with.expect("a capture"), without.expect("a capture"));
}
