//! The events of all traces into one capture.

use std::io;

use foldhash::HashMap;

use crate::capture::{Capture, Output};
use crate::convert::Options;
use crate::event::{Event, Timestamp};
use crate::notice::{Kind, Notice, Notices};
use crate::synth::{self, ConversationId, Conversations, Frame, Handshake, Synthesizer};

use super::Outcome;
use super::sweep::{Short, Told};

/// A merge under way.
pub(super) struct Work {
    pub(super) synth: Synthesizer,
    /// How many events each conversation has still to come.
    pub(super) counts: HashMap<ConversationId, u64>,
    conversations: Conversations,
    pub(super) traces: Vec<Outcome>,
    /// The time of the last packet.
    now: Timestamp,
    pub(super) frames: u64,
    /// Whether a trace ended earlier than in the first pass.
    pub(super) incomplete: bool,
}

impl Work {
    /// A merge of no traces yet, whose names are `labels` where the capture has a place for them.
    pub(super) fn new(options: &Options, labels: Option<Vec<String>>) -> Self {
        Self {
            synth: Synthesizer::new(synth::Options {
                latest: options.capture.format.last_time(),
                labels,
                exclusive: true,
                handshake: match options.synth.handshake {
                    Handshake::Auto => Handshake::Always,
                    other => other,
                },
                ..options.synth.clone()
            }),
            counts: HashMap::default(),
            conversations: Conversations::default(),
            traces: Vec::new(),
            now: Timestamp::default(),
            frames: 0,
            incomplete: false,
        }
    }

    /// Takes what the sweep tells.
    pub(super) fn take(&mut self, told: Told<'_>, capture: &mut Capture<Output>) -> io::Result<()> {
        match told {
            Told::Event(event, Some(time)) if event.time != Some(time) => {
                let clamped = self.clamp(event, time);
                self.event(&clamped, capture)
            }
            Told::Event(event, _) => self.event(event, capture),
            Told::Short(source, short) => {
                self.short(source, short);
                Ok(())
            }
        }
    }

    /// Takes note that a trace ended early.
    fn short(&mut self, source: u32, short: Short) {
        if let Ok(summary) = &mut self.traces[source as usize].result {
            self.incomplete = true;
            match short {
                Short::Damage(damage) => drop(summary.damage.get_or_insert(damage)),
                Short::Unread(error) => summary.unread = Some(error),
            }
        }
    }

    /// Gives an event its time in the merge, which is another than what was recorded.
    fn clamp(&mut self, event: &Event, time: Timestamp) -> Event {
        let kind = match event.time {
            None => Kind::StandInTime,
            Some(_) => Kind::TimeClamped,
        };
        let (offset, trace, detail) = (event.offset, Some(event.trace), String::new());
        let notices = &mut self.traces[event.trace.source as usize].notices;
        notices.add(Notice {
            kind,
            offset,
            trace,
            bytes: 0,
            detail,
        });
        Event {
            time: Some(time),
            ..event.clone()
        }
    }

    fn event(&mut self, event: &Event, capture: &mut Capture<Output>) -> io::Result<()> {
        let conversation = self.conversations.of(event);
        let trace = &mut self.traces[event.trace.source as usize];
        let whole = match &mut trace.result {
            Ok(summary) => {
                summary.count(event);
                summary.damage.is_none()
            }
            Err(_) => false,
        };
        let (now, frames) = (&mut self.now, &mut self.frames);
        let out = &mut |frame: &Frame<'_>| write(frame, now, frames, capture);
        self.synth.event(event, &mut trace.notices, out)?;
        let Some(conversation) = conversation else {
            return Ok(());
        };
        if let Some(left) = self.counts.get_mut(&conversation) {
            *left -= 1;
            if *left == 0 {
                self.counts.remove(&conversation);
                self.synth
                    .end(&conversation, whole, &mut trace.notices, out)?;
            }
        }
        Ok(())
    }

    /// Ends what an interrupt has left open.
    pub(super) fn finish(&mut self, capture: &mut Capture<Output>) -> io::Result<()> {
        let (now, frames) = (&mut self.now, &mut self.frames);
        let mut unheard = Notices::default();
        self.synth.finish(false, &mut unheard, &mut |frame| {
            write(frame, now, frames, capture)
        })
    }
}

/// Writes a frame, no earlier than the one before it.
fn write(
    frame: &Frame<'_>,
    now: &mut Timestamp,
    frames: &mut u64,
    capture: &mut Capture<Output>,
) -> io::Result<()> {
    *now = frame.time.max(*now);
    *frames += 1;
    capture.frame(&Frame {
        time: *now,
        ..*frame
    })
}
