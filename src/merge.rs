//! Many traces, one capture in strict time order.
//!
//! Each trace is read twice. The first pass finds the span of its parts and how many events each
//! conversation has; the second sweeps over time and holds open only what overlaps, so that thousands
//! of traces need few open files and little memory.
//!
//! Invariant: events of one trace keep their order, and no packet is earlier than the one before it.

mod scan;
mod sweep;
mod work;

use std::io;
use std::path::PathBuf;

use anyhow::anyhow;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};

use crate::capture::{Capture, Output, Target};
use crate::convert::{Failure, Options, Source, Summary, labels};
use crate::event::Timestamp;
use crate::interrupt::Interrupt;
use crate::notice::{Kind, Notice, Notices};
use crate::protocol::DecodeAs;
use crate::synth::STAND_IN_INTERVAL;

use scan::scan;
use sweep::Sweep;
use work::Work;

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// What came of each trace, in the order in which they were given.
    pub traces: Vec<Outcome>,
    /// The connections that have packets in the capture.
    pub connections: u64,
    /// The packets in the capture.
    pub frames: u64,
    /// What a reader has to be told to find the HTTP/2 in the capture.
    pub decode_as: Vec<DecodeAs>,
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
    pub notices: Notices,
    /// What of it is in the capture, or why nothing is.
    pub result: Result<Summary, Failure>,
}

/// Merges `paths` into one capture. `notices` makes the collector of a trace's notices.
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
    notices: impl Fn(&Source) -> Notices,
) -> Result<Merged, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Failure::Trace(anyhow!(error)))?;
    let scans: Vec<_> = pool.install(|| {
        let scan =
            |(source, path): (usize, &PathBuf)| scan(source as u32, path, options, interrupt);
        paths.par_iter().enumerate().map(scan).collect()
    });
    let sources: Vec<_> = paths.iter().cloned().map(Source::File).collect();
    let names = labels(options, sources.iter());
    let mut work = Work::new(options, names.clone());
    let mut runs = Vec::new();
    for ((path, source), scan) in paths.iter().zip(&sources).zip(scans) {
        let mut outcome = Outcome {
            path: path.clone(),
            notices: notices(source),
            result: Ok(Summary::default()),
        };
        match scan {
            Ok(scan) => {
                runs.extend(scan.runs);
                for (conversation, count) in scan.counts {
                    *work.counts.entry(conversation).or_default() += count;
                }
                if scan.empty {
                    let (kind, detail) = (Kind::Empty, String::new());
                    outcome.notices.add(Notice {
                        kind,
                        offset: 0,
                        trace: None,
                        bytes: 0,
                        detail,
                    });
                }
                let damage = scan.damage;
                outcome.result = Ok(Summary {
                    damage,
                    ..Summary::default()
                });
            }
            Err(failure) => outcome.result = Err(failure),
        }
        work.traces.push(outcome);
    }
    let mut reader_gone = false;
    let merging = work.traces.iter().any(|trace| trace.result.is_ok());
    let output = match interrupt.signal() {
        None if merging => {
            let metadata = paths.iter().filter_map(|path| path.metadata().ok());
            match Output::create(target, metadata, interrupt.wake()) {
                Ok(output) => Some(output),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Err(error) => return Err(Failure::capture(error)),
            }
        }
        _ => None,
    };
    let written = output.is_some();
    if let Some(output) = output {
        let live = output.is_stream();
        let written = (|| {
            let mut capture = Capture::new(output, options.capture, &names.unwrap_or_default())?;
            let sweep = Sweep {
                paths,
                encoding: options.encoding,
                start: options.synth.start,
            };
            sweep.run(runs, interrupt, &mut |told| work.take(told, &mut capture))?;
            work.finish(&mut capture)?;
            capture.finish()
        })();
        if work.incomplete && options.strict {
            return Err(Failure::Trace(anyhow!(
                "a trace changed meanwhile, and --strict allows no capture then"
            )));
        }
        match written.and_then(Output::commit) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => reader_gone = true,
            Err(error) => return Err(Failure::capture(error)),
        }
    }
    Ok(Merged {
        connections: work.synth.connections(),
        frames: work.frames,
        decode_as: work.synth.decode_as(),
        traces: work.traces,
        reader_gone,
        written,
    })
}

/// The time that an event has in a merge, behind the one at `last` of its run.
fn place(time: Option<Timestamp>, last: Option<Timestamp>, start: Timestamp) -> Timestamp {
    match (time, last) {
        (Some(time), last) => last.map_or(time, |last| last.max(time)),
        (None, Some(last)) => last.saturating_add(STAND_IN_INTERVAL),
        (None, None) => start,
    }
}
