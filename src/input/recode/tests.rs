//! Restored bytes, for pieces of any size.

use super::*;

/// Restores `bytes`, and checks that the size of the pieces makes no difference.
fn recoded(recoding: &Recoding, bytes: &[u8]) -> String {
    let all = |size: usize| {
        let (mut recoder, mut out) = (Recoder::new(recoding.clone()), Vec::new());
        for piece in bytes.chunks(size) {
            recoder.feed(piece, false, &mut out);
        }
        recoder.feed(b"", true, &mut out);
        out
    };
    let whole = all(bytes.len().max(1));
    for size in 1..bytes.len() {
        assert_eq!(all(size), whole, "pieces of {size}");
    }
    String::from_utf8_lossy(&whole).into_owned()
}

#[test]
fn utf16_becomes_utf8() {
    let text = "{\"a\": \"gr\u{fc}n \u{20ac} \u{1f980}\"}\r\n";
    for (order, mark) in [
        (Utf16::Little, true),
        (Utf16::Big, true),
        (Utf16::Little, false),
    ] {
        let mark = if mark { "\u{feff}" } else { "" };
        let bytes = order.encoded(&format!("{mark}{text}"));
        let recoding = Recoding {
            utf16: Some(order),
            ..Recoding::default()
        };
        assert_eq!(recoded(&recoding, &bytes), text);
        // An incomplete character becomes the replacement character.
        let cut = recoded(&recoding, &bytes[..bytes.len() - 1]);
        assert_eq!(cut, format!("{}\u{fffd}", &text[..text.len() - 1]));
    }
}

#[test]
fn a_terminals_carriage_returns_are_removed() {
    let recoding = Recoding {
        terminal: true,
        ..Recoding::default()
    };
    let cases = [
        ("a\r\nb\r\r\nc\rd\r", "a\nb\r\nc\rd\r"),
        ("\r\r\r\n\r\n", "\r\r\n\n"),
        // A line end that the terminal has not changed.
        ("a\nb", "a\nb"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(recoded(&recoding, bytes.as_bytes()), expected);
    }
}

#[test]
fn prefixes_differ_only_in_their_numbers() {
    let cases = [
        (
            "2026-11-22T06:08:46.153382123Z ",
            "2026-11-22T06:08:46.1Z {\n2026-11-23T16:08:47Z   \"a\": 1\n2026-11-23T16:08:47.25Z\n",
            "{\n  \"a\": 1\n\n",
        ),
        (
            "[pod/tap-6f9c/envoy] ",
            "[pod/tap-6f9c/envoy] {\n[pod/other/envoy] }\n[pod/tap-6f9c/envoy] }",
            "{\n[pod/other/envoy] }\n}",
        ),
        ("envoy-1  | ", "envoy-1  | {\nenvoy-12 | }\n", "{\n}\n"),
        (
            "\x1b[36menvoy-1  | \x1b[0m",
            "\x1b[36menvoy-1  | \x1b[0m{\n\x1b[36menvoy-1  | \x1b[0m }\n",
            "{\n }\n",
        ),
        ("     1\t", "     1\t{\n    10\t }\n", "{\n }\n"),
        ("12:", "12:{\n13: }\n", "{\n }\n"),
        ("> ", "> {\n>  }\n}", "{\n }\n}"),
        ("data: ", "data: {}\n\ndata: {}\n", "{}\n\n{}\n"),
    ];
    for (sample, lines, expected) in cases {
        let recoding = Recoding {
            prefix: Some(Prefix::of(sample.as_bytes()).unwrap()),
            ..Recoding::default()
        };
        assert_eq!(recoded(&recoding, lines.as_bytes()), expected, "{sample:?}");
    }
}

#[test]
fn text_that_may_be_part_of_a_message_is_no_prefix() {
    let long = "x".repeat(MAX_PREFIX) + " ";
    for sample in [
        "",
        "  ",
        "}",
        "} ",
        "\"a\": ",
        "seconds: 170",
        "cat x",
        &long,
    ] {
        assert_eq!(Prefix::of(sample.as_bytes()), None, "{sample:?}");
    }
}

/// A long line that could still be the start of a prefix is held back only up to the length of a prefix.
#[test]
fn the_bytes_held_back_are_limited() {
    let recoding = Recoding {
        prefix: Prefix::of(b"1 a "),
        ..Recoding::default()
    };
    for byte in [b"1", b" "] {
        let mut recoder = Recoder::new(recoding.clone());
        let mut out = Vec::new();
        recoder.feed(b"1", false, &mut out);
        recoder.feed(&byte.repeat(5000), false, &mut out);
        assert!(out.len() > 5000 - MAX_PREFIX, "{}", out.len());
    }
}
