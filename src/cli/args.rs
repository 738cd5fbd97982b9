//! Parses and resolves the command line. Opens no files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use capture2pcap::capture::{self, DEFAULT_SNAPLEN, Format, Precision, Target};
use capture2pcap::convert::Options;
use capture2pcap::model::event::Timestamp;
use capture2pcap::model::protocol::Role;
use capture2pcap::redact::{DEFAULT_NAMES, Names, Redaction};
use capture2pcap::synth::{self, AddressOverride, Handshake};
use capture2pcap::trace::Encoding;
use clap::{Parser, ValueEnum, ValueHint};

use crate::cli::live::{LiveArgs, LiveTap};
use crate::cli::usage::Misuse;
use crate::cli::viewer::{Viewer, ViewerArgs};

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
        Envoy's tap extension (once capture) records what it received and sent on a connection, decrypted. \
        capture2pcap reads its traces in every encoding and of every release since 1.7, and writes them \
        as packets: Ethernet, IPv4 or IPv6, TCP, with the original addresses, ports and times.",
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
    /// .pb, .pb_length_delimited, .pb_text or .json, or in one of these and .gz or .zst: compressed traces are read
    /// as they are.
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
    #[arg(short, long, value_name = "N", value_hint = ValueHint::Other, default_value_t = DEFAULT_SNAPLEN, value_parser = snaplen)]
    snaplen: u32,

    /// Largest TCP payload of a packet, in bytes [default: what one IP packet holds]
    #[arg(long, value_name = "N", value_hint = ValueHint::Other, value_parser = mss)]
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
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other, value_parser = start)]
    start: Option<Timestamp>,

    /// Overwrite the values of secret header fields, which keep their lengths
    ///
    /// The fields are authorization, proxy-authorization, cookie, set-cookie and x-api-key, and NAMES, a list with
    /// commas. Where headers cannot be followed, they are overwritten whole. Paths, bodies and connections that are
    /// no HTTP stay as they are.
    #[arg(
        long,
        value_name = "NAMES",
        value_hint = ValueHint::Other,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_NAMES[0]
    )]
    redact: Option<Names>,

    /// Same as --redact, and overwrite bodies and connections that are no HTTP, too
    #[arg(long)]
    redact_bodies: bool,

    /// Write no capture for a trace whose encoding is cut or corrupt
    ///
    /// Bodies that Envoy itself truncated do not count as damage.
    #[arg(long)]
    strict: bool,

    /// Read names of traces from FILE, one per line; - is standard input
    ///
    /// Appended to the traces on the command line, whose last argument is still the output.
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
    /// With --info, the objects replace the table; otherwise they are printed in addition to the captures, with
    /// --merge one for the capture. The JSON section below lists the fields.
    #[arg(long)]
    json: bool,

    /// Threads for many traces [default: one per core]
    #[arg(short, long, value_name = "N", value_hint = ValueHint::Other, value_parser = jobs)]
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

/// How much is printed to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Generate(Generate),
    InstallWireshark,
    UninstallWireshark,
    Convert(Box<Request>),
    /// Traces to inspect; the request has no output.
    Info(Box<Request>),
}

/// Traces to convert, and how.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) inputs: Vec<OsString>,
    pub(crate) output: OsString,
    pub(crate) list: Option<List>,
    pub(crate) options: Options,
    /// Merge all inputs into one capture.
    pub(crate) merge: bool,
    /// Number of threads for many traces; `None`: one per core.
    pub(crate) jobs: Option<usize>,
    pub(crate) verbosity: Verbosity,
    /// Print an object for each trace to standard output.
    pub(crate) json: bool,
    /// A live tap in place of inputs.
    pub(crate) live: Option<LiveTap>,
    /// The viewer to start on a temporary capture, which replaces the output.
    pub(crate) open: Option<Viewer>,
    /// The folder with the user's .proto files.
    pub(crate) proto_path: Option<PathBuf>,
}

/// A file that names more inputs.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) path: PathBuf,
    /// The byte that ends a name.
    pub(crate) separator: u8,
}

impl Args {
    /// Resolves the parsed arguments into a command.
    ///
    /// # Errors
    /// When an argument is missing, or two of them conflict.
    pub(crate) fn resolve(mut self) -> Result<Command, Misuse> {
        if let Some(what) = self.generate {
            return Ok(Command::Generate(what));
        }
        if self.viewer.install_wireshark {
            return Ok(Command::InstallWireshark);
        }
        if self.viewer.uninstall_wireshark {
            return Ok(Command::UninstallWireshark);
        }
        let live = self.live.resolve();
        let open = self.viewer.open;
        let is_shown = self.info || open.is_some();
        let usage = "capture2pcap INPUT OUTPUT; capture2pcap --help explains the rest";
        let missing = |what: &str| Misuse::new(format!("{what} missing")).hint(usage);
        let output = match is_shown {
            true => OsString::new(),
            false => self.paths.pop().ok_or_else(|| match self.files_from {
                _ if live.is_some() => missing("OUTPUT is"),
                Some(_) => missing("OUTPUT is"),
                None => missing("INPUT and OUTPUT are"),
            })?,
        };
        if live.is_some() && !self.paths.is_empty() {
            return Err(Misuse::new("--tap cannot be used with INPUT")
                .hint("capture2pcap --tap URL OUTPUT"));
        }
        if self.paths.is_empty() && self.files_from.is_none() && live.is_none() {
            return Err(missing(if is_shown { "INPUT is" } else { "OUTPUT is" }));
        }
        let empty = |what: &str| {
            let misuse = Misuse::new(format!("{what} is an empty name"));
            misuse.hint("a shell variable may be unset")
        };
        if self.paths.iter().any(|path| path.is_empty()) {
            return Err(empty("INPUT"));
        }
        if output.is_empty() && !is_shown {
            return Err(empty("OUTPUT"));
        }
        if self.json && !self.info && Target::of(&output) == Target::Stdout {
            return Err(
                Misuse::new("--json and the capture cannot share standard output")
                    .hint("name a file as OUTPUT"),
            );
        }
        let format = match self.format {
            None if open.is_some() => Format::Pcapng,
            Some(FormatArg::Pcapng) => Format::Pcapng,
            Some(FormatArg::Pcap) => Format::Pcap,
            None => Format::of(Path::new(&output)).unwrap_or_default(),
        };
        let precision = match (self.nano, self.time_stamp_precision) {
            (true, _) | (false, PrecisionArg::Nano) => Precision::Nano,
            (false, PrecisionArg::Micro) => Precision::Micro,
        };
        let options = Options {
            encoding: match self.input_format {
                InputFormat::Auto => None,
                InputFormat::Binary => Some(Encoding::Binary),
                InputFormat::Delimited => Some(Encoding::Delimited),
                InputFormat::Text => Some(Encoding::Text),
                InputFormat::Json => Some(Encoding::Json),
            },
            redaction: (self.redact.is_some() || self.redact_bodies).then(|| Redaction {
                names: self.redact.unwrap_or_default(),
                bodies: self.redact_bodies,
            }),
            synth: synth::Options {
                mss: self.mss.map(|mss| mss as usize),
                handshake: match self.handshake {
                    HandshakeArg::Auto => Handshake::Auto,
                    HandshakeArg::Always => Handshake::Always,
                    HandshakeArg::Never => Handshake::Never,
                },
                local: self.local,
                remote: self.remote,
                role: self.role.map(|role| match role {
                    RoleArg::Downstream => Role::Downstream,
                    RoleArg::Upstream => Role::Upstream,
                }),
                start: self.start.unwrap_or_default(),
                ..synth::Options::default()
            },
            capture: capture::Options {
                format,
                precision,
                snaplen: self.snaplen,
            },
            strict: self.strict,
            ..Options::default()
        };
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let list = self.files_from.map(|path| List {
            path,
            separator: if self.null { 0 } else { b'\n' },
        });
        let request = Box::new(Request {
            inputs: self.paths,
            output,
            list,
            options,
            merge: self.merge,
            jobs: self.jobs.map(|jobs| jobs as usize),
            verbosity,
            json: self.json,
            live,
            open,
            proto_path: self.viewer.proto_path,
        });
        Ok(match self.info {
            true => Command::Info(request),
            false => Command::Convert(request),
        })
    }
}

fn snaplen(text: &str) -> Result<u32, String> {
    match text.parse() {
        // 0 means the default, as in tcpdump.
        Ok(0) => Ok(DEFAULT_SNAPLEN),
        Ok(n) if n <= DEFAULT_SNAPLEN => Ok(n),
        _ => Err(format!("not a number of bytes from 0 to {DEFAULT_SNAPLEN}")),
    }
}

fn mss(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n @ 1..=65_535) => Ok(n),
        _ => Err("not a number of bytes from 1 to 65535".into()),
    }
}

fn jobs(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("not a number from 1 to 1024".into()),
    }
}

/// Parses a time in editcap's formats. A time without a zone is UTC, so that the capture does not depend on the
/// host.
fn start(text: &str) -> Result<Timestamp, String> {
    let civil = || {
        let text = Some(text).filter(|text| text.contains(':'))?;
        let time: jiff::civil::DateTime = text.parse().ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let time = match text {
        "now" => Some(jiff::Timestamp::now()),
        _ => epoch(text).or_else(|| text.parse().ok()).or_else(civil),
    };
    let time = time.ok_or("not a time like 2024-05-01T12:00:00Z, 1714564800.5 or now")?;
    let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| "before 1970 or after 2554")?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Parses seconds since 1970 with a fraction of up to nine digits.
fn epoch(text: &str) -> Option<jiff::Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    jiff::Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_editcap_takes_them() {
        let noon = 1_714_564_800_000_000_000;
        let cases = [
            ("2024-05-01T12:00:00Z", noon),
            ("2024-05-01T12:00:00", noon),
            ("2024-05-01 12:00:00", noon),
            ("2024-05-01 12:00:00Z", noon),
            ("2024-05-01T14:00:00+02:00", noon),
            ("2024-05-01T12:00:00.123456789Z", noon + 123_456_789),
            ("2024-05-01T12:00:00.5", noon + 500_000_000),
            ("1714564800", noon),
            ("1714564800.000000001", noon + 1),
            ("1714564800.25", noon + 250_000_000),
            ("0", 0),
        ];
        for (text, nanos) in cases {
            assert_eq!(start(text), Ok(Timestamp::from_nanos(nanos)), "{text}");
        }
        let none = [
            "",
            ".",
            "1.",
            ".5",
            "1.0000000001",
            "-1",
            "yesterday",
            "12:00",
            "1e9",
        ];
        for text in none {
            assert!(start(text).unwrap_err().starts_with("not a time"), "{text}");
        }
        for text in [
            "1969-12-31T23:59:59Z",
            "2600-01-01T00:00:00Z",
            "99999999999",
        ] {
            assert_eq!(
                start(text),
                Err("before 1970 or after 2554".into()),
                "{text}"
            );
        }
    }
}
