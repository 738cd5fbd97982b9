//! Messages in other text.

use super::*;

/// The names found in `text`, their offsets, and the kind of text before each. The size of the pieces makes no difference.
fn found(grammar: Grammar, text: &str) -> String {
    let all = |size: usize| {
        let mut seeker = Seeker::new(grammar, Generation::Tap);
        let (mut places, mut from) = (Vec::new(), 0);
        for piece in text.as_bytes().chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (taken, found) = seeker.feed(rest, from);
                rest = &rest[taken..];
                from += taken as u64;
                if let Some(found) = found {
                    let (at, kind) = (seeker.at, seeker.passage);
                    let name = match found {
                        Found::Message => String::from_utf8_lossy(seeker.name()).into_owned(),
                        Found::Failure => "failure".to_owned(),
                        Found::Note => "note".to_owned(),
                    };
                    places.push(format!("{}{name}@{at}-{from}", shown(kind)));
                    seeker.restart(true);
                }
            }
        }
        seeker.end();
        places.push(shown(seeker.passage).to_owned());
        places.join(" ").trim_end().to_owned()
    };
    let whole = all(text.len().max(1));
    for size in 1..text.len() {
        assert_eq!(all(size), whole, "{text:?} in pieces of {size}");
    }
    whole
}

fn shown(passage: Passage) -> &'static str {
    match passage {
        Passage {
            is_fragment: true, ..
        } => "fragment ",
        Passage { is_text: true, .. } => "text ",
        Passage { .. } => "",
    }
}

#[test]
fn json_messages_begin_with_a_brace_and_a_name() {
    let cases = [
        ("", ""),
        (
            "{\"socket_buffered_trace\": {",
            "socket_buffered_trace@0-24 text",
        ),
        ("x{ \n \"httpBufferedTrace\"", "text httpBufferedTrace@1-24"),
        ("a \"b\" {\"c\": 1} {", "text"),
        ("\"socket_buffered_trace\": 1", "text"),
        ("{\\\"socket_buffered_trace\\\": 1", "text"),
        // In the middle of a line, these begin messages inside others.
        ("{\"trace_id\": \"3\"", "trace_id@0-11 text"),
        ("x\n {\"@type\": \"3\"", "text @type@3-11 text"),
        ("x {\"trace_id\": \"3\"", "text"),
        (
            "An attached /tap admin stream already exists. Detach it.\n",
            "note@0-56",
        ),
        (
            "Failed to convert protobuf message to JSON string: x",
            "failure@0-50 text",
        ),
        ("Failed to connect Failed to", "text"),
    ];
    for (text, expected) in cases {
        assert_eq!(found(Grammar::Json, text), expected, "{text:?}");
    }
}

#[test]
fn text_messages_begin_with_a_name_in_a_line_of_its_own() {
    let cases = [
        ("socket_buffered_trace {", "socket_buffered_trace@0-23"),
        ("  http_buffered_trace: <", "http_buffered_trace@2-24"),
        (
            "$ cat x\nsocket_buffered_trace {",
            "text socket_buffered_trace@8-31",
        ),
        // After other text in the same line, a message must have a line end after its brace.
        (
            "170socket_buffered_trace {\n",
            "text socket_buffered_trace@3-27",
        ),
        (
            "$ socket_buffered_trace { \r\n",
            "text socket_buffered_trace@2-28",
        ),
        ("x: \"socket_buffered_trace { trace_id: 1", "text"),
        ("x: \"socket_buffered_trace {\\n trace_id: 1", "text"),
        ("socket_buffered_trace\n{", "text"),
        ("x\ntrace {", "text trace@2-9"),
        ("x trace {\n", "text"),
    ];
    for (text, expected) in cases {
        assert_eq!(found(Grammar::Text, text), expected, "{text:?}");
    }
}

/// The output of curl and of a shell, and the head of an HTTP response, are not parts of a message.
#[test]
fn parts_of_messages_are_seen_among_other_text() {
    let json = [
        (" \r\n\t", ""),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
            "text",
        ),
        ("{ [5 bytes data]\n} [5 bytes data]\n} [", "text"),
        (
            "$ curl -d '{\"config_id\": \"x\"}' host/tap\n```json\n",
            "text",
        ),
        (
            "{\"level\":\"info\",\"timestamp\":\"2026\",\"x\":{}}",
            "text",
        ),
        ("}", "fragment"),
        ("xyz\"\n }\n}\n", "fragment"),
        ("{}} ", "fragment"),
        ("\"address\": \"10.0.0.1\", \"port_value\": 80", "fragment"),
    ];
    for (text, expected) in json {
        assert_eq!(found(Grammar::Json, text), expected, "{text:?}");
    }
    let text = [
        ("date: Tue\nserver: envoy\n", "text"),
        ("} [5 bytes data]\n", "text"),
        ("}\n", "fragment"),
        ("        port_value: 8080\n", "fragment"),
    ];
    for (text, expected) in text {
        assert_eq!(found(Grammar::Text, text), expected, "{text:?}");
    }
}
