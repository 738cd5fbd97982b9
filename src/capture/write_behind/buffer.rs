//! A buffer of a capture: packets, some of them without their checksums until it is written.

use std::cell::Cell;
use std::io::{self, Write};
use std::ops::Range;

use crate::align::{PAGE, start_in};
use crate::synth::offload;

/// The number of bytes collected before they are handed over. Each hand-over wakes a thread.
pub(super) const BUFFER: usize = 1 << 20;
/// The number of bytes written at once.
///
/// Writes of 8 KiB take twice the time. From 512 KiB on, Linux allocates the page cache in pieces so large that a
/// virtual machine may have returned them to its host; waiting for them takes up to ten times as long.
pub(super) const WRITE: usize = 256 << 10;

thread_local! {
    /// The last buffer of this thread's last capture. To zero the memory of a new one takes as long as the rest of the
    /// conversion of a small trace.
    static KEPT: Cell<Option<Buffer>> = const { Cell::new(None) };
}

/// Up to [`BUFFER`] bytes, starting at a page boundary.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Box<[u8]>,
    /// The range of the bytes in memory.
    start: usize,
    end: usize,
    /// The payloads, as ranges of memory, of the packets whose checksums are completed when the bytes are written.
    offloaded: Vec<Range<usize>>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        let memory = vec![0; PAGE + BUFFER].into_boxed_slice();
        let start = start_in(&memory, 0);
        Self {
            memory,
            start,
            end: start,
            offloaded: Vec::new(),
        }
    }

    /// The buffer that this thread has kept, or a new one. Once a capture, unlike the code around the call.
    #[cold]
    pub(super) fn kept_or_new() -> Self {
        KEPT.take().unwrap_or_else(Self::new)
    }

    /// Keeps the buffer for the next capture of this thread. It must not be used any more.
    #[cold]
    pub(super) fn keep(&mut self) {
        KEPT.set(Some(Self {
            memory: std::mem::take(&mut self.memory),
            start: self.start,
            end: self.start,
            offloaded: Vec::new(),
        }));
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// The number of bytes that still fit.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.start + BUFFER - self.end
    }

    /// Reserves `len` bytes, which must fit; the caller has to write them.
    #[inline]
    pub(super) fn claim(&mut self, len: usize) -> &mut [u8] {
        let start = self.end;
        self.end += len;
        &mut self.memory[start..self.end]
    }

    /// Appends bytes, which must fit.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room());
        self.claim(bytes.len()).copy_from_slice(bytes);
    }

    /// Leaves the checksum of the last bytes, which are a packet with `payload` bytes at its end, to
    /// [`write_to`](Self::write_to).
    pub(super) fn offload(&mut self, payload: usize) {
        self.offloaded.push(self.end - payload..self.end);
    }

    /// Completes the checksum of the last bytes, which are a packet with `payload` bytes at its end.
    pub(super) fn complete(&mut self, payload: usize) {
        complete(&mut self.memory, self.end - payload..self.end);
    }

    /// Completes the checksums, writes the bytes, and empties the buffer.
    pub(super) fn write_to(&mut self, writer: &mut impl Write) -> io::Result<()> {
        let mut offloaded = self.offloaded.drain(..).peekable();
        for start in (self.start..self.end).step_by(WRITE) {
            let end = self.end.min(start + WRITE);
            // Not all at once: what was summed is still in the processor's cache when it is written.
            let is_due = |payload: &Range<usize>| payload.start < end + offload::BEFORE_PAYLOAD;
            while let Some(payload) = offloaded.next_if(is_due) {
                complete(&mut self.memory, payload);
            }
            writer.write_all(&self.memory[start..end])?;
        }
        drop(offloaded);
        self.end = self.start;
        Ok(())
    }
}

/// Completes the checksum of the packet whose payload is this range of memory.
fn complete(memory: &mut [u8], payload: Range<usize>) {
    let (headers, rest) = memory.split_at_mut(payload.start);
    offload::complete(headers, &rest[..payload.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_complete_wherever_a_write_divides_its_packet() {
        for payload_at in (WRITE - 5_010..WRITE + 60).chain([54, BUFFER - 5_000]) {
            let mut buffer = Buffer::new();
            buffer.claim(payload_at).fill(0xff);
            buffer.claim(5_000).fill(7);
            let mut expected = buffer.bytes().to_vec();
            let (headers, payload) = expected.split_at_mut(payload_at);
            offload::complete(headers, payload);
            buffer.offload(payload.len());
            let mut written = Vec::new();
            buffer.write_to(&mut written).unwrap();
            assert!(written == expected, "{payload_at}");
        }
    }
}
