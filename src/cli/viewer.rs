//! Wireshark and tshark as viewers: `--open`, `--proto-path`, and what is installed for them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capture2pcap::model::protocol::DecodeAs;
use capture2pcap::wireshark;
use clap::{Args, ValueEnum};

use crate::cli::report;
use crate::cli::run::FAILURE;

/// What is typed about viewers.
#[derive(Args, Clone, Debug)]
pub(crate) struct ViewerArgs {
    /// Convert into a temporary pcapng and open it, with the options that it needs
    ///
    /// All names are traces then; several are merged. The file is removed when the viewer ends. Without a value:
    /// wireshark.
    #[arg(
        long,
        value_name = "wireshark|tshark",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "wireshark",
        conflicts_with_all = ["tap", "info", "json", "format"]
    )]
    pub(crate) open: Option<Viewer>,

    /// Folder of your .proto files, for the command that opens the capture: it then shows gRPC's fields
    ///
    /// It is the folder that the imports in the files are relative to.
    #[arg(long, value_name = "DIR", value_parser = proto_path)]
    pub(crate) proto_path: Option<PathBuf>,

    /// Put the HTTP/2 plugin and the live capture interface into Wireshark's personal folders
    #[arg(long, exclusive = true)]
    pub(crate) install_wireshark: bool,

    /// Take away what --install-wireshark put there
    #[arg(long, exclusive = true)]
    pub(crate) uninstall_wireshark: bool,
}

/// A program that shows captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Viewer {
    Wireshark,
    Tshark,
}

impl Viewer {
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Wireshark => "wireshark",
            Self::Tshark => "tshark",
        }
    }
}

/// The absolute path of a folder that exists.
fn proto_path(text: &str) -> Result<PathBuf, String> {
    let path = std::fs::canonicalize(text).map_err(|error| report::reason(&error))?;
    if !path.is_dir() {
        return Err("not a folder".into());
    }
    // Wireshark's own files quote with these, and -o has no way to write them.
    match path.to_str() {
        Some(name) if !name.contains(['"', '\\', ',']) && !name.contains(char::is_control) => {
            Ok(path)
        }
        _ => Err("Wireshark's options have no way to write this path".into()),
    }
}

/// The options that let a viewer show gRPC's fields by the files of a folder.
pub(crate) fn proto_options(folder: Option<&Path>) -> Vec<OsString> {
    let Some(folder) = folder else {
        return Vec::new();
    };
    let search = format!(
        "uat:protobuf_search_paths:\"{}\",\"TRUE\"",
        folder.display()
    );
    let options = [
        search.as_str(),
        // Without these, no filter finds a field by its name.
        "protobuf.preload_protos:TRUE",
        "protobuf.pbf_as_hf:TRUE",
    ];
    options
        .iter()
        .flat_map(|option| ["-o".into(), OsString::from(option)])
        .collect()
}

/// Installs or takes away what Wireshark is given, and returns the exit status.
pub(crate) fn install(steps: Result<Vec<wireshark::Step>, wireshark::Error>) -> u8 {
    match steps {
        Ok(steps) => {
            for step in &steps {
                report::say(&step.to_string());
            }
            if steps
                .iter()
                .any(|step| matches!(step, wireshark::Step::Installed(_)))
            {
                report::say_hint(
                    "start Wireshark anew; \"Envoy tap (live)\" is in its list of interfaces then",
                );
            }
            0
        }
        Err(error) => {
            report::say(&report::reason(&error));
            if matches!(error, wireshark::Error::NoWireshark) {
                report::say_hint(
                    "Debian's packages are wireshark and tshark; Fedora's wireshark and wireshark-cli",
                );
            }
            FAILURE
        }
    }
}

/// Whether a viewer can be started, said where it cannot.
pub(crate) fn find(viewer: Viewer) -> Result<(), u8> {
    let program = viewer.program();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    report::say(&format!("{program}: not installed"));
    report::say_hint(match viewer {
        Viewer::Wireshark => {
            "Debian's and Fedora's package is wireshark; Homebrew's is wireshark-app"
        }
        Viewer::Tshark => {
            "Debian's package is tshark, Fedora's wireshark-cli, Homebrew's wireshark"
        }
    });
    Err(FAILURE)
}

/// Shows a capture, and waits until the viewer ends.
pub(crate) fn show(
    viewer: Viewer,
    capture: &Path,
    decode_as: &[DecodeAs],
    proto_path: Option<&Path>,
) -> Result<(), String> {
    let mut command = Command::new(viewer.program());
    command.arg("-r").arg(capture).args(["-N", "n"]);
    for option in wireshark::needed(decode_as) {
        command.arg("-d").arg(option.to_string());
    }
    command.args(proto_options(proto_path)).stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(format!("cannot start: {}", report::reason(&error))),
    }
}

/// A folder for the capture that a viewer is given; it goes with the value.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("capture2pcap-").tempdir()
}

/// The name that Wireshark's title bar shows.
pub(crate) fn capture_name(inputs: &[OsString]) -> OsString {
    let lone = match inputs {
        [input] if input != "-" && !Path::new(input).is_dir() => Path::new(input).file_stem(),
        _ => None,
    };
    let mut name = lone.unwrap_or(OsStr::new("capture")).to_owned();
    name.push(".pcapng");
    name
}
