//! Where the captures of a batch really go, once links are followed.
//!
//! It makes the folders and finds the captures that must not be written. It converts nothing.
//!
//! Invariant: no two captures get the same place, and none the place of a trace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::capture::follow;
use crate::convert::is_trace;

use super::{Job, is_named_as_trace};

/// Why a capture does not take the place of a trace.
pub const TRACE: &str = "refusing to overwrite a trace";

/// Why the capture of a job is not written; its text is for people.
pub type Obstacle = String;

/// Makes the folders that captures go to, and returns the place of each job's capture, or why it has none.
///
/// A folder that cannot be made is an obstacle to its own captures alone.
pub fn prepare(jobs: &[Job]) -> Vec<Result<PathBuf, Obstacle>> {
    let mut places = Places {
        folders: HashMap::new(),
        taken: HashMap::with_capacity(jobs.len()),
        traces: jobs.iter().filter_map(|job| identity(&job.trace)).collect(),
    };
    jobs.iter().map(|job| places.of(&job.capture)).collect()
}

/// What is known of the places so far.
struct Places<'a> {
    /// The folders without links, or why they cannot be made.
    folders: HashMap<&'a Path, Result<PathBuf, Obstacle>>,
    /// The captures by their places.
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
            // The first keeps it.
            self.taken.insert(place, other);
            return Err(refusal);
        }
        Ok(place)
    }
}

/// Whether a trace is at a capture's place that [`prepare`] has returned, as far as its name and first bytes show.
pub fn holds_trace(place: &Path) -> bool {
    place.is_file() && (is_named_as_trace(place) || is_trace(place))
}

/// Makes a folder, and returns its path without links.
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

/// The path that a link leads to; any other path as it is.
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

/// What tells a file from all others, if there is one at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
