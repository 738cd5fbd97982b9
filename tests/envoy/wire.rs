//! The packets on the wire during the recording: tcpdump's capture, read by tshark.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::connection::{Connection, Flow, read};
use crate::harness::tshark;
use crate::pdml::unhex;

/// The packets of the loopback interface.
pub(crate) struct Wire {
    path: PathBuf,
    connections: Vec<Connection>,
}

impl Wire {
    /// Reads tcpdump's file: the connections to `servers`, and those to `tls`, which are decrypted with the keys in
    /// `keys`.
    pub(crate) fn read(
        path: &Path,
        servers: &[SocketAddr],
        tls: &[SocketAddr],
        keys: &Path,
    ) -> Self {
        let mut args: Vec<OsString> = vec!["-r".into(), path.into()];
        let keys = format!("tls.keylog_file:{}", keys.display());
        args.extend(["-o".into(), keys.into()]);
        let mut plain = Vec::new();
        for server in servers {
            if tls.contains(server) {
                args.extend([
                    "-d".into(),
                    format!("tcp.port=={},tls", server.port()).into(),
                ]);
            } else {
                plain.push(server.port());
            }
        }
        // Other traffic of this machine is ignored.
        let ports: Vec<_> = servers
            .iter()
            .map(|server| server.port().to_string())
            .collect();
        let filter = format!("tcp.port in {{{}}}", ports.join(","));
        let mut connections = read(&args, &filter, &plain, |end| servers.contains(&end));
        connections.retain(|connection| servers.contains(&connection.ends[1]));
        let mut inside: Vec<&mut Connection> = connections
            .iter_mut()
            .filter(|connection| tls.contains(&connection.ends[1]))
            .collect();
        args.push("-q".into());
        for connection in &inside {
            args.extend([
                "-z".into(),
                format!("follow,tls,raw,{}", connection.stream).into(),
            ]);
        }
        decrypt(&tshark(args), &mut inside);
        Self {
            path: path.to_owned(),
            connections,
        }
    }

    /// All connections to one server.
    pub(crate) fn to(&self, server: SocketAddr) -> Vec<&Connection> {
        let to = |connection: &&Connection| connection.ends[1] == server;
        self.connections.iter().filter(to).collect()
    }

    /// Writes a capture of some of the connections to `path`.
    pub(crate) fn cut_out(&self, connections: &[&Connection], path: &Path) {
        let streams: Vec<_> = connections.iter().map(|c| c.stream.to_string()).collect();
        let filter = format!("tcp.stream in {{{}}}", streams.join(","));
        let mut args: Vec<OsString> = vec!["-r".into(), self.path.clone().into()];
        args.extend(["-F", "pcap", "-Y", &filter, "-w"].map(Into::into));
        args.push(path.into());
        tshark(args);
    }
}

/// Replaces the ciphertext by the output of tshark's `follow,tls,raw`, which has no boundaries and times of pieces.
fn decrypt(printed: &str, connections: &mut [&mut Connection]) {
    let conversations: Vec<&str> = printed.split("\nFilter: tcp.stream eq ").skip(1).collect();
    assert_eq!(
        conversations.len(),
        connections.len(),
        "TLS: {printed:.500}"
    );
    for connection in connections {
        let stream = connection.stream;
        let start = format!("{stream}\n");
        let mut printed = conversations.iter();
        let lines = printed.find_map(|printed| printed.strip_prefix(&start));
        let lines = lines.unwrap_or_else(|| panic!("TLS: {stream} is not followed"));
        // A tab marks one of the two sides. Which one it is varies in tshark 4.0.
        let mut sides = [Flow::default(), Flow::default()];
        for line in lines.lines() {
            let digits = line.trim_start();
            if digits.bytes().all(|c| c.is_ascii_hexdigit()) {
                sides[usize::from(digits != line)]
                    .bytes
                    .extend(unhex(digits));
            }
        }
        for (flow, side) in connection.flows.iter().zip(&mut sides) {
            side.items = flow.items.clone();
        }
        connection.flows = sides;
        let is_asked = |connection: &Connection| connection.is_http1() || connection.is_http2();
        if !is_asked(connection) {
            let [a, b] = &mut connection.flows;
            std::mem::swap(&mut a.bytes, &mut b.bytes);
        }
        let starts = connection.flows.each_ref().map(|flow| {
            let start = &flow.bytes[..flow.bytes.len().min(40)];
            start.escape_ascii().to_string()
        });
        let ends = connection.ends;
        assert!(
            is_asked(connection),
            "TLS: no request in stream {stream}, {ends:?}, but {starts:?}"
        );
    }
}
