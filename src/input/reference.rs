//! Unpacks zstd frames with the reference implementation, which is written in C.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::compressed::Unpackable;
use super::decoder::{Made, ZSTD_WINDOW_LOG};

/// The number of bytes of a frame that are passed on first. They determine the length of the frame's header.
const FIRST: usize = 5;

/// Unpacks frames, one after the other.
pub(super) struct Frames {
    decoder: Decoder<'static>,
    /// The number of bytes that the decoder requests: the rest of a block. It gets no more than that, so that a corrupt
    /// block does not affect the blocks before it.
    wants: usize,
}

impl Frames {
    /// Creates a decoder at the start of a frame.
    ///
    /// # Errors
    /// When memory cannot be allocated.
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self {
            decoder,
            wants: FIRST,
        })
    }

    /// Begins a frame.
    pub(super) const fn begin(&mut self) {
        self.wants = FIRST;
    }

    /// Unpacks more of a frame.
    pub(super) fn run(
        &mut self,
        packed: &[u8],
        room: &mut [u8],
        _ended: bool,
    ) -> Result<Made, (Made, Unpackable)> {
        let mut from = InBuffer::around(&packed[..packed.len().min(self.wants)]);
        let mut to = OutBuffer::around(room);
        let wanted = self.decoder.run(&mut from, &mut to);
        let made = Made {
            taken: from.pos(),
            given: to.pos(),
            ended: matches!(wanted, Ok(0)),
        };
        match wanted {
            Ok(wanted) => {
                self.wants = wanted.max(1);
                Ok(made)
            }
            Err(error) => {
                let why = error.to_string();
                Err((
                    made,
                    match why.contains("too much memory") {
                        true => Unpackable::Window,
                        false => Unpackable::Corrupt(why.to_lowercase()),
                    },
                ))
            }
        }
    }
}
