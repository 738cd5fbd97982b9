//! Additions to Wireshark: a plugin that finds HTTP on any port, and this program as an extcap interface.
//!
//! Owns the plugin's text, its locations and the options of the viewers. Starts no viewer. Invariant: files in
//! Wireshark's folders that this program did not install are never changed.

mod install;

pub use install::{Error, Step, install, uninstall};

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::model::protocol::DecodeAs;

/// The Lua plugin that shows HTTP on any TCP port, in Wireshark and tshark.
pub const PLUGIN: &str = include_str!("http2_any_port.lua");
/// The first bytes of the plugin, in every version of it.
const MARK: &[u8] = b"-- capture2pcap: ";
/// The plugin's file name.
const PLUGIN_NAME: &str = "capture2pcap.lua";
/// Wireshark's folder for a user's Lua plugins, below the home folder.
const USUAL_PLUGINS: &str = ".local/lib/wireshark/plugins";

/// Whether a file is a plugin that this program wrote.
fn is_ours(path: &Path) -> bool {
    let mut start = [0; MARK.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *MARK
}

/// Whether the plugin is installed in its folder.
pub fn is_installed() -> bool {
    std::env::var_os("HOME").is_some_and(|home| {
        let folder = PathBuf::from(home).join(USUAL_PLUGINS);
        is_ours(&folder.join(PLUGIN_NAME))
    })
}

/// The options that a viewer needs even with the plugin: for protocols that the plugin does not know, and for
/// HTTP/2 without its preface, which the owner of a port may claim.
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
