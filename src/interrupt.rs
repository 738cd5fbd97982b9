//! A request to end the work with whole captures: on Unix, SIGINT, SIGTERM and SIGHUP.

#[cfg(feature = "cli")]
mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::descriptor::{AsFd as _, BorrowedFd, OwnedFd};

#[cfg(feature = "cli")]
pub(crate) use signals::open_at_once;

/// Tells whether a signal has asked for the end.
///
/// Clones tell of the same signals.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// Readable from the first signal on, so that whoever waits for input wakes up.
    wake: Option<Arc<OwnedFd>>,
}

impl Interrupt {
    /// The number of the signal that came, if one did.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed))
            .ok()
            .filter(|&signal| signal != 0)
    }

    /// A descriptor that is readable from the first signal on.
    pub fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.wake.as_ref().map(|fd| fd.as_fd())
    }
}
