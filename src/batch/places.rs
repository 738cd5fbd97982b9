//! The paths of a batch's captures after links are followed.
//!
//! Creates the folders, and finds the captures that must not be written. Converts nothing.
//!
//! Invariant: no two captures get the same path, and none gets the path of a trace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::capture::follow;
use crate::convert::is_trace;

use super::{Job, is_named_as_trace};

/// Why a capture does not replace a trace.
pub const TRACE: &str = "refusing to overwrite a trace";

/// Why the capture of a job is not written, as a message.
pub type Obstacle = String;

/// Creates the folders of the captures. Returns the final path of each job's capture, or why it has none.
///
/// If a folder cannot be created, only its own captures are affected.
pub fn prepare(jobs: &[Job]) -> Vec<Result<PathBuf, Obstacle>> {
    let mut places = Places {
        folders: HashMap::new(),
        taken: HashMap::with_capacity(jobs.len()),
        traces: jobs.iter().filter_map(|job| identity(&job.trace)).collect(),
    };
    jobs.iter().map(|job| places.of(&job.capture)).collect()
}

/// The paths found so far.
struct Places<'a> {
    /// The folders after links are followed, or why they cannot be created.
    folders: HashMap<&'a Path, Result<PathBuf, Obstacle>>,
    /// The captures, by their paths.
    taken: HashMap<PathBuf, &'a Path>,
    traces: HashSet<(u64, u64)>,
}

impl<'a> Places<'a> {
    fn of(&mut self, capture: &'a Path) -> Result<PathBuf, Obstacle> {
        let folder = capture.parent().unwrap_or(Path::new(""));
        let folder = self.folders.entry(folder).or_insert_with(|| make(folder));
        let name = capture.file_name().unwrap_or_default();
        let place = resolved(folder.clone()?.join(name)).map_err(|error| error.to_string())?;
        if identity(&place).is_some_and(|place| self.traces.contains(&place)) {
            return Err(TRACE.to_owned());
        }
        if let Some(other) = self.taken.insert(place.clone(), capture) {
            let refusal = format!("it is the same file as {}", crate::display_path(other));
            // The first capture keeps the path.
            self.taken.insert(place, other);
            return Err(refusal);
        }
        Ok(place)
    }
}

/// Whether a trace is at a path that [`prepare`] returned, judging by its name and first bytes.
pub fn holds_trace(place: &Path) -> bool {
    place.is_file() && (is_named_as_trace(place) || is_trace(place))
}

/// Creates a folder, and returns its path after links are followed.
fn make(folder: &Path) -> Result<PathBuf, Obstacle> {
    let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
    made.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AlreadyExists => "a file has its name".to_owned(),
            _ => error.to_string(),
        };
        let folder = crate::display_path(folder);
        format!("cannot make the folder {folder}: {reason}")
    })
}

/// The target of a link; any other path unchanged.
fn resolved(path: PathBuf) -> io::Result<PathBuf> {
    if !path.is_symlink() {
        return Ok(path);
    }
    let path = follow(&path)?;
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(fs::canonicalize(folder)?.join(name)),
        _ => Ok(path),
    }
}

/// The identity of the file at `path`, if there is one.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
