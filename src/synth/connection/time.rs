//! The times of a connection's frames.
//!
//! Invariant: [`stamp`](ConnectionState::stamp) returns no time after [`latest`](crate::synth::SynthOptions::latest).

use crate::model::event::Timestamp;
use crate::model::warning::WarningKind;
use crate::synth::{Context, STAND_IN_INTERVAL, Sink};

use super::ConnectionState;

/// Where and when something was recorded.
#[derive(Clone, Copy, Debug)]
pub(in crate::synth) struct RecordedTime {
    pub(in crate::synth) offset: u64,
    pub(in crate::synth) time: Option<Timestamp>,
    /// Whether the recorded time is impossible, and this is the nearest possible one.
    pub(in crate::synth) adjusted: bool,
    /// Whether this is also the time of another event, which has reported any problem with it.
    pub(in crate::synth) shared: bool,
}

impl ConnectionState {
    /// The time of an event, or its stand-in.
    #[inline(always)]
    pub(in crate::synth) fn stamp<S: Sink>(
        &mut self,
        when: RecordedTime,
        cx: &mut Context<'_, S>,
    ) -> Timestamp {
        let RecordedTime {
            offset,
            time,
            adjusted,
            shared,
        } = when;
        let time = match (time, self.recorded) {
            (Some(time), _) => {
                if !shared {
                    self.recorded = Some(time);
                }
                time
            }
            (None, recorded) => {
                self.comment(cx, || "stand-in time".into());
                self.note(WarningKind::StandInTime, offset, 0, String::new(), cx);
                match recorded {
                    Some(_) => self
                        .last
                        .unwrap_or_default()
                        .saturating_add(STAND_IN_INTERVAL),
                    None => cx.shared.stand_in_time(),
                }
            }
        };
        if !shared && (adjusted || time > cx.shared.options.latest) {
            self.note(WarningKind::TimeAdjusted, offset, 0, String::new(), cx);
        }
        let time = time.min(cx.shared.options.latest);
        self.last = Some(time);
        if let (Some(summary), Some(_)) = (&mut self.summary, self.recorded) {
            summary.at(time);
        }
        time
    }
}
