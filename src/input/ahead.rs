//! Reads bytes after the window of an input, without moving the window.
//!
//! Bytes that are in the window are returned from there. Others are read from the file at their position. The first
//! read is small, so that bytes between two positions of interest are not read.

use std::io;

use super::Input;

/// The smallest and the largest read, in bytes.
const LEAST: usize = 512;
const MOST: usize = 64 << 10;

/// Looks ahead in an input.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    input: &'a Input,
    /// The bytes of the last read, and their position in the input.
    read: Vec<u8>,
    at: u64,
    /// The size of the next read, in bytes.
    ask: usize,
}

impl<'a> Ahead<'a> {
    pub(super) const fn new(input: &'a Input) -> Self {
        Self {
            input,
            read: Vec::new(),
            at: 0,
            ask: LEAST,
        }
    }

    /// Returns at least `want` bytes from the position `at` on, and fewer only at the end of the input.
    ///
    /// Returns `None` if the input cannot be read there.
    pub(crate) fn bytes(&mut self, at: u64, want: usize) -> Option<&[u8]> {
        let window = self.input.window();
        let from = usize::try_from(at.checked_sub(self.input.offset)?).ok()?;
        let rest = window.get(from..).unwrap_or_default();
        if rest.len() >= want || self.input.ended {
            return Some(rest);
        }
        if self.rest(at).is_none_or(|rest| rest.len() < want) {
            self.fill(at, want)?;
        }
        self.rest(at)
    }

    /// The part of the last read from the position `at` on.
    fn rest(&self, at: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.read.get(from..)
    }

    /// Reads at least `want` bytes from the position `at` on, or up to the end of the input.
    fn fill(&mut self, at: u64, want: usize) -> Option<()> {
        // Consecutive reads double in size: little is skipped between them, so larger reads are faster.
        let is_next = self.rest(at).is_some();
        self.ask = if is_next { self.ask * 2 } else { LEAST }.clamp(LEAST, MOST);
        self.read.resize(self.ask.max(want), 0);
        self.at = at;
        let mut len = 0;
        while len < want {
            let room = self.read.get_mut(len..)?;
            match self.input.origin.read_at(room, at + len as u64) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        self.read.truncate(len);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wait;
    use super::*;
    use std::io::Write as _;

    #[test]
    fn bytes_ahead_are_the_input_at_that_position() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        // Bytes before the file's position are not part of the input.
        file.write_all(b"before").unwrap();
        file.write_all(&bytes).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(6)).unwrap();
        let mut input = Input::from_file(file).unwrap();
        input.fill(&Wait::default()).unwrap();
        input.skip(1000);
        let window = input.window().to_vec();
        let mut ahead = input.ahead();
        for at in [
            1000, 1001, 5000, 30_000, 30_500, 31_000, 200_000, 399_990, 400_000,
        ] {
            for want in [0, 1, 20, 10_000, 200_000] {
                let seen = ahead.bytes(at, want).unwrap();
                let at = at as usize;
                assert!(bytes[at..].starts_with(seen), "{at} {want}");
                assert!(seen.len() >= want.min(bytes.len() - at), "{at} {want}");
            }
        }
        assert_eq!(input.window(), window);
        assert_eq!(input.offset(), 1000);
    }

    #[test]
    fn a_stream_shows_only_its_window() {
        let mut input = Input::from_reader(&[7; 100_000][..]);
        input.fill(&Wait::default()).unwrap();
        let len = input.window().len();
        assert_eq!(input.ahead().bytes(0, len).unwrap(), vec![7; len]);
        assert_eq!(input.ahead().bytes(0, len + 1), None);
        assert_eq!(input.ahead().bytes(90_000, 1), None);
        while !input.ended() {
            input.fill(&Wait::default()).unwrap();
        }
        assert_eq!(input.ahead().bytes(90_000, 20_000).unwrap(), [7; 10_000]);
        assert!(input.ahead().bytes(100_001, 1).unwrap().is_empty());
    }
}
