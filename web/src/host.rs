//! The interface to the browser: plain functions over the module's memory.
//!
//! All of the crate's `unsafe` code is here. The worker writes a request to the memory that [`reserve`] returns, and then
//! calls [`call`]. Both run in one thread, one after the other.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use capture2pcap::ReadAt;
use capture2pcap::merge::Scratch;

/// The request, which the answer replaces.
static MESSAGE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "page")]
unsafe extern "C" {
    /// Copies up to `len` bytes of a file, starting at `position`, to `room`. Returns the number of bytes, or a
    /// negative number if the file cannot be read.
    fn read(file: u32, position: f64, room: *mut u8, len: u32) -> i32;
    /// Writes the next `len` bytes of the capture, which is file 0, or of a copy.
    fn write(file: u32, bytes: *const u8, len: u32);
    /// Reports that `bytes` more bytes have been read.
    fn progress(bytes: f64);
}

/// A file of the page, or a [`Copy`].
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only the page has files")
)]
pub(crate) struct File(pub(crate) u32);

impl ReadAt for File {
    #[cfg(target_arch = "wasm32")]
    fn read_at(&self, room: &mut [u8], position: u64) -> io::Result<usize> {
        let len = u32::try_from(room.len()).unwrap_or(u32::MAX);
        // SAFETY: the page writes `len` bytes at most, into memory that is borrowed for the call.
        let read = unsafe { read(self.0, position as f64, room.as_mut_ptr(), len) };
        usize::try_from(read)
            .ok()
            .filter(|&read| read <= room.len())
            .ok_or_else(|| io::Error::other("the browser can no longer read the file"))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The capture, which the page takes piece by piece.
#[derive(Debug)]
pub(crate) struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        give(0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number of copies so far.
static COPIES: AtomicU32 = AtomicU32::new(0);

/// The copy of a trace, which the page keeps. Copies are numbered from 1.
#[derive(Debug)]
pub(crate) struct Copy(u32);

impl Copy {
    pub(crate) fn begin() -> Box<dyn Scratch> {
        Box::new(Self(COPIES.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        give(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Scratch for Copy {
    fn finish(self: Box<Self>) -> Arc<dyn ReadAt> {
        // Counted down from the largest number, as the page's own files are counted from 0.
        Arc::new(File(u32::MAX - self.0))
    }
}

#[cfg(target_arch = "wasm32")]
fn give(file: u32, bytes: &[u8]) -> io::Result<usize> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // SAFETY: the page reads `len` bytes, which are borrowed for the call.
    unsafe { write(file, bytes.as_ptr(), len) };
    Ok(len as usize)
}

#[cfg(not(target_arch = "wasm32"))]
fn give(_: u32, _: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reports to the page that `bytes` more bytes have been read.
pub(crate) fn report_progress(bytes: u64) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the function only takes a number.
    unsafe {
        progress(bytes as f64);
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = bytes;
}

/// Reserves memory for a request of `len` bytes, and returns its address.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(len: u32) -> *mut u8 {
    let Ok(mut message) = MESSAGE.lock() else {
        return std::ptr::null_mut();
    };
    message.clear();
    message.resize(len as usize, 0);
    message.as_mut_ptr()
}

/// Answers the request. Returns the address of the answer in the upper half, and its length in the lower half.
#[unsafe(no_mangle)]
pub extern "C" fn call() -> u64 {
    let Ok(mut message) = MESSAGE.lock() else {
        return 0;
    };
    let answer = crate::answer(&String::from_utf8_lossy(&message));
    *message = answer.into_bytes();
    (message.as_ptr().addr() as u64) << 32 | message.len() as u64
}
