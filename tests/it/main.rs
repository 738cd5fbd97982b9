//! The integration tests: one binary that runs the program on traces, with a module for each theme.
//!
//! `tests/run.sh` installs the programs that they need (tshark, capinfos, tcpdump and others) and runs them.

// Tests fail with a panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use support::{fixtures, harness, judge, pcap, pdml, tree};

// What the themes share.

/// A fake of Envoy's admin interface.
mod admin;

/// Makes traces, in every encoding of every release of Envoy.
mod make;

// The themes.

/// Addresses that are missing, or that a packet cannot carry.
mod addresses;

/// Broken input, and files that cannot be read or written: a clear message, never a panic.
mod bad;

/// Many traces, with one capture each.
mod batch;

/// Events of one packet, and of many packets.
mod big;

/// Handshakes and ends of connections, and truncated events.
mod conversation;

/// Compressed traces.
mod compressed;

/// The completion scripts, each in its shell.
mod completions;

/// Byte counts of Envoy that contradict the events.
mod counts;

/// Traces that are cut at the end.
mod cut;

/// Every capture, checked by tshark, capinfos and tcpdump.
mod dissect;

/// Traces that change while they are read.
mod changing;

/// Faults of the system: full disks, closed pipes, missing permissions, large folders.
mod faults;

/// The safety of files: no incomplete capture, no lost file, no file that others may read.
mod files;

/// Fields of newer releases of Envoy.
mod fields;

/// Several processes: the commands of docs/fleet.md.
mod fleet;

/// Single events, decoded again from their locations.
mod located;

/// Bytes that Envoy did not record, with a known count.
mod losses;

/// Truncated events without a recorded size.
mod unknown_sizes;

/// Attacks by a hostile trace or a hostile name, and docs/security.md, which lists the defences.
mod hostile;

/// The contents of traces, reported by `--info`.
mod info;

/// The objects that `--json` prints.
mod json;

/// The manual page and the help.
mod manual;

/// Messages with their fields in any order.
mod order;

/// The README's commands and configurations.
mod readme;

/// The metadata in pcapng captures.
mod pcapng;

/// Many traces in one capture.
mod merge;

/// Properties of all lists of events, and of all prefixes of the recordings.
mod properties;

/// Damage in JSON and text, after which the trace continues.
mod resume;

/// Which connection an event belongs to, and the order of its events.
mod sequence;

/// The transcript in Envoy's documentation.
mod transcript;

/// `--redact`, which overwrites secret values.
mod redact;

/// Messages of the tap service (gRPC).
mod service;

/// Damage in the middle, and error messages of Envoy between messages.
mod failed;

/// Unusual HTTP messages: very large, incomplete, or invalid in HTTP/2.
mod http;

/// Stand-in addresses in Wireshark's view.
mod standins;

/// Signals, during a batch and a merge.
mod signals;

/// Standard input and standard output.
mod stdio;

/// Output on a terminal.
mod terminal;

/// HTTP exchanges, and the connections that they share.
mod streams;

/// Files that are not traces, and how they are named in messages.
mod not_traces;

/// HTTP taps, compared with tshark's view of their captures.
mod taps;

/// Impossible times.
mod times;

/// UDP.
mod udp;

/// Command lines that are invalid or probably mistaken.
mod usage;

/// Every recording, compared with the packets on the wire.
mod wire;

/// Traces in the output of other tools: logs, prompts, prefixes, terminals.
mod wrapped;

/// Live taps.
mod live;

/// The Lua plugin for Wireshark.
mod plugin;

/// The program as Wireshark's capture interface, and its installation.
mod extcap;

/// Wireshark and tshark as viewers.
mod viewer;

/// The readers of captures, which have to find faults.
mod readers;
