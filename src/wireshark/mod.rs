//! What Wireshark is given: a plugin that finds HTTP on any port, and this program as a capture interface.
//!
//! It owns the plugin's text, the places that it is put into and the options of the viewers. It starts no viewer.
//! Invariant: nothing in Wireshark's folders is changed that this program did not put there.

mod install;

pub use install::{Error, Step, install, uninstall};

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::model::protocol::DecodeAs;

/// The Lua plugin that shows HTTP on any TCP port, in Wireshark and tshark.
pub const PLUGIN: &str = include_str!("http2_any_port.lua");
/// How the plugin begins, in every version of it.
const MARK: &[u8] = b"-- capture2pcap: ";
/// The plugin's name among Wireshark's.
const PLUGIN_NAME: &str = "capture2pcap.lua";
/// Where Wireshark looks for a person's Lua plugins, below the home folder.
const USUAL_PLUGINS: &str = ".local/lib/wireshark/plugins";

/// Whether a file is a plugin that this program wrote.
fn is_ours(path: &Path) -> bool {
    let mut start = [0; MARK.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *MARK
}

/// Whether the plugin is where Wireshark finds it by itself.
pub fn is_installed() -> bool {
    std::env::var_os("HOME").is_some_and(|home| {
        let folder = PathBuf::from(home).join(USUAL_PLUGINS);
        is_ours(&folder.join(PLUGIN_NAME))
    })
}

/// The options that a viewer still needs where the plugin is installed: those of protocols that the plugin does not
/// know, and of HTTP/2 without its preface, as the owner of a port may take that for its own.
pub fn beside_plugin(decode_as: &[DecodeAs]) -> Vec<DecodeAs> {
    let needed = |option: &&DecodeAs| !option.is_http() || option.is_headless;
    decode_as.iter().filter(needed).copied().collect()
}

/// The options that a viewer needs on this machine.
pub fn needed(decode_as: &[DecodeAs]) -> Vec<DecodeAs> {
    match is_installed() {
        true => beside_plugin(decode_as),
        false => decode_as.to_vec(),
    }
}
