//! Secrets that curl sends through Envoy are in its traces, but not in redacted captures.

use std::fs;
use std::path::Path;

use crate::harness::{Run, http2_on, tshark_run};
use crate::judge::http2_ports;
use crate::lab::lab;
use crate::pcap::Capture;
use crate::traffic::{COOKIE, TOKEN};
use crate::variant::{Place, to_files};

/// tshark's decoded view of a capture.
fn shown(path: &Path) -> String {
    let ports = http2_ports(&Capture::read(path));
    let outcome = tshark_run(http2_on(path, ports)).arg("-V").run().exits(0);
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

#[test]
fn secrets_are_only_in_traces() {
    let lab = lab();
    let mut found = 0;
    for place in [Place::V4, Place::Tls, Place::Upstream, Place::Http] {
        // Strings lose bytes of HTTP/2, so that tshark cannot decode it.
        for variant in to_files()
            .into_iter()
            .filter(|variant| !variant.is_string())
        {
            for trace in lab.traces(place, variant) {
                let name = trace.file_name().expect("a name").to_string_lossy();
                let convert = |options: &[&str], end: &str| {
                    let capture = lab.dir.join(format!("{name}.{end}.pcap"));
                    let run = Run::new(env!("CARGO_BIN_EXE_capture2pcap")).args(options);
                    run.arg("-q").arg(&trace).arg(&capture).run().exits(0);
                    capture
                };
                let (plain, redacted) = (convert(&[], "plain"), convert(&["--redact"], "redacted"));
                let length = |path| fs::metadata(path).expect("a capture").len();
                assert_eq!(length(&plain), length(&redacted), "{name}");
                let (before, after) = (shown(&plain), shown(&redacted));
                found += usize::from(before.contains(TOKEN) && before.contains(COOKIE));
                for secret in [TOKEN, COOKIE] {
                    for part in secret.as_bytes().windows(8) {
                        let part = str::from_utf8(part).expect("ASCII");
                        assert!(!after.contains(part), "{name}: {part}");
                    }
                }
                assert_eq!(before.lines().count(), after.lines().count(), "{name}");
            }
        }
    }
    assert!(found > 20, "{found} traces with secrets");
    println!("redact: {found} traces whose secrets are in no capture");
}
