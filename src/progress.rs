//! How far the reading of inputs has come, for whoever shows it.
//!
//! It knows nothing of how that is shown. It is called once for each piece that is read, never for each event.

use std::fmt;
use std::sync::Arc;

/// Called with the number of bytes of each piece of input that has been read.
///
/// A merge reads each trace twice, and calls it both times.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl Progress {
    /// Calls `read` for each piece, from any thread.
    pub fn new(read: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Reports that so many more bytes have been read.
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
