//! Files that are truncated while they are mapped or read: the outcome is that of the truncated file.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::Target;
use crate::convert::{Options, Source, convert};
use crate::encoded::field;
use crate::info::inspect;
use crate::input::Wait;
use crate::interrupt::Interrupt;
use crate::merge::merge;
use crate::model::warning::Warnings;
use crate::progress::Progress;

/// A trace of 16 MiB, streamed, in events of 16 KiB.
fn trace() -> Vec<u8> {
    let time = field(1, &[0x08, 0x85, 0x8d, 0x8a, 0xd8, 0x06, 0x10, 0x01]);
    let body = field(2, &field(1, &field(1, &[b'x'; 16 << 10])));
    let event = field(3, &[time, body].concat());
    field(4, &[&[0x08, 0x07][..], &event].concat()).repeat(1 << 10)
}

fn inspected(path: &Path, progress: Progress) -> (String, Vec<u8>) {
    let options = Options {
        progress,
        ..Options::default()
    };
    let mut warnings = Warnings::default();
    let source = Source::File(path.to_owned());
    let (wait, interrupt) = (Wait::default(), Interrupt::default());
    let info = inspect(&source, &options, &wait, &interrupt, &mut warnings).unwrap();
    (format!("{info:?} {warnings:?}"), Vec::new())
}

fn converted(path: &Path, progress: Progress) -> (String, Vec<u8>) {
    converted_from(&Source::File(path.to_owned()), progress)
}

fn converted_from(source: &Source, progress: Progress) -> (String, Vec<u8>) {
    let options = Options {
        progress,
        ..Options::default()
    };
    let mut warnings = Warnings::default();
    let capture = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let target = Target::File(capture.to_path_buf());
    let interrupt = Interrupt::default();
    let summary = convert(source, &target, &options, &interrupt, &mut warnings).unwrap();
    assert!(summary.written);
    let bytes = fs::read(&capture).unwrap();
    (format!("{summary:?} {warnings:?}"), bytes)
}

fn merged(path: &Path, progress: Progress) -> (String, Vec<u8>) {
    let options = Options {
        progress,
        ..Options::default()
    };
    let capture = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let target = Target::File(capture.to_path_buf());
    let interrupt = Interrupt::default();
    let traces = [path.to_owned()];
    let merged = merge(&traces, &target, &options, 1, &interrupt, |_| {
        Warnings::default()
    });
    (
        format!("{:?}", merged.unwrap()),
        fs::read(&capture).unwrap(),
    )
}

/// Whether the trace's pages are still in the file or not, and whether the file ends at one or not.
#[track_caller]
fn equals_the_truncated_file(outcome: fn(&Path, Progress) -> (String, Vec<u8>), least: usize) {
    let bytes = trace();
    for left in [least, (5 << 20) + 77, (9 << 20) + 4095, bytes.len() - 1] {
        for piece in 1..5 {
            let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
            fs::write(&path, &bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let pieces = AtomicU64::new(0);
            let (seen, capture) = outcome(
                &path,
                Progress::new(move |_| {
                    if pieces.fetch_add(1, Ordering::Relaxed) == piece {
                        file.set_len(left as u64).unwrap();
                    }
                }),
            );
            assert_eq!(fs::metadata(&path).unwrap().len(), left as u64);
            let (of_truncated, expected) = outcome(&path, Progress::default());
            assert_eq!(seen, of_truncated, "{left} {piece}");
            assert!(capture == expected, "{left} {piece}");
        }
    }
}

#[test]
fn a_trace_that_is_truncated_while_it_is_inspected_is_read_again() {
    equals_the_truncated_file(inspected, 1 << 20);
}

/// What has been read by then is kept, at most 5 MiB.
#[test]
fn a_trace_that_is_truncated_while_it_is_converted_keeps_what_was_readable() {
    equals_the_truncated_file(converted, 5 << 20);
}

#[test]
fn a_trace_that_is_truncated_in_the_first_pass_of_a_merge_is_read_again() {
    equals_the_truncated_file(merged, 1 << 20);
}

/// It cannot be read from its beginning again. A child process has the file as its standard input.
#[test]
fn standard_input_that_is_truncated_while_it_is_converted_keeps_what_was_readable() {
    const CHILD: &str = "CAPTURE2PCAP_TEST_TRUNCATED_STDIN";
    const LEFT: u64 = (3 << 20) + 77;
    if let Some(path) = std::env::var_os(CHILD) {
        let file = File::options().write(true).open(&path).unwrap();
        let pieces = AtomicU64::new(0);
        let progress = Progress::new(move |_| {
            if pieces.fetch_add(1, Ordering::Relaxed) == 1 {
                file.set_len(LEFT).unwrap();
            }
        });
        let (_, capture) = converted_from(&Source::Stdin, progress);
        let (_, expected) = converted(Path::new(&path), Progress::default());
        assert_eq!(fs::metadata(&path).unwrap().len(), LEFT);
        assert!(capture == expected);
        return;
    }
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&path, trace()).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "truncation_tests::standard_input_that_is_truncated_while_it_is_converted_keeps_what_was_readable";
    let child = child.args(["--exact", name]).env(CHILD, path.as_os_str());
    let status = child.stdin(File::open(&path).unwrap()).status();
    assert!(status.unwrap().success());
}
