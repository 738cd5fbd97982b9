//! Searches the rest of a message for its connection, while its events are held back.
//!
//! As in [`crate::trace::binary::look_ahead`], but token by token: the lengths of messages are not known.

use std::io;

use crate::input::Input;
use crate::trace::binary::look_ahead::FoundAhead;
use crate::trace::decode::Decoder;
use crate::trace::detect::Generation;
use crate::trace::error::Damage;
use crate::trace::readable::lexer::{Lexer, Step, Token};
use crate::trace::readable::scan::View;

use super::Transcoder;

impl<L: Lexer> Transcoder<L> {
    /// Delivers the held events of a message if there are too many of them. Returns whether an event is current.
    #[cold]
    pub(super) fn give_full(
        &self,
        input: &mut Input,
        decoder: &mut Decoder,
    ) -> Result<bool, Damage> {
        if !decoder.is_full(true) {
            return Ok(false);
        }
        if decoder.is_full(false) {
            input.unpack_aside();
        }
        let found = match input.beside() {
            Some(beside) => Some(self.clone().look(beside, decoder.generation)),
            None if decoder.is_full(false) => None,
            None => return Ok(false),
        };
        decoder.give_full(found, self.token_end)?;
        Ok(decoder.advance())
    }

    /// Searches the rest of the open message for its connection.
    fn look(mut self, mut input: Input, generation: Generation) -> FoundAhead {
        let mut found = FoundAhead {
            is_bare: generation == Generation::Capture,
            ..FoundAhead::default()
        };
        while !found.is_done {
            let step = View::advance(&mut input, |view| self.lexer.next(view, &mut self.text));
            let token = match step {
                Ok(Step::Item(token)) => token,
                Ok(Step::More) => match input.fill(&crate::input::Wait::default()) {
                    Ok(()) => continue,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                },
                // The transcoder reports it when it arrives there.
                _ => break,
            };
            let start = std::mem::replace(&mut self.token_end, input.offset());
            if matches!(token, Token::Failed(_) | Token::Passed)
                || self.token(token, start, &mut found).is_err()
            {
                break;
            }
        }
        found.end = self.token_end;
        found
    }
}
