//! Which bytes of a connection are missing, by Envoy's running count, and what that does to its frames.

use crate::notice::Kind;

use super::super::{Context, MAX_EVENT_LOSS};
use super::{Data, Tracked};

impl Tracked {
    /// Holds what came before against the running count `seq` of the event that comes now.
    pub(super) fn settle<E>(
        &mut self,
        seq: Option<u64>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if let Some(mut held) = self.held.take() {
            let known = held.payload.len() as u64;
            let (Some(from), Some(to)) = (held.seq, seq) else {
                return self.cut(held, cx);
            };
            let missing = to
                .checked_sub(from)
                .and_then(|size| size.checked_sub(known));
            return match missing {
                Some(missing) if missing <= MAX_EVENT_LOSS => {
                    self.note(Kind::Truncated, held.offset, missing, String::new(), cx);
                    if cx.shared.options.labels.is_some() {
                        let size = known + missing;
                        held.comments
                            .push(format!("truncated: {known} of {size} bytes recorded"));
                    }
                    let original_len = held.payload.len() + missing as usize;
                    self.data(held, original_len, cx)
                }
                _ => {
                    let detail = format!("from {from} to {to} over an event of {known} bytes");
                    self.mismatch(
                        held.offset,
                        from.saturating_add(known).abs_diff(to),
                        detail,
                        cx,
                    );
                    self.whole(held, cx)
                }
            };
        }
        let Some(seq) = seq else { return Ok(()) };
        // Counting starts at 1; what came before a trace's first event is lost, too.
        let start = if self.last.is_none() { Some(1) } else { None };
        match self.expected.or(start) {
            Some(expected)
                if seq > expected && seq - expected <= MAX_EVENT_LOSS && !self.as_string =>
            {
                let lost = seq - expected;
                self.note(Kind::LostEvents, offset, lost, String::new(), cx);
                self.comment(cx, || format!("lost before this: {lost} bytes"));
            }
            Some(expected) if seq != expected => {
                let detail = format!("{seq} where {expected} comes next");
                self.mismatch(offset, seq.abs_diff(expected), detail, cx);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells that the running count and an event's length do not fit by so many bytes.
    fn mismatch<E>(&mut self, offset: u64, bytes: u64, detail: String, cx: &mut Context<'_, E>) {
        if self.as_string {
            self.note(Kind::LossyString, offset, bytes, String::new(), cx);
        } else {
            self.note(Kind::ImpossibleCount, offset, 0, detail, cx);
        }
    }

    /// Truncated bytes of which nobody knows how many are missing.
    pub(super) fn cut<E>(&mut self, mut data: Data, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.note(Kind::TruncatedUnknown, data.offset, 0, String::new(), cx);
        if cx.shared.options.labels.is_some() {
            let known = data.payload.len();
            data.comments.push(format!(
                "truncated: {known} bytes recorded of an unknown number"
            ));
        }
        self.whole(data, cx)
    }
}
