//! Bytes further ahead, while the window stays where it is.
//!
//! What is in the window is looked at there. A file is read from where the bytes are asked for, little at
//! first, so that what is passed over is not read.

use std::io;

use super::Input;

/// The least and the most that is read at once, in bytes.
const LEAST: usize = 512;
const MOST: usize = 64 << 10;

/// Looks ahead in an input.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    input: &'a Input,
    /// What was read last, and where it lies in the input.
    read: Vec<u8>,
    at: u64,
    /// How much to read next.
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

    /// The bytes from the byte number `at` on: `want` of them or more, fewer only where the input ends.
    /// None where they cannot be looked at.
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

    /// What was read from the byte number `at` on.
    fn rest(&self, at: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.read.get(from..)
    }

    /// Reads `want` bytes from the byte number `at` on, or more, or up to the end.
    fn fill(&mut self, at: u64, want: usize) -> Option<()> {
        // Twice as much where one follows the other, for what is passed over is short then.
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
    fn bytes_ahead_are_those_that_come() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        // What comes before the input's first byte is none of it.
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
    fn a_stream_shows_its_window_alone() {
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
