//! Many traces, one capture each: the names of the captures, and the threads that convert the traces.
//!
//! All names are decided before the first conversion. Knows nothing of formats.
//!
//! Invariant: no two jobs of a plan write the same file, and the plan does not depend on the order in which a
//! file system lists its folders.

mod places;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rayon::iter::{ParallelBridge as _, ParallelIterator as _};
use walkdir::WalkDir;

use crate::capture::{Format, Target, is_same};
use crate::convert::{Source, is_trace};
use crate::input::{Compression, Input};

pub use places::{Obstacle, TRACE, holds_trace, prepare};

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
    /// Two traces would share a capture, whatever their names are changed to.
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
    let Found { traces, unread } = Found::search_all(inputs);
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
    let Found { traces, unread } = Found::search_all(inputs);
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

/// Whether an output is a folder for captures, whatever the inputs.
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

/// Lists the traces among `inputs` and in the folders among them, each with the default name of its capture, and
/// the paths that could not be searched. `-` is standard input.
///
/// The inputs keep their order; the traces of a folder are sorted by path.
pub fn sources(inputs: &[OsString], extension: &str) -> (Vec<(Source, Option<PathBuf>)>, Unread) {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    // The position of standard input among the traces.
    let mut stdin = None;
    for input in inputs {
        if input == "-" {
            stdin.get_or_insert(found.traces.len());
            continue;
        }
        let first = found.traces.len();
        found.search(Path::new(input));
        let mut below = found.traces.split_off(first);
        below.sort_by(|a, b| a.path.cmp(&b.path));
        below.retain(|trace| seen.insert(trace.path.clone()));
        found.traces.append(&mut below);
    }
    let Found { traces, unread } = found;
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

/// Paths that could not be searched, and why.
pub type Unread = Vec<(PathBuf, io::Error)>;

/// A trace, and the part of its path that is mirrored.
#[derive(Debug)]
struct Trace {
    path: PathBuf,
    size: u64,
    /// The minimum number of components at the end of `path` in its capture's path.
    depth: usize,
}

#[derive(Debug, Default)]
struct Found {
    traces: Vec<Trace>,
    unread: Unread,
}

impl Found {
    fn search_all(inputs: &[OsString]) -> Self {
        let mut found = Self::default();
        for input in inputs {
            found.search(Path::new(input));
        }
        found.traces.sort_by(|a, b| a.path.cmp(&b.path));
        found.traces.dedup_by(|a, b| a.path == b.path);
        found
    }

    /// Adds `input`, or its contents if it is a folder.
    fn search(&mut self, input: &Path) {
        if !input.is_dir() {
            // Whatever it is, the conversion reports what is wrong with it.
            let size = fs::metadata(input).map_or(0, |metadata| metadata.len());
            self.traces.push(Trace {
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
            self.traces.push(Trace {
                path: entry.into_path(),
                size,
                depth,
            });
        }
    }
}

/// Names the captures below the output folder, in the order of `traces`.
///
/// If names collide, these traces keep their extension; then a folder of their path is added in front; then both,
/// and so on until the names are unique.
fn names(traces: &[Trace], extension: &str) -> Result<Vec<PathBuf>, PlanError> {
    let mut steps = vec![0_usize; traces.len()];
    loop {
        let names: Vec<_> = traces
            .iter()
            .zip(&steps)
            .map(|(trace, step)| name(trace, *step, extension))
            .collect();
        let mut taken: HashMap<&Path, usize> = HashMap::with_capacity(names.len());
        let mut colliding = Vec::new();
        // A capture cannot have the name of a folder of other captures: x.pb next to a folder x.pcap.
        let folders: HashSet<&Path> = names
            .iter()
            .flat_map(|name| name.ancestors().skip(1))
            .collect();
        for (i, name) in names.iter().enumerate() {
            if let Some(first) = taken.insert(name, i) {
                colliding.extend([first, i]);
            }
            if folders.contains(&**name) {
                colliding.push(i);
            }
        }
        if colliding.is_empty() {
            return Ok(names);
        }
        colliding.sort_unstable();
        colliding.dedup();
        let mut moved = false;
        for &i in &colliding {
            // After the whole path, names only repeat.
            if steps[i] < 2 * traces[i].path.components().count() {
                steps[i] += 1;
                moved = true;
            }
        }
        if !moved {
            let path = |i: usize| traces[i].path.clone();
            let (first, last) = (colliding[0], colliding[colliding.len() - 1]);
            return Err(PlanError::Collision(path(first), path(last)));
        }
    }
}

/// A trace's name without its extension, or without both of a compressed one.
pub fn stem(name: &Path) -> PathBuf {
    let unpacked = Compression::unpacked_name(name);
    match unpacked.as_ref() == name || is_named_as_trace(&unpacked) {
        true => unpacked.with_extension(""),
        false => unpacked.into_owned(),
    }
}

/// The name of a trace's capture, `step` steps after the shortest.
fn name(trace: &Trace, step: usize, extension: &str) -> PathBuf {
    // A path out of the folder, or to the root, cannot be mirrored.
    let parts: Vec<_> = trace
        .path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect();
    let (whole, parents) = (step % 2 == 1, step / 2);
    let depth = (trace.depth + parents).min(parts.len());
    let mut name: PathBuf = parts[parts.len() - depth..].iter().collect();
    if !whole {
        name = stem(&name);
    }
    let mut name = name.into_os_string();
    name.push(".");
    name.push(extension);
    name.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(traces: &[(&str, usize)]) -> Vec<String> {
        let trace = |&(path, depth): &(&str, usize)| Trace {
            path: path.into(),
            size: 0,
            depth,
        };
        let traces: Vec<_> = traces.iter().map(trace).collect();
        let names = names(&traces, "pcap").unwrap();
        names
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn names_are_the_shortest_unique_ones() {
        type Case<'a> = (&'a [(&'a str, usize)], &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (&[("/x/path_0.pb", 1)], &["path_0.pcap"]),
            (
                &[("in/a/path_0.pb", 2), ("in/b/path_0.pb", 2)],
                &["a/path_0.pcap", "b/path_0.pcap"],
            ),
            (
                &[("p_0.json", 1), ("p_0.pb", 1), ("p_1.pb", 1)],
                &["p_0.json.pcap", "p_0.pb.pcap", "p_1.pcap"],
            ),
            (
                &[("/n1/p_0.pb", 1), ("/n2/p_0.pb", 1)],
                &["n1/p_0.pcap", "n2/p_0.pcap"],
            ),
            (
                &[("n/1/p.json", 1), ("n/1/p.pb", 1), ("n/2/p.pb", 1)],
                &["p.json.pcap", "1/p.pcap", "2/p.pcap"],
            ),
            (
                &[("in/x.pb", 1), ("in/x.pcap/y.pb", 2)],
                &["x.pb.pcap", "x.pcap/y.pcap"],
            ),
            (
                &[
                    ("in/x.pb", 1),
                    ("in/x.pb.pcap/y.pb", 2),
                    ("in/x.pcap/y.pb", 2),
                ],
                &["in/x.pcap", "x.pb.pcap/y.pcap", "x.pcap/y.pcap"],
            ),
            (
                &[("../../p_0.pb", 1), ("no extension", 1)],
                &["p_0.pcap", "no extension.pcap"],
            ),
        ];
        for (traces, expected) in cases {
            assert_eq!(planned(traces), expected);
        }
    }

    #[test]
    fn paths_that_differ_only_outside_are_told_apart_all_the_same() {
        let names = planned(&[("../p_0.pb", 1), ("p_0.pb", 1)]);
        assert_ne!(names[0], names[1]);
    }
}
