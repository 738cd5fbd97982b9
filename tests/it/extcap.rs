//! The program as Wireshark's capture interface, tested with a real tshark, and its installation.

mod install;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::admin::{Admin, TAKEN};
use crate::harness::{Outcome, Run, Scratch, tshark};
use crate::make::{Ev, Form, Made, What};

const PLUGIN: &str = ".local/lib/wireshark/plugins/capture2pcap.lua";

/// A home folder with the program installed.
struct Home(Scratch);

impl Home {
    fn new() -> Self {
        Self(Scratch::new())
    }

    fn installed() -> Self {
        let home = Self::new();
        home.run("--install-wireshark").exits(0);
        home
    }

    fn path(&self) -> &str {
        self.0.dir().to_str().expect("UTF-8")
    }

    fn run(&self, option: &str) -> Outcome {
        self.0
            .capture2pcap()
            .env("HOME", self.path())
            .arg(option)
            .run()
    }

    fn tshark(&self) -> Run {
        Run::new("tshark").env("HOME", self.path())
    }

    /// The path of the link, which differs between Wireshark 4.0 and 4.2.
    fn link(&self) -> PathBuf {
        let places = [".config/wireshark/extcap", ".local/lib/wireshark/extcap"];
        let paths = places.map(|place| self.0.path(place).join("capture2pcap"));
        let there = paths.iter().find(|path| fs::symlink_metadata(path).is_ok());
        there.expect("a link").clone()
    }

    /// Captures with tshark for three seconds.
    fn capture(&self, admin: &str, more: &[&str]) -> Running {
        let admin = format!("extcap.envoy_tap.admin:{admin}");
        let path = self.0.path("live.pcapng");
        let run = self
            .tshark()
            .args(["-i", "envoy-tap", "-a", "duration:3", "-o", &admin])
            .args(more);
        Running {
            running: run.arg("-w").arg(&path).start(),
            path,
        }
    }
}

struct Running {
    running: crate::harness::Running,
    path: PathBuf,
}

impl Running {
    /// Waits until tshark ends by itself, and returns the packets.
    fn packets(self) -> (Outcome, Vec<String>) {
        let outcome = self.running.finish().exits(0);
        let lines = match self.path.exists() {
            true => tshark(["-r".as_ref(), self.path.as_os_str()]),
            false => String::new(),
        };
        (outcome, lines.lines().map(str::to_owned).collect())
    }

    /// The line of the error that the interface reports.
    fn error(self) -> String {
        let (outcome, packets) = self.packets();
        assert!(packets.is_empty(), "{packets:?}");
        let said = outcome.stderr.split_once("Error by extcap pipe: ");
        let (_, rest) = said.unwrap_or_else(|| panic!("no error{}", outcome.explain()));
        let (line, rest) = rest.split_once('\n').expect("a line");
        assert!(
            !rest.contains("capture2pcap"),
            "more than a line{}",
            outcome.explain()
        );
        line.to_owned()
    }
}

/// HTTP/2 on the port of Envoy's examples.
fn streamed() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let events = vec![
        Ev::new(What::Read, 0, *preface),
        Ev::new(
            What::Write,
            1000,
            *b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
        ),
    ];
    Made::v4(events).encode(Form::StreamedJson).bytes
}

#[test]
fn tshark_lists_the_interface_and_its_link_type() {
    let home = Home::installed();
    let list = home.tshark().arg("-D").run().exits(0);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("envoy-tap (Envoy tap (live))"), "{list}");
    let types = home.tshark().args(["-i", "envoy-tap", "-L"]).run().exits(0);
    let types = String::from_utf8(types.stdout).unwrap() + &types.stderr;
    assert!(types.contains("EN10MB (Ethernet)"), "{types}");
}

/// Wireshark asks several times when it starts, and shows a required argument as missing even if it has a default.
#[test]
fn the_dialog_needs_no_network_and_no_input() {
    let scratch = Scratch::new();
    let ask = |more: &[&str]| {
        let run = scratch.capture2pcap().args([
            "--extcap-version=4.0",
            "--extcap-interface",
            "envoy-tap",
        ]);
        String::from_utf8(run.args(more).run().exits(0).says_nothing().stdout).unwrap()
    };
    let dialog = ask(&["--extcap-config"]);
    assert!(!dialog.contains("required"), "{dialog}");
    let args = dialog.lines().filter(|line| line.starts_with("arg "));
    assert_eq!(
        args.filter(|line| line.contains("{group=")).count(),
        6,
        "{dialog}"
    );
    assert_eq!(
        ask(&["--extcap-dlts"]),
        "dlt {number=1}{name=EN10MB}{display=Ethernet}\n"
    );
    // These are tshark's own defaults.
    let home = Home::installed();
    let preferences = home.tshark().args(["-G", "currentprefs"]).run().exits(0);
    let preferences = String::from_utf8(preferences.stdout).unwrap();
    assert!(preferences.contains("extcap.envoy_tap.admin: http://localhost:9901"));
    assert!(preferences.contains("extcap.envoy_tap.maxbytes: 1048576"));
}

#[test]
fn the_reload_button_lists_envoys_taps() {
    let scratch = Scratch::new();
    let reload = |url: &str| {
        let args = [
            "--extcap-config",
            "--extcap-interface",
            "envoy-tap",
            "--extcap-reload-option",
            "config-id",
            "--admin",
            url,
        ];
        scratch.capture2pcap().args(args).run().exits(0)
    };
    let admin = Admin::new(&["one", "two", "odd}id"]);
    let values = String::from_utf8(reload(&admin.url()).says_nothing().stdout).unwrap();
    let expected = "value {arg=1}{value=*}{display=the only tap}{default=true}\n\
        value {arg=1}{value=one}{display=one}{default=false}\nvalue {arg=1}{value=two}{display=two}{default=false}\n";
    assert_eq!(values, expected);
    let outcome = reload("http://127.0.0.1:1").says(["Connection refused"]);
    assert_eq!(
        String::from_utf8(outcome.stdout).unwrap().lines().count(),
        1
    );
}

/// tshark counts its duration from the header, so the header has to be written at once.
#[test]
fn an_idle_tap_ends_in_time_and_is_then_free() {
    let (home, admin) = (Home::installed(), Admin::new(&["my_tap"]));
    let running = home.capture(&admin.url(), &[]);
    admin.wait_for_client();
    let (outcome, packets) = running.packets();
    assert!(
        packets.is_empty() && !outcome.stderr.contains("rror"),
        "{}",
        outcome.explain()
    );
    admin.wait_until_free();
}

#[test]
fn a_busy_tap_shows_its_packets() {
    let (home, admin) = (Home::installed(), Admin::new(&["other", "my_tap"]));
    let running = home.capture(
        &admin.url(),
        &[
            "-o",
            "extcap.envoy_tap.configid:my_tap",
            "-o",
            "extcap.envoy_tap.maxbytes:77",
        ],
    );
    admin.wait_for_client();
    admin.send(&streamed());
    let (outcome, packets) = running.packets();
    assert_eq!(packets.len(), 2, "{packets:?}{}", outcome.explain());
    let asked = admin.asked();
    assert!(
        asked.contains("\"my_tap\"") && asked.contains(":77"),
        "{asked}"
    );
    admin.wait_until_free();
    // The plugin is also installed.
    let shown = home
        .tshark()
        .arg("-r")
        .arg(home.0.path("live.pcapng"))
        .run()
        .exits(0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("Magic, SETTINGS[0]"), "{shown}");
}

#[test]
fn a_capture_is_redacted_as_the_dialog_says() {
    let events = vec![
        Ev::new(
            What::Read,
            0,
            "GET /a HTTP/1.1\r\nCookie: a-secret-cookie\r\nX-Token: a-secret-token\r\n\r\n",
        ),
        Ev::new(
            What::Write,
            1000,
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\na long body",
        ),
    ];
    let bytes = Made::v4(events).encode(Form::StreamedJson).bytes;
    let cases = [
        (
            &["redact:fields"][..],
            &["a-secret-token", "a long body"][..],
        ),
        (&["redactfields:x-token"], &["a long body"]),
        (&["redact:bodies", "redactfields:X-Token"], &[]),
    ];
    for (preferences, kept) in cases {
        let (home, admin) = (Home::installed(), Admin::new(&["my_tap"]));
        let preferences: Vec<_> = preferences
            .iter()
            .flat_map(|preference| ["-o".to_owned(), format!("extcap.envoy_tap.{preference}")])
            .collect();
        let preferences: Vec<_> = preferences.iter().map(String::as_str).collect();
        let running = home.capture(&admin.url(), &preferences);
        admin.wait_for_client();
        admin.send(&bytes);
        let (outcome, packets) = running.packets();
        assert_eq!(packets.len(), 2, "{packets:?}{}", outcome.explain());
        let capture = fs::read(home.0.path("live.pcapng")).unwrap();
        let text = String::from_utf8_lossy(&capture);
        for secret in ["a-secret-cookie", "a-secret-token", "a long body"] {
            assert_eq!(
                text.contains(secret),
                kept.contains(&secret),
                "{preferences:?}: {secret}"
            );
        }
        assert!(text.contains("GET /a HTTP/1.1\r\nCookie: "), "{text}");
    }
}

#[test]
fn an_admin_interface_that_is_missing_is_one_clear_line() {
    let line = Home::installed().capture("http://127.0.0.1:1", &[]).error();
    assert!(
        line.contains("Connection refused") && line.contains("http://127.0.0.1:1"),
        "{line}"
    );
}

#[test]
fn a_taken_tap_is_one_clear_line() {
    let (home, admin) = (Home::installed(), Admin::new(&["my_tap"]));
    let first = home
        .0
        .capture2pcap()
        .args(["--tap", &admin.url(), "-"])
        .start();
    admin.wait_for_client();
    let line = home.capture(&admin.url(), &[]).error();
    assert!(line.contains(TAKEN), "{line}");
    admin.end();
    first.finish().exits(0);
}

#[test]
fn a_wrong_id_is_one_clear_line_with_the_right_ones() {
    let (home, admin) = (Home::installed(), Admin::new(&["one", "two"]));
    let line = home
        .capture(&admin.url(), &["-o", "extcap.envoy_tap.configid:nope"])
        .error();
    assert!(
        line.contains("Unknown config id 'nope'") && line.contains("one, two"),
        "{line}"
    );
}

/// Envoy answers with a long list of its commands.
#[test]
fn an_envoy_without_taps_is_one_clear_line() {
    let home = Home::installed();
    let admin = Admin::at("127.0.0.1:0", "/elsewhere", &["my_tap"], None);
    let url = format!("http://{}", admin.address);
    let line = home
        .capture(&url, &["-o", "extcap.envoy_tap.configid:my_tap"])
        .error();
    assert!(
        line.contains("404") && line.contains("invalid path"),
        "{line}"
    );
}

#[test]
fn invalid_options_are_one_clear_line() {
    let home = Home::installed();
    let line = home.capture("https://localhost:9901", &[]).error();
    assert!(
        line.contains("an https URL, which is not supported"),
        "{line}"
    );
    let line = home
        .capture(
            "http://127.0.0.1:1",
            &["-o", "extcap.envoy_tap.tapconfig:/no/such.yaml"],
        )
        .error();
    assert!(line.contains("/no/such.yaml: cannot read"), "{line}");
}

/// Recording everything instead would silently give a wrong capture.
#[test]
fn a_capture_filter_is_refused() {
    let scratch = Scratch::new();
    let filter = |filter: &str| {
        let args = [
            "--capture",
            "--extcap-interface",
            "envoy-tap",
            "--extcap-capture-filter",
            filter,
        ];
        scratch.capture2pcap().args(args).run()
    };
    filter("tcp port 80").exits(1).says(["no capture filters"]);
    filter("").exits(0).says_nothing();
}
