//! The fast path and the general path of the lexers return the same tokens.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::input::{Input, Wait};
use crate::properties::config;
use crate::trace::readable::json::Json;
use crate::trace::readable::lexer::{Lexer, Step};
use crate::trace::readable::scan::View;
use crate::trace::readable::scan::tests::Pieces;
use crate::trace::readable::text::Text;

const JSON: &str = r#"{
 "socket_buffered_trace": {
  "trace_id": "7",
  "connection": {
   "local_address": {
    "pipe": {
     "path": "a \"b\"",
     "mode": 0
    }
   }
  },
  "events": [
   {
    "timestamp": "2026-11-22T06:08:53.300000Z",
    "read": {
     "data": {
      "as_bytes": "WzOn68SKJNp3zyCdYl2geHjeqiO7CWtIZtkMKpfx/QmVj0uqRpyIICIevTAot3h4",
      "truncated": false
     }
    },
    "seq_num": "0"
   },
   {"write":{"data":{"as_bytes":"WzOn","truncated":true},"end_stream":null},"x":[1,2.5,"y"]}
  ]
 }
}
"#;

const TEXT: &str = r#"socket_buffered_trace {
  trace_id: 7
  connection {
    local_address: {
      pipe { path: "a \"b\"" mode: 0 } # c
    }
  }
  events {
    timestamp {
      seconds: 1795327733
    }
    read {
      data {
        as_bytes: "[3\247\353\304\212$\332w\317 \235b]\240xx\336\252#\273\tkHf\331\014*\227\361\375\t\225\217K\252F\234\210 \"\036\2750(\267"
        truncated: true
      }
    }
  }
  events: [{ write < data { as_bytes: 'x' "y" } > seq_num: 017 }, { closed {} }]
}
"#;

/// The pieces that are inserted into a trace.
const PARTS: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    " ",
    "\n",
    "\n      ",
    "\t",
    "#",
    "<",
    ">",
    ";",
    "-",
    "0",
    "12",
    "true",
    "null",
    "1.5e3",
    "\"a\"",
    "\"\\n\"",
    "a",
    "\u{e4}",
    "socket_buffered_trace {\n",
    "\"socket_buffered_trace\"",
    "{\"socket_streamed_trace_segment\":",
];

/// A trace in which some bytes are replaced by these pieces.
fn changed(trace: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (0..trace.len(), 0..8_usize, select(&PARTS[..]));
    vec(change, 0..6).prop_map(|changes| {
        let mut bytes = trace.as_bytes().to_vec();
        for (at, len, part) in changes {
            let start = at.min(bytes.len());
            let end = (start + len).min(bytes.len());
            bytes.splice(start..end, part.bytes());
        }
        bytes
    })
}

/// Random tokens.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&PARTS[..]), 0..60).prop_map(|parts| parts.concat().into_bytes())
}

/// Compares reading `bytes` in pieces of `size` with and without the fast path, also after damage.
fn compare<L: Lexer + Default + std::fmt::Debug>(bytes: &[u8], size: usize) {
    let input = || Input::from_reader(Pieces(bytes.to_vec(), size));
    let (mut fast, mut general) = (L::default(), L::default());
    let (mut input, mut general_input) = (input(), input());
    let (mut text, mut general_text) = (Vec::new(), Vec::new());
    let mut damaged = 0;
    loop {
        let step = View::advance(&mut input, |view| fast.next(view, &mut text));
        let expected = View::advance(&mut general_input, |view| {
            general.general(view, &mut general_text)
        });
        let context = || format!("{} in pieces of {size}", bytes.escape_ascii());
        assert_eq!(
            format!("{step:?}"),
            format!("{expected:?}"),
            "{}",
            context()
        );
        assert_eq!(text, general_text, "{}", context());
        assert_eq!(input.offset(), general_input.offset(), "{}", context());
        assert_eq!(format!("{fast:?}"), format!("{general:?}"), "{}", context());
        match step {
            Ok(Step::More) => {
                input.fill(&Wait::default()).unwrap();
                general_input.fill(&Wait::default()).unwrap();
            }
            Ok(Step::Item(_)) => {}
            Ok(Step::End) => return,
            Err(_) if damaged == 5 => return,
            Err(_) => {
                damaged += 1;
                fast.seek(&text, input.offset());
                general.seek(&general_text, input.offset());
            }
        }
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn the_fast_path_of_json_returns_the_same_tokens(
        bytes in prop_oneof![changed(JSON), parts()],
        size in prop_oneof![1..100_usize, Just(10_000)],
    ) {
        compare::<Json>(&bytes, size);
    }

    #[test]
    fn the_fast_path_of_text_returns_the_same_tokens(
        bytes in prop_oneof![changed(TEXT), parts()],
        size in prop_oneof![1..100_usize, Just(10_000)],
    ) {
        compare::<Text>(&bytes, size);
    }
}
