//! The readable encodings, protobuf's text format and JSON, as Envoy prints them.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Encoded, Ev, Made, What};

impl Made {
    fn text_connection(&self) -> String {
        let address = |name: &str, (ip, port): &(String, u16)| {
            format!(
                "    {name} {{\n      socket_address {{\n        address: \"{ip}\"\n        port_value: {port}\n      \
                 }}\n    }}\n"
            )
        };
        let (local, remote) = (
            address("local_address", &self.local),
            address("remote_address", &self.remote),
        );
        format!("  connection {{\n{local}{remote}  }}\n")
    }

    pub(super) fn text(&self) -> Encoded {
        let mut text = format!(
            "socket_buffered_trace {{\n  trace_id: {}\n{}",
            self.id,
            self.text_connection()
        );
        let mut events = Vec::new();
        for event in &self.events {
            let start = text.len() + "  ".len();
            write!(text, "  events {{\n{}  }}", event.text()).expect("a string");
            events.push((start, text.len()));
            text.push('\n');
        }
        for (name, what) in [("read", What::Read), ("write", What::Write)] {
            let of = |event: &Ev| event.what == what && event.truncated;
            if self.events.iter().any(of) {
                writeln!(text, "  {name}_truncated: true").expect("a string");
            }
        }
        text.push_str("}\n");
        Encoded {
            boundaries: vec![text.len() - 1, text.len()],
            bytes: text.into_bytes(),
            events,
        }
    }

    pub(super) fn streamed_text(&self) -> Encoded {
        let segment = |body: String| {
            format!(
                "socket_streamed_trace_segment {{\n  trace_id: {}\n{body}}}\n",
                self.id
            )
            .into_bytes()
        };
        let rest = self
            .events
            .iter()
            .map(|event| segment(format!("  event {{\n{}  }}\n", event.text())));
        Encoded::of_messages(segment(self.text_connection()), rest).with_last_newlines()
    }

    fn json_connection(&self) -> String {
        let address = |(ip, port): &(String, u16)| {
            format!(
                "{{\n    \"socket_address\": {{\n     \"protocol\": \"TCP\",\n     \"address\": \"{ip}\",\n     \
                 \"port_value\": {port},\n     \"resolver_name\": \"\",\n     \"ipv4_compat\": false\n    }}\n   }}"
            )
        };
        let (local, remote) = (address(&self.local), address(&self.remote));
        format!(
            "\"connection\": {{\n   \"local_address\": {local},\n   \"remote_address\": {remote}\n  }}"
        )
    }

    pub(super) fn json(&self) -> Encoded {
        let Self { id, events, .. } = self;
        let mut json = format!(
            "{{\n \"socket_buffered_trace\": {{\n  \"trace_id\": \"{id}\",\n  {},\n  \"events\": [\n   ",
            self.json_connection()
        );
        let mut places = Vec::new();
        for (i, event) in events.iter().enumerate() {
            if i > 0 {
                json.push_str(",\n   ");
            }
            let start = json.len();
            json.push_str(&event.json());
            places.push((start, json.len()));
        }
        let truncated = |what| {
            events
                .iter()
                .any(|event| event.what == what && event.truncated)
        };
        let (read, write) = (truncated(What::Read), truncated(What::Write));
        write!(
            json,
            "\n  ],\n  \"read_truncated\": {read},\n  \"write_truncated\": {write}\n }}\n}}\n"
        )
        .expect("a string");
        Encoded {
            boundaries: vec![json.len() - 1, json.len()],
            bytes: json.into_bytes(),
            events: places,
        }
    }

    pub(super) fn streamed_json(&self) -> Encoded {
        let segment = |body: String| {
            let id = self.id;
            let message = format!(
                "{{\n \"socket_streamed_trace_segment\": {{\n  \"trace_id\": \"{id}\",\n  {body}\n }}\n}}\n"
            );
            message.into_bytes()
        };
        let rest = self
            .events
            .iter()
            .map(|event| segment(format!("\"event\": {}", event.json())));
        Encoded::of_messages(segment(self.json_connection()), rest).with_last_newlines()
    }
}

impl Ev {
    fn text(&self) -> String {
        let (seconds, nanos) = self.time;
        let mut text =
            format!("    timestamp {{\n      seconds: {seconds}\n      nanos: {nanos}\n    }}\n");
        let truncated = if self.truncated {
            "        truncated: true\n"
        } else {
            ""
        };
        let body = || {
            format!(
                "      data {{\n        as_bytes: \"{}\"\n{truncated}      }}\n",
                escape(&self.data)
            )
        };
        let end_stream = if self.end_stream {
            "      end_stream: true\n"
        } else {
            ""
        };
        match self.what {
            What::Read => write!(text, "    read {{\n{}    }}\n", body()),
            What::Write => write!(text, "    write {{\n{}{end_stream}    }}\n", body()),
            What::Closed => write!(text, "    closed {{\n    }}\n"),
        }
        .expect("a string");
        if self.seq_num != 0 {
            writeln!(text, "    seq_num: {}", self.seq_num).expect("a string");
        }
        text
    }

    fn json(&self) -> String {
        let (seconds, nanos) = self.time;
        let time = jiff::Timestamp::new(seconds, nanos).expect("a time");
        let truncated = self.truncated;
        let body = || {
            let data = BASE64_STANDARD.encode(&self.data);
            format!(
                "\"data\": {{\n      \"as_bytes\": \"{data}\",\n      \"truncated\": {truncated}\n     }}"
            )
        };
        let what = match self.what {
            What::Read => format!("\"read\": {{\n     {}\n    }}", body()),
            What::Write => {
                format!(
                    "\"write\": {{\n     {},\n     \"end_stream\": {}\n    }}",
                    body(),
                    self.end_stream
                )
            }
            What::Closed => "\"closed\": {}".to_owned(),
        };
        let seq_num = self.seq_num;
        format!(
            "{{\n    \"timestamp\": \"{time}\",\n    {what},\n    \"seq_num\": \"{seq_num}\"\n   }}"
        )
    }
}

/// Bytes, escaped for the text format.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4);
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' | b'\'' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.extend(
                ['\\']
                    .into_iter()
                    .chain([6, 3, 0].map(|shift| char::from(b'0' + (byte >> shift & 7)))),
            ),
        }
    }
    text
}
