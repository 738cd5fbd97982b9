//! Many traces, one capture in strict time order.
//!
//! Each trace is read twice. The first pass finds out when each event happened and which conversation it belongs
//! to, and writes that into an index; the second takes the events out in the order of their times, and reads
//! each where it lies. So nothing is open but the last few files, and the memory in use is bounded for traces
//! of any number, size and order.
//!
//! Invariant: events of one conversation keep their order, and no packet is earlier than the one before it.

mod fetch;
mod index;
mod scan;
mod sink;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};

use crate::capture::{Capture, Output, Target};
use crate::convert::{Failure, Options, Source, Summary, labels};
use crate::interrupt::Interrupt;
use crate::model::protocol::DecodeAs;
use crate::model::warning::Warnings;
use crate::synth::ConnectionSummary;

use fetch::Fetcher;
use index::Builder;
use scan::{Scan, scan};
use sink::MergeSink;

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// What came of each trace, in the order in which they were given.
    pub traces: Vec<Outcome>,
    /// The connections that have packets in the capture.
    pub connections: u64,
    /// The packets in the capture.
    pub frames: u64,
    /// What a reader has to be told to find the HTTP in the capture.
    pub decode_as: Vec<DecodeAs>,
    /// The summaries of its connections in the order of their first events, where the options ask for them.
    pub summaries: Vec<ConnectionSummary>,
    /// Whether the reader of a stream went away before its end.
    pub reader_gone: bool,
    /// Whether there is a capture: a signal may come before it is begun.
    pub written: bool,
}

/// What came of one trace of a merge.
#[derive(Debug)]
pub struct Outcome {
    /// The trace.
    pub path: PathBuf,
    /// What is to be known about it.
    pub warnings: Warnings,
    /// What of it is in the capture, or why nothing is.
    pub result: Result<Summary, Failure>,
}

/// Merges `paths` into one capture. `warnings` makes the collector of a trace's warnings.
///
/// # Errors
/// When there is no capture: none of the traces can be read, or the capture cannot be written. What is
/// wrong with a single trace stands in the [`Outcome`].
pub fn merge(
    paths: &[PathBuf],
    target: &Target,
    options: &Options,
    threads: usize,
    interrupt: &Interrupt,
    warnings: impl Fn(&Source) -> Warnings + Sync,
) -> Result<Merged, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Failure::Trace(anyhow!(error)))?;
    let index = Mutex::new(Builder::new(folder_for(target)));
    let scans: Vec<_> = pool.install(|| {
        let scan = |(source, path): (usize, &PathBuf)| {
            let mut warnings = warnings(&Source::File(path.clone()));
            let found = scan(
                source as u32,
                path,
                options,
                interrupt,
                &index,
                &mut warnings,
            );
            (found, warnings)
        };
        paths.par_iter().enumerate().map(scan).collect()
    });
    let sources: Vec<_> = paths.iter().cloned().map(Source::File).collect();
    let names = labels(options, sources.iter());
    let mut work = MergeSink::new(options, names.clone());
    // What is read in place of each trace: itself, or a copy.
    let mut read = paths.to_vec();
    let mut copies = Vec::new();
    for (number, (path, (mut found, warnings))) in paths.iter().zip(scans).enumerate() {
        if let Ok(scan) = &mut found
            && let Some(copy) = scan.copy.take()
        {
            read[number] = copy.to_path_buf();
            copies.push(copy);
        }
        add(&mut work, path, found, warnings)?;
    }
    if options.summaries {
        work.synth.keep_summaries();
    }
    let mut merged = Merged {
        summaries: Vec::new(),
        traces: Vec::new(),
        connections: 0,
        frames: 0,
        decode_as: Vec::new(),
        reader_gone: false,
        written: false,
    };
    if let Some(output) = output(&work, paths, target, interrupt)? {
        merged.written = true;
        let live = output.is_stream();
        let index = index.into_inner().unwrap_or_else(PoisonError::into_inner);
        let written = (|| {
            let mut capture = Capture::new(output, options.capture, &names.unwrap_or_default())?;
            let index = index.finish()?;
            work.run(
                index,
                Fetcher::new(&read, &options.progress),
                interrupt,
                &mut capture,
            )?;
            work.finish(&mut capture)?;
            capture.finish()
        })();
        if work.incomplete && options.strict {
            return Err(Failure::Trace(anyhow!(
                "a trace changed during the merge, and --strict allows no capture then"
            )));
        }
        match written.and_then(Output::commit) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => {
                merged.reader_gone = true;
            }
            // A reader that stands still gets no more after a signal.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && live => {}
            Err(error) => return Err(Failure::capture(error)),
        }
    }
    merged.connections = work.synth.connections();
    merged.frames = work.frames;
    merged.decode_as = work.synth.decode_as();
    merged.summaries = work.synth.take_summaries();
    merged.summaries.sort_by_key(ConnectionSummary::order);
    merged.traces = work.traces;
    Ok(merged)
}

/// Adds what the first pass found in a trace.
fn add(
    work: &mut MergeSink,
    path: &Path,
    found: Result<Scan, Failure>,
    warnings: Warnings,
) -> Result<(), Failure> {
    let mut outcome = Outcome {
        path: path.to_owned(),
        warnings,
        result: Ok(Summary::default()),
    };
    let scan = match found {
        Ok(mut scan) => {
            outcome.result = Ok(std::mem::take(&mut scan.summary));
            Some(scan)
        }
        Err(failure) => {
            outcome.result = Err(failure);
            None
        }
    };
    work.add(outcome, scan).map_err(Failure::capture)
}

/// Opens the capture's place; none where nothing is to be written, or a signal came first.
fn output(
    work: &MergeSink,
    paths: &[PathBuf],
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Option<Output>, Failure> {
    if interrupt.signal().is_some() || work.traces.iter().all(|trace| trace.result.is_err()) {
        return Ok(None);
    }
    let metadata = paths.iter().filter_map(|path| path.metadata().ok());
    match Output::create(target, metadata, interrupt.wake()) {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(Failure::capture(error)),
    }
}

/// Where the index may have a temporary file: beside the capture, where there is room for much.
fn folder_for(target: &Target) -> PathBuf {
    match target {
        Target::File(path) if path.parent().is_some_and(Path::is_dir) => path
            .parent()
            .map_or_else(std::env::temp_dir, Path::to_owned),
        _ => std::env::temp_dir(),
    }
}
