//! Which bytes of a connection are missing, by Envoy's running count, and what that does to its frames.

use crate::notice::Kind;

use super::super::{Context, MAX_EVENT_LOSS};
use super::{Data, Held, Tracked};

impl Tracked {
    /// Holds what came before against the running count `seq` of the event that comes now.
    #[inline]
    pub(super) fn settle<E>(
        &mut self,
        seq: Option<u64>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if self.held.is_none() && seq.is_none() {
            return Ok(());
        }
        self.compare(seq, offset, cx)
    }

    fn compare<E>(
        &mut self,
        seq: Option<u64>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if let Some(held) = self.held.take() {
            return self.release(*held, seq, cx);
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

    /// Puts a truncated event on the wire, now that the running count behind it is known, or never will be.
    fn release<E>(
        &mut self,
        held: Held,
        seq: Option<u64>,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        // What there was to say since is about the next one.
        let later = std::mem::replace(&mut self.comments, held.comments);
        let data = Data {
            offset: held.offset,
            time: held.time,
            direction: held.direction,
            payload: &held.payload,
            end_stream: held.end_stream,
        };
        let known = held.payload.len() as u64;
        let result = match seq {
            None => self.cut(data, cx),
            Some(to) => {
                let from = held.seq;
                let missing = to
                    .checked_sub(from)
                    .and_then(|size| size.checked_sub(known));
                match missing {
                    Some(missing) if missing <= MAX_EVENT_LOSS => {
                        self.note(Kind::Truncated, held.offset, missing, String::new(), cx);
                        let size = known + missing;
                        self.comment(cx, || {
                            format!("truncated: {known} of {size} bytes recorded")
                        });
                        self.data(data, held.payload.len() + missing as usize, cx)
                    }
                    _ => {
                        let detail = format!("from {from} to {to} over an event of {known} bytes");
                        let bytes = from.saturating_add(known).abs_diff(to);
                        self.mismatch(held.offset, bytes, detail, cx);
                        self.data(data, held.payload.len(), cx)
                    }
                }
            }
        };
        self.comments = later;
        result
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
    pub(super) fn cut<E>(&mut self, data: Data<'_>, cx: &mut Context<'_, E>) -> Result<(), E> {
        self.note(Kind::TruncatedUnknown, data.offset, 0, String::new(), cx);
        let known = data.payload.len();
        self.comment(cx, || {
            format!("truncated: {known} bytes recorded of an unknown number")
        });
        self.data(data, known, cx)
    }
}
