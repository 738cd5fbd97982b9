//! The command line: its options and their help. Opens no files.

mod request;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use capture2pcap::capture::DEFAULT_SNAPLEN;
use capture2pcap::model::event::Timestamp;
use capture2pcap::redact::{DEFAULT_NAMES, Names};
use capture2pcap::synth::AddressOverride;
use clap::{Parser, ValueEnum, ValueHint};

use crate::cli::live::LiveArgs;
use crate::cli::viewer::ViewerArgs;

pub(crate) use request::{Command, List, Request, Verbosity};

/// What `--version` prints; `-V` prints the version alone.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    env!("CAPTURE2PCAP_COMMIT"),
    "\nfeatures: ",
    env!("CAPTURE2PCAP_FEATURES"),
    "\ntarget: ",
    env!("CAPTURE2PCAP_TARGET")
);

/// Turn the tap traces that Envoy records into captures that Wireshark opens
#[derive(Debug, Parser)]
#[command(
    version,
    long_version = LONG_VERSION,
    about,
    long_about = "Turn the tap traces that Envoy records into captures that Wireshark opens.\n\n\
        Envoy's tap extension records the bytes that Envoy received and sent on a connection, decrypted. \
        capture2pcap reads these traces in every encoding and from every release since 1.7, and writes them \
        as packets: Ethernet, IPv4 or IPv6, TCP or UDP, with the original addresses, ports and times.",
    override_usage = "capture2pcap [OPTIONS] INPUT OUTPUT\n       \
        capture2pcap [OPTIONS] INPUT... DIRECTORY\n       \
        capture2pcap [OPTIONS] --merge INPUT... OUTPUT\n       \
        capture2pcap --info [--json] INPUT...\n       \
        capture2pcap --tap URL OUTPUT\n       \
        capture2pcap --open INPUT...",
    after_help = "Example:\n  capture2pcap path_0.pb path_0.pcap\n  \
        tshark -r path_0.pcap -d tcp.port==10000,http2 -P",
    max_term_width = 100
)]
pub(crate) struct Args {
    /// The traces, then the capture; - is standard input or output
    ///
    /// The last PATH is a folder for captures, one for each trace, if it is an existing folder or ends in /, or
    /// if there are several traces or a folder of traces. Folders are searched recursively for files that end in
    /// .pb, .pb_length_delimited, .pb_text or .json, optionally followed by .gz or .zst: compressed traces are
    /// unpacked while they are read.
    ///
    /// An existing capture is replaced only when the new one is complete; a trace is never overwritten. A device,
    /// FIFO or socket is written in place.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<OsString>,

    /// File format of the captures [default: by OUTPUT's extension, else pcap]
    ///
    /// pcapng adds an interface for each connection, packet directions, comments on missing bytes, and names.
    #[arg(
        short = 'F',
        long,
        value_name = "pcap|pcapng",
        hide_possible_values = true
    )]
    format: Option<FormatArg>,

    /// Time resolution of a pcap (a pcapng always has nanoseconds); micro rounds to the nearest
    #[arg(
        long,
        value_name = "micro|nano",
        default_value = "micro",
        hide_possible_values = true
    )]
    time_stamp_precision: PrecisionArg,

    /// Same as --time-stamp-precision nano
    #[arg(long, conflicts_with_all = ["time_stamp_precision", "micro"])]
    nano: bool,

    /// Same as --time-stamp-precision micro
    #[arg(long, conflicts_with = "time_stamp_precision")]
    micro: bool,

    /// Truncate packets to N bytes; records keep the original length (0: the default)
    #[arg(short, long, value_name = "N", value_hint = ValueHint::Other, default_value_t = DEFAULT_SNAPLEN, value_parser = values::snaplen)]
    snaplen: u32,

    /// Largest TCP payload of a packet, in bytes [default: what one IP packet holds]
    #[arg(long, value_name = "N", value_hint = ValueHint::Other, value_parser = values::mss)]
    mss: Option<u32>,

    /// Open connections with SYN, SYN-ACK, ACK and close them with FINs
    ///
    /// auto does so for every connection of a merge. Without --merge, it does so for every connection of a
    /// capture but the first, so that a single connection shows only what was recorded. Without a value: always.
    /// The value follows = or a space; write ./never for an input of that name.
    #[arg(
        long,
        value_name = "auto|always|never",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_value = "auto",
        default_missing_value = "always"
    )]
    handshake: HandshakeArg,

    /// Encoding of the traces
    ///
    /// auto detects it from the content. The file's extension decides only between encodings that the content
    /// allows.
    #[arg(
        long,
        value_name = "auto|binary|delimited|text|json",
        default_value = "auto",
        hide_possible_values = true
    )]
    input_format: InputFormat,

    /// Local address of connections without a recorded one [default: a documentation address]
    #[arg(long, value_name = "ADDR[:PORT]", value_hint = ValueHint::Other)]
    local: Option<AddressOverride>,

    /// Remote address of connections without a recorded one [default: a documentation address]
    #[arg(long, value_name = "ADDR[:PORT]", value_hint = ValueHint::Other)]
    remote: Option<AddressOverride>,

    /// Side of Envoy that the tapped connections are on [default: detected]
    #[arg(long, value_name = "downstream|upstream", hide_possible_values = true)]
    role: Option<RoleArg>,

    /// Time of the first event of a trace without times [default: 1970-01-01T00:00:00Z]
    ///
    /// The formats are editcap's: 2024-05-01T12:00:00Z, optionally with a fraction or an offset such as +02:00,
    /// or seconds since 1970. A time without Z or an offset is UTC. now is the current time.
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other, value_parser = values::start)]
    start: Option<Timestamp>,

    /// Overwrite the values of secret header fields, which keep their lengths
    ///
    /// The fields are authorization, proxy-authorization, cookie, set-cookie and x-api-key, and NAMES, separated by
    /// commas. Headers that cannot be decoded are overwritten as a whole. Paths, bodies and connections that are not
    /// HTTP are not overwritten.
    #[arg(
        long,
        value_name = "NAMES",
        value_hint = ValueHint::Other,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_NAMES[0]
    )]
    redact: Option<Names>,

    /// Same as --redact, and overwrite bodies and connections that are not HTTP, too
    #[arg(long)]
    redact_bodies: bool,

    /// Write no capture for a trace whose encoding is cut or corrupt
    ///
    /// Bodies that Envoy itself truncated do not count as damage.
    #[arg(long)]
    strict: bool,

    /// Read names of traces from FILE, one per line; - is standard input
    ///
    /// The names are appended to the traces on the command line. The last argument is still the output.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files_from: Option<PathBuf>,

    /// Names in FILE end with NUL instead of a newline, as find -print0 writes them
    #[arg(short = '0', requires = "files_from")]
    null: bool,

    /// Merge all traces into one capture, in time order
    ///
    /// Each connection opens with a handshake and closes with FINs, which separates connections that use the same
    /// endpoints one after the other. A connection that uses them at the same time as another one gets a
    /// different client port.
    #[arg(short, long)]
    merge: bool,

    /// Print what the traces hold: connections, protocol, events, bytes, times, losses, damage
    #[arg(long, conflicts_with = "merge")]
    info: bool,

    /// Print a JSON object for each trace, one per line
    ///
    /// With --info, the objects replace the table. A conversion prints an object for each capture, and --merge one for
    /// its capture. The section JSON of the manual page lists the members.
    #[arg(long)]
    json: bool,

    /// Threads for many traces [default: one per core]
    #[arg(short, long, value_name = "N", value_hint = ValueHint::Other, value_parser = values::jobs)]
    jobs: Option<u32>,

    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose", overrides_with = "quiet")]
    quiet: bool,

    /// Print each warning with its event, a line for each trace, and the contents of the captures
    #[arg(short, long, overrides_with = "verbose")]
    verbose: bool,

    #[command(flatten)]
    live: LiveArgs,

    #[command(flatten)]
    viewer: ViewerArgs,

    /// Print the man page, a completion script, or the Lua plugin that shows HTTP on any port
    #[arg(
        long,
        value_name = "man|bash|zsh|fish|powershell|wireshark",
        hide_possible_values = true,
        exclusive = true
    )]
    generate: Option<Generate>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Pcap,
    Pcapng,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionArg {
    Micro,
    Nano,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HandshakeArg {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InputFormat {
    Auto,
    Binary,
    Delimited,
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Downstream,
    Upstream,
}

/// What `--generate` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Generate {
    /// The man page, as roff
    Man,
    /// A completion script for bash
    Bash,
    /// A completion script for zsh
    Zsh,
    /// A completion script for fish
    Fish,
    /// A completion script for PowerShell
    Powershell,
    /// The Lua plugin that shows HTTP on any port
    Wireshark,
}
