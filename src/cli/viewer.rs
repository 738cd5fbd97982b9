//! Wireshark and tshark as viewers: `--open`, `--proto-path` and `--install-wireshark`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capture2pcap::batch;
use capture2pcap::model::protocol::DecodeAs;
use capture2pcap::wireshark;
use clap::{Args, ValueEnum};

use crate::cli::report;
use crate::cli::run::FAILURE;

/// The options for viewers.
#[derive(Args, Clone, Debug)]
pub(crate) struct ViewerArgs {
    /// Convert into a temporary pcapng and open it with the options that it needs
    ///
    /// Every PATH is an input; several traces are merged. The file is removed when the viewer exits. Without a
    /// value: wireshark.
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

    /// Folder of your .proto files, for the command that opens the capture: it then shows gRPC fields
    ///
    /// Imports in the files are relative to this folder.
    #[arg(long, value_name = "DIR", value_parser = proto_path)]
    pub(crate) proto_path: Option<PathBuf>,

    /// Install the HTTP plugin and the live capture interface in Wireshark's personal folders
    #[arg(long, exclusive = true)]
    pub(crate) install_wireshark: bool,

    /// Remove what --install-wireshark installed
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

/// Resolves an existing folder to its absolute path.
fn proto_path(text: &str) -> Result<PathBuf, String> {
    let path = std::fs::canonicalize(text).map_err(|error| report::reason(&error))?;
    if !path.is_dir() {
        return Err("not a folder".into());
    }
    // Wireshark's configuration files quote with these characters, and -o cannot escape them.
    match path.to_str() {
        Some(name) if !name.contains(['"', '\\', ',']) && !name.contains(char::is_control) => {
            Ok(path)
        }
        _ => Err("a path that Wireshark's options cannot express".into()),
    }
}

/// The options that make a viewer decode gRPC messages with the .proto files of a folder.
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
        // Without these, a display filter cannot name a field of a message.
        "protobuf.preload_protos:TRUE",
        "protobuf.pbf_as_hf:TRUE",
    ];
    options
        .iter()
        .flat_map(|option| ["-o".into(), OsString::from(option)])
        .collect()
}

/// Reports the steps of an installation or removal, and returns the exit status.
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
                    "restart Wireshark; its list of interfaces then has \"Envoy tap (live)\"",
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

/// Checks that a viewer is installed, and reports it otherwise.
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

/// Shows a capture, and waits until the viewer exits.
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

/// Creates a folder for the temporary capture; dropping the value removes it.
///
/// # Errors
/// When the folder cannot be created.
pub(crate) fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("capture2pcap-").tempdir()
}

/// The name of the temporary capture, which Wireshark shows in its title bar.
pub(crate) fn capture_name(inputs: &[OsString]) -> OsString {
    let lone = match inputs {
        [input] if input != "-" && !Path::new(input).is_dir() => Path::new(input).file_name(),
        _ => None,
    };
    let lone = lone.map(|name| batch::stem(Path::new(name)).into_os_string());
    let mut name = lone.unwrap_or_else(|| OsString::from("capture"));
    name.push(".pcapng");
    name
}
