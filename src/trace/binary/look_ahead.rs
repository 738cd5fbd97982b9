//! Searches the rest of a message for its connection, in an input that can be read twice.
//!
//! Events may come before the `trace_id` and the `connection` of their message. The search finds those, and nothing
//! else. It reports no damage: the walk does that when it arrives there.
//!
//! Invariant: each byte is searched at most once, and the payloads in a binary file are not read.

use arrayvec::ArrayVec;

use crate::input::Ahead;
use crate::model::event::Skip;

use crate::trace::binary::walk::{MAX_DEPTH, Open};
use crate::trace::binary::wire::{self, WireValue};
use crate::trace::element::{Action, Form, Level, TracePart};
use crate::trace::error::Damage;
use crate::trace::hold::Taken;

/// The maximum length of a field's header: two varints.
const HEADER: usize = 20;
/// The maximum length of a connection that is read ahead, in bytes.
const MAX_CONNECTION: u64 = 1 << 20;

/// Takes the parts of a message as they arrive.
pub(in crate::trace) trait PartSink {
    /// Whether it takes a part of this kind now.
    fn wants(&mut self, part: TracePart) -> bool;

    /// Begins the wrapper's member with this number.
    fn begin(&mut self, number: u32, form: Option<Form>);

    /// Takes a number. Returns whether that produced an event.
    fn number(&mut self, part: TracePart, number: u64, offset: u64) -> bool;

    /// Takes a message. Returns whether that produced an event.
    fn part(&mut self, taken: Taken<'_>) -> Result<bool, Damage>;

    /// Ends the message. Returns whether that produced an event.
    fn end(&mut self) -> Result<bool, Damage>;

    /// Whether anything was found that only a trace contains.
    fn is_recognised(&self) -> bool;

    /// Records that bytes were skipped from the offset `from` on.
    fn skipped(&mut self, from: u64, skip: Skip);

    /// Advances to the next event; returns false if there is none.
    fn advance(&mut self) -> bool;
}

/// What a search ahead found in a message.
#[derive(Clone, Debug, Default)]
pub(in crate::trace) struct FoundAhead {
    pub(in crate::trace) id: Option<u64>,
    /// The encoded connection, possibly of several pieces, and the offset of its last field.
    pub(in crate::trace) connection: Vec<u8>,
    pub(in crate::trace) offset: u64,
    /// The offset up to which the message was searched.
    pub(in crate::trace) end: u64,
    /// Whether another member of a oneof replaces the earlier one.
    pub(in crate::trace) is_void: bool,
    /// Whether it is a bare trace, which another may follow immediately.
    pub(in crate::trace) is_bare: bool,
    /// Whether everything was found.
    pub(in crate::trace) is_done: bool,
}

impl PartSink for FoundAhead {
    fn wants(&mut self, part: TracePart) -> bool {
        // The fields after a bare trace's connection may belong to the next one.
        self.is_done |= self.is_bare && part == TracePart::Event && !self.connection.is_empty();
        part == TracePart::Connection
    }

    fn begin(&mut self, _: u32, _: Option<Form>) {}

    fn number(&mut self, part: TracePart, number: u64, _: u64) -> bool {
        if part == TracePart::TraceId {
            self.id = Some(number);
        }
        false
    }

    fn part(&mut self, taken: Taken<'_>) -> Result<bool, Damage> {
        self.connection.extend_from_slice(taken.bytes);
        self.offset = taken.place.offset;
        Ok(false)
    }

    fn end(&mut self) -> Result<bool, Damage> {
        self.is_done = true;
        Ok(false)
    }

    fn is_recognised(&self) -> bool {
        true
    }

    fn skipped(&mut self, _: u64, _: Skip) {
        // The message has ended with an error.
        self.is_done = true;
    }

    fn advance(&mut self) -> bool {
        false
    }
}

/// A message in a binary trace, at the position of the walk.
#[derive(Debug)]
pub(in crate::trace) struct OpenMessage<'a> {
    /// The open levels.
    pub(in crate::trace) open: &'a [Open],
    /// The end of the message.
    pub(in crate::trace) end: u64,
    /// The number of its field in the wrapper.
    pub(in crate::trace) member: Option<u32>,
    /// The number of the last field in a segment's oneof.
    pub(in crate::trace) piece: Option<u32>,
}

impl OpenMessage<'_> {
    /// Searches the fields from `at` up to the end of the message. Returns `None` if that is not possible.
    pub(in crate::trace) fn look(&self, ahead: &mut Ahead<'_>, mut at: u64) -> Option<FoundAhead> {
        let mut open: ArrayVec<Open, MAX_DEPTH> = self.open.iter().copied().collect();
        let mut found = FoundAhead {
            is_bare: open.first().is_some_and(|open| open.level == Level::Bare),
            ..FoundAhead::default()
        };
        loop {
            while open.last().is_some_and(|open| open.end == Some(at)) {
                open.pop();
            }
            found.end = at;
            let Some(&around) = open.last().filter(|_| at != self.end && !found.is_done) else {
                return Some(found);
            };
            let Ok(header) = wire::header(ahead.bytes(at, HEADER)?) else {
                return Some(found);
            };
            let (start, number) = (at + header.len as u64, header.number);
            let (len, is_len) = match header.value {
                WireValue::Varint(_) => (0, false),
                WireValue::Fixed(n) => (n, false),
                WireValue::Len(n) => (n, true),
            };
            let next = start.saturating_add(len);
            if around.end.is_some_and(|end| next > end) {
                return Some(found);
            }
            if is_len && self.is_other(around.level, number) {
                found.is_void = true;
                return Some(found);
            }
            let mut to = next;
            match (around.level.field(number), header.value) {
                (Action::Enter(level), WireValue::Len(_)) => {
                    let end = Some(next);
                    open.try_push(Open { level, end }).ok()?;
                    to = start;
                }
                (Action::Take(part), WireValue::Varint(number)) => {
                    found.number(part, number, at);
                }
                (Action::Take(part), WireValue::Len(_)) if found.wants(part) => {
                    let len = usize::try_from(len.min(MAX_CONNECTION)).ok()?;
                    let bytes = ahead.bytes(start, len)?;
                    found.connection.extend(bytes.iter().take(len));
                    found.offset = at;
                }
                _ => {}
            }
            at = to;
        }
    }

    /// Whether the field of this number replaces an earlier member of a oneof.
    fn is_other(&self, level: Level, number: u32) -> bool {
        let (members, before) = match level {
            Level::Wrapper => (1..=4, self.member),
            Level::Streamed => (2..=4, self.piece),
            _ => return false,
        };
        members.contains(&number) && before.is_some_and(|before| before != number)
    }
}
