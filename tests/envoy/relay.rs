//! A Unix socket in front of Envoy's. It records the bytes that pass, because tcpdump cannot.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use crate::connection::{Connection, Flow};

type Pump = JoinHandle<Flow>;

/// A listener between clients and Envoy.
pub(crate) struct Relay(Arc<Mutex<Vec<[Pump; 2]>>>);

impl Relay {
    /// Listens at `path` and passes each connection on to `envoy`.
    pub(crate) fn start(path: &Path, envoy: &Path) -> Self {
        let listener =
            UnixListener::bind(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let envoy = envoy.to_owned();
        let pumps = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&pumps);
        thread::spawn(move || {
            for client in listener.incoming() {
                // Under the lock, so that `connections` misses no accepted connection.
                let mut pumps = shared.lock().expect("no panic holds it");
                let client = client.expect("a connection");
                let server = UnixStream::connect(&envoy).expect("Envoy's socket");
                let clone = |stream: &UnixStream| stream.try_clone().expect("a clone");
                let (back, forth) = (clone(&server), clone(&client));
                pumps.push([pump(client, server), pump(back, forth)]);
            }
        });
        Self(pumps)
    }

    /// The recorded connections, once they have ended.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let pumps = std::mem::take(&mut *self.0.lock().expect("no panic holds it"));
        let nowhere = SocketAddr::from(([0; 4], 0));
        let ended = pumps.into_iter().zip(0..);
        ended
            .map(|(pumps, stream)| Connection {
                stream,
                ends: [nowhere; 2],
                flows: pumps.map(|pump| pump.join().expect("a pump")),
                remarks: Vec::new(),
            })
            .collect()
    }
}

/// Copies one direction to its end.
fn pump(mut from: UnixStream, mut to: UnixStream) -> Pump {
    thread::spawn(move || {
        let mut flow = Flow::default();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            flow.push(&buffer[..n], now.expect("after 1970").as_nanos() as u64);
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        // The other side may have closed the connection already.
        let _ = to.shutdown(Shutdown::Write);
        flow
    })
}
