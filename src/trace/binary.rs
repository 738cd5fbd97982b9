//! Binary traces: a walker that goes over the outer messages field by field.
//!
//! It holds a position in each open message and nothing of what lies behind it, so a trace of any
//! size takes the memory of its largest event. Undelimited and length-delimited files, `TraceWrapper`
//! and the bare `Trace` differ only in the level that it starts at.

use crate::input::Input;

use super::element::{Action, Element, Level, Part};
use super::error::{Damage, Fault};
use super::token::Step;
use super::wire::{self, Header, MAX_MESSAGE, NoHeader, WireValue};

/// Walks over a binary trace.
#[derive(Clone, Debug)]
pub(super) struct Binary {
    /// The open messages, the innermost last; never empty unless `delimited`.
    open: Vec<Open>,
    /// A varint with its length stands before each outermost message.
    delimited: bool,
    /// Bytes of a field that nobody wants, still to be dropped.
    skipping: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    level: Level,
    /// The position behind its last byte; none where the input's end ends it.
    end: Option<u64>,
}

impl Binary {
    /// A trace without lengths before its messages: one `level` up to the end of the input.
    pub(super) fn undelimited(level: Level) -> Self {
        Self {
            open: vec![Open { level, end: None }],
            delimited: false,
            skipping: 0,
        }
    }

    /// A trace with a length before each message.
    pub(super) const fn delimited() -> Self {
        Self {
            open: Vec::new(),
            delimited: true,
            skipping: 0,
        }
    }

    /// The next element.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Step<Element>, Damage> {
        loop {
            if self.skipping > 0 {
                let n = self.skipping.min(input.window().len() as u64);
                input.skip(n as usize);
                self.skipping -= n;
                if self.skipping > 0 {
                    return short(input, "a field", Some(self.skipping));
                }
            }
            let offset = input.offset();
            while self
                .open
                .last()
                .is_some_and(|open| open.end == Some(offset))
            {
                self.open.pop();
            }
            let Some(&open) = self.open.last() else {
                match self.enter_delimited(input)? {
                    Step::Item(()) => continue,
                    Step::More => return Ok(Step::More),
                    Step::End => return Ok(Step::End),
                }
            };
            if input.window().is_empty() && input.ended() && open.end.is_none() {
                return Ok(Step::End);
            }
            let header = match wire::header(input.window()) {
                Ok(header) => header,
                Err(NoHeader::Short) => {
                    return short(input, open.level.name(), missing(open, input));
                }
                Err(NoHeader::Fault(fault)) => return Err(Damage { offset, fault }),
            };
            if let Some(step) = self.field(input, open, header)? {
                return Ok(step);
            }
        }
    }

    /// Deals with one field; none means that there is nothing to tell about it.
    fn field(
        &mut self,
        input: &mut Input,
        open: Open,
        header: Header,
    ) -> Result<Option<Step<Element>>, Damage> {
        let offset = input.offset();
        let action = open.level.field(header.number);
        let what = match action {
            Action::Enter(level) => level.name(),
            Action::Take(part) => part.name(),
            Action::Skip => "a field",
        };
        let len = match header.value {
            WireValue::Varint(_) => 0,
            WireValue::Fixed(n) | WireValue::Len(n) => n,
        };
        let start = offset + header.len as u64;
        let end = start.checked_add(len);
        if let Some(limit) = open.end
            && end.is_none_or(|end| end > limit)
        {
            let left = limit.saturating_sub(start);
            return Err(Damage {
                offset,
                fault: Fault::Overrun {
                    what,
                    claimed: len,
                    left,
                },
            });
        }
        match (action, header.value) {
            (Action::Enter(level), WireValue::Len(_)) => {
                input.skip(header.len);
                // Without an end in 64 bits it is cut anyway, and the end of the input finds that.
                self.open.push(Open {
                    level,
                    end: Some(end.unwrap_or(u64::MAX)),
                });
                Ok(level
                    .opening()
                    .map(|value| Step::Item(Element { offset, value })))
            }
            (Action::Take(part), WireValue::Varint(number)) => {
                input.skip(header.len);
                let value = part.of_number(number);
                Ok(value.map(|value| Step::Item(Element { offset, value })))
            }
            (Action::Take(part), WireValue::Len(_)) if part.is_message() => {
                self.message(input, part, header, len).map(Some)
            }
            _ => {
                // Unknown, or known with another wire type, which protobuf takes for unknown too.
                input.skip(header.len);
                self.skipping = len;
                Ok(None)
            }
        }
    }

    /// Takes a whole message, once all of it is there.
    fn message(
        &mut self,
        input: &mut Input,
        part: Part,
        header: Header,
        len: u64,
    ) -> Result<Step<Element>, Damage> {
        let offset = input.offset();
        if len > MAX_MESSAGE {
            let fault = Fault::TooLarge {
                what: part.name(),
                claimed: len,
            };
            return Err(Damage { offset, fault });
        }
        let (len, present) = (len as usize, input.window().len() - header.len);
        if len > present {
            return short(input, part.name(), Some((len - present) as u64));
        }
        input.skip(header.len);
        let message = input.take(len);
        match part.of_message(message) {
            Some(value) => Ok(Step::Item(Element { offset, value })),
            None => Err(Damage {
                offset,
                fault: Fault::WireType(2),
            }),
        }
    }

    /// Opens the next message by the length before it.
    fn enter_delimited(&mut self, input: &mut Input) -> Result<Step<()>, Damage> {
        debug_assert!(self.delimited);
        let offset = input.offset();
        if input.window().is_empty() && input.ended() {
            return Ok(Step::End);
        }
        match wire::varint(input.window()) {
            Ok((len, n)) => {
                input.skip(n);
                let end = Some((offset + n as u64).saturating_add(len));
                self.open.push(Open {
                    level: Level::Wrapper,
                    end,
                });
                Ok(Step::Item(()))
            }
            Err(NoHeader::Short) => short(input, "a message's length", None),
            Err(NoHeader::Fault(fault)) => Err(Damage { offset, fault }),
        }
    }
}

/// How many bytes of the innermost message are not in the window.
fn missing(open: Open, input: &Input) -> Option<u64> {
    let at_hand = input.offset() + input.window().len() as u64;
    open.end
        .and_then(|end| end.checked_sub(at_hand))
        .filter(|&n| n > 0)
}

/// Asks for more input, or finds that there is none and the trace is cut.
fn short<T>(input: &Input, what: &'static str, missing: Option<u64>) -> Result<Step<T>, Damage> {
    if !input.ended() {
        return Ok(Step::More);
    }
    let offset = input.offset() + input.window().len() as u64;
    Err(Damage {
        offset,
        fault: Fault::Cut { what, missing },
    })
}
