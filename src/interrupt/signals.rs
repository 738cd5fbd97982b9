//! SIGINT, SIGTERM and SIGHUP: a request to end the work. And SIGXFSZ: none at all.

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
    /// Takes over SIGINT, SIGTERM and SIGHUP, but for those that the process was told to ignore (nohup,
    /// a shell's `&`). A second signal ends the process as if nobody had.
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
            // In this order: the first of them acts on what the last one has set before.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&seen))?;
            signal_hook::flag::register(signal, Arc::clone(&seen))?;
            let number = signal.unsigned_abs() as usize;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), number)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        // Caught, it lets the write that exceeds `ulimit -f` fail as one to a full disk does, with its
        // message and without the temporary file; left alone, it ends the process where it is.
        if ignored & 1 << (SIGXFSZ - 1) == 0 {
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        }
        Ok(interrupt)
    }
}

/// Opens a file for reading; a FIFO without waiting for a writer, as no signal would end that wait. Reads wait as
/// usual.
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

/// The signals that the process ignores, a bit each from signal 1; none where the system does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
