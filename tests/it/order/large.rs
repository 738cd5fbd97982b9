//! Large bodies before the fields that show a trace, and what they look like.

use super::*;

/// Fails unless `bytes` are detected without a hint, as a trace with the same contents as `whole`.
#[track_caller]
fn assert_detected(name: &str, bytes: &[u8], whole: &[Event]) {
    let seen = said_by(inputs(bytes), name, bytes, None);
    assert_eq!(seen.len(), whole.len(), "{name}");
    assert!(seen == whole, "{name}: other contents");
}

/// An exchange with a body in both directions, and the parts of its two messages.
fn bodies(body: &[u8]) -> [Vec<Vec<u8>>; 2] {
    let half = |headers: Vec<Vec<u8>>| {
        let headers = headers.iter().flat_map(|header| field(1, header)).collect();
        let time = [number(1, 1_700_000_000), number(2, 5)].concat();
        vec![headers, field(2, &field(1, body)), field(4, &time)]
    };
    [half(request("POST", &[])), half(response("200", &[]))]
}

#[test]
fn headers_may_follow_a_body_of_any_size() {
    let connection = field(3, &connection());
    let lengths = [10, 60_000, 65_500, 65_536, 70_000, 150_000, 1 << 20];
    each(
        &lengths,
        |len| format!("{len} bytes"),
        |&len| {
            let body: Vec<u8> = noise(len as u64).take(len).collect();
            let [asked, answered] = bodies(&body);
            let message = |asked: &[Vec<u8>], answered: &[Vec<u8>], is_turned: bool| {
                let mut parts = [
                    field(1, &asked.concat()),
                    field(2, &answered.concat()),
                    connection.clone(),
                ];
                if is_turned {
                    parts.rotate_left(1);
                }
                field(1, &parts.concat())
            };
            let canonical = message(&asked, &answered, false);
            let whole = said("canonical", &canonical, Encoding::Binary);
            for (i, asked) in orders(&asked).iter().enumerate() {
                for (j, answered) in orders(&answered).iter().enumerate() {
                    let message = message(asked, answered, (i + j) % 2 == 1);
                    let name = format!("{len} bytes, orders {i} and {j}");
                    assert_detected(&name, &message, &whole);
                    assert_detected(&name, &delimit(&message), &whole);
                }
            }
        },
    );
}

/// The first bytes of a body, where a bare trace would have the path of a Unix socket.
#[test]
fn a_body_is_not_the_path_of_a_socket() {
    for first in ["@", "/", "\0"] {
        let mut body = first.as_bytes().to_vec();
        body.extend(noise(1).take(100_000));
        let [_, mut answered] = bodies(&body);
        let message = |parts: &[Vec<u8>]| field(1, &field(2, &parts.concat()));
        let whole = said("canonical", &message(&answered), Encoding::Binary);
        answered.rotate_left(1);
        let message = message(&answered);
        assert_detected(first, &message, &whole);
        assert_detected(first, &delimit(&message), &whole);
    }
}
