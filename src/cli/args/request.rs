//! Resolves the parsed arguments into a command.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use capture2pcap::capture::{self, Format, Precision, Target};
use capture2pcap::convert::Options;
use capture2pcap::model::protocol::Role;
use capture2pcap::redact::{Names, Redaction};
use capture2pcap::synth::{self, Handshake};
use capture2pcap::trace::Encoding;

use super::{Args, FormatArg, Generate, HandshakeArg, InputFormat, PrecisionArg, RoleArg};
use crate::cli::live::LiveTap;
use crate::cli::usage::Misuse;
use crate::cli::viewer::Viewer;

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
        let live = std::mem::take(&mut self.live).resolve();
        let open = self.viewer.open;
        let is_shown = self.info || open.is_some();
        let output = self.take_output(is_shown, live.is_some())?;
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
        let options = self.options(format);
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

    /// Takes the output from the paths, which is empty if the traces are only shown, and checks the inputs.
    ///
    /// # Errors
    /// When a path is missing or empty, or there are inputs besides a live tap.
    fn take_output(&mut self, is_shown: bool, is_live: bool) -> Result<OsString, Misuse> {
        let usage = "capture2pcap INPUT OUTPUT; capture2pcap --help explains the rest";
        let missing = |what: &str| Misuse::new(format!("{what} missing")).hint(usage);
        let output = match is_shown {
            true => OsString::new(),
            false => self.paths.pop().ok_or_else(|| match self.files_from {
                _ if is_live => missing("OUTPUT is"),
                Some(_) => missing("OUTPUT is"),
                None => missing("INPUT and OUTPUT are"),
            })?,
        };
        if is_live && !self.paths.is_empty() {
            return Err(Misuse::new("--tap cannot be used with INPUT")
                .hint("capture2pcap --tap URL OUTPUT"));
        }
        if self.paths.is_empty() && self.files_from.is_none() && !is_live {
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
        if let Some(names) = self.detached_names() {
            let names = names.display();
            return Err(
                Misuse::new(format!("{names}: not a trace or a folder")).hint(format!(
                    "--redact={names} redacts the fields of these names, too"
                )),
            );
        }
        Ok(output)
    }

    /// An input that is meant as the names of `--redact`: it could be that, and does not exist.
    ///
    /// If it were reported as a missing trace, the others would be converted, and these fields would not be redacted.
    fn detached_names(&self) -> Option<&OsStr> {
        if self.redact.as_ref() != Some(&Names::default()) {
            return None;
        }
        let are_names = |path: &&OsString| {
            path.to_str().is_some_and(|path| {
                path != "-" && !path.contains(['.', '/']) && path.parse::<Names>().is_ok()
            }) && !Path::new(path).exists()
        };
        self.paths.iter().find(are_names).map(OsString::as_os_str)
    }

    /// The options of a conversion into captures of this format.
    fn options(&self, format: Format) -> Options {
        let precision = match (self.nano, self.time_stamp_precision) {
            (true, _) | (false, PrecisionArg::Nano) => Precision::Nano,
            (false, PrecisionArg::Micro) => Precision::Micro,
        };
        Options {
            encoding: match self.input_format {
                InputFormat::Auto => None,
                InputFormat::Binary => Some(Encoding::Binary),
                InputFormat::Delimited => Some(Encoding::Delimited),
                InputFormat::Text => Some(Encoding::Text),
                InputFormat::Json => Some(Encoding::Json),
            },
            redaction: (self.redact.is_some() || self.redact_bodies).then(|| Redaction {
                names: self.redact.clone().unwrap_or_default(),
                bodies: self.redact_bodies,
            }),
            synth: synth::SynthOptions {
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
                ..synth::SynthOptions::default()
            },
            capture: capture::CaptureOptions {
                format,
                precision,
                snaplen: self.snaplen,
            },
            strict: self.strict,
            ..Options::default()
        }
    }
}
