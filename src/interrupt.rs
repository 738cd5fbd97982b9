//! Requests to end the work with complete captures: on Unix, SIGINT, SIGTERM and SIGHUP.

#[cfg(feature = "cli")]
mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::descriptor::{AsFd as _, BorrowedFd, OwnedFd};

#[cfg(feature = "cli")]
pub(crate) use signals::open_at_once;

/// Reports whether a signal has requested the end.
///
/// Clones report the same signals.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// Becomes readable with the first signal, and so wakes a thread that waits for input.
    wake: Option<Arc<OwnedFd>>,
}

impl Interrupt {
    /// The number of the last signal, if one has arrived.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed))
            .ok()
            .filter(|&signal| signal != 0)
    }

    /// A descriptor that becomes readable with the first signal.
    pub fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.wake.as_ref().map(|fd| fd.as_fd())
    }
}
