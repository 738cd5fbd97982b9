//! Whether a field fits into the message around it, into the window, and into the input.

use crate::input::Input;
use crate::trace::binary::wire::{Header, MAX_MESSAGE};
use crate::trace::element::{Action, TracePart};
use crate::trace::error::{Damage, Fault};
use crate::trace::readable::lexer::Step;

use super::Open;

/// The end of a field of `len` bytes, which has to be inside the enclosing message.
#[inline]
pub(super) fn within(
    open: Open,
    offset: u64,
    action: Action,
    header: Header,
    len: u64,
) -> Result<u64, Damage> {
    let start = offset + header.len as u64;
    // An end beyond 64 bits is beyond the end of the input, too, and is reported there.
    let end = start.saturating_add(len);
    match open.end {
        Some(limit) if end > limit => {
            let what = match action {
                Action::Enter(level) => level.name(),
                Action::Take(part) => part.name(),
                Action::Skip => "a field",
            };
            let fault = Fault::Overrun {
                what,
                claimed: len,
                left: limit.saturating_sub(start),
            };
            Err(Damage::new(offset, fault))
        }
        _ => Ok(end),
    }
}

/// Requests the rest of a message, unless it is too large.
#[cold]
pub(super) fn message_short<T>(
    input: &Input,
    part: TracePart,
    len: u64,
    present: u64,
) -> Result<Step<T>, Damage> {
    if len > MAX_MESSAGE {
        let fault = Fault::TooLarge {
            what: part.name(),
            claimed: len,
        };
        let offset = input.offset();
        return Err(Damage::new(offset, fault));
    }
    short(input, part.name(), Some(len - present))
}

/// The number of bytes of the innermost message that are not in the window.
pub(super) fn missing(open: Open, input: &Input) -> Option<u64> {
    let at_hand = input.offset() + input.window().len() as u64;
    open.end
        .and_then(|end| end.checked_sub(at_hand))
        .filter(|&n| n > 0)
}

/// Requests more input; at the end of the input, the trace is cut.
#[cold]
pub(super) fn short<T>(
    input: &Input,
    what: &'static str,
    missing: Option<u64>,
) -> Result<Step<T>, Damage> {
    if !input.ended() {
        return Ok(Step::More);
    }
    let offset = input.offset() + input.window().len() as u64;
    Err(Damage::new(offset, Fault::Cut { what, missing }))
}
