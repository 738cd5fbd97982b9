//! Replays all findings and the seeds, without a fuzzer.
//!
//! A file in `regressions/` is named after the fault that it showed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capture2pcap_fuzz::TARGETS;

/// The time after which an input counts as hanging. Most take a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

/// The files in a folder, sorted; none if it does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(folder: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for (name, target) in TARGETS {
        let files = files(&folder.join(name));
        assert!(files.len() >= least, "{name}: {} files", files.len());
        for file in files {
            // A panic message after this line belongs to this file.
            eprintln!("{}", file.display());
            let began = Instant::now();
            target(&fs::read(&file).unwrap());
            assert!(began.elapsed() < PATIENCE, "{}", file.display());
        }
    }
}

#[test]
fn seeds() {
    replay("corpus", 10);
}

#[test]
fn regressions() {
    replay("regressions", 0);
}

/// The complete traces in testdata/, each with its own target and with the others.
#[test]
fn recordings() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let folders = [
        "envoy-1.7",
        "envoy-1.10",
        "envoy-1.40/taps",
        "envoy-1.40/admin",
    ];
    let recordings: Vec<_> = folders
        .iter()
        .flat_map(|f| files(&testdata.join(f)))
        .collect();
    assert!(recordings.len() > 100, "{} recordings", recordings.len());
    for path in recordings {
        eprintln!("{}", path.display());
        let bytes = fs::read(&path).unwrap();
        for (name, target) in TARGETS {
            match name {
                "binary" | "text" | "json" => target(&bytes),
                // The default options, and some sizes of chunks.
                "stream" => target(&[&[0, 9, 255, 99, 0, 0, 0, 0, 0, 0], &bytes[..]].concat()),
                _ => target(&[&[0; 6], &bytes[..]].concat()),
            }
        }
    }
}
