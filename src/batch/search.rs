//! Searches the inputs of the command for traces.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::is_named_as_trace;
use super::names::names;
use crate::convert::Source;

/// Paths that could not be searched, and why. Those in one folder are sorted, because the order in which a folder is
/// listed depends on the file system.
pub type Unread = Vec<(PathBuf, io::Error)>;

/// A trace that was found, and the part of its path that is mirrored.
#[derive(Debug)]
pub(super) struct FoundTrace {
    pub(super) path: PathBuf,
    /// The size in bytes.
    pub(super) size: u64,
    /// The minimum number of components at the end of `path` in its capture's path.
    pub(super) depth: usize,
}

/// The traces among the inputs, and the paths that could not be searched.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) traces: Vec<FoundTrace>,
    pub(super) unread: Unread,
}

impl Search {
    /// Searches all inputs. The traces are sorted by path, and each is listed once.
    pub(super) fn all(inputs: &[OsString]) -> Self {
        let mut found = Self::default();
        for input in inputs {
            found.add(Path::new(input));
        }
        found.traces.sort_by(|a, b| a.path.cmp(&b.path));
        found.traces.dedup_by(|a, b| a.path == b.path);
        found.unread.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// Adds `input`, or its contents if it is a folder.
    fn add(&mut self, input: &Path) {
        if !input.is_dir() {
            // If it cannot be read, the conversion reports that.
            let size = fs::metadata(input).map_or(0, |metadata| metadata.len());
            self.traces.push(FoundTrace {
                path: input.to_owned(),
                size,
                depth: 1,
            });
            return;
        }
        // Links to folders are not followed, so a loop of links does no harm.
        for entry in WalkDir::new(input) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(input).to_owned();
                    let error = error.into_io_error();
                    self.unread
                        .push((path, error.unwrap_or(io::ErrorKind::Other.into())));
                    continue;
                }
            };
            if !is_named_as_trace(entry.path()) || entry.file_type().is_dir() {
                continue;
            }
            // A link to a file is followed; a FIFO or device would block the whole batch.
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => metadata,
                Ok(_) => continue,
                Err(error) => {
                    self.unread.push((entry.into_path(), error));
                    continue;
                }
            };
            let (size, depth) = (metadata.len(), entry.depth().max(1));
            self.traces.push(FoundTrace {
                path: entry.into_path(),
                size,
                depth,
            });
        }
    }
}

/// Lists the traces among `inputs` and in the folders among them, each with the default name of its capture, and
/// the paths that could not be searched. `-` is standard input.
///
/// The inputs keep their order; the traces of a folder are sorted by path.
pub fn sources(inputs: &[OsString], extension: &str) -> (Vec<(Source, Option<PathBuf>)>, Unread) {
    let mut found = Search::default();
    let mut seen = HashSet::new();
    // The position of standard input among the traces.
    let mut stdin = None;
    for input in inputs {
        if input == "-" {
            stdin.get_or_insert(found.traces.len());
            continue;
        }
        let (first, first_unread) = (found.traces.len(), found.unread.len());
        found.add(Path::new(input));
        found.unread[first_unread..].sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut below = found.traces.split_off(first);
        below.sort_by(|a, b| a.path.cmp(&b.path));
        below.retain(|trace| seen.insert(trace.path.clone()));
        found.traces.append(&mut below);
    }
    let Search { traces, unread } = found;
    // If names collide, no captures are named.
    let mut names = names(&traces, extension).unwrap_or_default().into_iter();
    let files = traces
        .into_iter()
        .map(|trace| (Source::File(trace.path), names.next()));
    let mut sources: Vec<_> = files.collect();
    if let Some(at) = stdin {
        sources.insert(at, (Source::Stdin, None));
    }
    (sources, unread)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The order in which a folder is listed depends on the file system.
    #[test]
    fn unreadable_paths_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for i in 0..64 {
            // Neither ascending nor descending.
            let path = folder.path().join(format!("{:02}.pb", i * 37 % 64));
            symlink("missing", &path).unwrap();
            expected.push(path);
        }
        expected.sort();
        let inputs = [folder.path().into()];
        let paths = |unread: Unread| unread.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(paths(Search::all(&inputs).unread), expected);
        assert_eq!(paths(sources(&inputs, "pcap").1), expected);
    }
}
