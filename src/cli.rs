//! What is typed, and what it means. It opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use capture2pcap::capture::{self, DEFAULT_SNAPLEN, Precision, Target};
use capture2pcap::convert::{Options, Source};
use capture2pcap::event::Timestamp;
use capture2pcap::protocol::Role;
use capture2pcap::synth::{self, Given, Handshake};
use capture2pcap::trace::Encoding;
use clap::{ArgAction, Parser, ValueEnum};

/// Turn the tap traces that Envoy records into captures that Wireshark opens
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    long_about = "Turn the tap traces that Envoy records into captures that Wireshark opens.\n\n\
        Envoy's tap extension (once capture) records what a connection read and wrote, decrypted. \
        capture2pcap reads its traces in every encoding and of every release since 1.7, and writes them \
        as packets: Ethernet, IPv4 or IPv6, TCP, with the original addresses, ports and times.",
    after_help = "Example:\n  capture2pcap path_0.pb path_0.pcap\n  \
        tshark -r path_0.pcap -d tcp.port==10000,http2 -P",
    max_term_width = 100
)]
pub(crate) struct Args {
    /// The trace; `-` for standard input
    #[arg(value_name = "INPUT", required_unless_present = "generate")]
    input: Option<OsString>,

    /// The capture; `-` for standard output
    ///
    /// An existing file is replaced once the new capture is whole; a device, FIFO or socket is written
    /// in place.
    #[arg(value_name = "OUTPUT", required_unless_present = "generate")]
    output: Option<OsString>,

    /// Resolution of the packets' times; micro rounds to the nearest
    #[arg(long, value_name = "PRECISION", default_value = "micro")]
    time_stamp_precision: PrecisionArg,

    /// Same as --time-stamp-precision nano
    #[arg(long, conflicts_with_all = ["time_stamp_precision", "micro"])]
    nano: bool,

    /// Same as --time-stamp-precision micro
    #[arg(long, conflicts_with = "time_stamp_precision")]
    micro: bool,

    /// Keep the first N bytes of a frame; the original length stays told. 0 means the default
    #[arg(short, long, value_name = "N", default_value_t = DEFAULT_SNAPLEN, value_parser = snaplen)]
    snaplen: u32,

    /// The largest TCP payload of a frame in bytes [default: what one IP packet holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    mss: Option<u32>,

    /// Open connections with SYN, SYN-ACK, ACK and close them with FINs
    ///
    /// auto does so for each connection of a capture but the first, so that a lone connection shows
    /// only what was recorded. Without a value: always.
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value = "auto",
        default_missing_value = "always"
    )]
    handshake: HandshakeArg,

    /// The trace's encoding
    ///
    /// auto reads it from the content, and from INPUT's extension where that leaves a choice.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    input_format: InputFormat,

    /// Stand-in for a local address that the trace lacks [default: one for documentation]
    #[arg(long, value_name = "ADDR[:PORT]")]
    local: Option<Given>,

    /// Stand-in for a remote address that the trace lacks [default: one for documentation]
    #[arg(long, value_name = "ADDR[:PORT]")]
    remote: Option<Given>,

    /// Which side of the connection the tap sat on [default: told from the trace]
    #[arg(long, value_name = "SIDE")]
    role: Option<RoleArg>,

    /// First time of a trace that records none: RFC 3339, or now [default: 1970-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = start)]
    start: Option<Timestamp>,

    /// Make no capture of a trace whose encoding is cut or corrupt
    ///
    /// Bodies that Envoy itself truncated are no damage.
    #[arg(long)]
    strict: bool,

    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Print each loss with its event, and a line of counts
    #[arg(short, long, action = ArgAction::SetTrue)]
    verbose: bool,

    /// Print the man page or a completion script
    #[arg(long, value_name = "WHAT", exclusive = true)]
    generate: Option<Generate>,
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
}

/// How much is said.
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
    Convert {
        source: Source,
        target: Target,
        options: Box<Options>,
        verbosity: Verbosity,
    },
}

impl Args {
    /// Resolves what was typed into what it means.
    pub(crate) fn resolve(self) -> Command {
        let (Some(input), Some(output)) = (self.input, self.output) else {
            return Command::Generate(self.generate.unwrap_or(Generate::Man));
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
                precision,
                snaplen: self.snaplen,
            },
            strict: self.strict,
        };
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Command::Convert {
            source: if input == "-" {
                Source::Stdin
            } else {
                Source::File(PathBuf::from(input))
            },
            target: if output == "-" {
                Target::Stdout
            } else {
                Target::File(PathBuf::from(output))
            },
            options: Box::new(options),
            verbosity,
        }
    }
}

fn snaplen(text: &str) -> Result<u32, String> {
    match text.parse() {
        // As tcpdump takes it.
        Ok(0) => Ok(DEFAULT_SNAPLEN),
        Ok(n) if n <= DEFAULT_SNAPLEN => Ok(n),
        Ok(_) => Err(format!("readers refuse more than {DEFAULT_SNAPLEN}")),
        Err(_) => Err("not a number of bytes".into()),
    }
}

fn start(text: &str) -> Result<Timestamp, String> {
    let time = match text {
        "now" => jiff::Timestamp::now(),
        _ => text.parse().map_err(|error| format!("{error}"))?,
    };
    let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| "before 1970 or after 2554")?;
    Ok(Timestamp::from_nanos(nanos))
}
