//! The tokens of JSON.

use super::*;
use crate::input::Input;
use crate::trace::readable::scan::tests::{Pieces, check};

#[test]
fn objects_and_lists() {
    check::<Json>(&[
        (b"", ""),
        (b" \n", ""),
        (b"{}", ""),
        (br#"{"a":{"b":1,"c":{}}}"#, "a: { b: 1 c: { } }"),
        (
            b"{ \"a\" :\t\"x\" ,\r\n\"b\": -1.5e+3 }",
            "a: 'x' b: -1.5e+3",
        ),
        (
            br#"{"a":true,"b":false,"c":null,"d":0}"#,
            "a: true b: false c: ~ d: 0",
        ),
        (br#"{"a":1}{"a":2} {"a":3},{"a":4}"#, "a: 1 a: 2 a: 3 a: 4"),
        (br#"[{"a":1}, {"a":2}]"#, "a: 1 a: 2"),
        (
            br#"{"e":[{"f":[1,2]},{"g":3}],"h":4}"#,
            "e: { f: 1 f: 2 } e: { g: 3 } h: 4",
        ),
        (
            br#"{"e":[],"f":[null],"g":["x",null]}"#,
            "e: ~ f: ~ g: 'x' g: ~",
        ),
        (br#"{"e":[1,],"f":{"g":2,},}"#, "e: 1 f: { g: 2 }"),
    ]);
}

#[test]
fn strings_are_unescaped_and_may_contain_any_bytes() {
    check::<Json>(&[
        (
            br#"{"a":"\"\\\/\b\f\n\r\t."}"#,
            r#"a: '\"\\/\x08\x0c\n\r\t.'"#,
        ),
        (
            br#"{"\u0061\u00e4":"\u0000\u20AC"}"#,
            r"a\xc3\xa4: '\x00\xe2\x82\xac'",
        ),
        (br#"{"a":"\ud83d\ude00"}"#, r"a: '\xf0\x9f\x98\x80'"),
        (br#"{"a":"\ud83d"}"#, r"a: '\xef\xbf\xbd'"),
        (
            br#"{"a":"\ud83d\n\ude00x"}"#,
            r"a: '\xef\xbf\xbd\n\xef\xbf\xbdx'",
        ),
        (
            br#"{"a":"\ud83d\ud83d\ude00"}"#,
            r"a: '\xef\xbf\xbd\xf0\x9f\x98\x80'",
        ),
        (b"{\"\xff\":\"\x00\n\xc3\xff\"}", r"\xff: '\x00\n\xc3\xff'"),
    ]);
}

#[test]
fn syntax_errors_have_their_offsets() {
    check::<Json>(&[
        (br#"{"a",1}"#, "a: !4 a colon"),
        (br#"{"a" 1}"#, "a: !5 a colon"),
        (br#"{"a":}"#, "a: !5 a JSON value"),
        (br#"{"a":1 "b":2}"#, "a: 1 !7 a comma or }"),
        (br#"{"a":{]}"#, "a: { !6 a name in quotes"),
        (br#"{"a":[1}"#, "a: 1 !7 a comma or ]"),
        (br#"{"a":[1,,2]}"#, "a: 1 !8 a JSON value"),
        (br#"{"a":[[1]]}"#, "a: !6 a JSON value"),
        (br#"{"a": nul}"#, "a: !6 a JSON value"),
        (br#"{"a":01}"#, "a: !5 a JSON value"),
        (br#"{"a":"x\'"}"#, "a: !7 another escape in a string"),
        (br#"{"a":"\u12"}"#, "a: !6 another escape in a string"),
    ]);
}

#[test]
fn a_cut_is_reported_at_the_end_of_the_input() {
    check::<Json>(&[
        (b"{", "!1 cut in a JSON object"),
        (br#"{"a"#, "!3 cut in a string"),
        (br#"{"a":"\ud83d"#, "a: !12 cut in a string"),
        (br#"{"a":12"#, "a: !7 cut in a JSON object"),
        (br#"{"a":{}"#, "a: { } !7 cut in a JSON object"),
        (br#"[{"a":1}"#, "a: 1 !8 cut in a JSON array"),
    ]);
}

/// Other text is skipped up to the beginning of a message.
#[test]
fn other_text_between_objects_is_passed_over() {
    check::<Json>(&[
        (b"x", "text@0-1"),
        (br#"{"a":1}]"#, "a: 1 text@7-8"),
        (b"[[", "text@0-2"),
        (b" Failed to connect", "text@1-18"),
        (b"{a:1}", "text@0-5"),
        (b"{ [5 bytes data]\n} [5 bytes data]", "text@0-33"),
        (b"\xef\xbb\xbf{\"a\":1}\xef\xbb\xbf{}", "a: 1"),
        (br#"{"a":1}"x": 2}{"b":3}"#, "a: 1 fragment@7-21"),
    ]);
    let found = "x\n{\"socket_buffered_trace\":{}}}]} {\"b\":2}";
    let tokens = "text@0-2 socket_buffered_trace: { } b: 2";
    check::<Json>(&[(found.as_bytes(), tokens)]);
    let line = "An attached /tap admin stream already exists. Detach it.";
    let noted = format!("{line}{{\"b\":2}}x{line}\n");
    let tokens = "note@0-56 b: 2 text@63-64 note@64-120";
    check::<Json>(&[(noted.as_bytes(), tokens)]);
}

#[test]
fn notes_of_failures_are_counted_and_passed_over() {
    let note = "Failed to convert protobuf message to JSON string: Far {} from { \"1";
    let input = format!("{{\"a\":1}}\n{note}{note}{{\n \"socket_buffered_trace\":2}}{note}");
    let (first, last) = (8, input.len() - note.len());
    let second = first + note.len();
    let tokens =
        format!("a: 1 failed@{first} failed@{second} socket_buffered_trace: 2 failed@{last}");
    check::<Json>(&[(input.as_bytes(), &tokens)]);
}

#[test]
fn a_message_ends_with_its_brace() {
    let mut json = Json::default();
    let mut input = Input::from_reader(Pieces(br#"{"a":{"b":"\ud83d"}}"#.to_vec(), 1));
    let mut text = Vec::new();
    while View::advance(&mut input, |view| json.next(view, &mut text))
        != Ok(Step::Item(Token::Close))
    {
        input.fill(&crate::input::Wait::default()).unwrap();
    }
    assert_eq!(input.offset(), 19);
}
