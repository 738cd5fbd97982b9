//! `--redact`, checked with tshark and by the bytes of the captures.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::fixtures::{Fixture, socket_traces};
use crate::harness::{Scratch, http2_on, tshark_run};
use crate::make::parts::{Half, exchange, header, request, response};
use crate::make::{Ev, Form, Made, What};

use support::secrets::{Choices, Conversation};

/// Fields that nearly every recording has, except those by which tshark recognizes a message.
const RECORDED: &str =
    "--redact=user-agent,server,date,x-request-id,x-forwarded-proto,accept,grpc-accept-encoding";

/// tshark's view of a capture in lines, without checksums.
fn lines(capture: &Path, port: u16) -> Vec<String> {
    let shown = tshark_run(http2_on(capture, [port])).arg("-V").run();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let is_same = |line: &&str| !line.to_ascii_lowercase().contains("checksum");
    text.lines().filter(is_same).map(str::to_owned).collect()
}

#[test]
fn recordings_dissect_the_same_but_for_values() {
    let scratch = Scratch::new();
    let (mut changed, mut kept) = (0, 0);
    // A few of each encoding and protocol, since all of them would take minutes.
    for (
        i,
        Fixture {
            path, name, port, ..
        },
    ) in socket_traces().iter().enumerate().step_by(5)
    {
        // In strings, HTTP/2 has lost bytes and cannot be followed.
        if ["as_string", "trunc"]
            .iter()
            .any(|lossy| name.to_ascii_lowercase().contains(lossy))
        {
            continue;
        }
        let convert = |options: &[&str], end: &str| {
            let capture = scratch.path(&format!("{i}{end}.pcap"));
            let run = scratch
                .capture2pcap()
                .args(["-q", "--handshake=never"])
                .args(options);
            run.arg(path).arg(&capture).run();
            capture
        };
        let (plain, redacted) = (convert(&[], "plain"), convert(&[RECORDED], "redacted"));
        if !plain.exists() {
            continue;
        }
        let (before, after) = (lines(&plain, *port), lines(&redacted, *port));
        assert_eq!(before.len(), after.len(), "{name}");
        for (before, after) in before.iter().zip(&after) {
            if before == after {
                kept += 1;
                continue;
            }
            changed += 1;
            // Wherever tshark repeats the value, as text or as bytes, it consists of stand-ins.
            let is_stand_in = after.contains("**")
                || after.contains("00")
                || after.contains("2a2a")
                || after.trim_start().starts_with("Header Block Fragment");
            assert!(
                is_stand_in && before.len() == after.len(),
                "{name}\n{before}\n{after}"
            );
        }
    }
    assert!(changed > 100 && kept > 10_000, "{changed} and {kept}");
}

/// A trace of a conversation.
fn trace(conversation: &Conversation, form: Form) -> Vec<u8> {
    let events = conversation.sent.iter().enumerate().map(|(i, sent)| {
        let what = if sent.from_client {
            What::Read
        } else {
            What::Write
        };
        Ev::new(what, i as i32, sent.bytes.clone())
    });
    Made::v4(events.collect()).encode(form).bytes
}

/// Fails if a file contains eight consecutive bytes of a secret.
fn assert_none(secrets: &[Vec<u8>], path: &Path) {
    let parts: HashSet<&[u8]> = secrets
        .iter()
        .flat_map(|secret| secret.windows(8))
        .collect();
    let bytes = fs::read(path).unwrap();
    assert!(bytes.len() > 100, "{}", path.display());
    let found = bytes.windows(8).find(|part| parts.contains(part));
    assert!(
        found.is_none(),
        "{}: {:?}",
        path.display(),
        found.map(<[u8]>::escape_ascii).map(|part| part.to_string())
    );
}

#[test]
fn no_output_has_a_secret() {
    for seed in 0..12 {
        let mut choices = Choices(seed);
        let mut conversation = Conversation::new(&mut choices);
        conversation.cut(&mut choices);
        // JSON and text contain strings, and cuts make many of them.
        conversation.sent.truncate(3000);
        let scratch = Scratch::new();
        let secrets = &conversation.secrets;
        let form = Form::ALL[seed as usize % Form::ALL.len()];
        fs::create_dir(scratch.path("traces")).unwrap();
        let name = format!("traces/path_0.{}", form.extension());
        let input = scratch.write(&name, &trace(&conversation, form));
        let run = || {
            scratch
                .capture2pcap()
                .arg("--redact=X-Token")
                .arg("--handshake=never")
        };
        for output in ["0.pcap", "0.pcapng", "captures/"] {
            run().arg(&input).arg(output).run().exits(0).says_nothing();
        }
        for output in ["merged.pcap", "merged.pcapng"] {
            run()
                .args(["-m", "traces", output])
                .run()
                .exits(0)
                .says_nothing();
        }
        let piped = run()
            .args(["-F", "pcapng", "-", "-"])
            .stdin(fs::read(&input).unwrap())
            .run()
            .exits(0);
        scratch.write("piped.pcapng", &piped.stdout);
        for output in [
            "0.pcap",
            "0.pcapng",
            "captures/path_0.pcap",
            "merged.pcap",
            "merged.pcapng",
            "piped.pcapng",
        ] {
            assert_none(secrets, &scratch.path(output));
        }
        // Except for the values, the capture equals the one without redaction.
        let plain = scratch.capture2pcap().args(["-q", "--handshake=never"]);
        plain.arg(&input).arg("plain.pcap").run().exits(0);
        let frames = |name: &str| {
            let fields = [
                "-T",
                "fields",
                "-e",
                "frame.time_epoch",
                "-e",
                "frame.len",
                "-e",
                "tcp.seq_raw",
                "-e",
                "tcp.ack_raw",
                "-e",
                "tcp.flags",
            ];
            let shown = tshark_run(["-r", name])
                .args(fields)
                .dir(scratch.dir())
                .run()
                .exits(0);
            String::from_utf8(shown.stdout).unwrap()
        };
        assert_eq!(frames("plain.pcap"), frames("0.pcap"));
    }
}

#[test]
fn http_taps_are_redacted_and_bodies_on_request() {
    let scratch = Scratch::new();
    let secret = [
        header("cookie", "a-secret-cookie"),
        header("x-token", "another-secret"),
    ];
    let half = |headers: Vec<Vec<u8>>, body: &str| Half {
        headers,
        body: Some(crate::make::parts::body(body.as_bytes())),
        trailers: secret.to_vec(),
        ..Half::default()
    };
    let bytes = exchange(
        Some(&half(request("POST", &secret), "a-secret-body")),
        Some(&half(response("200", &secret), "a-secret-body")),
        None,
    );
    scratch.write("http.pb", &bytes);
    let options = ["--redact=x-token", "--redact-bodies"];
    for (options, has_body) in [(&options[..1], true), (&options[..], false)] {
        let run = scratch.capture2pcap().arg("-q").args(options);
        let run = run.args(["http.pb", "http.pcapng"]);
        run.run().exits(0);
        let capture = fs::read(scratch.path("http.pcapng")).unwrap();
        let text = String::from_utf8_lossy(&capture);
        assert!(
            text.contains("***************") && text.contains("redacted"),
            "{text}"
        );
        assert!(!text.contains("a-secret-cookie") && !text.contains("another-secret"));
        assert_eq!(text.contains("a-secret-body"), has_body);
    }
}

#[test]
fn a_pcapng_says_what_was_redacted() {
    let scratch = Scratch::new();
    let get = Ev::new(What::Read, 1, "GET / HTTP/1.1\r\nX-Token: s\r\n\r\n");
    scratch.write("path_0.pb", &Made::v4(vec![get]).encode(Form::Binary).bytes);
    let comment = |options: &[&str]| {
        let run = scratch
            .capture2pcap()
            .args(options)
            .args(["path_0.pb", "path_0.pcapng"]);
        run.run().exits(0);
        let shown = crate::harness::capinfos([scratch.path("path_0.pcapng").as_os_str()]);
        let line = shown
            .lines()
            .find(|line| line.contains("omment"))
            .unwrap_or_default();
        line.split_once(':')
            .map(|(_, text)| text.trim().to_owned())
            .unwrap_or(shown)
    };
    let fields = "authorization, proxy-authorization, cookie, set-cookie, x-api-key";
    assert_eq!(comment(&[]), "from path_0.pb");
    assert_eq!(
        comment(&["--redact=X-Token"]),
        format!(
            "from path_0.pb; redacted, except for bodies, paths and what is no HTTP: the values of {fields}, x-token"
        )
    );
    assert_eq!(
        comment(&["--redact-bodies"]),
        format!("from path_0.pb; redacted: bodies, what is no HTTP, and the values of {fields}")
    );
}

#[test]
fn messages_quote_nothing_of_a_trace() {
    let scratch = Scratch::new();
    scratch.write("error.json", b"cookie: a-secret, which is no trace");
    let run = |args: &[&str]| scratch.capture2pcap().args(args).run().exits(1).explain();
    assert!(run(&["error.json", "a.pcap"]).contains("a-secret"));
    for args in [
        &["--redact", "error.json", "a.pcap"][..],
        &["--redact", "-m", "error.json", "a.pcap"],
        &["--redact", "--info", "error.json"],
        &["--redact", "--info", "--json", "error.json"],
        &["--redact-bodies", "--json", "error.json", "a.pcap"],
    ] {
        let said = run(args);
        assert!(!said.contains("a-secret"), "{said}");
    }
}

#[test]
fn what_cannot_be_redacted_is_reported_once() {
    let scratch = Scratch::new();
    let tls = Ev::new(What::Read, 1, b"\x16\x03\x01\x02\x00\x01\x00");
    scratch.write(
        "tls.pb",
        &Made::v4(vec![tls.clone(), tls]).encode(Form::Binary).bytes,
    );
    let late = Ev {
        seq_num: 500,
        ..Ev::new(What::Read, 1, "ret\r\nHost: a\r\n\r\n")
    };
    scratch.write(
        "late.pb",
        &Made::v4(vec![late]).encode(Form::Streamed).bytes,
    );
    let run = |args: &[&str]| scratch.capture2pcap().args(args).run().exits(0);
    run(&["--redact", "tls.pb", "a.pcap"]).says([
        "1 connection not recognized as HTTP",
        "hint: --redact-bodies",
    ]);
    run(&["--redact-bodies", "tls.pb", "a.pcap"]).says_nothing();
    run(&["--redact", "late.pb", "a.pcap"])
        .says(["1 event whose headers cannot be decoded: 16 bytes are overwritten as a whole"]);
    assert_none(&[b"Host: a\r\n".to_vec()], &scratch.path("a.pcap"));
}

/// Otherwise the other traces would be converted, and the field would not be redacted.
#[test]
fn names_without_an_equals_sign_are_refused() {
    let scratch = Scratch::new();
    let trace = &socket_traces()[0].path;
    for output in ["out.pcap", "out/"] {
        let run = scratch.capture2pcap().args(["--redact", "x-token,x-key"]);
        run.arg(trace).arg(output).run().exits(2).says([
            "x-token,x-key: not a trace or a folder",
            "--redact=x-token,x-key redacts the fields of these names, too",
        ]);
        assert!(!scratch.path(output).exists());
    }
    // A file of such a name is a trace.
    fs::copy(trace, scratch.path("x-token")).unwrap();
    let run = scratch.capture2pcap().args(["--redact", "x-token"]);
    run.arg("out.pcap").run().exits(0);
}
