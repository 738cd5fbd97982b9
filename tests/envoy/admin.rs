//! Taps of the admin interface, piped into the converter's standard input.
//!
//! An attached tap records only connections that are opened after it has reached Envoy's workers, and Envoy does not
//! report when that is. So runs of traffic are repeated until the first one is in the capture of a streaming tap. The tap
//! ends when the last run is in the capture. A buffering tap ends after its number of traces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{ADMIN_HTTP, ADMIN_SOCKET, request};
use crate::harness::{GUARD, wait_until};
use crate::lab::Envoy;
use crate::traffic::{Client, Speak};
use crate::variant::{Variant, to_admin};

/// The results of one attached tap.
pub(crate) struct Tapped {
    /// The listener.
    pub(crate) id: &'static str,
    pub(crate) variant: Variant,
    pub(crate) capture: PathBuf,
    /// The messages of the converter.
    pub(crate) stderr: String,
}

impl Tapped {
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.id, self.variant.name())
    }
}

/// The number of traces after which a buffering tap ends: more than those of one run.
pub(crate) const TRACES: usize = 7;

/// The marks of the runs of a streaming tap: until it is known to record, while it does, and the one with which it ends.
pub(crate) const FIRST: &str = "first";
pub(crate) const WHOLE: &str = "whole";
pub(crate) const LAST: &str = "last";
/// The mark of the runs of a buffering tap.
pub(crate) const ANY: &str = "any";

/// The time without output after which a tap is assumed to have sent everything.
const QUIET: Duration = Duration::from_secs(1);

/// `curl … /tap | capture2pcap - -`
struct Attached {
    curl: Child,
    converter: Child,
    capture: PathBuf,
    errors: PathBuf,
}

impl Attached {
    fn new(dir: &Path, name: &str, envoy: &Envoy, body: &str) -> Self {
        let path = |extension| dir.join(format!("{name}.{extension}"));
        let (asked, head, capture, errors) = (path("ask"), path("head"), path("pcap"), path("err"));
        fs::write(&asked, body).expect("the request");
        let attach = || {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let curl = Command::new("curl")
                .args(["-q", "-sN", "--noproxy", "*", "-D"])
                .arg(&head)
                .arg("--data-binary")
                .arg(format!("@{}", asked.display()))
                .arg(format!("http://{}/tap", envoy.admin))
                .stdin(Stdio::null())
                .stdout(writer)
                .spawn();
            (curl.expect("curl"), reader)
        };
        let answer = || fs::read_to_string(&head).unwrap_or_default();
        // Envoy may not have noticed yet that the tap before has ended.
        let (curl, reader) = loop {
            let _ = fs::remove_file(&head);
            let (mut curl, reader) = attach();
            wait_until("an answer from /tap", || answer().contains("\r\n\r\n"));
            if answer().starts_with("HTTP/1.1 200 ") {
                break (curl, reader);
            }
            let _ = curl.kill();
            curl.wait().expect("a status");
            assert!(
                answer().starts_with("HTTP/1.1 400 "),
                "{name}: {}",
                answer()
            );
        };
        let create = |path| File::create(path).expect("a file");
        let converter = Command::new(env!("CARGO_BIN_EXE_capture2pcap"))
            .args(["-", "-"])
            .stdin(reader)
            .stdout(create(&capture))
            .stderr(create(&errors))
            .spawn()
            .expect("the converter");
        Self {
            curl,
            converter,
            capture,
            errors,
        }
    }

    /// Repeats `work` until the capture contains `mark`.
    fn until_it_holds(&mut self, mark: &str, mut work: impl FnMut()) {
        let begun = Instant::now();
        let holds = || {
            let file = fs::read(&self.capture).expect("the capture");
            memchr::memmem::find(&file, mark.as_bytes()).is_some()
        };
        while !holds() {
            assert!(begun.elapsed() < GUARD, "waited in vain for {mark}");
            work();
            thread::sleep(Duration::from_millis(20));
        }
        for (what, child) in [
            ("curl", &mut self.curl),
            ("the converter", &mut self.converter),
        ] {
            let ended = child.try_wait().expect("a status");
            assert!(ended.is_none(), "{what} ended before {mark}: {ended:?}");
        }
    }

    fn has_ended(&mut self) -> bool {
        self.curl.try_wait().expect("a status").is_some()
    }

    /// Disconnects once no more output comes, and waits for the converter to end successfully.
    fn finish(mut self, name: &str) -> (PathBuf, String) {
        // A message in transit would be cut, which is damage.
        let size = || fs::metadata(&self.capture).expect("the capture").len();
        let (mut last, mut since) = (size(), Instant::now());
        while since.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(20));
            if size() != last {
                (last, since) = (size(), Instant::now());
            }
        }
        let _ = self.curl.kill();
        self.curl.wait().expect("a status");
        let status = self.converter.wait().expect("a status");
        let stderr = fs::read_to_string(&self.errors).expect("its messages");
        assert!(status.success(), "{name}: {status}: {stderr}");
        (self.capture, stderr)
    }
}

/// Records with each variant of both kinds of taps.
pub(crate) fn record(dir: &Path, client: &Client, envoy: &Envoy) -> Vec<Tapped> {
    let mut all = Vec::new();
    for id in [ADMIN_SOCKET, ADMIN_HTTP] {
        let base = format!("http://{}", envoy.servers[id]);
        for variant in to_admin() {
            let name = format!("{id}_{}", variant.name());
            let body = request(id, variant, TRACES).to_string();
            let mut attached = Attached::new(dir, &name, envoy, &body);
            // Strings would lose bytes of HTTP/2.
            let lossy = id == ADMIN_SOCKET && variant.is_string();
            let other = if lossy { Speak::Http1 } else { Speak::Http2 };
            let mut runs = 0;
            let mut run = |speak, mark: &str| {
                runs += 1;
                let run = format!("{name}-{mark}-{runs}");
                client.curl(speak, &base, &[], &run, variant.is_string());
            };
            if variant.streamed {
                let mark = |mark| format!("{name}-{mark}");
                attached.until_it_holds(&mark(FIRST), || run(Speak::Http1, FIRST));
                for speak in [Speak::Http1, other, Speak::Http1] {
                    run(speak, WHOLE);
                }
                run(Speak::Http1, LAST);
                attached.until_it_holds(&mark(LAST), || ());
            } else {
                let begun = Instant::now();
                for speak in [Speak::Http1, other].into_iter().cycle() {
                    run(speak, ANY);
                    if attached.has_ended() {
                        break;
                    }
                    assert!(
                        begun.elapsed() < GUARD,
                        "{name}: no end after {TRACES} traces"
                    );
                }
            }
            let (capture, stderr) = attached.finish(&name);
            all.push(Tapped {
                id,
                variant,
                capture,
                stderr,
            });
        }
    }
    all
}
