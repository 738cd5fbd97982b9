//! A line of HTTP/1 that may arrive in pieces.
//!
//! Invariant: at most [`MAX_LINE`] bytes of it are kept.

use crate::model::protocol::http1::without_cr;

/// The number of bytes that are kept of a line that arrives in pieces: enough for a length, a coding, a status or
/// a method.
pub(super) const MAX_LINE: usize = 64;

/// A line that arrives in pieces, as far as it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    kept: [u8; MAX_LINE],
    /// The number of bytes received; 0 between two lines.
    pub(super) len: usize,
}

impl Line {
    pub(super) const EMPTY: Self = Self {
        kept: [0; MAX_LINE],
        len: 0,
    };

    /// Takes bytes up to the end of the line, and calls `take` with the line when it is complete.
    pub(super) fn next<T>(
        &mut self,
        payload: &mut &[u8],
        take: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let Some(end) = memchr::memchr(b'\n', payload) else {
            self.keep(payload);
            *payload = &[];
            return None;
        };
        let (line, rest) = payload.split_at(end);
        *payload = rest.get(1..).unwrap_or_default();
        if self.len == 0 {
            return Some(take(without_cr(line)));
        }
        self.keep(line);
        let taken = take(without_cr(self.begun()));
        self.len = 0;
        Some(taken)
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if let Some(room) = self.kept.get_mut(self.len..) {
            let len = bytes.len().min(room.len());
            room[..len].copy_from_slice(&bytes[..len]);
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// The kept part of the incomplete line.
    pub(super) fn begun(&self) -> &[u8] {
        &self.kept[..self.len.min(MAX_LINE)]
    }
}
