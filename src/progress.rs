//! The progress of reading the inputs.
//!
//! How it is displayed is decided elsewhere. The callback is called once for each piece that is read, never for
//! each event.

use std::fmt;
use std::sync::Arc;

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
