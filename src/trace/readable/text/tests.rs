//! The tokens of the text format.

use super::*;
use crate::input::Input;
use crate::trace::readable::scan::tests::{Pieces, check, line, line_of};

#[test]
fn fields_messages_and_lists() {
    check::<Text>(&[
        (b"", ""),
        (b" # nothing", ""),
        (b"a {\n  b: 1\n  c {\n  }\n}\n", "a: { b: 1 c: { } }"),
        (b"a:{b:1,c:2;d<e:x>}", "a: { b: 1 c: 2 d: { e: x } }"),
        (b"a: 1 a { } a: \"x\"", "a: 1 a: { } a: 'x'"),
        (b"a: # 1\n2 # {\n#\n# }\nb: 3#", "a: 2 b: 3"),
        (
            b"a: -1 b: -inf c: - # x\n .5 d: 1e-5f e: 1. f: 0x1F g: 017 h: -nan",
            { "a: -1 b: -inf c: -.5 d: 1e-5f e: 1. f: 0x1F g: 017 h: -nan" },
        ),
        (b"a: [1, x,\n'y' 'z'] b: [] c [{d: [2]}, <>]", {
            "a: 1 a: x a: 'yz' b: ~ c: { d: 2 } c: { }"
        }),
        (
            b"[a.b]: 1 [ x.y/a-b ] { 7: 2 }",
            "[a.b]: 1 [x.y/a-b]: { 7: 2 }",
        ),
    ]);
}

#[test]
fn strings_are_unescaped_and_may_contain_any_bytes() {
    check::<Text>(&[
        (
            br#"a: "\n\r\t\a\b\f\v\?\'\"\\""#,
            r#"a: '\n\r\t\x07\x08\x0c\x0b?\'\"\\'"#,
        ),
        (br#"a: '"\0\18\0019\377'"#, r#"a: '\"\x00\x018\x019\xff'"#),
        (br#"a: "\x1\xfff\X41""#, r"a: '\x01\xfffA'"),
        (br#"a: "\u00e4\U0001F600\ud83d\ude00\ud83d""#, {
            r"a: '\xc3\xa4\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xef\xbf\xbd'"
        }),
        (b"a{b: \"x\" # y\n'z'\"\" c: ''}", "a: { b: 'xz' c: '' }"),
        (b"a: \"\x00\n\xc3\xff\"", r"a: '\x00\n\xc3\xff'"),
    ]);
}

#[test]
fn syntax_errors_have_their_offsets() {
    check::<Text>(&[
        (b"a { b: 1 >", "a: { b: 1 !9 a field's name"),
        (b"a 1", "a: !2 a colon or a message"),
        (b"a{b 1", "a: { b: !4 a colon or a message"),
        (b"a{b: 1,,", "a: { b: 1 !7 a field's name"),
        (b"a{[] {", "a: { !3 a type's name"),
        (b"a: }", "a: !3 a value"),
        (b"a{b: 10b }", "a: { b: !5 a value"),
        (b"a{b: x.y }", "a: { b: !5 a value"),
        (b"a: - }", "a: !5 a number"),
        (b"a: [1 2]", "a: 1 !6 a comma or ]"),
        (b"a: [1,]", "a: 1 !6 a value"),
        (b"a: [[", "a: !4 a value"),
        (br#"a: "x\q""#, "a: !5 another escape in a string"),
        (br#"a: "\400""#, "a: !4 another escape in a string"),
        (br#"a: "\xg""#, "a: !4 another escape in a string"),
        (br#"a: "\U00110000""#, "a: !4 another escape in a string"),
    ]);
}

#[test]
fn a_cut_is_reported_at_the_end_of_the_input() {
    check::<Text>(&[
        (b"abc", "!3 cut in a field's name"),
        (b"[type.", "!6 cut in a field's name"),
        (b"a:", "a: !2 cut in a message"),
        (b"a { b: 1", "a: { b: !8 cut in a message"),
        (b"a { b: 1 ", "a: { b: 1 !9 cut in a message"),
        (br#"a: "x"#, "a: !5 cut in a string"),
        (br#"a: "\1"#, "a: !6 cut in a string"),
        (br#"a { b: "x""#, "a: { b: !10 cut in a message"),
        (b"a: [1,", "a: 1 !6 cut in a message"),
    ]);
}

/// Other text is skipped up to the beginning of a message.
#[test]
fn other_text_between_messages_is_passed_over() {
    check::<Text>(&[
        (b"{", "text@0-1"),
        (b"a: 1 }", "a: 1 fragment@5-6"),
        (b"a: 1,,", "a: 1 text@5-6"),
        (b"[] {", "text@0-4"),
        (b"[abc", "text@0-4"),
        (b"a{}```", "a: { } text@3-6"),
    ]);
    let found = "$\nsocket_buffered_trace {}\n}\n a:2";
    let tokens = "text@0-2 socket_buffered_trace: { } a: 2";
    check::<Text>(&[(found.as_bytes(), tokens)]);
}

/// An unknown name without a message as its value is part of other text.
#[test]
fn unknown_names_between_messages_have_messages() {
    let tokens = |bytes: &str| {
        let all = |size| line(&mut Text::new(Generation::Tap), bytes.as_bytes(), size);
        let whole = all(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(all(size), whole, "{bytes:?} in pieces of {size}");
        }
        whole
    };
    let cases = [
        ("new {a: 1}", "new: { a: 1 }"),
        ("new : <>trace_id: 7 ", "new: { } trace_id: 7"),
        ("server: envoy\ntrace {}", "text@0-14 trace: { }"),
        ("hello", "text@0-5"),
        (
            "trace the call: trace_id 5\ntrace:{}",
            "text@0-27 trace: { }",
        ),
        ("[a/b.TraceWrapper] {}", "[a/b.TraceWrapper]: { }"),
        ("port_value: 80\n}", "fragment@0-16"),
        ("[pod/x] hello", "text@0-13"),
        ("socket_buff", "!11 cut in a field's name"),
        ("socket_buff x", "fragment@0-13"),
        ("ket_buffered_trace {\n}", "fragment@0-22"),
        ("x\n", "text@0-2"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(tokens(bytes), expected, "{bytes:?}");
    }
}

/// If a message begins inside another one, the outer one was cut there.
#[test]
fn a_message_that_begins_inside_another_is_found() {
    let cases = [
        (
            "a{b: 17socket_buffered_trace {\n",
            "a: { b: !7 overtaken a value",
            7,
        ),
        (
            "a{b: \"xsocket_buffered_trace {\n",
            "a: { b: !7 overtaken a string",
            7,
        ),
        (
            "a{b: \"\\nsocket_buffered_trace: < \r\n",
            "a: { b: !8 overtaken a string",
            8,
        ),
    ];
    for (bytes, expected, at) in cases {
        for size in 1..bytes.len() {
            let mut input = Input::from_reader(Pieces(bytes.as_bytes().to_vec(), size));
            let (mut text, mut lexer) = (Vec::new(), Text::default());
            let before = line_of(&mut lexer, &mut input, &mut text, size);
            assert_eq!(before, expected, "{bytes:?} in pieces of {size}");
            lexer.seek(&text, input.offset());
            let after = line_of(&mut lexer, &mut input, &mut text, size);
            let opened = if at == 7 && bytes.contains('"') || at == 8 {
                " {"
            } else {
                " { "
            };
            let tokens = format!("text@0-{at} socket_buffered_trace:{opened}");
            assert!(after.starts_with(tokens.trim_end()), "{after}");
        }
    }
    // Payload is escaped, so it cannot begin a message.
    check::<Text>(&[(
        b"a{b: \"socket_buffered_trace {\\n\"}",
        r"a: { b: 'socket_buffered_trace {\n' }",
    )]);
}
