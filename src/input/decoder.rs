//! Unpacks compressed bytes as they arrive: gzip (RFC 1952) and zstd (RFC 8878).
//!
//! An input may consist of several members and frames. This module knows nothing of files, threads or traces.
//!
//! Invariants: everything that can be unpacked from the bytes so far is returned before more bytes are read, except for
//! the last window of a zstd frame in `portable`. The memory in use is bounded for any input.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use super::compressed::{Compression, Ending, MAGIC_LEN, Magic, Unpackable};
#[cfg(not(feature = "cli"))]
use super::portable::Frames;
#[cfg(feature = "cli")]
use super::reference::Frames;
use crate::progress::Progress;

/// The largest window of a zstd frame, as a power of two: 128 MiB, the limit of `zstd -d`.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;
/// The window of gzip, as a power of two.
const GZIP_WINDOW_LOG: u8 = 15;
/// How many bytes are read at once.
const READ: usize = 128 << 10;

/// Unpacks bytes.
pub(super) struct Decoder {
    packed: Box<dyn Read + Send>,
    progress: Progress,
    /// The compressed bytes that were read last, and the range of those that are not unpacked yet.
    read: Vec<u8>,
    at_hand: Range<usize>,
    /// Whether all compressed bytes have been read.
    ended: bool,
    state: State,
    /// The decoder of zstd, which is reused for each frame.
    frames: Option<Frames>,
}

enum State {
    /// Before a member or frame, or at the end.
    Between,
    Gzip(Box<Decompress>),
    Zstd,
    Over(Ending),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("at_hand", &self.at_hand)
            .finish_non_exhaustive()
    }
}

/// The result of one call of a decoder.
#[derive(Clone, Copy)]
pub(super) struct Made {
    /// How many compressed bytes it read, and how many unpacked bytes it wrote.
    pub(super) taken: usize,
    pub(super) given: usize,
    /// Whether the member or frame has ended.
    pub(super) ended: bool,
}

impl Decoder {
    /// Unpacks `head` and the bytes that `packed` reads after it. `progress` counts those that are read.
    pub(super) fn new(head: Vec<u8>, packed: Box<dyn Read + Send>, progress: Progress) -> Self {
        Self {
            packed,
            progress,
            at_hand: 0..head.len(),
            read: head,
            ended: false,
            state: State::Between,
            frames: None,
        }
    }

    /// Writes the next unpacked bytes to the front of `room`, and returns their number; 0 only at the end.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn unpack(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let at_hand = &self.read[self.at_hand.clone()];
            let by = match &self.state {
                State::Over(_) => return Ok(0),
                State::Between => {
                    if let Some(state) = self.begin() {
                        self.state = state;
                    } else {
                        self.fill()?;
                    }
                    continue;
                }
                State::Gzip(_) => Compression::Gzip,
                State::Zstd => Compression::Zstd,
            };
            let made = match (&mut self.state, &mut self.frames) {
                (State::Gzip(member), _) => inflate(member, at_hand, room),
                (State::Zstd, Some(frames)) => frames.run(at_hand, room, self.ended),
                _ => continue,
            };
            let (made, fault) = match made {
                Ok(made) => (made, None),
                Err((made, fault)) => (made, Some(fault)),
            };
            self.at_hand.start += made.taken;
            let is_stuck = made.taken == 0 && made.given == 0 && !made.ended;
            if let Some(fault) = fault {
                self.state = State::Over(Ending::Fault(by, fault));
            } else if made.ended {
                self.state = State::Between;
            } else if is_stuck && self.at_hand.is_empty() && !self.ended {
                self.fill()?;
            } else if is_stuck {
                self.state = State::Over(Ending::Fault(by, Unpackable::Cut));
            }
            if made.given > 0 {
                return Ok(made.given);
            }
        }
    }

    /// How the unpacking ended, once [`unpack`](Self::unpack) has returned 0.
    pub(super) fn ending(&self) -> Ending {
        match &self.state {
            State::Over(ending) => ending.clone(),
            _ => Ending::Whole,
        }
    }

    /// The state after a member or a frame; `None` if more bytes have to be read to decide.
    fn begin(&mut self) -> Option<State> {
        let at_hand = &self.read[self.at_hand.clone()];
        if at_hand.is_empty() {
            return self.ended.then_some(State::Over(Ending::Whole));
        }
        match Magic::of(at_hand, self.ended) {
            Magic::Short => None,
            Magic::Is(Compression::Gzip) => {
                let member = Decompress::new_gzip(GZIP_WINDOW_LOG);
                Some(State::Gzip(Box::new(member)))
            }
            Magic::Is(Compression::Zstd) => {
                match &mut self.frames {
                    Some(frames) => frames.begin(),
                    None => match Frames::new() {
                        Ok(frames) => self.frames = Some(frames),
                        Err(error) => {
                            let why = Unpackable::Corrupt(error.to_string());
                            return Some(State::Over(Ending::Fault(Compression::Zstd, why)));
                        }
                    },
                }
                Some(State::Zstd)
            }
            // As in gzip, zeros are taken for the padding of a tape block, and are not reported.
            Magic::Other if at_hand.iter().all(|&byte| byte == 0) => {
                self.at_hand.start = self.at_hand.end;
                None
            }
            Magic::Other => Some(State::Over(Ending::Trailing)),
        }
    }

    /// Reads more compressed bytes.
    fn fill(&mut self) -> io::Result<()> {
        let rest = self.at_hand.len();
        self.read.copy_within(self.at_hand.clone(), 0);
        self.at_hand = 0..rest;
        self.read.resize(rest.max(MAGIC_LEN) + READ, 0);
        let read = self.packed.read(&mut self.read[rest..])?;
        self.ended = read == 0;
        self.at_hand.end += read;
        self.progress.add(read as u64);
        Ok(())
    }
}

/// Unpacks more of a gzip member.
fn inflate(
    member: &mut Decompress,
    packed: &[u8],
    room: &mut [u8],
) -> Result<Made, (Made, Unpackable)> {
    let (taken, given) = (member.total_in(), member.total_out());
    let status = member.decompress(packed, room, FlushDecompress::None);
    let made = Made {
        taken: (member.total_in() - taken) as usize,
        given: (member.total_out() - given) as usize,
        ended: matches!(status, Ok(Status::StreamEnd)),
    };
    match status {
        Ok(_) => Ok(made),
        Err(error) => {
            let why = error.message().unwrap_or("it does not decode").to_owned();
            Err((made, Unpackable::Corrupt(why)))
        }
    }
}
