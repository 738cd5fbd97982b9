//! The recordings in testdata/, and what the tests expect of each.
//!
//! Every file there is in one of the lists. [`APART`] names those of which less is expected, with the reason. The tests
//! assert the numbers of files, so that none is skipped silently.

use std::path::{Path, PathBuf};

/// What the tests expect of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Every byte that was on the wire.
    Whole,
    /// Some of the bytes that were on the wire, at their positions.
    Part,
    /// A capture that dissects; no packets were recorded to compare it with.
    Dissects,
    /// The same, for a file that ends in the middle of a message.
    Damaged,
}

/// A socket trace.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub path: PathBuf,
    /// The path below testdata/.
    pub name: String,
    /// The listener's port.
    pub port: u16,
    pub expect: Expect,
}

impl Fixture {
    /// The exit status of its conversion.
    pub const fn code(&self) -> i32 {
        matches!(self.expect, Expect::Damaged) as i32
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

/// The traces that do not contain every byte of the wire, and why.
const APART: [(&str, Expect, &str); 18] = [
    (
        "adm_false_streaming_JSON_BODY_AS_STRING.out",
        Expect::Dissects,
        LOSSY,
    ),
    (
        "adm_true_streaming_JSON_BODY_AS_STRING.out",
        Expect::Dissects,
        LOSSY,
    ),
    ("buf_json_body_as_string_36.json", Expect::Dissects, LOSSY),
    ("buf_json_body_as_string_40.json", Expect::Dissects, LOSSY),
    ("buf_json_body_as_string_42.json", Expect::Dissects, LOSSY),
    ("str_json_body_as_string_81.json", Expect::Dissects, LOSSY),
    ("str_json_body_as_string_85.json", Expect::Dissects, LOSSY),
    ("str_json_body_as_string_87.json", Expect::Dissects, LOSSY),
    (
        "buf_tls_135.pb",
        Expect::Dissects,
        "the wire has the ciphertext, the trace what is inside",
    ),
    (
        "buf_uds_236.pb",
        Expect::Dissects,
        "a Unix socket never was on the wire",
    ),
    ("buf_trunc_117.pb", Expect::Part, LIMIT),
    ("buf_trunc_121.pb", Expect::Part, LIMIT),
    ("buf_trunc_123.pb", Expect::Part, LIMIT),
    ("str_trunc_126.pb_length_delimited", Expect::Part, LIMIT),
    ("str_trunc_130.pb_length_delimited", Expect::Part, LIMIT),
    ("str_trunc_132.pb_length_delimited", Expect::Part, LIMIT),
    ("up_str_146.pb_length_delimited", Expect::Damaged, UPSTREAM),
    ("up_str_json_150.json", Expect::Damaged, UPSTREAM),
];

const LOSSY: &str = "bodies that are no UTF-8 are lossy, and streamed ones lack the connection";
const LIMIT: &str = "cut at the default limit of 1 KiB";
const UPSTREAM: &str = "the local address is missing, and killing Envoy cut the file";

/// The checkout, two folders above this crate.
pub fn checkout() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).expect("the checkout")
}

/// testdata/.
pub fn testdata() -> PathBuf {
    checkout().join("testdata")
}

/// The packets that were on the wire.
pub fn wire() -> PathBuf {
    testdata().join("envoy-1.40/wire.pcap")
}

/// The listener ports, by the prefix of a trace's name.
pub fn ports() -> Vec<(String, u16)> {
    let path = testdata().join("envoy-1.40/ports.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // A flat object, with one `"name": number` per line.
    let entries = text
        .trim()
        .trim_matches(['{', '}'])
        .split(',')
        .map(|entry| {
            let (name, port) = entry
                .split_once(':')
                .unwrap_or_else(|| panic!("ports.json: {entry:?}"));
            let port = port
                .trim()
                .parse()
                .unwrap_or_else(|e| panic!("ports.json: {entry:?}: {e}"));
            (name.trim().trim_matches('"').to_owned(), port)
        });
    entries.collect()
}

fn list(dir: &str) -> Vec<PathBuf> {
    let path = testdata().join(dir);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a name in UTF-8")
}

fn is_http(name: &str) -> bool {
    name.starts_with("http_") || name.starts_with("admhttp_")
}

/// All traces of socket taps.
pub fn socket_traces() -> Vec<Fixture> {
    let ports = ports();
    let mut known = APART.to_vec();
    let mut traces = Vec::new();
    for (dir, count) in [
        ("envoy-1.40/taps", 53),
        ("envoy-1.40/admin", 8),
        ("envoy-1.10", 9),
        ("envoy-1.7", 6),
    ] {
        let before = traces.len();
        for path in list(dir) {
            let file = file_name(&path);
            if is_http(file) || file.starts_with("README") {
                continue;
            }
            // The number of the connection follows the prefix.
            let prefix = file.split('.').next().expect("a first piece");
            let prefix = prefix
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .trim_end_matches('_');
            let prefix = match prefix {
                _ if prefix.starts_with("adm_") => "adm".to_owned(),
                _ if prefix.starts_with("up_") => format!("l_{prefix}"),
                _ => prefix.to_owned(),
            };
            let port = ports.iter().find(|(name, _)| *name == prefix);
            let &(_, port) = port.unwrap_or_else(|| panic!("{file}: no {prefix} in ports.json"));
            let apart = known
                .iter()
                .position(|&(name, ..)| name == file && dir.starts_with("envoy-1.40"));
            let expect = apart.map_or(Expect::Whole, |i| known.swap_remove(i).1);
            traces.push(Fixture {
                name: format!("{dir}/{file}"),
                path: path.clone(),
                port,
                expect,
            });
        }
        assert_eq!(
            traces.len() - before,
            count,
            "socket traces in testdata/{dir}"
        );
    }
    assert!(known.is_empty(), "no longer there: {known:?}");
    traces
}

/// All traces of HTTP taps.
pub fn http_traces() -> Vec<PathBuf> {
    let mut traces = list("envoy-1.40/taps");
    traces.extend(list("envoy-1.40/admin"));
    traces.retain(|path| is_http(file_name(path)));
    assert_eq!(traces.len(), 68, "HTTP traces in testdata/envoy-1.40");
    traces
}
