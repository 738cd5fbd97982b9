//! A fake of Envoy's admin interface, with `/tap` and `/config_dump`, whose responses the test sets.
//!
//! Its error messages are those of Envoy 1.40.0. It does not interpret the bytes that it streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::wait_until;

/// Envoy's response to a second client.
pub(crate) const TAKEN: &str = "An attached /tap admin stream already exists. Detach it.";

/// How often the connection to an attached client is checked.
const INTERVAL: Duration = Duration::from_millis(5);

/// The next item that is sent to an attached client.
enum Send {
    Bytes(Vec<u8>),
    /// The regular end of a response.
    End,
    /// The end of the connection in the middle of the response.
    Cut,
}

/// An admin interface.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    to_client: Sender<Send>,
}

struct Shared {
    prefix: String,
    ids: Vec<String>,
    /// The response of `/tap` in place of a stream.
    refusal: Option<String>,
    /// The bodies of the requests to `/tap`.
    asked: Mutex<Vec<String>>,
    attached: AtomicUsize,
    detached: AtomicUsize,
    chunks: Mutex<Receiver<Send>>,
}

impl Admin {
    /// Serves taps with these `config_id`s on a free port.
    pub(crate) fn new(ids: &[&str]) -> Self {
        Self::at("127.0.0.1:0", "", ids, None)
    }

    /// Answers `/tap` with `answer` in place of a stream.
    pub(crate) fn refusing(answer: &str) -> Self {
        Self::at("127.0.0.1:0", "", &["my_tap"], Some(answer))
    }

    pub(crate) fn at(address: &str, prefix: &str, ids: &[&str], refusal: Option<&str>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (to_client, chunks) = mpsc::channel();
        let shared = Arc::new(Shared {
            prefix: prefix.to_owned(),
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            refusal: refusal.map(str::to_owned),
            asked: Mutex::default(),
            attached: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            chunks: Mutex::new(chunks),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.expect("a client"), Arc::clone(&serving));
                thread::spawn(move || shared.serve(client));
            }
        });
        Self {
            address,
            shared,
            to_client,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.shared.prefix)
    }

    /// Sends bytes to the attached client, or to the next one that attaches.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.to_client
            .send(Send::Bytes(bytes.to_owned()))
            .expect("it lives");
    }

    pub(crate) fn end(&self) {
        self.to_client.send(Send::End).expect("it lives");
    }

    pub(crate) fn cut(&self) {
        self.to_client.send(Send::Cut).expect("it lives");
    }

    /// The body of the only request to `/tap`.
    pub(crate) fn asked(&self) -> String {
        let asked = self.shared.asked.lock().expect("no panic holds it");
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }

    #[track_caller]
    pub(crate) fn wait_for_client(&self) {
        wait_until("a client of /tap", || {
            self.shared.attached.load(Ordering::SeqCst) > 0
        });
    }

    /// Waits until all clients have disconnected.
    #[track_caller]
    pub(crate) fn wait_until_free(&self) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        wait_until("the end of the tap", || {
            count(&self.shared.attached) == count(&self.shared.detached)
        });
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        let Some((line, body)) = request(&mut client) else {
            return;
        };
        let path = format!("{}/", self.prefix);
        let answer = match line
            .strip_prefix("POST ")
            .and_then(|rest| rest.strip_prefix(&path))
        {
            Some(rest) if rest.starts_with("tap ") => return self.tap(client, &body),
            _ if line.starts_with(&format!("GET {path}config_dump ")) => {
                let taps = self.ids.iter().map(|id| {
                    format!(r#"{{"common_config": {{"admin_config": {{"config_id": "{id}"}}}}}}"#)
                });
                whole(
                    "200 OK",
                    &format!(r#"{{"configs": [{}]}}"#, taps.collect::<Vec<_>>().join(",")),
                )
            }
            _ => whole(
                "404 Not Found",
                "invalid path. admin commands are:\n  /: Admin home page\n",
            ),
        };
        let _ = client.write_all(answer.as_bytes());
    }

    fn tap(&self, mut client: TcpStream, body: &str) {
        self.asked
            .lock()
            .expect("no panic holds it")
            .push(body.to_owned());
        let known = self.ids.iter().find(|id| {
            body.contains(&format!("\"{id}\"")) || body.contains(&format!("config_id: {id}"))
        });
        let refusal = match (&self.refusal, known) {
            (Some(answer), _) => Some(answer.clone()),
            (None, None) => {
                let words = "Unknown config id 'nope'. No extension has registered with this id.";
                Some(whole("400 Bad Request", words))
            }
            _ if self.attached.load(Ordering::SeqCst) > self.detached.load(Ordering::SeqCst) => {
                Some(whole("400 Bad Request", TAKEN))
            }
            _ => None,
        };
        if let Some(answer) = refusal {
            let _ = client.write_all(answer.as_bytes());
            return;
        }
        self.attached.fetch_add(1, Ordering::SeqCst);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=UTF-8\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = client.write_all(head.as_bytes());
        self.stream(&mut client);
        self.detached.fetch_add(1, Ordering::SeqCst);
    }

    fn stream(&self, client: &mut TcpStream) {
        let chunks = self.chunks.lock().expect("no panic holds it");
        client.set_read_timeout(Some(INTERVAL)).expect("a timeout");
        loop {
            match chunks.try_recv() {
                Ok(Send::Bytes(bytes)) => {
                    let chunk =
                        [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                    if client.write_all(&chunk).is_err() {
                        return;
                    }
                }
                Ok(Send::End) => return drop(client.write_all(b"0\r\n\r\n")),
                Ok(Send::Cut) => return,
                Err(_) => {}
            }
            match client.read(&mut [0; 16]) {
                Ok(0) => return,
                Err(error)
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return;
                }
                _ => {}
            }
        }
    }
}

/// A complete response of Envoy.
pub(crate) fn whole(status: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=UTF-8\r\nserver: envoy\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
        text.len()
    )
}

/// The first line and the body of a request.
fn request(client: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                let line = head.lines().next().expect("a line").to_owned();
                return Some((line, body.to_owned()));
            }
        }
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend(&buffer[..n]),
        }
    }
}
