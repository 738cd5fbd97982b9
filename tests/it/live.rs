//! `--tap`: live events from a fake of Envoy's admin interface.

use std::net::TcpListener;

use crate::admin::{Admin, TAKEN, whole};
use crate::harness::{Run, Running, SIGINT, SIGTERM, Scratch, each, tshark};
use crate::make::{Ev, Form, Made, What};
use crate::pcap::Capture;
use crate::stdio::{PATIENCE, next_record};

/// A short conversation in HTTP/1.
fn made() -> Made {
    Made::v4(vec![
        Ev::new(What::Read, 0, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        Ev::new(
            What::Write,
            1000,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        Ev::new(What::Closed, 2000, ""),
    ])
}

fn streamed() -> Vec<u8> {
    made().encode(Form::StreamedJson).bytes
}

fn tap(scratch: &Scratch, admin: &Admin) -> Run {
    scratch.interruptible().arg("--tap").arg(admin.url())
}

#[test]
fn a_live_tap_gives_the_capture_that_its_trace_gives() {
    let bytes = streamed();
    let sizes = [1, 7, 1000, bytes.len()];
    each(&sizes, ToString::to_string, |&size| {
        let scratch = Scratch::new();
        let (live, later) = (scratch.path("live.pcap"), scratch.path("later.pcap"));
        let admin = Admin::new(&["my_tap"]);
        bytes.chunks(size).for_each(|chunk| admin.send(chunk));
        admin.end();
        tap(&scratch, &admin)
            .arg(&live)
            .run()
            .exits(0)
            .says_nothing();
        let trace = scratch.write("trace.json", &bytes);
        scratch.capture2pcap().arg(trace).arg(&later).run().exits(0);
        assert_eq!(std::fs::read(live).unwrap(), std::fs::read(later).unwrap());
    });
}

#[test]
fn a_live_tap_is_redacted_before_it_ends() {
    let get = "GET /a HTTP/1.1\r\nX-Token: a-secret-token\r\nCook";
    let made = Made::v4(vec![
        Ev::new(What::Read, 0, get),
        Ev::new(What::Read, 500, "ie: a-secret-cookie\r\n\r\n"),
        Ev::new(
            What::Write,
            1000,
            "HTTP/1.1 200 OK\r\nSet-Cookie: a-secret-too\r\nContent-Length: 11\r\n\r\na long body",
        ),
    ]);
    let options = ["--redact=x-token", "--redact-bodies"];
    for (options, has_body) in [(&options[..1], true), (&options[..], false)] {
        let (scratch, admin) = (Scratch::new(), Admin::new(&["my_tap"]));
        let mut running = tap(&scratch, &admin).args(options).arg("-").start();
        admin.send(&made.encode(Form::StreamedJson).bytes);
        // The connection is open yet.
        let stdout = running.stdout.as_mut().expect("a pipe");
        let mut capture = stdout.read(24, PATIENCE).expect("a header");
        for _ in 0..3 {
            capture.extend(next_record(&mut running, "live"));
        }
        let text = String::from_utf8_lossy(&capture);
        assert!(
            text.contains("/a HTTP/1.1\r\nX-Token: **************\r\n"),
            "{text}"
        );
        assert!(text.contains("ie: ***************\r\n"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(text.contains("a long body"), has_body, "{text}");
        admin.end();
        running.finish().exits(0).says_nothing();
    }
}

#[test]
fn the_request_asks_for_whole_events_of_every_connection() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["a", "my_tap"]);
    admin.end();
    let options = ["--config-id", "my_tap", "--max-bytes", "77"];
    tap(&scratch, &admin)
        .args(options)
        .arg("x.pcapng")
        .run()
        .exits(0);
    let asked: serde_json::Value = serde_json::from_str(&admin.asked()).expect("JSON");
    let output = &asked["tap_config"]["output_config"];
    assert_eq!(asked["config_id"], "my_tap");
    assert_eq!(asked["tap_config"]["match"]["any_match"], true);
    assert_eq!(
        (
            &output["max_buffered_rx_bytes"],
            &output["max_buffered_tx_bytes"]
        ),
        (&77.into(), &77.into())
    );
    assert_eq!(output["streaming"], true);
    assert_eq!(output["sinks"][0]["format"], "JSON_BODY_AS_BYTES");
}

#[test]
fn a_request_of_the_user_is_sent_unchanged() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["my_tap"]);
    admin.end();
    let text = "# mine\nconfig_id: my_tap\ntap_config: { }\n";
    let path = scratch.write("tap.yaml", text.as_bytes());
    tap(&scratch, &admin)
        .arg("--tap-config")
        .arg(path)
        .arg("x.pcap")
        .run()
        .exits(0);
    assert_eq!(admin.asked(), text);
}

/// Such a request would make Envoy abort.
#[test]
fn a_request_that_makes_envoy_abort_is_not_sent() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["my_tap"]);
    let text = "config_id: my_tap\nsinks: [{ format: PROTO_BINARY, streaming_admin: {} }]\n";
    let path = scratch.write("tap.yaml", text.as_bytes());
    let run = tap(&scratch, &admin)
        .arg("--tap-config")
        .arg(path)
        .arg("x.pcap")
        .run();
    run.exits(1).says(["abort", "JSON_BODY_AS_BYTES"]);
    assert!(!scratch.path("x.pcap").exists());
}

/// A reader of the pipe needs the header at once, and each packet when its event arrives.
#[test]
fn the_header_comes_before_any_event_and_packets_with_theirs() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["my_tap"]);
    let mut running = tap(&scratch, &admin).arg("-").start();
    running
        .stdout
        .as_mut()
        .unwrap()
        .read(24, PATIENCE)
        .expect("a header");
    admin.wait_for_client();
    let encoded = made().encode(Form::StreamedJson);
    let mut sent = 0;
    for (event, &(_, end)) in made().events.iter().zip(&encoded.events) {
        admin.send(&encoded.bytes[sent..end]);
        sent = end;
        let record = next_record(&mut running, "a packet");
        assert!(record.ends_with(&event.data));
    }
    admin.end();
    running.finish().exits(0).says_nothing();
}

/// Envoy serves one client at a time.
#[test]
fn a_reader_that_goes_away_frees_the_tap_without_another_event() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["my_tap"]);
    let script = format!("capture2pcap --tap {} - | head -c 24 | wc -c", admin.url());
    let running = scratch.shell(&script).start();
    admin.wait_for_client();
    admin.wait_until_free();
    let outcome = running.finish().exits(0).says_nothing();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout).trim(), "24");
}

#[test]
fn a_signal_gives_a_whole_capture_and_frees_the_tap() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let scratch = Scratch::new();
        let admin = Admin::new(&["my_tap"]);
        let running = tap(&scratch, &admin).args(["-v", "x.pcapng"]).start();
        admin.send(&streamed());
        // The signal arrives in the middle of the next message.
        admin.send(br#"{ "socket_streamed"#);
        admin.wait_for_client();
        let temporary = || scratch.dir().read_dir().unwrap().next().is_some();
        crate::harness::wait_until("the capture", temporary);
        std::thread::sleep(std::time::Duration::from_millis(300));
        running.signal(signal);
        let outcome = running.finish().exits(code).says(["3 packets"]);
        assert!(!outcome.stderr.contains("cut at"), "{}", outcome.explain());
        admin.wait_until_free();
        let path = scratch.path("x.pcapng");
        assert_eq!(tshark(["-r".as_ref(), path.as_os_str()]).lines().count(), 3);
    }
}

/// Nothing was recorded, so an existing capture stays.
#[test]
fn a_signal_before_the_first_event_leaves_an_existing_capture() {
    let scratch = Scratch::new();
    let admin = Admin::new(&["my_tap"]);
    let path = scratch.write("x.pcap", b"a capture");
    let running = tap(&scratch, &admin).arg(&path).start();
    admin.wait_for_client();
    running.signal(SIGINT);
    running.finish().exits(130);
    assert_eq!(std::fs::read(path).unwrap(), b"a capture");
}

/// Runs the command, which has to fail without a capture.
fn refused(scratch: &Scratch, url: &str, more: &[&str]) -> crate::harness::Outcome {
    let run = scratch
        .capture2pcap()
        .arg("--tap")
        .arg(url)
        .args(more)
        .arg("x.pcap");
    let outcome = run.run().exits(1);
    assert_eq!(
        scratch.dir().read_dir().unwrap().count(),
        0,
        "{}",
        outcome.explain()
    );
    outcome
}

#[test]
fn an_unknown_config_id_is_answered_with_those_that_exist() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["one", "two"]));
    refused(&scratch, &admin.url(), &["--config-id", "nope"]).says([
        "Unknown config id 'nope'. No extension has registered with this id.",
        "one, two",
    ]);
}

#[test]
fn several_taps_or_none_need_a_choice() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["one", "two"]));
    refused(&scratch, &admin.url(), &[]).says(["one, two", "--config-id"]);
    let admin = Admin::new(&[]);
    refused(&scratch, &admin.url(), &[]).says(["no tap with an admin_config"]);
}

#[test]
fn a_tap_that_is_taken_says_so() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["my_tap"]));
    let mut first = tap(&scratch, &admin).arg("-").start();
    first
        .stdout
        .as_mut()
        .unwrap()
        .read(24, PATIENCE)
        .expect("a header");
    admin.wait_for_client();
    refused(&scratch, &admin.url(), &[]).says([TAKEN, "one client"]);
    admin.end();
    first.finish().exits(0);
}

#[test]
fn every_other_answer_is_shown_whole() {
    let text = "first line\nsecond \u{1b}[31mline";
    let scratch = Scratch::new();
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "500 Internal Server Error",
        "302 Found",
        "204 No Content",
    ] {
        let admin = Admin::refusing(&whole(status, text));
        let outcome = refused(&scratch, &admin.url(), &[]);
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.explain());
        let outcome = outcome.says([&status[..3]]);
        if !status.starts_with("204") {
            outcome.says(["first line", "second"]);
        }
    }
    let admin = Admin::refusing("SSH-2.0-OpenSSH_9.2\r\n");
    refused(&scratch, &admin.url(), &[]).says(["not HTTP"]);
    let admin = Admin::refusing("");
    refused(&scratch, &admin.url(), &[]);
    let admin = Admin::at("127.0.0.1:0", "/elsewhere", &["my_tap"], None);
    let url = format!("http://{}", admin.address);
    refused(&scratch, &url, &["--config-id=my_tap"]).says(["404", "invalid path", "admin.yaml"]);
}

/// A stream that is not a trace.
#[test]
fn a_stream_that_is_not_a_trace_gives_no_capture() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["my_tap"]));
    admin.send(b"<html><body>Welcome</body></html>\n");
    admin.end();
    refused(&scratch, &admin.url(), &[]);
}

#[test]
fn an_admin_interface_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let scratch = Scratch::new();
    refused(&scratch, &format!("http://{address}"), &[])
        .says(["Connection refused", &address.to_string()]);
    refused(
        &scratch,
        "http://no-such-host.invalid:9901",
        &["--config-id=x"],
    )
    .says(["cannot connect"]);
}

#[test]
fn an_envoy_that_dies_leaves_what_was_recorded() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["my_tap"]));
    let bytes = streamed();
    admin.send(&bytes);
    admin.send(&bytes[..40]);
    admin.cut();
    tap(&scratch, &admin)
        .arg("x.pcap")
        .run()
        .exits(1)
        .says(["cut off", "3 events"]);
    assert_eq!(Capture::read(&scratch.path("x.pcap")).records.len(), 3);
}

#[test]
fn urls_of_every_kind() {
    let finish = |running: Running, admin: &Admin| {
        admin.send(&streamed());
        admin.end();
        running.finish().exits(0);
    };
    let scratch = Scratch::new();
    let six = Admin::at("[::1]:0", "", &["my_tap"], None);
    finish(tap(&scratch, &six).arg("six.pcap").start(), &six);
    let prefix = Admin::at("127.0.0.1:0", "/envoy/admin", &["my_tap"], None);
    finish(tap(&scratch, &prefix).arg("prefix.pcap").start(), &prefix);
    let named = Admin::new(&["my_tap"]);
    for url in [
        "localhost:PORT",
        "http://localhost:PORT/",
        "http://localhost:PORT/tap",
    ] {
        let url = url.replace("PORT", &named.address.port().to_string());
        let run = scratch.capture2pcap().args(["--tap", &url, "named.pcap"]);
        finish(run.start(), &named);
    }
    let refused = [
        (
            "https://localhost:9901",
            "an https URL, which is not supported",
        ),
        (
            "unix:///run/envoy.sock",
            "a Unix socket, which is not supported",
        ),
        ("ftp://localhost", "http://"),
    ];
    for (url, why) in refused {
        let run = scratch.capture2pcap().args(["--tap", url, "x.pcap"]);
        run.run().exits(2).says([why]);
    }
}

/// A proxy for the web does not reach an admin interface.
#[test]
fn proxies_are_not_used() {
    let (scratch, admin) = (Scratch::new(), Admin::new(&["my_tap"]));
    admin.end();
    let run = tap(&scratch, &admin)
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    run.arg("x.pcap").run().exits(0);
}

#[test]
fn a_live_tap_takes_the_place_of_the_inputs() {
    let scratch = Scratch::new();
    let cases: [&[&str]; 6] = [
        &["--tap", "http://h:1"],
        &["--tap", "http://h:1", "a.json", "x.pcap"],
        &["--tap", "http://h:1", "--merge", "x.pcap"],
        &["--tap", "http://h:1", "--max-bytes", "0", "x.pcap"],
        &["--config-id", "x", "a", "b"],
        &[
            "--tap",
            "http://h:1",
            "--tap-config",
            "f",
            "--config-id",
            "x",
            "b",
        ],
    ];
    for args in cases {
        scratch.capture2pcap().args(args).run().exits(2);
    }
}
