//! The clients: curl for HTTP, with the expected responses, and Python's client for gRPC.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Run;
use crate::origin::{bytes, text};

/// Secrets that are sent with each request.
pub(crate) const TOKEN: &str = "k3-Vq9_Zx7.eyJzdWIiOiIxMjM0NTY3ODkwIn0";
pub(crate) const COOKIE: &str = "dGhpcyBpcyBhIHNlc3Npb24h";

/// The protocol of curl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speak {
    Http1,
    Http2,
}

/// Bodies that are sent, in files.
pub(crate) struct Client {
    text: PathBuf,
    bytes: PathBuf,
    /// The file for the TLS keys.
    keys: PathBuf,
}

/// The lengths of request bodies: one fits into a packet and an event, the other does not.
const SENT_TEXT: usize = 2_000;
const SENT_BYTES: usize = 20_000;

impl Client {
    /// Writes the bodies into `dir`.
    pub(crate) fn new(dir: &Path, keys: &Path) -> Self {
        let write = |name: &str, body: &[u8]| {
            let path = dir.join(name);
            fs::write(&path, body).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            path
        };
        Self {
            text: write("text", &text(SENT_TEXT)),
            bytes: write("bytes", &bytes(SENT_BYTES)),
            keys: keys.to_owned(),
        }
    }

    /// Sends the requests of a run, and checks the responses.
    ///
    /// `base` is the URL without its path, `to` are curl's options for the connection, and `run` is sent as a header with
    /// each request. With `text`, all bodies are text.
    pub(crate) fn curl(&self, speak: Speak, base: &str, to: &[&str], run: &str, text: bool) {
        let get = |path, status, length| (path, None, format!("{status} {length}"));
        let post = |path, file, length| (path, Some(file), format!("200 {length}"));
        let mut requests = vec![
            post("/echo?text", &self.text, SENT_TEXT),
            get("/text/300", 200, 300),
            get("/missing", 404, 13),
        ];
        if !text {
            requests.insert(0, post("/echo?bytes", &self.bytes, SENT_BYTES));
            requests.insert(0, get("/bytes/70000", 200, 70_000));
        }
        // curl 7.88 of Debian 12 fails to reuse a connection that began as HTTP/2 without TLS. One body in each
        // direction is then enough.
        let together = speak == Speak::Http1 || base.starts_with("https");
        let each = if together { requests.len() } else { 1 };
        if !together {
            requests.truncate(2);
        }
        for requests in requests.chunks(each) {
            let mut args = vec!["-q".to_owned()];
            for (path, body, _) in requests {
                let version = match speak {
                    Speak::Http1 => "--http1.1",
                    Speak::Http2 if together => "--http2",
                    Speak::Http2 => "--http2-prior-knowledge",
                };
                let always = ["-sS", "--noproxy", "*", "-k", version, "-o", "/dev/null"];
                args.extend(always.iter().chain(to).map(|&arg| arg.to_owned()));
                args.extend(["-w", "%{http_code} %{size_download}\n", "-H"].map(str::to_owned));
                args.extend([format!("x-run: {run}"), format!("{base}{path}")]);
                let secrets = [
                    format!("authorization: Bearer {TOKEN}"),
                    format!("cookie: session={COOKIE}"),
                ];
                args.extend(
                    secrets
                        .into_iter()
                        .flat_map(|field| ["-H".to_owned(), field]),
                );
                let file = body.map(|path: &PathBuf| format!("@{}", path.display()));
                args.extend(
                    file.into_iter()
                        .flat_map(|file| ["--data-binary".to_owned(), file]),
                );
                args.push("--next".to_owned());
            }
            args.pop();
            let keys = self.keys.to_str().expect("a path in UTF-8");
            let curl = Run::new("curl").args(args).env("SSLKEYLOGFILE", keys);
            let outcome = curl.run().exits(0);
            let printed = String::from_utf8_lossy(&outcome.stdout);
            let expected = requests.iter().map(|(.., answer)| answer.as_str());
            let same = printed.lines().eq(expected);
            assert!(
                same,
                "{run}: other statuses or lengths{}",
                outcome.explain()
            );
        }
    }
}

/// Makes gRPC calls to each of `ports`.
pub(crate) fn grpc(python: &Path, script: &Path, run: &str, ports: impl IntoIterator<Item = u16>) {
    let program = python.to_str().expect("a path in UTF-8");
    let addresses = ports.into_iter().map(|port| format!("127.0.0.1:{port}"));
    Run::new(program)
        .arg(script)
        .args(["call", run])
        .args(addresses)
        .run()
        .exits(0);
}

/// The response of the admin interface.
pub(crate) fn admin(address: &str, path: &str) -> String {
    let outcome = Run::new("curl")
        .args(["-q", "-sSf", "--noproxy", "*"])
        .arg(format!("http://{address}{path}"))
        .run()
        .exits(0);
    String::from_utf8(outcome.stdout).expect("UTF-8")
}
