//! What the transcoder does after damage, and with bytes that are not part of a message.
//!
//! Invariant: damage is reported as skipped bytes if another message follows. Otherwise it ends the trace with its
//! error.

use crate::model::event::{Skip, SkipKind};

use crate::trace::binary::look_ahead::PartSink;
use crate::trace::element::Level;
use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::{Foreign, Lexer, Passed};

use super::{State, Transcoder};

/// Damage in a trace that may continue after it.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// The offset of the first lost byte.
    from: u64,
    /// The offset of the outermost message.
    begins: u64,
    damage: Damage,
}

impl<L: Lexer> Transcoder<L> {
    /// Leaves a damaged message at the offset `at`, to continue with the next one in the input. Returns whether that
    /// produced an event.
    ///
    /// # Errors
    /// If the input ends inside the message, since no other can follow.
    #[cold]
    pub(super) fn seek(
        &mut self,
        damage: Damage,
        at: u64,
        sink: &mut impl PartSink,
    ) -> Result<bool, Damage> {
        if let Fault::Cut { .. } = *damage.fault {
            return Err(damage);
        }
        self.record_damage(damage);
        self.lexer.seek(&self.text, at);
        Ok(self.leave(sink))
    }

    /// Leaves all open messages early, and keeps their complete parts. Returns whether that produced an event.
    fn leave(&mut self, sink: &mut impl PartSink) -> bool {
        let is_open = self.open.iter().any(|level| level.form().is_some());
        self.open.truncate(1);
        self.state = State::Fields;
        // If a part cannot be decoded, it is part of what is lost.
        is_open && sink.end().unwrap_or(false)
    }

    /// Remembers damage, unless there is earlier damage that has not been reported.
    fn record_damage(&mut self, damage: Damage) {
        let from = match self.state {
            State::Fields => self.value_end,
            _ => self.field_start,
        };
        self.record_damage_from(from, damage);
    }

    fn record_damage_from(&mut self, from: u64, damage: Damage) {
        let begins = self.lexer.begins();
        self.lost.get_or_insert(Lost {
            // White space before a message is not part of it.
            from: from.max(begins),
            begins,
            damage,
        });
    }

    /// Skips a part that cannot be decoded. Returns whether that produced an event. The lexer knows the end of the
    /// part, so the rest of the message is read.
    #[cold]
    pub(super) fn skip_part(&mut self, damage: Damage, sink: &mut impl PartSink) -> bool {
        let depth = match (&self.state, &*damage.fault) {
            (State::Part(_), Fault::Value { .. }) => Some(self.builder.depth()),
            // All of it has been read.
            (State::Fields, Fault::Message { .. }) => Some(0),
            // After an invalid trace id, nothing is known about the message.
            _ => None,
        };
        self.record_damage_from(self.field_start, damage);
        match depth {
            Some(0) => return self.resume(self.token_end, sink, false),
            Some(depth) => self.state = State::Skipping(depth),
            None => {
                self.lexer.seek(&self.text, self.token_end);
                return self.leave(sink);
            }
        }
        false
    }

    /// Continues after damage at the offset `to`. Returns whether an event is current, as with `is_event` there was
    /// before.
    pub(super) fn resume(&mut self, to: u64, sink: &mut impl PartSink, is_event: bool) -> bool {
        let Some(Lost {
            from,
            begins,
            damage,
        }) = self.lost.take()
        else {
            return is_event;
        };
        // If the message was complete up to the cut, its missing rest has no bytes: all of it counts as skipped.
        let from = if from < to { from } else { begins.min(to) };
        let kind = SkipKind::Damage(damage.to_string());
        self.skip((from, to), kind, sink, is_event)
    }

    /// Reports that bytes were skipped. Returns whether an event is current, as with `is_event` there was before.
    fn skip(
        &mut self,
        (from, to): (u64, u64),
        kind: SkipKind,
        sink: &mut impl PartSink,
        is_event: bool,
    ) -> bool {
        match &mut self.held_skip {
            // Without a trace between them, the skipped bytes are reported as one range.
            Some((_, held)) if !sink.is_recognised() => held.to = to,
            _ => self.held_skip = Some((from, Skip { to, kind })),
        }
        if !sink.is_recognised() {
            return is_event;
        }
        if let Some((from, skip)) = self.held_skip.take() {
            sink.skipped(from, skip);
        }
        // A current event comes before it.
        is_event || sink.advance()
    }

    /// Handles bytes that are not part of a message. Returns whether an event is current.
    #[cold]
    pub(super) fn passed(&mut self, sink: &mut impl PartSink) -> Result<bool, Damage> {
        let passed = self.lexer.passed();
        let Passed { from, to, .. } = passed;
        let is_event = self.leave(sink);
        if let Some(lost) = &self.lost {
            if passed.is_last && !is_event {
                return Err(lost.damage.clone());
            }
            return Ok(self.resume(to, sink, is_event));
        }
        let expected = "a message";
        let damage = Damage::new(from, Fault::Syntax { expected });
        let kind = match passed.what {
            Foreign::Note => SkipKind::Note,
            Foreign::Fragment if passed.is_last && !is_event => return Err(damage),
            Foreign::Fragment => SkipKind::Damage(damage.to_string()),
            // The output of a shell or of curl before and after a trace is not a loss.
            Foreign::Text if passed.is_last || !sink.is_recognised() => return Ok(is_event),
            Foreign::Text => SkipKind::Text,
        };
        Ok(self.skip((from, to), kind, sink, is_event))
    }

    /// Checks whether the field whose name was just returned, which follows the offset `start`, begins an outermost
    /// message: then the open one was cut before it. Returns `None` if not, otherwise whether an event is current.
    #[cold]
    pub(super) fn overtaken(&mut self, start: u64, sink: &mut impl PartSink) -> Option<bool> {
        let (at, cut) = self
            .lexer
            .overtaking(&self.text, self.opened, start, self.token_end)?;
        let what = match self.state {
            State::Part(part) => part.name(),
            _ => self.open.last().unwrap_or(&Level::Wrapper).name(),
        };
        self.record_damage(Damage::new(at, Fault::Overtaken { what }));
        self.text.drain(..cut);
        self.lexer.restart_after_name();
        let is_event = self.leave(sink);
        self.again = true;
        Some(self.resume(at, sink, is_event))
    }
}
