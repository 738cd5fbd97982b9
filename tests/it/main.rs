//! The integration tests: one binary that runs the program on traces, a module a theme.
//!
//! `tests/run.sh` installs what they need (tshark, capinfos, tcpdump) and runs them.

// A test fails by a panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

// What the themes share.

/// Runs the program and the tools that judge it.
mod harness;

/// The recordings under testdata/, and what is to be expected of each.
mod fixtures;

/// What makes tshark a judge.
mod judge;

/// Traces made by hand, in every encoding that Envoy ever wrote.
mod make;

/// Captures and packets, read without the help of the code under test.
mod pcap;

/// What tshark shows of HTTP/2.
mod pdml;

/// HTTP traces, read without the help of the code under test.
mod tree;

/// An admin interface like Envoy's.
mod admin;

// The themes.

/// Addresses that a trace lacks, or that no packet can carry.
mod addresses;

/// Broken input, and files that cannot be: a clear message, never a panic.
mod bad;

/// Many traces, one capture each.
mod batch;

/// Events that fill one packet, or many.
mod big;

/// How a conversation opens and ends, and what Envoy cut out of it.
mod conversation;

/// Compressed traces.
mod compressed;

/// The completion scripts, in their shells.
mod completions;

/// Envoy's count where it does not fit.
mod counts;

/// Traces that end too early.
mod cut;

/// What tshark, capinfos and tcpdump say to every capture.
mod dissect;

/// Traces that change while they are read.
mod changing;

/// What a system does to a process: full disks, readers that go away, rights that lack, large folders.
mod faults;

/// The safety of files: nothing half written, nothing lost, nothing shown to others.
mod files;

/// What newer Envoys write beside the events.
mod fields;

/// More than one process: what docs/fleet.md says.
mod fleet;

/// Single events, decoded again from where they lie.
mod located;

/// What Envoy did not keep: counted, and given its place.
mod losses;

/// Cuts whose size no trace records.
mod cuts;

/// What a hostile trace, or a hostile name, could try; and docs/security.md, which tells what stops it.
mod hostile;

/// What a trace holds, as `--info` tells it.
mod info;

/// The objects that `--json` prints.
mod json;

/// The man page and the help.
mod manual;

/// Members of a message in any order.
mod order;

/// The README's commands and configurations.
mod readme;

/// What pcapng tells beside the packets.
mod pcapng;

/// Many traces, one capture.
mod merge;

/// What holds for any list of events, and for every beginning of every recording.
mod properties;

/// Damage in JSON and text, after which the trace goes on.
mod resume;
/// Which connection an event belongs to, and the order of its events.
mod sequence;

/// The transcript in Envoy's documentation.
mod seed;

/// `--redact`: what is overwritten, and what is not.
mod redact;

/// The messages of a tap service.
mod service;

/// Damage in the middle, and what Envoy writes where it fails.
mod failed;

/// HTTP messages at their limits.
mod http;

/// Stand-ins as a reader sees them.
mod standins;

/// Signals, in a batch and in a merge.
mod signals;

/// Standard input and standard output.
mod stdio;

/// What a person at a terminal sees.
mod terminal;

/// HTTP exchanges on their connections.
mod streams;

/// What is no trace.
mod strangers;

/// HTTP taps, and what tshark shows of them.
mod taps;

/// Times that cannot be.
mod times;

/// Datagrams.
mod udp;

/// Command lines that make no sense, or less than they seem to.
mod usage;

/// Every trace against the packets that were on the wire.
mod wire;

/// What people's tools put around a trace.
mod wrapped;

/// Events live from Envoy's admin interface.
mod live;

/// The Lua plugin for Wireshark.
mod plugin;

/// The program as Wireshark's capture interface, and what installs it.
mod extcap;

/// Wireshark and tshark as viewers.
mod viewer;
