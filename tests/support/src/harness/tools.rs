//! Runs of tshark, capinfos and tcpdump.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Run;

/// A run of tshark without name resolution.
pub fn tshark_run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
    Run::new("tshark").arg("-n").args(args)
}

/// The output of tshark.
#[track_caller]
pub fn tshark(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    tshark_run(args).run().exits(0).text()
}

/// The output of capinfos.
#[track_caller]
pub fn capinfos(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    Run::new("capinfos").args(args).run().exits(0).text()
}

/// The output of tcpdump.
#[track_caller]
pub fn tcpdump(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    Run::new("tcpdump").args(args).run().exits(0).text()
}

/// The arguments that make tshark read `path` with HTTP/2 on each of `ports`.
pub fn http2_on(path: &Path, ports: impl IntoIterator<Item = u16>) -> Vec<OsString> {
    let mut args = vec!["-r".into(), path.into()];
    for port in ports {
        args.extend(["-d".into(), format!("tcp.port=={port},http2").into()]);
    }
    args
}
