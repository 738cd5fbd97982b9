//! Unpacks zstd frames with ruzstd, which is written in Rust.
//!
//! ruzstd returns the last window of a frame only when the frame has ended. That delay does not matter for bytes in
//! memory. A frame that is cut or corrupt is ended with an empty block, so that its last window is returned, too.

use std::io::{self, Read as _};

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::compressed::Unpackable;
use super::decoder::{Made, ZSTD_WINDOW_LOG};

/// The length of a frame's magic number, of a skippable frame's length, and of a checksum.
const WORD: usize = 4;
/// The length of a block's header.
const BLOCK_HEADER: usize = 3;
/// The maximum size of a block's contents, in bytes (RFC 8878, 3.1.1.2.4).
const MAX_BLOCK: usize = 128 << 10;
/// An empty block that is marked as the last one, and the bytes of a checksum after it.
const LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
/// The messages of the reference implementation.
const CORRUPT: &str = "data corruption detected";
const CHECKSUM: &str = "restored data doesn't match checksum";
const DICTIONARY: &str = "dictionary mismatch";

/// Unpacks frames, one after the other.
pub(super) struct Frames {
    decoder: FrameDecoder,
    /// The bytes of the next part, as far as they have arrived. A part is a frame's header, or a block with its header.
    part: Vec<u8>,
    state: State,
    /// The length of the contents that the frame's header states, and the number of bytes returned so far.
    stated: Option<u64>,
    given: u64,
    has_checksum: bool,
}

enum State {
    /// In the header of a frame.
    Header,
    /// In a skippable frame, with the number of bytes that are left of it.
    Skippable(u64),
    /// In a block.
    Block,
    /// After the last block.
    Last,
    /// After a fault: the rest of the contents is returned first.
    Fault(Unpackable),
}

impl Frames {
    /// Creates a decoder at the start of a frame.
    ///
    /// # Errors
    /// Never. The reference implementation, which has the same signature, can fail.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "the signature of the reference implementation"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(1 << ZSTD_WINDOW_LOG);
        Ok(Self {
            decoder,
            part: Vec::new(),
            state: State::Header,
            stated: None,
            given: 0,
            has_checksum: false,
        })
    }

    /// Begins a frame.
    pub(super) fn begin(&mut self) {
        self.part.clear();
        self.state = State::Header;
    }

    /// Unpacks more of a frame; `ended` if no bytes follow `packed`.
    pub(super) fn run(
        &mut self,
        packed: &[u8],
        room: &mut [u8],
        ended: bool,
    ) -> Result<Made, (Made, Unpackable)> {
        let mut taken = 0;
        loop {
            let given = self.give(room);
            let mut made = Made {
                taken,
                given,
                ended: false,
            };
            if given > 0 || room.is_empty() {
                return Ok(made);
            }
            match &mut self.state {
                State::Fault(why) => return Err((made, why.clone())),
                State::Last => {
                    let checked = self.check();
                    made.ended = checked.is_ok();
                    return checked.map(|()| made).map_err(|why| (made, why));
                }
                State::Skippable(0) => {
                    made.ended = true;
                    return Ok(made);
                }
                State::Skippable(left) => {
                    let rest = (packed.len() - taken) as u64;
                    let skipped = rest.min(*left);
                    *left -= skipped;
                    taken += skipped as usize;
                    made.taken = taken;
                    if skipped == rest {
                        made.ended = *left == 0;
                        return Ok(made);
                    }
                }
                State::Header | State::Block => match self.whole_part(&packed[taken..]) {
                    Ok((more, true)) => {
                        taken += more;
                        self.take_part();
                    }
                    Ok((more, false)) => {
                        taken += more;
                        made.taken = taken;
                        if taken > 0 || !ended {
                            return Ok(made);
                        }
                        self.fail(Unpackable::Cut);
                    }
                    Err(why) => self.fail(why),
                },
            }
        }
    }

    /// Fills `room` with contents that ruzstd can return, and returns their length.
    fn give(&mut self, room: &mut [u8]) -> usize {
        if self.decoder.can_collect() == 0 {
            return 0;
        }
        // A copy from memory does not fail.
        let given = self.decoder.read(room).unwrap_or_default();
        self.given += given as u64;
        given
    }

    /// Adds bytes from `packed` to the next part. Returns their number, and whether the part is complete.
    fn whole_part(&mut self, packed: &[u8]) -> Result<(usize, bool), Unpackable> {
        let mut taken = 0;
        loop {
            let want = match self.state {
                State::Block => self.block_len()?,
                _ => header_len(&self.part),
            };
            let lacks = want - self.part.len();
            if lacks == 0 {
                return Ok((taken, true));
            }
            let more = lacks.min(packed.len() - taken);
            if more == 0 {
                return Ok((taken, false));
            }
            self.part.extend_from_slice(&packed[taken..taken + more]);
            taken += more;
        }
    }

    /// The length of the next block, or of its header if that is not complete.
    fn block_len(&self) -> Result<usize, Unpackable> {
        let Some(header) = BlockHeader::of(&self.part) else {
            return Ok(BLOCK_HEADER);
        };
        let size = match header.kind {
            // One byte, which is repeated.
            RLE => 1,
            RAW | COMPRESSED if header.size <= MAX_BLOCK => header.size,
            _ => return Err(corrupt()),
        };
        let has_checksum = header.is_last && self.has_checksum;
        let checksum = if has_checksum { WORD } else { 0 };
        Ok(BLOCK_HEADER + size + checksum)
    }

    /// Decodes the complete part.
    fn take_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        match self.state {
            State::Header => self.enter(&part),
            _ => {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                if BlockHeader::of(&part).is_some_and(|header| header.size == 0) {
                    // As in the reference implementation, which checks the length only after a block with contents.
                    self.stated = None;
                }
                match self.decoder.decode_blocks(&part[..], blocks) {
                    Ok(true) => self.state = State::Last,
                    Ok(false) => {}
                    Err(error) => self.fail(why(&error)),
                }
            }
        }
        // Its memory is reused.
        self.part = part;
        self.part.clear();
    }

    /// Enters a frame with its header.
    fn enter(&mut self, header: &[u8]) {
        if let [0x50..=0x5f, _, _, _, rest @ ..] = header
            && let &[a, b, c, d] = rest
        {
            self.state = State::Skippable(u32::from_le_bytes([a, b, c, d]).into());
            return;
        }
        let descriptor = header.get(WORD).copied().unwrap_or_default();
        self.has_checksum = descriptor & 4 != 0;
        self.given = 0;
        if descriptor & 8 != 0 {
            // The reserved bit: a later format may give it a meaning.
            self.state = State::Fault(Unpackable::Corrupt("unsupported parameter".to_owned()));
            return;
        }
        match self.decoder.reset(header) {
            Ok(()) => {
                let is_stated = content_size_len(descriptor) > 0;
                self.stated = is_stated.then(|| self.decoder.content_size());
                self.state = State::Block;
            }
            Err(error) => self.state = State::Fault(why(&error)),
        }
    }

    /// Ends the frame early.
    fn fail(&mut self, fault: Unpackable) {
        if matches!(self.state, State::Block) {
            let mut last = LAST_BLOCK.to_vec();
            if let Some(header) = BlockHeader::of(&self.part)
                && header.kind == RAW
                && fault == Unpackable::Cut
            {
                // The reference implementation returns the bytes of an incomplete raw block.
                let bytes = &self.part[BLOCK_HEADER..];
                let bytes = &bytes[..bytes.len().min(header.size)];
                let header = (bytes.len() as u32) << 3 | 1;
                last.splice(
                    ..BLOCK_HEADER,
                    header.to_le_bytes()[..BLOCK_HEADER].iter().copied(),
                );
                last.splice(BLOCK_HEADER..BLOCK_HEADER, bytes.iter().copied());
            }
            // Such a block always decodes.
            let _ = self
                .decoder
                .decode_blocks(&last[..], BlockDecodingStrategy::All);
        }
        self.state = State::Fault(fault);
    }

    /// Checks the length and the checksum of a frame whose contents have all been returned.
    fn check(&self) -> Result<(), Unpackable> {
        if self.stated.is_some_and(|stated| stated != self.given) {
            return Err(corrupt());
        }
        let expected = self.decoder.get_checksum_from_data();
        let is_other = expected.is_some() && expected != self.decoder.get_calculated_checksum();
        match is_other {
            true => Err(Unpackable::Corrupt(CHECKSUM.to_owned())),
            false => Ok(()),
        }
    }
}

/// The header of a block (RFC 8878, 3.1.1.2).
struct BlockHeader {
    is_last: bool,
    kind: u32,
    size: usize,
}

/// The kinds of a block.
const RAW: u32 = 0;
const RLE: u32 = 1;
const COMPRESSED: u32 = 2;

impl BlockHeader {
    /// The header at the front of `bytes`; `None` if there are too few.
    fn of(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, ..] = bytes else {
            return None;
        };
        let header = u32::from_le_bytes([a, b, c, 0]);
        Some(Self {
            is_last: header & 1 == 1,
            kind: header >> 1 & 3,
            size: header as usize >> 3,
        })
    }
}

/// The length of the header that begins with `bytes`, or of the part that determines it (RFC 8878, 3.1.1.1 and 3.1.2).
fn header_len(bytes: &[u8]) -> usize {
    match (bytes, bytes.get(WORD)) {
        ([0x50..=0x5f, ..], _) => 2 * WORD,
        (_, None) => WORD + 1,
        (_, Some(&descriptor)) => {
            let window = usize::from(descriptor & 0x20 == 0);
            let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
            WORD + 1 + window + dictionary + content_size_len(descriptor)
        }
    }
}

/// The length of the field that states the length of a frame's contents.
const fn content_size_len(descriptor: u8) -> usize {
    match descriptor >> 6 {
        0 => (descriptor >> 5 & 1) as usize,
        n => 1 << n,
    }
}

fn corrupt() -> Unpackable {
    Unpackable::Corrupt(CORRUPT.to_owned())
}

/// The reason for an error, with the message of the reference implementation.
fn why(error: &FrameDecoderError) -> Unpackable {
    match error {
        FrameDecoderError::WindowSizeTooBig { .. }
        | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }) => {
            Unpackable::Window
        }
        FrameDecoderError::DictNotProvided { .. } => Unpackable::Corrupt(DICTIONARY.to_owned()),
        _ => corrupt(),
    }
}

#[cfg(test)]
mod tests;
