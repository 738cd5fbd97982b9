//! Installs the plugin and a link to this program in Wireshark's personal folders, and removes them.
//!
//! Invariant: files and links of other origin are never changed; if one is in the way, nothing is installed.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PLUGIN, PLUGIN_NAME, is_ours};

/// The name of the extcap program and of this program.
const PROGRAM: &str = "capture2pcap";
/// The first version of Wireshark that searches for a user's extcap programs next to the plugin folder.
const EXTCAP_BESIDE_PLUGINS: (u32, u32) = (4, 2);

/// Why nothing was installed or removed.
#[derive(Debug)]
pub enum Error {
    /// Neither tshark nor Wireshark is installed.
    NoWireshark,
    /// Wireshark lists no such folder.
    NoFolder(&'static str),
    /// Another file has the name.
    Foreign(PathBuf),
    /// A file, link or folder cannot be created or removed.
    File(PathBuf, io::Error),
    /// The path of this program is unknown.
    Program(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWireshark => f.write_str("neither tshark nor wireshark is installed"),
            Self::NoFolder(what) => write!(f, "Wireshark lists no folder for {what}"),
            Self::Foreign(path) => write!(
                f,
                "{}: refusing to replace a file that capture2pcap did not write",
                crate::display_path(path)
            ),
            Self::File(path, error) => write!(f, "{}: {error}", crate::display_path(path)),
            Self::Program(error) => write!(f, "cannot find this program's file: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(_, error) | Self::Program(error) => Some(error),
            _ => None,
        }
    }
}

/// A completed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file or link was created or updated.
    Installed(PathBuf),
    /// It was up to date.
    Unchanged(PathBuf),
    /// It was removed.
    Removed(PathBuf),
    /// It did not exist.
    Absent(PathBuf),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, what) = match self {
            Self::Installed(path) => (path, "installed"),
            Self::Unchanged(path) => (path, "already installed"),
            Self::Removed(path) => (path, "removed"),
            Self::Absent(path) => (path, "not installed"),
        };
        write!(f, "{}: {what}", crate::display_path(path))
    }
}

/// The paths of the plugin and the link.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    plugin: PathBuf,
    link: PathBuf,
}

impl Places {
    /// Asks the installed Wireshark.
    fn find() -> Result<Self, Error> {
        let ask = |program: &str, args: &[&str]| {
            let output = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .output()
                .ok()?;
            output.status.success().then_some(output.stdout)
        };
        if let Some(folders) = ask("tshark", &["-G", "folders"]) {
            return Self::read(&folders);
        }
        // Wireshark 4.0 lists no folders without a display, and may be installed without tshark.
        if let Some(about) = ask("wireshark", &["-v"]) {
            let home = std::env::var_os("HOME").ok_or(Error::NoFolder("Lua plugins"))?;
            let config = std::env::var_os("XDG_CONFIG_HOME").filter(|config| !config.is_empty());
            return Ok(Self::usual(
                &about,
                Path::new(&home),
                config.map(PathBuf::from),
            ));
        }
        Err(Error::NoWireshark)
    }

    /// Parses the output of `-G folders`: a name, a colon, a tab and a path on each line.
    fn read(folders: &[u8]) -> Result<Self, Error> {
        let folder = |name: &str| {
            folders.split(|&byte| byte == b'\n').find_map(|line| {
                let rest = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
                let path = rest.trim_ascii();
                (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
            })
        };
        let plugins = folder("Personal Lua Plugins").ok_or(Error::NoFolder("Lua plugins"))?;
        // Listed from 4.2 on; before, the folder was part of the configuration folder.
        let extcap = folder("Personal Extcap path")
            .or_else(|| Some(folder("Personal configuration")?.join("extcap")))
            .ok_or(Error::NoFolder("capture interfaces"))?;
        Ok(Self {
            plugin: plugins.join(PLUGIN_NAME),
            link: extcap.join(PROGRAM),
        })
    }

    /// The default folders of the version that `wireshark -v` prints.
    fn usual(about: &[u8], home: &Path, config: Option<PathBuf>) -> Self {
        let about = String::from_utf8_lossy(about);
        let numbers = about
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .find_map(|word| {
                let mut numbers = word.split('.').map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            });
        let local = home.join(".local/lib/wireshark");
        let extcap = match numbers {
            Some(version) if version < EXTCAP_BESIDE_PLUGINS => {
                let config = config.unwrap_or_else(|| home.join(".config"));
                config.join("wireshark/extcap")
            }
            _ => local.join("extcap"),
        };
        Self {
            plugin: local.join("plugins").join(PLUGIN_NAME),
            link: extcap.join(PROGRAM),
        }
    }

    /// Rejects files of other origin.
    fn check(&self) -> Result<(), Error> {
        let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
        if exists(&self.plugin) && !is_ours(&self.plugin) {
            return Err(Error::Foreign(self.plugin.clone()));
        }
        if exists(&self.link) && !is_our_link(&self.link) {
            return Err(Error::Foreign(self.link.clone()));
        }
        Ok(())
    }
}

/// Whether a path is a link to a program of this name, existing or not.
fn is_our_link(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.file_name() == Some(OsStr::new(PROGRAM)))
}

/// Installs the plugin and a link to this program where this machine's Wireshark searches for them.
///
/// # Errors
/// When there is no Wireshark, or another file is in the way; nothing is changed then.
pub fn install() -> Result<Vec<Step>, Error> {
    let program = std::env::current_exe().map_err(Error::Program)?;
    let places = Places::find()?;
    places.check()?;
    Ok(vec![
        write_plugin(&places.plugin)?,
        link(&places.link, &program)?,
    ])
}

/// Removes what [`install`] created.
///
/// # Errors
/// When there is no Wireshark, or another file has the name; nothing is changed then.
pub fn uninstall() -> Result<Vec<Step>, Error> {
    let places = Places::find()?;
    places.check()?;
    let remove = |path: PathBuf| match fs::remove_file(&path) {
        Ok(()) => Ok(Step::Removed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Step::Absent(path)),
        Err(error) => Err(Error::File(path, error)),
    };
    Ok(vec![remove(places.plugin)?, remove(places.link)?])
}

fn write_plugin(path: &Path) -> Result<Step, Error> {
    if fs::read(path).is_ok_and(|text| text == PLUGIN.as_bytes()) {
        return Ok(Step::Unchanged(path.to_owned()));
    }
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new()
            .prefix(".capture2pcap-")
            .suffix(".tmp")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(PLUGIN.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| Error::File(path.to_owned(), error))?;
    Ok(Step::Installed(path.to_owned()))
}

fn link(path: &Path, program: &Path) -> Result<Step, Error> {
    if fs::read_link(path).is_ok_and(|target| target == program) {
        return Ok(Step::Unchanged(path.to_owned()));
    }
    let make = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(program, path)
    };
    make().map_err(|error| Error::File(path.to_owned(), error))?;
    Ok(Step::Installed(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_4_0_and_4_2() {
        let old = b"Temp:                \t/tmp\nPersonal configuration:\t/h/.config/wireshark\n\
            Personal Lua Plugins:\t/h/.local/lib/wireshark/plugins\nExtcap path:         \t/usr/lib/x/extcap\n";
        let new = b"Personal configuration:\t/h/.config/wireshark\n\
            Personal Lua Plugins:\t/h/.local/lib/wireshark/plugins\n\
            Personal Extcap path:\t/h/.local/lib/wireshark/extcap\nGlobal Extcap path:\t/usr/lib/x/extcap\n";
        for (folders, link) in [
            (&old[..], "/h/.config/wireshark/extcap/capture2pcap"),
            (new, "/h/.local/lib/wireshark/extcap/capture2pcap"),
        ] {
            let places = Places::read(folders).expect("folders");
            assert_eq!(places.link, Path::new(link));
            let plugin = "/h/.local/lib/wireshark/plugins/capture2pcap.lua";
            assert_eq!(places.plugin, Path::new(plugin));
        }
        assert!(Places::read(b"Temp:\t/tmp\n").is_err());
    }

    #[test]
    fn usual_places_of_4_0_and_4_2() {
        let cases = [
            (
                "Wireshark 4.0.17 (Git v4.0.17 packaged as x).\n",
                ".config/wireshark/extcap",
            ),
            ("Wireshark 4.2.0.\n", ".local/lib/wireshark/extcap"),
            ("Wireshark 4.10.1.\n", ".local/lib/wireshark/extcap"),
            ("Wireshark 3.6.2 (Git)\n", ".config/wireshark/extcap"),
            ("", ".local/lib/wireshark/extcap"),
        ];
        for (about, extcap) in cases {
            let places = Places::usual(about.as_bytes(), Path::new("/h"), None);
            assert_eq!(
                places.link,
                Path::new("/h").join(extcap).join(PROGRAM),
                "{about}"
            );
        }
    }
}
