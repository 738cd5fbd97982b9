//! Output on a terminal, and what remains of it in a file or pipe.
//!
//! Snapshots; `SNAPSHOTS=overwrite cargo test --test it terminal::` updates them.

mod progress;

use std::fs;

use snapbox::{assert_data_eq, str};

use crate::batch::write_trace;
use crate::fixtures;
use crate::harness::{SIGINT, Scratch, timeless, wait_until};
use crate::make::{Ev, Form, Made, What};

/// A scratch directory with recordings in it, under short names.
fn with_recordings() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("taps/deep")).expect("a folder");
    let recordings = [
        ("path_0.pb", "path_0.pb"),
        ("envoy-1.40/taps/buf_v6_99.pb", "taps/v6.pb"),
        (
            "envoy-1.40/taps/str_trunc_130.pb_length_delimited",
            "taps/cut.pb",
        ),
        (
            "envoy-1.40/taps/str_trunc_126.pb_length_delimited",
            "taps/deep/cut.pb",
        ),
        (
            "envoy-1.40/taps/up_str_146.pb_length_delimited",
            "taps/killed.pb",
        ),
        (
            "envoy-1.40/taps/http_str_proto_binary_102564249338562369.pb",
            "taps/http.pb",
        ),
    ];
    for (recording, name) in recordings {
        let from = fixtures::testdata().join(recording);
        fs::copy(&from, scratch.path(name)).unwrap_or_else(|e| panic!("{recording}: {e}"));
    }
    scratch
}

/// The output of a run on a terminal of 80 columns, and its exit status; with visible escapes and without times.
fn shown(scratch: &Scratch, arguments: &[&str]) -> String {
    let run = scratch.capture2pcap().args(arguments);
    let (status, text) = run.on_terminal(80);
    let code = status.code().expect("no signal");
    format!("{}= {code}\n", timeless(&visible(&text)))
}

/// Text with the escapes of colours made visible.
fn visible(text: &str) -> String {
    text.replace('\u{1b}', "^")
}

#[test]
fn one_trace_ends_with_its_counts_and_the_command_that_opens_the_capture() {
    let scratch = with_recordings();
    assert_data_eq!(
        shown(&scratch, &["path_0.pb", "path_0.pcap"]),
        str![[r#"
capture2pcap: path_0.pcap: 8 packets of 1 connection, 8 events (259 bytes received, 36,872 sent)
capture2pcap: open it with: tshark -r path_0.pcap -d tcp.port==10000,http2
= 0

"#]]
    );
    // In a folder, the user does not know the path of the capture.
    assert_data_eq!(
        shown(&scratch, &["path_0.pb", "new/"]),
        str![[r#"
capture2pcap: new/path_0.pcap: 8 packets of 1 connection, 8 events (259 bytes received, 36,872 sent)
capture2pcap: open it with: tshark -r new/path_0.pcap -d tcp.port==10000,http2
= 0

"#]]
    );
    assert_data_eq!(
        shown(&scratch, &["-q", "path_0.pb", "path_0.pcap"]),
        str![[r#"
= 0

"#]]
    );
    let run = scratch.capture2pcap().args(["path_0.pb", "path_0.pcap"]);
    run.run().exits(0).says_nothing();
}

#[test]
fn a_folder_ends_with_its_warnings_in_groups_and_how_to_open_a_capture() {
    let scratch = with_recordings();
    assert_data_eq!(
        shown(&scratch, &["taps", "out"]),
        str![[r#"
capture2pcap: taps/killed.pb: cut at offset 65536: an event needs 4020 bytes more; 5 events before it are in the capture
capture2pcap: taps/cut.pb and 2 other traces: 4 truncated events: 53,687 bytes are not in the trace, and the capture leaves a gap for them (the first at offset 53, connection #130)
capture2pcap: taps/http.pb: 1 connection with stand-in addresses: 192.0.2.1:80 for the local one, which is not recorded, 192.0.2.2:51009 for the remote one, which is not recorded (at offset 0, connection #102564249338562369)
capture2pcap: taps/killed.pb: 1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded (at offset 35, connection #146)
capture2pcap: taps/http.pb: 4 events without a time: stand-in times, 1 µs apart (the first at offset 0, connection #102564249338562369)
hint: raise max_buffered_rx_bytes and max_buffered_tx_bytes in the tap's output_config
hint: --local and --remote set the addresses that a trace lacks
hint: set_connection_per_event: true in the tap's socket_tap_config records the local address; --local sets it here
hint: --start sets the first time of a trace that records none
capture2pcap: 5 captures of 5 traces, 5 connections, 31 events (50,431 bytes received, 56,171 sent), 6 warnings, 1 damaged trace, [time]
capture2pcap: open one with: tshark -r out/cut.pcap -d tcp.port==10014,http2
= 1

"#]]
    );
    assert_data_eq!(
        shown(&scratch, &["-q", "taps", "out"]),
        str![[r#"
capture2pcap: taps/killed.pb: cut at offset 65536: an event needs 4020 bytes more; 5 events before it are in the capture
= 1

"#]]
    );
    assert_data_eq!(
        shown(&scratch, &["-j1", "-v", "taps", "out"]),
        str![[r#"
capture2pcap: taps/killed.pb: at offset 53469, connection #146: 1 truncated event: 4,016 bytes are not in the trace, and the capture leaves a gap for them
capture2pcap: taps/killed.pb: at offset 35, connection #146: 1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded
capture2pcap: taps/killed.pb: cut at offset 65536: an event needs 4020 bytes more; 5 events before it are in the capture
capture2pcap: taps/killed.pb: 5 packets of 1 connection, 5 events (48,907 bytes received, 16,419 sent) in out/killed.pcap
capture2pcap: taps/v6.pb: 8 packets of 1 connection, 8 events (245 bytes received, 36,869 sent) in out/v6.pcap
capture2pcap: taps/deep/cut.pb: at offset 627, connection #126: 1 truncated event: 19,045 bytes are not in the trace, and the capture leaves a gap for them
capture2pcap: taps/deep/cut.pb: at offset 1776, connection #126: 1 truncated event: 15,504 bytes are not in the trace, and the capture leaves a gap for them
capture2pcap: taps/deep/cut.pb: 9 packets of 1 connection, 9 events (246 bytes received, 2,320 sent) in out/deep/cut.pcap
capture2pcap: taps/cut.pb: at offset 53, connection #130: 1 truncated event: 15,122 bytes are not in the trace, and the capture leaves a gap for them
capture2pcap: taps/cut.pb: 5 packets of 1 connection, 5 events (1,033 bytes received, 523 sent) in out/cut.pcap
capture2pcap: taps/http.pb: at offset 0, connection #102564249338562369: 1 connection with stand-in addresses: 192.0.2.1:80 for the local one, which is not recorded, 192.0.2.2:51009 for the remote one, which is not recorded
capture2pcap: taps/http.pb: 4 events without a time: stand-in times, 1 µs apart (the first at offset 0, connection #102564249338562369)
capture2pcap: taps/http.pb: 7 packets of 1 connection, 4 events (0 bytes received, 40 sent) in out/http.pcap
hint: raise max_buffered_rx_bytes and max_buffered_tx_bytes in the tap's output_config
hint: --local and --remote set the addresses that a trace lacks
hint: set_connection_per_event: true in the tap's socket_tap_config records the local address; --local sets it here
hint: --start sets the first time of a trace that records none
capture2pcap: 5 captures of 5 traces, 5 connections, 31 events (50,431 bytes received, 56,171 sent), 6 warnings, 1 damaged trace, [time]
capture2pcap: open one with: tshark -r out/cut.pcap -d tcp.port==10014,http2
= 1

"#]]
    );
}

#[test]
fn a_merge_ends_with_its_warnings_in_groups_and_how_to_open_the_capture() {
    let scratch = with_recordings();
    assert_data_eq!(
        shown(&scratch, &["-m", "taps", "all.pcapng"]),
        str![[r#"
capture2pcap: taps/killed.pb: cut at offset 65536: an event needs 4020 bytes more; 5 events before it are in the capture
capture2pcap: taps/cut.pb and 2 other traces: 4 truncated events: 53,687 bytes are not in the trace, and the capture leaves a gap for them (the first at offset 53, connection #130)
capture2pcap: taps/http.pb: 1 connection with stand-in addresses: 192.0.2.1:80 for the local one, which is not recorded, 192.0.2.2:51009 for the remote one, which is not recorded (at offset 0, connection #102564249338562369)
capture2pcap: taps/killed.pb: 1 upstream connection with stand-in addresses: 192.0.2.1:49298 for the local one, which is not recorded (at offset 35, connection #146)
capture2pcap: taps/http.pb: 4 events without a time: stand-in times, 1 µs apart (the first at offset 0, connection #102564249338562369)
hint: raise max_buffered_rx_bytes and max_buffered_tx_bytes in the tap's output_config
hint: --local and --remote set the addresses that a trace lacks
hint: set_connection_per_event: true in the tap's socket_tap_config records the local address; --local sets it here
hint: --start sets the first time of a trace that records none
capture2pcap: 1 capture of 5 traces, 5 connections, 31 events (50,431 bytes received, 56,171 sent), 6 warnings, 1 damaged trace, [time]
capture2pcap: open it with: tshark -r all.pcapng -d tcp.port==10011,http2 -d tcp.port==10014,http2 -d tcp.port==18081,http2
= 1

"#]]
    );
}

/// 1,000 traces with the default limit once gave 2,002 lines.
#[test]
fn each_kind_of_warning_is_one_line_however_many_traces_have_it() {
    let scratch = Scratch::new();
    let mut event = Ev::new(What::Read, 0, [b'x'; 1024]);
    event.truncated = true;
    let trace = Made::v4(vec![event]).encode(Form::Streamed).bytes;
    fs::create_dir(scratch.path("in")).expect("a folder");
    for number in 0..1000 {
        scratch.write(&format!("in/{number:03}.pb"), &trace);
    }
    for arguments in [&["in", "out"][..], &["-m", "in", "all.pcap"]] {
        let outcome = scratch.capture2pcap().args(arguments).run().exits(0);
        let text = timeless(&outcome.stderr);
        let lines: Vec<_> = text.lines().collect();
        let warning = "capture2pcap: in/000.pb and 999 other traces: 1,000 truncated events: ";
        assert!(lines[0].starts_with(warning), "{text}");
        assert!(lines.len() <= 4, "{text}");
        let outcome = scratch.capture2pcap().arg("-q").args(arguments).run();
        outcome.exits(0).says_nothing();
        let outcome = scratch
            .capture2pcap()
            .arg("-v")
            .args(arguments)
            .run()
            .exits(0);
        let each = outcome.stderr.matches("1 truncated event: ").count();
        assert_eq!(each, 1000, "{}", outcome.explain());
    }
}

/// `-v` once printed a line for each of its events.
#[test]
fn verbose_says_once_that_an_http_tap_has_no_times() {
    let scratch = with_recordings();
    let run = scratch
        .capture2pcap()
        .args(["-v", "taps/http.pb", "x.pcap"]);
    let outcome = run.run().exits(0);
    assert_data_eq!(
        outcome.stderr,
        str![[r#"
capture2pcap: taps/http.pb: at offset 0, connection #102564249338562369: 1 connection with stand-in addresses: 192.0.2.1:80 for the local one, which is not recorded, 192.0.2.2:51009 for the remote one, which is not recorded
capture2pcap: taps/http.pb: 4 events without a time: stand-in times, 1 µs apart (the first at offset 0, connection #102564249338562369)
hint: --local and --remote set the addresses that a trace lacks
hint: --start sets the first time of a trace that records none
capture2pcap: x.pcap: 7 packets of 1 connection, 4 events (0 bytes received, 40 sent)
capture2pcap: open it with: tshark -r x.pcap

"#]]
    );
}

#[test]
fn the_table_of_contents_fits_the_terminal() {
    let scratch = with_recordings();
    let inputs = ["--info", "taps/v6.pb", "path_0.pb", "taps"];
    let text = shown(&scratch, &inputs);
    for line in text.lines() {
        let mut plain = line.to_owned();
        for style in ["^[0m", "^[1m", "^[2m", "^[31m"] {
            plain = plain.replace(style, "");
        }
        assert!(plain.chars().count() <= 80, "{line}");
    }
    assert_data_eq!(
        text,
        str![[r#"
^[1mtaps/v6.pb^[0m: binary, Envoy 1.28 or later
^[2m  id   side        protocol  events  received      sent    duration^[0m
  #99  downstream  HTTP/2         8     245 B  36.0 KiB  0.006739 s
      local [::1]:10011, remote [::1]:60492, 2026-11-22T06:08:47.807466Z
  tshark -r v6.pcap -d tcp.port==10011,http2
^[1mpath_0.pb^[0m: binary, Envoy 1.28 or later
^[2m  id  side        protocol  events  received      sent    duration^[0m
  #0  downstream  HTTP/2         8     259 B  36.0 KiB  0.029019 s
      local 127.0.0.1:10000, remote 127.0.0.1:53806, 2026-11-22T06:08:45.444217Z
  tshark -r path_0.pcap -d tcp.port==10000,http2
^[1mtaps/cut.pb^[0m: delimited, Envoy 1.28 or later
^[2m  id    side        protocol  events  received   sent    duration^[0m
  #130  downstream  HTTP/2         5   1.0 KiB  523 B  0.003158 s
      local 127.0.0.1:10014, remote 127.0.0.1:53040, 2026-11-22T06:08:48.485089Z
^[31m  1 truncated event: 15,122 bytes are not in the trace, and the capture leaves a^[0m
^[31m    gap for them (at offset 53, connection #130)^[0m
  tshark -r cut.pcap -d tcp.port==10014,http2
^[1mtaps/deep/cut.pb^[0m: delimited, Envoy 1.28 or later
^[2m  id    side        protocol  events  received     sent    duration^[0m
  #126  downstream  HTTP/2         9     246 B  2.3 KiB  0.006042 s
      local 127.0.0.1:10014, remote 127.0.0.1:53032, 2026-11-22T06:08:48.469955Z
^[31m  2 truncated events: 34,549 bytes are not in the trace, and the capture leaves^[0m
^[31m    a gap for them (the first at offset 627, connection #126)^[0m
  tshark -r deep/cut.pcap -d tcp.port==10014,http2
^[1mtaps/http.pb^[0m: binary, Envoy 1.10 or later
^[2m  id                   side        protocol  events  received  sent^[0m
  #102564249338562369  downstream  HTTP/2         4       0 B  40 B
  tshark -r http.pcap
^[1mtaps/killed.pb^[0m: delimited, Envoy 1.10 or later
^[2m  id    side      protocol  events  received      sent    duration^[0m
  #146  upstream  HTTP/2         5  47.8 KiB  16.0 KiB  0.013220 s
      remote 127.0.0.1:18081, 2026-11-22T06:08:49.864141Z
^[31m  1 truncated event: 4,016 bytes are not in the trace, and the capture leaves a^[0m
^[31m    gap for them (at offset 53469, connection #146)^[0m
^[31m  cut at offset 65536: an event needs 4020 bytes more^[0m
  tshark -r killed.pcap -d tcp.port==18081,http2
= 1

"#]]
    );
    // Not on a terminal, each connection is one line, for programs.
    let outcome = scratch.capture2pcap().args(inputs).run().exits(1);
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert_data_eq!(
        text,
        str![[r#"
taps/v6.pb: binary, Envoy 1.28 or later
  id   local        remote       side        protocol  events  received      sent  first                          duration
  #99  [::1]:10011  [::1]:60492  downstream  HTTP/2         8     245 B  36.0 KiB  2026-11-22T06:08:47.807466Z  0.006739 s
  tshark -r v6.pcap -d tcp.port==10011,http2
path_0.pb: binary, Envoy 1.28 or later
  id  local            remote           side        protocol  events  received      sent  first                          duration
  #0  127.0.0.1:10000  127.0.0.1:53806  downstream  HTTP/2         8     259 B  36.0 KiB  2026-11-22T06:08:45.444217Z  0.029019 s
  tshark -r path_0.pcap -d tcp.port==10000,http2
taps/cut.pb: delimited, Envoy 1.28 or later
  id    local            remote           side        protocol  events  received   sent  first                          duration
  #130  127.0.0.1:10014  127.0.0.1:53040  downstream  HTTP/2         5   1.0 KiB  523 B  2026-11-22T06:08:48.485089Z  0.003158 s
  1 truncated event: 15,122 bytes are not in the trace, and the capture leaves a gap for them (at offset 53, connection #130)
  tshark -r cut.pcap -d tcp.port==10014,http2
taps/deep/cut.pb: delimited, Envoy 1.28 or later
  id    local            remote           side        protocol  events  received     sent  first                          duration
  #126  127.0.0.1:10014  127.0.0.1:53032  downstream  HTTP/2         9     246 B  2.3 KiB  2026-11-22T06:08:48.469955Z  0.006042 s
  2 truncated events: 34,549 bytes are not in the trace, and the capture leaves a gap for them (the first at offset 627, connection #126)
  tshark -r deep/cut.pcap -d tcp.port==10014,http2
taps/http.pb: binary, Envoy 1.10 or later
  id                   side        protocol  events  received  sent
  #102564249338562369  downstream  HTTP/2         4       0 B  40 B
  tshark -r http.pcap
taps/killed.pb: delimited, Envoy 1.10 or later
  id    remote           side      protocol  events  received      sent  first                          duration
  #146  127.0.0.1:18081  upstream  HTTP/2         5  47.8 KiB  16.0 KiB  2026-11-22T06:08:49.864141Z  0.013220 s
  1 truncated event: 4,016 bytes are not in the trace, and the capture leaves a gap for them (at offset 53469, connection #146)
  cut at offset 65536: an event needs 4020 bytes more
  tshark -r killed.pcap -d tcp.port==18081,http2

"#]]
    );
    // On a wide terminal the same, with colours.
    let (_, text) = scratch
        .capture2pcap()
        .args(["--info", "path_0.pb"])
        .on_terminal(200);
    assert_data_eq!(
        visible(&text),
        str![[r#"
^[1mpath_0.pb^[0m: binary, Envoy 1.28 or later
^[2m  id  local            remote           side        protocol  events  received      sent  first                          duration^[0m
  #0  127.0.0.1:10000  127.0.0.1:53806  downstream  HTTP/2         8     259 B  36.0 KiB  2026-11-22T06:08:45.444217Z  0.029019 s
  tshark -r path_0.pcap -d tcp.port==10000,http2

"#]]
    );
}

#[test]
fn an_empty_pipe_is_explained() {
    let scratch = Scratch::new();
    let outcome = scratch.capture2pcap().args(["-", "x.pcap"]).run().exits(0);
    assert_data_eq!(
        outcome.stderr,
        str![[r#"
capture2pcap: standard input: the input is empty: nothing came through the pipe
hint: the command before the pipe may have failed: curl -sSN shows its errors, curl -sN hides them

"#]]
    );
    scratch.write("empty.pb", b"");
    let outcome = scratch.capture2pcap().args(["empty.pb", "x.pcap"]).run();
    assert_data_eq!(
        outcome.exits(0).stderr,
        str![[r#"
capture2pcap: empty.pb: the input is empty: nothing has been written to it yet (Envoy writes a trace when the connection closes)

"#]]
    );
}
