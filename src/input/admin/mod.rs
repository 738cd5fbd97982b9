//! Envoy's admin interface: requests events from `/tap`, and returns the response as an input.
//!
//! This module owns the HTTP exchange and its thread, and does not decode the bytes. The thread reads the response and
//! writes it to a socket. The reader of that socket can wait for bytes and for signals at once, as with any other stream.
//!
//! Invariant: a response that is not a stream of traces never reaches the input. It becomes an [`Error`] with Envoy's
//! own message.

mod config;
mod url;

pub use config::config_ids;
pub use url::Url;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use config::only_config_id;

use super::Input;
use crate::interrupt::Interrupt;

/// How much of each event Envoy records by default, in bytes each way.
pub const DEFAULT_MAX_BYTES: u32 = 1 << 20;
/// The default address of Envoy's admin interface: the one in Envoy's own examples.
pub const DEFAULT_URL: &str = "http://localhost:9901";
/// The timeout for opening a connection to the admin interface.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for a whole response to `/config_dump`, and for the start of one to `/tap`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error response is kept for the message, in bytes.
const MAX_MESSAGE: u64 = 64 << 10;
/// The size of a read from the response, in bytes.
const PIECE: usize = 64 << 10;
/// How often a signal is checked for while a response is awaited.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(20);

/// Why a tap could not be started, or has ended.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// What the user can do about it, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The request to `/tap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Every connection of a tap.
    Any {
        /// The tap's `config_id`; `None` for Envoy's only tap.
        config_id: Option<String>,
        /// How much of each event is recorded, in bytes each way.
        max_bytes: u32,
    },
    /// The body of the request, as the user wrote it.
    Body(String),
}

impl Request {
    /// The body that records every connection of the tap `config_id`.
    fn body(config_id: &str, max_bytes: u32) -> String {
        json!({
            "config_id": config_id,
            "tap_config": {
                "match": { "any_match": true },
                "output_config": {
                    "streaming": true,
                    "max_buffered_rx_bytes": max_bytes,
                    "max_buffered_tx_bytes": max_bytes,
                    "sinks": [{ "format": "JSON_BODY_AS_BYTES", "streaming_admin": {} }],
                },
            },
        })
        .to_string()
    }

    /// Refuses a body that is known to make Envoy abort.
    fn check(body: &str) -> Result<(), Error> {
        // A plain search: the names may be in any order, in YAML or JSON. If they are only in a comment, the refusal
        // is harmless.
        if body.contains("streaming_admin") && body.contains("PROTO_") {
            return Err(Error::new(
                "a streaming_admin sink with a PROTO format makes Envoy abort; nothing was sent",
            )
            .with_hint("set the sink's format to JSON_BODY_AS_BYTES"));
        }
        Ok(())
    }
}

/// How much has been received so far.
#[derive(Debug, Default)]
pub struct TapProgress {
    /// The number of connections with events.
    pub connections: AtomicU64,
    /// The number of events: bytes received, bytes sent, connections closed.
    pub events: AtomicU64,
    /// The payload in bytes, both ways together.
    pub bytes: AtomicU64,
}

/// A stream of events from Envoy, which may not have begun yet.
#[derive(Debug)]
pub struct Tap {
    url: Url,
    reader: UnixStream,
    /// Why the stream ended, if Envoy did not end it in the regular way.
    failure: Arc<Mutex<Option<Error>>>,
    /// How much has been received so far.
    pub progress: TapProgress,
}

/// A tap is equal only to itself.
impl PartialEq for Tap {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Tap {}

impl Tap {
    /// Requests a tap in the background. The input exists at once, and stays empty if the request fails.
    ///
    /// # Errors
    /// Those of creating the socket and the thread.
    pub fn start(url: Url, request: Request) -> io::Result<Self> {
        Self::begin(url, request).map(|(tap, _)| tap)
    }

    /// Requests a tap, and returns once Envoy has attached it. Returns `None` if a signal arrives before that.
    ///
    /// # Errors
    /// When Envoy has no such tap, or the admin interface cannot be reached.
    pub fn attach(
        url: Url,
        request: Request,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Self>> {
        let (tap, attached) = Self::begin(url, request).context("cannot start")?;
        loop {
            match attached.recv_timeout(SIGNAL_INTERVAL) {
                Ok(()) => return Ok(Some(tap)),
                Err(mpsc::RecvTimeoutError::Timeout) if interrupt.signal().is_none() => {}
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let failure = tap.failure();
                    return Err(failure
                        .unwrap_or_else(|| Error::new("the tap ended"))
                        .into());
                }
            }
        }
    }

    fn begin(url: Url, request: Request) -> io::Result<(Self, mpsc::Receiver<()>)> {
        let (reader, writer) = UnixStream::pair()?;
        let failure = Arc::new(Mutex::new(None));
        let (attach, attached) = mpsc::channel();
        let tap = Self {
            url: url.clone(),
            reader,
            failure: Arc::clone(&failure),
            progress: TapProgress::default(),
        };
        thread::Builder::new().name("tap".into()).spawn(move || {
            let mut writer = writer;
            let done = stream(&url, &request, &mut writer, &attach);
            if let Err(error) = done {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            // After the failure is stored: a reader that sees the end of the input, or a closed channel, then finds
            // the reason.
            let _ = writer.shutdown(Shutdown::Write);
            drop(attach);
        })?;
        Ok((tap, attached))
    }

    /// The bytes that Envoy sends.
    ///
    /// # Errors
    /// Those of creating the socket and the thread.
    pub fn input(&self) -> io::Result<Input> {
        Input::from_file(File::from(OwnedFd::from(self.reader.try_clone()?)))
    }

    /// Why the input ended, if Envoy did not end it in the regular way. Only the first call returns it.
    pub fn failure(&self) -> Option<Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

/// The URL of the request.
impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/tap", self.url)
    }
}

/// Requests a tap, and copies the response to `writer` until either side ends.
fn stream(
    url: &Url,
    request: &Request,
    writer: &mut UnixStream,
    attach: &mpsc::Sender<()>,
) -> Result<(), Error> {
    let body = match request {
        Request::Body(body) => body.clone(),
        Request::Any {
            config_id: Some(id),
            max_bytes,
        } => Request::body(id, *max_bytes),
        Request::Any {
            config_id: None,
            max_bytes,
        } => Request::body(&only_config_id(url)?, *max_bytes),
    };
    Request::check(&body)?;
    let response = agent()
        .post(format!("{url}/tap"))
        .config()
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .build()
        .content_type("application/yaml")
        .send(&body)
        .map_err(|error| failed(url, &error))?;
    let status = response.status();
    let mut body = response.into_body().into_reader();
    if status != 200 {
        return Err(refusal(url, status.as_u16(), &message(&mut body)));
    }
    let _ = attach.send(());
    let mut piece = vec![0; PIECE];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                // The reader has closed its end: the conversion is over.
                if writer
                    .write_all(piece.get(..n).unwrap_or_default())
                    .is_err()
                {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::new(format!(
                    "the tap was cut off: {}",
                    plain(&error)
                )));
            }
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A web proxy does not reach the admin interface, which is on this host or in its network.
        .proxy(None)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .user_agent(concat!("capture2pcap/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// The beginning of an error response, as text.
fn message(body: &mut impl io::Read) -> String {
    let mut bytes = Vec::new();
    // If the read fails, the bytes before that are still worth showing.
    let _ = body.take(MAX_MESSAGE).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// The error for a response with a status other than 200.
fn refusal(url: &Url, status: u16, text: &str) -> Error {
    let error = Error::new(match text {
        "" => format!("Envoy answers {status} without a reason"),
        _ => format!("Envoy answers {status}: {text}"),
    });
    if text.contains("already exists") {
        return error.with_hint("Envoy serves one client of /tap at a time: end the other one");
    }
    if text.contains("config id") {
        return match config_ids(url) {
            Ok(ids) if !ids.is_empty() => error.with_hint(format!("its taps: {}", ids.join(", "))),
            _ => error,
        };
    }
    match status {
        404 => error.with_hint(
            "Envoy serves /tap only if a tap has an admin_config: see docs/envoy/admin.yaml",
        ),
        _ => error,
    }
}

/// The error for a request without a response.
fn failed(url: &Url, error: &ureq::Error) -> Error {
    let error = match error {
        ureq::Error::Io(error) => Error::new(format!("cannot connect: {}", plain(error))),
        ureq::Error::HostNotFound => Error::new("cannot connect: unknown host"),
        ureq::Error::Timeout(_) => Error::new("no answer in time"),
        ureq::Error::Protocol(error) => Error::new(format!("the answer is not HTTP: {error}")),
        error => Error::new(format!("cannot send the request: {error}")),
    };
    error.with_hint(format!(
        "check that Envoy's admin interface is at {url}; admin.address in its bootstrap sets that"
    ))
}

/// The text of a system error, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
