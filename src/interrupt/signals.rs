//! Signal handlers: SIGINT, SIGTERM and SIGHUP request the end of the work; SIGXFSZ is caught and ignored.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use super::Interrupt;

impl Interrupt {
    /// Installs handlers for SIGINT, SIGTERM and SIGHUP, except for those that the process ignores from its start
    /// (nohup, a shell's `&`). A second signal ends the process, as it does without a handler.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let interrupt = Self {
            signal: Arc::default(),
            wake: Some(Arc::new(reader.into())),
        };
        let seen = Arc::new(AtomicBool::new(false));
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored & 1 << (signal - 1) != 0 {
                continue;
            }
            // Handlers run in the order of their registration. The number of the signal is stored first, so that a signal
            // during the installation is not lost. The third handler ends the process if `seen` is set, and the fourth
            // sets it: so the second signal ends the process.
            let number = signal.unsigned_abs() as usize;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), number)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&seen))?;
            signal_hook::flag::register(signal, Arc::clone(&seen))?;
        }
        // With a handler, the write that exceeds `ulimit -f` fails with an error, as one to a full disk does: it is
        // reported, and the temporary file is removed. Without one, SIGXFSZ ends the process at once.
        if ignored & 1 << (SIGXFSZ - 1) == 0 {
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        }
        Ok(interrupt)
    }
}

/// Opens a file without waiting. Opening a FIFO would otherwise wait for a writer, and a signal would not end that
/// wait. Reads from the file wait as usual.
///
/// # Errors
/// Those of opening.
pub(crate) fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = options.custom_flags(flags).open(path)?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// The signals that the process ignores: bit N - 1 for signal N. 0 if the system does not report them.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
