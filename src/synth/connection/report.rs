//! What is reported about a connection: its summary, warnings, and comments on its frames.
//!
//! Invariant: stand-ins are reported once, and a summary is delivered once.

use crate::model::warning::{Warning, WarningKind};
use crate::synth::summary::ConnectionSummary;
use crate::synth::{Context, Sink};

use super::ConnectionState;

impl ConnectionState {
    /// Delivers the connection's summary, if requested.
    pub(super) fn report<S: Sink>(&mut self, cx: &mut Context<'_, S>) {
        self.report_stand_ins(false, cx);
        if let (Some(offset), None) = (self.first_empty.take(), &self.flow) {
            self.note(WarningKind::EmptyEvents, offset, 0, String::new(), cx);
        }
        if let (Some(summary), Some(summaries)) = (self.summary.take(), &mut cx.shared.summaries) {
            summaries.push(ConnectionSummary {
                connection: self.connection.clone(),
                sample_rate: cx.shared.sample_rates.get(&self.id.source).copied(),
                ..*summary
            });
        }
    }

    /// Reports its stand-ins, unless that has been done.
    pub(super) fn report_stand_ins<S: Sink>(&mut self, is_late: bool, cx: &mut Context<'_, S>) {
        if let Some((kind, offset, stand_ins)) = self.stood_in.take() {
            let kind = if is_late {
                WarningKind::LateAddress
            } else {
                kind
            };
            self.note(kind, offset, 0, stand_ins, cx);
        }
    }

    /// Adds a comment to the next frame, if labels are requested.
    pub(in crate::synth) fn comment<S: Sink>(
        &mut self,
        cx: &Context<'_, S>,
        say: impl FnOnce() -> String,
    ) {
        if cx.shared.options.labels.is_some() {
            self.comments.push(say);
        }
    }

    pub(super) fn note<S: Sink>(
        &mut self,
        kind: WarningKind,
        offset: u64,
        bytes: u64,
        detail: String,
        cx: &mut Context<'_, S>,
    ) {
        if let Some(summary) = &mut self.summary {
            summary.note(kind, bytes);
        }
        let trace = Some(self.id);
        cx.warnings.add(Warning {
            kind,
            offset,
            trace,
            bytes,
            detail,
        });
    }
}
