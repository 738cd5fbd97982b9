//! The loop that carries events from a trace to their consumer.
//!
//! Handles waiting, signals, damage and the end of the input for conversions, `--info` and a merge's first pass
//! alike. Knows nothing of packets.

use std::io;

use crate::input::Wait;
use crate::interrupt::Interrupt;
use crate::model::event::{Event, PlainEvent};
use crate::model::warning::Warnings;
use crate::sequence::{Next, Sequencer};
use crate::trace::{Damage, Lent, Reader, Step};

/// A consumer of the events of a trace.
pub(crate) trait Consumer {
    /// The error that ends the work early.
    type Error;

    /// Takes an event, in order among those of its connection.
    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> Result<(), Self::Error>;

    /// Whether [`plain`](Self::plain) is worth calling.
    fn takes_plain(&self) -> bool {
        false
    }

    /// Takes the next plain event, which is due. Returns `None`, and does nothing, if the fast path is not possible for
    /// this event: then the pump calls [`event`](Self::event) with it.
    #[inline(always)]
    fn plain(
        &mut self,
        _event: &PlainEvent<'_>,
        _lent: &Lent<'_>,
        _warnings: &mut Warnings,
    ) -> Option<Result<(), Self::Error>> {
        None
    }

    /// The trace was read up to an event, which is delivered next, later, or never.
    fn read(&mut self, _trace: &Reader) {}

    /// The event read last will not be delivered.
    fn dropped(&mut self) {}

    /// The input has no more bytes for now.
    fn idle(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// How a trace ended.
#[derive(Debug)]
pub(crate) enum End {
    /// After its last message.
    Whole,
    /// With damage.
    Damaged(Damage),
    /// With a read error.
    Unread(io::Error),
    /// With a signal.
    Interrupted(u8),
    /// The reader of the output closed it.
    ReaderGone,
}

/// A trace being read.
pub(crate) struct Pump<'a> {
    pub(crate) trace: &'a mut Reader,
    pub(crate) sequencer: Sequencer,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) warnings: &'a mut Warnings,
}

impl Pump<'_> {
    /// Carries all events to `consumer`. `first` is the result of the first step into the trace, if the caller
    /// has made it.
    ///
    /// # Errors
    /// Those of `consumer`.
    pub(crate) fn run<C: Consumer>(
        &mut self,
        first: Option<Result<Step<()>, Damage>>,
        wait: &Wait<'_>,
        consumer: &mut C,
    ) -> Result<End, C::Error> {
        let mut first = first;
        let end = loop {
            if first.is_none() && consumer.takes_plain() {
                while self.interrupt.signal().is_none() && self.take_plain(consumer)? {}
            }
            if let Some(signal) = self.interrupt.signal() {
                break End::Interrupted(signal);
            }
            match first.take().unwrap_or_else(|| self.trace.advance()) {
                Ok(Step::Item(())) => self.take(consumer)?,
                Ok(Step::More) => {
                    // Before waiting, a flush shows the reader of a live capture everything so far.
                    if wait.hangup.is_some() && !self.trace.ready() {
                        consumer.idle()?;
                    }
                    if let Some(end) = self.fill(wait) {
                        break end;
                    }
                    self.drain(consumer)?;
                }
                Ok(Step::End) => break End::Whole,
                Err(damage) => break End::Damaged(damage),
            }
        };
        self.sequencer.finish(self.warnings);
        self.drain(consumer)?;
        Ok(end)
    }

    /// Delivers the next event, if it is plain and due. Returns whether it was delivered.
    #[inline(always)]
    fn take_plain<C: Consumer>(&mut self, consumer: &mut C) -> Result<bool, C::Error> {
        let Some(lent) = self.trace.plain() else {
            return Ok(false);
        };
        let mut event = lent.event;
        let Some(connection) = self.sequencer.plain(&event) else {
            return Ok(false);
        };
        event.trace = connection.id();
        let Some(done) = consumer.plain(&event, &lent, self.warnings) else {
            return Ok(false);
        };
        connection.deliver(&event);
        let pass = lent.pass();
        self.trace.pass(pass);
        done.map(|()| true)
    }

    /// Delivers the event that was read, or those that are due before it.
    #[inline]
    fn take<C: Consumer>(&mut self, consumer: &mut C) -> Result<(), C::Error> {
        consumer.read(self.trace);
        let Some(event) = self.trace.current_mut() else {
            return Ok(());
        };
        match self.sequencer.push(event, self.warnings) {
            Next::Deliver => consumer.event(event, self.warnings),
            Next::Wait => self.drain(consumer),
            Next::Drop => {
                consumer.dropped();
                self.drain(consumer)
            }
        }
    }

    /// Delivers the events that are due.
    fn drain<C: Consumer>(&mut self, consumer: &mut C) -> Result<(), C::Error> {
        while let Some(event) = self.sequencer.pop() {
            consumer.event(&event, self.warnings)?;
        }
        Ok(())
    }

    /// Waits for more input, or until an event has waited long enough.
    fn fill(&mut self, wait: &Wait<'_>) -> Option<End> {
        let deadline = self.sequencer.deadline();
        let filled = self.trace.fill(&Wait { deadline, ..*wait });
        if deadline.is_some() {
            self.sequencer.expire(self.warnings);
        }
        match filled {
            Ok(()) => None,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => None,
                io::ErrorKind::BrokenPipe => Some(End::ReaderGone),
                _ => Some(End::Unread(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests;
