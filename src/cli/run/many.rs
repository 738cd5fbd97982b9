//! Runs a conversion of many traces.
//!
//! Invariant: a trace that fails stops no other.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use capture2pcap::batch::{self, Job, Obstacle};
use capture2pcap::capture::Target;
use capture2pcap::convert::{Failure, Source, convert};

use super::Run;
use crate::cli::progress_bar::Workload;

impl Run<'_> {
    /// Converts many traces, each into a capture of its own.
    pub(super) fn many(&mut self, jobs: &[Job]) {
        let bytes = jobs.iter().map(|job| job.size).sum();
        let traces = jobs.len() as u64;
        self.options.progress = self.reporter.progress(Workload::Many(bytes, traces));
        let Self {
            threads,
            options,
            interrupt,
            reporter,
        } = self;
        if jobs.len() > 1 {
            reporter.expect_many();
        }
        let places = batch::prepare(jobs);
        let shared = Mutex::new(&mut *reporter);
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let done = batch::run(jobs, *threads, |number, job| {
            let (source, target) = (
                Source::File(job.trace.clone()),
                Target::File(job.capture.clone()),
            );
            let mut warnings = {
                let reporter = lock();
                if interrupt.signal().is_some() || reporter.reader_gone() {
                    return;
                }
                reporter.warnings(&source)
            };
            let result = match places.get(number).and_then(obstacle) {
                Some(obstacle) => Err(Failure::Capture(anyhow!(obstacle))),
                None => convert(&source, &target, options, interrupt, &mut warnings),
            };
            lock().finished(number, &source, &target, &warnings, result);
        });
        if let Err(error) = done {
            reporter.failed_threads(&error);
        }
        match jobs {
            [job] => {
                let target = Target::File(job.capture.clone());
                reporter.end_one(&target, interrupt.signal());
            }
            _ => reporter.end_many(traces, interrupt.signal()),
        }
    }
}

/// Returns why a capture cannot be written to its place, if it cannot.
fn obstacle(place: &Result<PathBuf, Obstacle>) -> Option<Obstacle> {
    match place {
        Ok(place) => batch::holds_trace(place).then(|| batch::TRACE.to_owned()),
        Err(obstacle) => Some(obstacle.clone()),
    }
}
