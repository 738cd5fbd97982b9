//! Memory-mapped files, and a handler for files that are truncated while they are mapped.
//!
//! All `unsafe` code of the project is here. An access to a mapped page beyond the end of its file raises SIGBUS. The
//! handler replaces that page by a page of zeros and counts the replacement, so that the access succeeds and the
//! process continues. Nothing that was decoded from such zeros is valid: the caller checks [`Tears`] before it uses
//! its result, and if there were any, starts over and reads the file.
//!
//! Invariant: each [`Map`] is in the table that the handler searches, from before its first access until after its
//! last.

#![allow(unsafe_code, reason = "see the argument of each block")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Mmap, MmapOptions};

/// How many maps can exist at once. If the table is full, files are read instead.
const MAX_MAPS: usize = 64;
/// How many bits of a table entry hold the number of pages. The other bits hold the number of the first page.
const LENGTH_BITS: u32 = 19;

/// The mapped pages, an entry for each map; 0 in a free entry. An entry is one number, so that the handler never
/// sees one that is half written.
static MAPS: [AtomicU64; MAX_MAPS] = [const { AtomicU64::new(0) }; MAX_MAPS];
/// How many pages the handler has replaced.
static TORN: AtomicU64 = AtomicU64::new(0);
/// The state that the handler needs; `None` if it could not be installed.
static HANDLER: OnceLock<Option<Before>> = OnceLock::new();

struct Before {
    /// The size of a page, in bytes.
    page: usize,
    /// The action for SIGBUS before the handler was installed.
    action: libc::sigaction,
}

/// Reports whether a page was replaced since this value was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tears(u64);

impl Tears {
    pub(crate) fn none_yet() -> Self {
        Self(TORN.load(Ordering::Acquire))
    }

    /// Whether a page was replaced, in any map of the process.
    pub(crate) fn happened(self) -> bool {
        TORN.load(Ordering::Acquire) != self.0
    }
}

/// A mapped part of a file.
pub(crate) struct Map {
    map: Mmap,
    place: &'static AtomicU64,
}

impl Map {
    /// Maps `len` bytes of `file` from the position `offset` on, or fewer at the end of the file. Returns the map and
    /// the index of the first byte in it, or `None` if the bytes have to be read instead.
    ///
    /// # Errors
    /// When the size of the file cannot be read.
    pub(super) fn of(file: &File, offset: u64, len: usize) -> io::Result<Option<(Self, usize)>> {
        let Some(before) = HANDLER.get_or_init(install) else {
            return Ok(None);
        };
        let left = file.metadata()?.len().saturating_sub(offset);
        let lead = (offset % before.page as u64) as usize;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len) + lead;
        if len == lead {
            return Ok(None);
        }
        let mut options = MmapOptions::new();
        options.offset(offset - lead as u64).len(len);
        // SAFETY: the map is read-only. memmap2 also requires that the file does not change, which no program can
        // guarantee. If the file is truncated, the handler takes care of it. If its bytes change, a value may differ
        // between two reads of it. No code relies on equal reads for its memory safety: every length is checked
        // against the slice that it is used on, and text is made from copies.
        let Ok(map) = (unsafe { options.map(file) }) else {
            return Ok(None);
        };
        Ok(register(map, before.page).map(|map| (map, lead)))
    }
}

/// Adds a map to the table; `None` if the table is full, or the map too large for an entry.
fn register(map: Mmap, page: usize) -> Option<Map> {
    let (first, pages) = (map.as_ptr().addr() / page, map.len().div_ceil(page));
    let entry = (first as u64)
        .checked_mul(1 << LENGTH_BITS)
        .filter(|_| pages < 1 << LENGTH_BITS)?
        | pages as u64;
    let take = |place: &&AtomicU64| {
        place
            .compare_exchange(0, entry, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    let place = MAPS.iter().find(take)?;
    Some(Map { map, place })
}

impl Deref for Map {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // Before it is unmapped, so that the handler never takes the next mapping at this address for this one.
        self.place.store(0, Ordering::Release);
    }
}

/// Installs the handler.
fn install() -> Option<Before> {
    let page = rustix::param::page_size();
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid `sigaction`, which is a struct of numbers and pointers that may be null. The handler
    // does only what a signal handler may do; its documentation says why.
    unsafe {
        let new = action.assume_init_mut();
        new.sa_sigaction = on_sigbus as *const () as libc::sighandler_t;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut new.sa_mask);
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        if libc::sigaction(libc::SIGBUS, new, before.as_mut_ptr()) != 0 {
            return None;
        }
        Some(Before {
            page,
            action: before.assume_init(),
        })
    }
}

/// Replaces a page that a map has lost by a page of zeros; passes any other SIGBUS on.
///
/// It reads and writes atomics and makes system calls, and nothing else: no memory is allocated, nothing is locked,
/// nothing panics.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // No map exists before the cell is set, so an earlier SIGBUS has another cause.
    let before = HANDLER.get().and_then(Option::as_ref);
    // SAFETY: with SA_SIGINFO, the system passes a valid `siginfo_t`.
    let is_sent = unsafe { (*info).si_code } <= 0;
    if let Some(before) = before.filter(|_| !is_sent) {
        // SAFETY: as above; a SIGBUS that no process has sent carries an address.
        let address = unsafe { (*info).si_addr() }.addr();
        let page = (address / before.page) as u64;
        let is_ours = MAPS.iter().any(|place| {
            let entry = place.load(Ordering::Acquire);
            let (first, pages) = (entry >> LENGTH_BITS, entry & ((1 << LENGTH_BITS) - 1));
            (first..first + pages).contains(&page)
        });
        if is_ours {
            // SAFETY: the page belongs to a map in the table. The interrupted thread is reading from that map, so it
            // stays mapped. The page holds nothing else.
            let zeros = unsafe {
                libc::mmap(
                    (address - address % before.page) as *mut libc::c_void,
                    before.page,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if zeros != libc::MAP_FAILED {
                TORN.fetch_add(1, Ordering::AcqRel);
                return;
            }
        }
    }
    pass_on(signal, info, context, before, is_sent);
}

/// Handles a signal as it was handled before the handler was installed.
fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    before: Option<&Before>,
    is_sent: bool,
) {
    let handler = before.map_or(libc::SIG_DFL, |before| before.action.sa_sigaction);
    if handler == libc::SIG_IGN && is_sent {
        return;
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: both functions may be called in a handler. The signal is delivered again once the handler returns,
        // and ends the process: a SIGBUS raised by an access cannot be ignored.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    let takes_info = before.is_some_and(|before| before.action.sa_flags & libc::SA_SIGINFO != 0);
    // SAFETY: without this handler, the system would have called the function at this address with these arguments.
    unsafe {
        if takes_info {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_truncated_file_reads_as_zeros_and_is_noticed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 1 << 20]).unwrap();
        let tears = Tears::none_yet();
        let (map, lead) = Map::of(&file, 70_001, 500_000).unwrap().unwrap();
        let bytes = &map[lead..];
        assert_eq!(bytes.len(), 500_000);
        assert!(bytes.iter().all(|&byte| byte == 7));
        file.set_len(1).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(tears.happened());
        file.set_len(1 << 20).unwrap();
        let (map, lead) = Map::of(&file, 1_000_000, 500_000).unwrap().unwrap();
        assert_eq!(map.len() - lead, (1 << 20) - 1_000_000);
    }

    /// Runs in a child process, which the signal ends.
    #[test]
    fn another_sigbus_ends_the_process() {
        use std::os::unix::process::ExitStatusExt as _;

        const CHILD: &str = "CAPTURE2PCAP_TEST_SIGBUS";
        if std::env::var_os(CHILD).is_some() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[7; 100]).unwrap();
            let _map = Map::of(&file, 0, 100).unwrap().unwrap();
            // Rust's runtime has installed a handler before. It takes the first signal for a failed access, and
            // returns to have the access tried again.
            for _ in 0..2 {
                // SAFETY: raise(3) only sends a signal.
                unsafe { libc::raise(libc::SIGBUS) };
            }
            return;
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "input::map::tests::another_sigbus_ends_the_process";
        let status = child.args(["--exact", name]).env(CHILD, "1").status();
        assert_eq!(status.unwrap().signal(), Some(libc::SIGBUS));
    }

    #[test]
    fn the_number_of_maps_is_limited() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100]).unwrap();
        let maps: Vec<_> = (0..MAX_MAPS)
            .map_while(|_| Map::of(&file, 0, 100).unwrap())
            .collect();
        assert!(maps.len() > MAX_MAPS / 2);
        if maps.len() == MAX_MAPS {
            assert!(Map::of(&file, 0, 100).unwrap().is_none());
        }
        drop(maps);
        assert!(Map::of(&file, 0, 100).unwrap().is_some());
        assert!(Map::of(&file, 100, 100).unwrap().is_none());
    }
}
