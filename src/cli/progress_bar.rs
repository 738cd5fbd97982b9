//! The progress bar, for long work on a terminal.
//!
//! Owns the drawing; [`Progress`] reports the number of bytes read. Short work shows no bar.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use capture2pcap::input::admin::Tap;
use capture2pcap::progress::Progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::counted;

/// Work that takes longer than this shows a bar.
const DELAY: Duration = Duration::from_millis(500);
/// How often the bar is drawn while nothing is read, so that the rate falls.
const TICK: Duration = Duration::from_millis(500);

/// How often the counts of a live tap are updated.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

/// The kind and the size of the work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// One trace of this size.
    File(u64),
    /// A pipe, FIFO or device.
    Pipe,
    /// This number of bytes, in this number of traces.
    Many(u64, u64),
    /// A merge of this number of bytes, which it reads twice.
    Merge(u64),
}

/// A progress bar that is hidden until the work takes long.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    work: Option<Workload>,
}

impl Bar {
    /// Creates a bar that stays hidden.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            work: None,
        }
    }

    /// Creates a bar that appears when the work takes long, and the progress callback that advances it.
    pub(crate) fn of(work: Workload) -> (Self, Progress) {
        let (length, template) = match work {
            Workload::File(bytes) => (
                Some(bytes),
                "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            ),
            Workload::Pipe => (
                None,
                "{spinner} {binary_bytes} read, {binary_bytes_per_sec}",
            ),
            Workload::Many(bytes, _) => (
                Some(bytes),
                "{wide_bar} {msg} traces, {binary_bytes_per_sec}, {eta} left",
            ),
            Workload::Merge(bytes) => (
                Some(bytes.saturating_mul(2)),
                "{wide_bar} {msg}, {binary_bytes_per_sec}, {eta} left",
            ),
        };
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        // The templates are valid; a test checks them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let bar = Self {
            bar,
            work: Some(work),
        };
        bar.count(0);
        let (progress, started) = (bar.clone(), Instant::now());
        let shown = AtomicBool::new(false);
        let progress = Progress::new(move |bytes| {
            progress.read(bytes);
            if started.elapsed() >= DELAY && !shown.swap(true, Ordering::Relaxed) {
                progress.bar.set_draw_target(ProgressDrawTarget::stderr());
                progress.bar.enable_steady_tick(TICK);
            }
        });
        (bar, progress)
    }

    /// Creates a bar that shows the counts of a live tap at once, until it is cleared.
    pub(crate) fn of_tap(tap: &Arc<Tap>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(LIVE_INTERVAL);
        let (shown, tap) = (bar.clone(), Arc::clone(tap));
        // The thread ends when the bar is cleared, or with the process.
        thread::spawn(move || {
            while !shown.is_finished() {
                let counts = &tap.progress;
                shown.set_message(format!(
                    "{tap}: {}, {}, {}; Ctrl-C stops it",
                    counted(counts.connections.load(Ordering::Relaxed), "connection"),
                    counted(counts.events.load(Ordering::Relaxed), "event"),
                    HumanBytes(counts.bytes.load(Ordering::Relaxed)),
                ));
                thread::sleep(LIVE_INTERVAL);
            }
        });
        Self { bar, work: None }
    }

    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(Workload::Merge(total)) = self.work {
            let pass = if self.bar.position() <= total { 1 } else { 2 };
            self.bar.set_message(format!("pass {pass} of 2"));
        }
    }

    /// Shows the number of finished traces.
    pub(crate) fn count(&self, done: u64) {
        if let Some(Workload::Many(_, traces)) = self.work {
            let (done, traces) = (HumanCount(done), HumanCount(traces));
            self.bar.set_message(format!("{done} of {traces}"));
        }
    }

    /// Hides the bar while `work` writes to the terminal.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_the_progress() {
        let works = [
            Workload::File(1 << 30),
            Workload::Pipe,
            Workload::Many(1 << 30, 3000),
            Workload::Merge(1 << 29),
        ];
        for work in works {
            let (bar, progress) = Bar::of(work);
            drop(progress);
            bar.read(1 << 29);
            bar.count(1234);
            let expected = match work {
                Workload::File(_) | Workload::Pipe => "",
                Workload::Many(..) => "1,234 of 3,000",
                Workload::Merge(_) => "pass 1 of 2",
            };
            assert_eq!(bar.bar.message(), expected, "{work:?}");
            bar.read(1);
            if let Workload::Merge(_) = work {
                assert_eq!(bar.bar.message(), "pass 2 of 2");
            }
        }
    }
}
