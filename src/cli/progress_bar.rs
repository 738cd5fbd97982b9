//! The progress bar of long work, on a terminal.
//!
//! It owns what is drawn, and learns by [`Progress`] how much has been read. Work that is done at once shows nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use capture2pcap::input::admin::Tap;
use capture2pcap::progress::Progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work takes before it counts as long.
const DELAY: Duration = Duration::from_millis(500);
/// How often the bar is drawn while nothing is read, so that the rate sinks.
const TICK: Duration = Duration::from_millis(500);

/// How often the counts of a live tap are shown anew.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

/// What is done, and how many bytes are read for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Long {
    /// One trace of a known size.
    File(u64),
    /// A pipe, FIFO or device.
    Pipe,
    /// So many bytes in so many traces.
    Many(u64, u64),
    /// A merge of so many bytes, which it reads twice.
    Merge(u64),
}

/// A progress bar, which may never be shown.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    work: Option<Long>,
}

impl Bar {
    /// One that shows nothing.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            work: None,
        }
    }

    /// One that appears once the work is found to be long, and what has to be told how far it has come.
    pub(crate) fn of(work: Long) -> (Self, Progress) {
        let (length, template) = match work {
            Long::File(bytes) => (
                Some(bytes),
                "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            ),
            Long::Pipe => (
                None,
                "{spinner} {binary_bytes} read, {binary_bytes_per_sec}",
            ),
            Long::Many(bytes, _) => (
                Some(bytes),
                "{wide_bar} {msg} traces, {binary_bytes_per_sec}, {eta} left",
            ),
            Long::Merge(bytes) => (
                Some(bytes.saturating_mul(2)),
                "{wide_bar} {msg}, {binary_bytes_per_sec}, {eta} left",
            ),
        };
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        // The templates are right, or the test that looks at them fails.
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

    /// One that shows at once how much has come of a live tap, until it is cleared.
    pub(crate) fn of_tap(tap: &Arc<Tap>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(LIVE_INTERVAL);
        let (shown, tap) = (bar.clone(), Arc::clone(tap));
        // It ends with the process at the latest.
        thread::spawn(move || {
            while !shown.is_finished() {
                let counts = &tap.progress;
                shown.set_message(format!(
                    "{tap}: {} connections, {} events, {}; Ctrl-C ends it",
                    HumanCount(counts.connections.load(Ordering::Relaxed)),
                    HumanCount(counts.events.load(Ordering::Relaxed)),
                    HumanBytes(counts.bytes.load(Ordering::Relaxed)),
                ));
                thread::sleep(LIVE_INTERVAL);
            }
        });
        Self { bar, work: None }
    }

    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(Long::Merge(total)) = self.work {
            let pass = if self.bar.position() <= total { 1 } else { 2 };
            self.bar.set_message(format!("pass {pass} of 2"));
        }
    }

    /// Shows how many traces are done.
    pub(crate) fn count(&self, done: u64) {
        if let Some(Long::Many(_, traces)) = self.work {
            let (done, traces) = (HumanCount(done), HumanCount(traces));
            self.bar.set_message(format!("{done} of {traces}"));
        }
    }

    /// Does something that writes to the terminal, without the bar in its way.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Takes the bar away for good.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_say_what_is_done() {
        let works = [
            Long::File(1 << 30),
            Long::Pipe,
            Long::Many(1 << 30, 3000),
            Long::Merge(1 << 29),
        ];
        for work in works {
            let (bar, progress) = Bar::of(work);
            drop(progress);
            bar.read(1 << 29);
            bar.count(1234);
            let expected = match work {
                Long::File(_) | Long::Pipe => "",
                Long::Many(..) => "1,234 of 3,000",
                Long::Merge(_) => "pass 1 of 2",
            };
            assert_eq!(bar.bar.message(), expected, "{work:?}");
            bar.read(1);
            if let Long::Merge(_) = work {
                assert_eq!(bar.bar.message(), "pass 2 of 2");
            }
        }
    }
}
