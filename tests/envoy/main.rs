//! A real Envoy records its own traffic while tcpdump records the packets. The captures have to equal the packets.
//!
//! `tests/envoy/run.sh` installs an Envoy, and runs these tests; `cargo test` alone does not. Each theme prints what it
//! has compared.

// Tests fail with a panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use support::{harness, judge, pcap, pdml, tree};

// The recording.

/// Taps of the admin interface.
mod admin;

/// Envoy's configuration.
mod config;

/// Processes that live as long as the recording.
mod daemon;

/// The recording: all processes, and their results.
mod lab;

/// The upstream server.
mod origin;

/// Relays for Unix sockets.
mod relay;

/// The clients.
mod traffic;

/// The places of taps, and their formats.
mod variant;

// The comparison.

/// Compares captures with the wire.
mod compare;

/// Connections, by tshark.
mod connection;

/// HTTP exchanges on the wire.
mod exchange;

/// The packets on the wire.
mod wire;

// The themes.

/// Captures of taps of the admin interface.
mod attached;

/// Taps of HTTP exchanges, into files.
mod http;

/// Secrets in traces, and captures without them.
mod redact;

/// Taps of connections, into files.
mod sockets;
