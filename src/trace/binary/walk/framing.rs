//! The bytes before each message of the outermost level.

use crate::input::Input;
use crate::trace::binary::wire::{self, NoHeader};
use crate::trace::decode::Decoder;
use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::Step;

use super::bounds::short;
use super::{Binary, Open};

/// The bytes before each message of the outermost level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Framing {
    /// Nothing.
    None,
    /// A varint with the message's length.
    Varint,
    /// The five bytes of gRPC: a compression flag, which has to be 0, and the message's length.
    Grpc,
}

/// The length of gRPC's prefix of a message, in bytes.
pub(in crate::trace) const GRPC_HEADER: usize = 5;

/// Reads the length of the message from gRPC's prefix at the front of `bytes`.
pub(in crate::trace) fn grpc_length(bytes: &[u8]) -> Result<u64, NoHeader> {
    match *bytes {
        [0, a, b, c, d, ..] => Ok(u32::from_be_bytes([a, b, c, d]).into()),
        [] | [0, ..] => Err(NoHeader::Short),
        [..] => Err(NoHeader::FieldNumber),
    }
}

impl Binary {
    /// Opens the next message after its framing.
    pub(super) fn enter_framed(
        &mut self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<Step<()>, Damage> {
        let offset = input.offset();
        if input.window().is_empty() && input.ended() {
            return Ok(Step::End);
        }
        let length = match self.framing {
            Framing::Grpc => grpc_length(input.window()).map(|len| (len, GRPC_HEADER)),
            Framing::None | Framing::Varint => wire::varint(input.window()),
        };
        match length {
            Ok((len, n)) => {
                input.skip(n);
                self.start = offset + n as u64;
                self.end = self.start.saturating_add(len);
                self.open.push(Open {
                    level: self.root,
                    end: Some(self.end),
                });
                decoder.open_message();
                Ok(Step::Item(()))
            }
            Err(NoHeader::FieldNumber) => Err(Damage::new(offset, Fault::Frame)),
            Err(why) => match why.fault() {
                Some(fault) => Err(Damage::new(offset, fault)),
                None => short(input, "a message's length", None),
            },
        }
    }
}
