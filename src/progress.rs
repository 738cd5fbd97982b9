//! The progress of reading the inputs.
//!
//! How it is displayed is decided elsewhere. The callback is called once for each piece that is read, never for
//! each event.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Called with the number of bytes of each piece of input that has been read.
///
/// A merge reads each trace twice, and calls it both times.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl Progress {
    /// Creates a callback `read` for each piece; it is called from any thread.
    pub fn new(read: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Returns a callback for reading a copy of `sizes.1` bytes, which counts it as a trace of `sizes.0` bytes.
    pub(crate) fn scaled(&self, sizes: (u64, u64)) -> Self {
        let Some(read) = self.0.clone() else {
            return Self::default();
        };
        let (of_file, of_copy) = (u128::from(sizes.0), u128::from(sizes.1.max(1)));
        let so_far = AtomicU64::new(0);
        Self::new(move |bytes| {
            let before = so_far.fetch_add(bytes, Ordering::Relaxed);
            let scaled = |at: u64| (u128::from(at) * of_file / of_copy) as u64;
            read(scaled(before.saturating_add(bytes)) - scaled(before));
        })
    }

    /// Reports that this many more bytes have been read.
    pub(crate) fn add(&self, bytes: u64) {
        if let Some(read) = &self.0 {
            read(bytes);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}
