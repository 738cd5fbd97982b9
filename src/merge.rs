//! Many traces, one capture in strict time order.
//!
//! Each trace is read twice. The first pass writes an index of the time and the conversation of each event. The
//! second pass goes through the index in the order of the times, and reads each event at its offset. So only a few
//! files are open at a time, and memory is bounded for traces of any number, size and order.
//!
//! Invariant: events of one conversation keep their order, and no packet is earlier than the one before it.

mod fetch;
#[cfg(feature = "cli")]
mod files;
mod index;
mod place;
mod scan;
mod sink;
mod spill;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;

use crate::capture::Capture;
use crate::convert::{Failure, Options, Summary, label, labels};
use crate::input::{Access, ReadAt};
use crate::interrupt::Interrupt;
use crate::model::protocol::DecodeAs;
use crate::model::warning::Warnings;
use crate::redact::Redaction;
use crate::synth::ConnectionSummary;

use fetch::Fetcher;
#[cfg(feature = "cli")]
pub use files::merge;
use index::Builder;
use place::Place;
pub use place::{NewScratch, Scratch};
use scan::{Scan, scan};
use sink::MergeSink;

/// The outcome of a merge.
#[derive(Debug)]
pub struct Merged {
    /// The outcome of each trace, in the order of the inputs.
    pub traces: Vec<Outcome>,
    /// The number of connections that have packets in the capture.
    pub connections: u64,
    /// The number of packets in the capture.
    pub frames: u64,
    /// The options that a reader needs to find the HTTP in the capture.
    pub decode_as: Vec<DecodeAs>,
    /// The summaries of the connections in the order of their first events, if the options request them.
    pub summaries: Vec<ConnectionSummary>,
    /// Whether the reader of a stream closed it early.
    pub reader_gone: bool,
    /// Whether there is a capture: a signal may arrive before it is started.
    pub written: bool,
}

/// The outcome of one trace of a merge.
#[derive(Debug)]
pub struct Outcome {
    /// The trace.
    pub path: PathBuf,
    /// Its warnings.
    pub warnings: Warnings,
    /// What the capture contains of it, or why it failed.
    pub result: Result<Summary, Failure>,
}

/// Merges traces in memory or in open files into one capture, written to `writer`. The name of a trace decides if
/// its bytes allow more than one encoding. A compressed trace is unpacked into a copy that `scratch` creates.
///
/// # Errors
/// When the capture cannot be written. If no trace can be read, no writer is returned. The failure of a single
/// trace is in its [`Outcome`].
pub fn merge_inputs<W: Write + Send + 'static>(
    traces: Vec<(PathBuf, Arc<dyn ReadAt>)>,
    writer: W,
    options: &Options,
    scratch: NewScratch,
) -> Result<(Merged, Option<W>), Failure> {
    let (interrupt, index) = (
        Interrupt::default(),
        Mutex::new(Builder::new(PathBuf::new())),
    );
    let (mut paths, mut places, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (path, bytes)) in traces.into_iter().enumerate() {
        let (place, mut warnings) = (Place::Bytes(bytes, scratch), Warnings::default());
        let trace = (&*path, &place);
        let (found, _) = scan(
            number as u32,
            trace,
            (options, Access::Read),
            &interrupt,
            &index,
            &mut warnings,
        );
        scans.push((found, warnings));
        paths.push(path);
        places.push(place);
    }
    let first_pass = FirstPass {
        scans,
        index: index.into_inner().unwrap_or_else(PoisonError::into_inner),
    };
    let (merged, written) = write(&paths, places, first_pass, options, &interrupt, |sink| {
        Ok((!sink.is_empty()).then_some(writer))
    })?;
    let written = written.transpose().map_err(Failure::capture)?;
    Ok((merged, written))
}

/// What the first pass found in each trace.
struct FirstPass {
    scans: Vec<(Result<Scan, Failure>, Warnings)>,
    index: Builder,
}

/// Writes the capture of the traces at `places` to the writer that `open` returns, if it returns one.
fn write<W: Write + Send + 'static>(
    paths: &[PathBuf],
    mut places: Vec<Place>,
    first_pass: FirstPass,
    options: &Options,
    interrupt: &Interrupt,
    open: impl FnOnce(&MergeSink) -> Result<Option<W>, Failure>,
) -> Result<(Merged, Option<io::Result<W>>), Failure> {
    let names = labels(options, paths.iter().map(|path| label(path)));
    let mut work = MergeSink::new(options, names.clone());
    let FirstPass { scans, index } = first_pass;
    for (number, (path, (mut found, warnings))) in paths.iter().zip(scans).enumerate() {
        // The copy is read in place of its trace.
        if let Ok(scan) = &mut found
            && let Some(copy) = scan.copy.take()
        {
            places[number] = copy;
        }
        add(&mut work, path, found, warnings)?;
    }
    if options.summaries {
        work.synth.keep_summaries();
    }
    let remark = options.redaction.as_ref().map(Redaction::to_string);
    let writer = open(&work)?;
    let written = writer.map(|writer| {
        let mut capture = Capture::with_remark(
            writer,
            options.capture,
            &names.unwrap_or_default(),
            remark.as_deref(),
        )?;
        let fetcher = Fetcher::new(&places, &options.progress);
        work.run(index.finish()?, fetcher, interrupt, &mut capture)?;
        work.finish(&mut capture)?;
        capture.finish()
    });
    if work.incomplete && options.strict {
        return Err(Failure::Trace(anyhow!(
            "a trace changed during the merge, so --strict writes no capture"
        )));
    }
    let mut merged = Merged {
        connections: work.synth.connections(),
        frames: work.frames,
        decode_as: work.synth.decode_as(),
        summaries: work.synth.take_summaries(),
        traces: work.traces,
        reader_gone: false,
        written: written.is_some(),
    };
    merged.summaries.sort_by_key(ConnectionSummary::order);
    Ok((merged, written))
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
