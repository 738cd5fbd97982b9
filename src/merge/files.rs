//! Merges of files, into files and streams.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};

use super::index::Builder;
use super::place::Place;
use super::scan::scan;
use super::sink::MergeSink;
use super::{FirstPass, Merged, write};
use crate::capture::{Output, Target};
use crate::convert::{Failure, Options, Source};
use crate::input::{Access, or_read};
use crate::interrupt::Interrupt;
use crate::model::warning::Warnings;

/// Merges `paths` into one capture. `warnings` creates the collector of a trace's warnings.
///
/// # Errors
/// When there is no capture: no trace can be read, or the capture cannot be written. The failure of a single
/// trace is in its [`Outcome`](super::Outcome).
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
    let places: Vec<_> = paths.iter().cloned().map(Place::File).collect();
    let first_pass = or_read(|access| {
        let index = Mutex::new(Builder::new(folder_for(target)));
        let is_torn = AtomicBool::new(false);
        let scan = |(source, (path, place)): (usize, (&PathBuf, &Place))| {
            let mut warnings = warnings(&Source::File(path.clone()));
            // Warnings that were printed at once cannot be taken back, so the trace must not have to be read again.
            let access = warnings.draft().map_or(Access::Read, |_| access);
            let (found, torn) = scan(
                source as u32,
                (path, place),
                (options, access),
                interrupt,
                &index,
                &mut warnings,
            );
            is_torn.fetch_or(torn, Ordering::Relaxed);
            (found, warnings)
        };
        let traces = paths.par_iter().zip(places.par_iter()).enumerate();
        let scans = pool.install(|| traces.map(scan).collect());
        let index = index.into_inner().unwrap_or_else(PoisonError::into_inner);
        (FirstPass { scans, index }, is_torn.into_inner())
    });
    let mut live = false;
    let (mut merged, written) = write(paths, places, first_pass, options, interrupt, |work| {
        let output = output(work, paths, target, interrupt)?;
        live = output.as_ref().is_some_and(Output::is_stream);
        Ok(output)
    })?;
    match written.map_or(Ok(()), |written| written.and_then(Output::commit)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => {
            merged.reader_gone = true;
        }
        // After a signal, a reader that does not read is not waited for.
        Err(error) if error.kind() == io::ErrorKind::TimedOut && live => {}
        Err(error) => return Err(Failure::capture(error)),
    }
    Ok(merged)
}

/// Opens the capture; returns `None` if there is nothing to write, or if a signal arrived first.
fn output(
    work: &MergeSink,
    paths: &[PathBuf],
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Option<Output>, Failure> {
    if interrupt.signal().is_some() || work.is_empty() {
        return Ok(None);
    }
    let metadata = paths.iter().filter_map(|path| path.metadata().ok());
    match Output::create(target, metadata, interrupt.wake()) {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(Failure::capture(error)),
    }
}

/// The folder for the index's temporary file: that of the capture, which has space for large files.
fn folder_for(target: &Target) -> PathBuf {
    match target {
        Target::File(path) if path.parent().is_some_and(Path::is_dir) => path
            .parent()
            .map_or_else(std::env::temp_dir, Path::to_owned),
        _ => std::env::temp_dir(),
    }
}
