//! Many traces, one capture each: the names of the captures, and the threads that convert the traces.
//!
//! All names are decided before the first conversion. Knows nothing of formats.
//!
//! Invariant: no two jobs of a plan write the same file, and the plan does not depend on the order in which a
//! file system lists its folders.

mod names;
mod places;
mod search;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::iter::{ParallelBridge as _, ParallelIterator as _};

use crate::capture::{Format, Target, is_same};
use crate::convert::{Source, is_trace};
use crate::input::{Compression, Input};

use names::names;
pub use names::stem;
pub use places::{Obstacle, TRACE, holds_trace, prepare};
use search::Search;
pub use search::{Unread, sources};

/// The extensions of trace files in a folder; that of a compressed file may follow.
pub const TRACE_EXTENSIONS: [&str; 4] = ["pb", "pb_length_delimited", "pb_text", "json"];

/// The extensions of compressed files.
const COMPRESSED_EXTENSIONS: [&str; 8] = ["gz", "zst", "bz2", "xz", "lz4", "lzma", "br", "zip"];

/// Whether a file is named like a trace, compressed or not.
pub fn is_named_as_trace(path: &Path) -> bool {
    let name = Compression::unpacked_name(path);
    let extension = name.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| TRACE_EXTENSIONS.contains(&extension))
}

/// One conversion of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The trace.
    pub trace: PathBuf,
    /// The capture.
    pub capture: PathBuf,
    /// The trace's size in bytes, if known; the largest traces are converted first.
    pub size: u64,
}

/// A plan of the conversions.
#[derive(Debug)]
pub enum Plan {
    /// One trace into one capture.
    One(Source, Target),
    /// Many traces, each into its own capture.
    Many {
        /// The conversions, in the order of their traces.
        jobs: Vec<Job>,
        /// The paths that could not be searched.
        unread: Unread,
    },
}

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanError {
    /// Standard input or output is given where only files are possible.
    Stream(&'static str),
    /// Several captures need a folder, but the output is a file.
    NoFolder(PathBuf),
    /// One capture needs a file, but the output is a folder.
    Folder(PathBuf),
    /// Several captures need a folder, but the output does not exist and is named like a file.
    NewFolder(PathBuf),
    /// The output is named like a compressed file.
    Compressed(PathBuf),
    /// The folder for captures does not exist, and is named like a trace.
    TraceName(PathBuf),
    /// The output is an existing trace.
    Trace(PathBuf),
    /// Input and output are the same file.
    Same(Target),
    /// Two traces have the same capture, in every form of its name.
    Collision(PathBuf, PathBuf),
}

/// Plans the captures of `inputs`.
///
/// `output` is a folder for captures if it is an existing folder or ends in `/`, or if there are several inputs
/// or a folder among them. `extension` is that of the captures' format.
///
/// # Errors
/// When standard input or output is one of several, when names collide in every form, or when the output is
/// probably a mistake.
pub fn plan(inputs: &[OsString], output: &OsStr, extension: &str) -> Result<Plan, PlanError> {
    let many = inputs.len() != 1
        || is_folder(output)
        || inputs
            .first()
            .is_some_and(|input| Path::new(input).is_dir());
    if !many {
        let source = match inputs[0].to_str() {
            Some("-") => Source::Stdin,
            _ => Source::File(PathBuf::from(&inputs[0])),
        };
        check_capture(output, std::slice::from_ref(&source))?;
        return Ok(Plan::One(source, Target::of(output)));
    }
    if output == "-" {
        return Err(PlanError::Stream(
            "several captures cannot share standard output",
        ));
    }
    if inputs.iter().any(|input| input == "-") {
        return Err(PlanError::Stream(
            "standard input has no name that its capture could have",
        ));
    }
    check_folder(output)?;
    let Search { traces, unread } = Search::all(inputs);
    let names = names(&traces, extension)?;
    let jobs = traces.into_iter().zip(names).map(|(trace, name)| Job {
        capture: Path::new(output).join(name),
        trace: trace.path,
        size: trace.size,
    });
    Ok(Plan::Many {
        jobs: jobs.collect(),
        unread,
    })
}

/// Lists the traces among `inputs` and in the folders among them, in order, and the paths that could not be
/// searched, for one capture at `output`.
///
/// # Errors
/// When standard input is among them, since it cannot be read twice, or when the output is probably a mistake.
pub fn search(inputs: &[OsString], output: &OsStr) -> Result<(Vec<PathBuf>, Unread), PlanError> {
    if inputs.iter().any(|input| input == "-") {
        return Err(PlanError::Stream(
            "standard input cannot be merged: a merge reads each trace twice",
        ));
    }
    if is_folder(output) {
        return Err(PlanError::Folder(PathBuf::from(output)));
    }
    let Search { traces, unread } = Search::all(inputs);
    let sources: Vec<_> = traces
        .into_iter()
        .map(|trace| Source::File(trace.path))
        .collect();
    check_capture(output, &sources)?;
    let path = |source| match source {
        Source::File(path) => Some(path),
        Source::Stdin | Source::Live(_) => None,
    };
    Ok((sources.into_iter().filter_map(path).collect(), unread))
}

/// Whether an output is a folder for captures, for any inputs.
fn is_folder(output: &OsStr) -> bool {
    output.as_encoded_bytes().ends_with(b"/") || Path::new(output).is_dir()
}

/// Rejects a folder for captures that is probably a mistake.
fn check_folder(output: &OsStr) -> Result<(), PlanError> {
    let path = Path::new(output);
    if is_folder(output) {
        return Ok(());
    }
    let exists = path.exists();
    // This is the last input if OUTPUT was forgotten.
    if exists && (is_named_as_trace(path) || is_trace(path)) {
        return Err(PlanError::Trace(path.to_owned()));
    }
    if exists {
        return Err(PlanError::NoFolder(path.to_owned()));
    }
    if is_named_as_trace(path) {
        return Err(PlanError::TraceName(path.to_owned()));
    }
    if is_compressed(path) {
        return Err(PlanError::Compressed(path.to_owned()));
    }
    // This is the capture of a merge if --merge was forgotten.
    if Format::of(path).is_some() {
        return Err(PlanError::NewFolder(path.to_owned()));
    }
    Ok(())
}

/// Rejects an output for one capture of `traces` that is probably a mistake or is an existing trace.
fn check_capture(output: &OsStr, traces: &[Source]) -> Result<(), PlanError> {
    let target = Target::of(output);
    if let Ok(there) = target.metadata()
        && there.is_file()
        && traces.iter().any(|trace| is_at(trace, &there))
    {
        return Err(PlanError::Same(target));
    }
    let Target::File(path) = target else {
        return Ok(());
    };
    let (exists, is_file) = (path.exists(), path.is_file());
    // If OUTPUT was forgotten, this is the last trace.
    if is_file && (is_named_as_trace(&path) || is_trace(&path)) {
        return Err(PlanError::Trace(path));
    }
    // The reader of a FIFO with such a name may be a compressor.
    if is_compressed(&path) && (is_file || !exists) {
        return Err(PlanError::Compressed(path));
    }
    Ok(())
}

/// Whether a file is named like a compressed file.
fn is_compressed(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    COMPRESSED_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Whether a trace is the file with this metadata.
fn is_at(trace: &Source, file: &fs::Metadata) -> bool {
    // Checked without opening it, since it may be a FIFO.
    let trace = match trace {
        Source::Stdin => Input::stdin().map(|(_, metadata)| metadata),
        Source::File(trace) => trace.metadata(),
        Source::Live(_) => return false,
    };
    trace.is_ok_and(|trace| is_same(&trace, file))
}

/// Calls `convert` for each job and its number, in `threads` threads, the largest traces first.
///
/// If a large trace were started late, it would keep one thread busy after all others are done.
///
/// # Errors
/// When the threads cannot be started.
pub fn run(
    jobs: &[Job],
    threads: usize,
    convert: impl Fn(usize, &Job) + Sync + Send,
) -> anyhow::Result<()> {
    let mut order: Vec<_> = jobs.iter().enumerate().collect();
    // The sort is stable: traces of equal size keep the order of the plan.
    order.sort_by_key(|(_, job)| std::cmp::Reverse(job.size));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let convert = |(number, job)| convert(number, job);
    pool.install(|| order.into_iter().par_bridge().for_each(convert));
    Ok(())
}
