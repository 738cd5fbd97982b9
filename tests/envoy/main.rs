//! A real Envoy records its own traffic beside a tcpdump, and both have to tell the same.
//!
//! `tests/envoy/run.sh` gets an Envoy, and runs these tests; `cargo test` alone leaves them out. Each
//! theme prints what it has compared.

// A test fails by a panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

// What is shared with the other tests, where all of it is used.

/// The recordings under testdata/.
#[allow(dead_code)]
#[path = "../it/fixtures.rs"]
mod fixtures;

/// Runs the program and the tools that judge it.
#[allow(dead_code)]
#[path = "../it/harness.rs"]
mod harness;

/// What makes tshark a judge.
#[allow(dead_code)]
#[path = "../it/judge.rs"]
mod judge;

/// Captures and packets, read without the help of the code under test.
#[allow(dead_code)]
#[path = "../it/pcap.rs"]
mod pcap;

/// What tshark shows of HTTP/2.
#[allow(dead_code)]
#[path = "../it/pdml.rs"]
mod pdml;

/// HTTP traces, read without the help of the code under test.
#[allow(dead_code)]
#[path = "../it/tree.rs"]
mod tree;

// The recording.

/// Taps by way of the admin interface.
mod admin;

/// Envoy's configuration.
mod config;

/// Processes that live as long as the recording.
mod daemon;

/// Everything that is started, and what it gave.
mod lab;

/// The server behind Envoy.
mod origin;

/// What goes through a Unix socket.
mod relay;

/// The clients.
mod traffic;

/// Where taps are, and in which formats.
mod variant;

// What was recorded.

/// Captures against the wire.
mod compare;

/// Connections as tshark sees them.
mod connection;

/// HTTP exchanges on the wire.
mod exchange;

/// What was on the wire.
mod wire;

// The themes.

/// What came by way of the admin interface.
mod attached;

/// Taps of HTTP exchanges, into files.
mod http;

/// Secrets that went through Envoy, and captures without them.
mod redact;

/// Taps of connections, into files.
mod sockets;
