//! Replays what was ever found, and the seeds, without a fuzzer.
//!
//! A file in `regressions/` is named after the fault that it showed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capture2pcap_fuzz::TARGETS;

/// An input that takes as long as this hangs, for all that anybody will wait; most take a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

/// The files in a folder, in order; none where it is not there.
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
            // What a panic says next belongs to this file.
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

/// The traces in testdata/ themselves, in their whole length, each as what it is and as what it is not.
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
                // The options that are the defaults, and chunks of some sizes.
                "stream" => target(&[&[0, 9, 255, 99, 0, 0, 0, 0, 0, 0], &bytes[..]].concat()),
                _ => target(&[&[0; 6], &bytes[..]].concat()),
            }
        }
    }
}
