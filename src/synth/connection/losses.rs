//! How missing bytes of a connection affect its packets.
//!
//! Invariant: a packet holds only recorded bytes. Missing ones make its original length larger, or leave a gap in the
//! sequence numbers.

use crate::model::event::{Direction, Gap, GapKind, Timestamp, Transport};
use crate::model::warning::WarningKind;
use crate::plural;

use super::super::{Context, Sink};
use super::{ConnectionState, Data};

impl ConnectionState {
    /// Writes an event of which Envoy kept only the first bytes; `missing` more are known to be missing.
    pub(super) fn snapped<S: Sink>(
        &mut self,
        data: Data<'_>,
        missing: u64,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let known = data.payload.len();
        let missing = usize::try_from(missing).unwrap_or(0);
        if missing > 0 {
            self.note(
                WarningKind::Truncated,
                data.offset,
                missing as u64,
                String::new(),
                cx,
            );
            let size = known + missing;
            self.comment(cx, || {
                let bytes = plural(size as u64, "byte");
                format!("truncated: {known} of {size} {bytes} recorded")
            });
        }
        self.data(data, known + missing, cx)
    }

    /// Writes truncated bytes whose original length is unknown. The packet includes the minimum that is missing,
    /// so that the next message is not dissected as the rest of this one.
    pub(super) fn cut<S: Sink>(
        &mut self,
        data: Data<'_>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let known = data.payload.len();
        let missing = match self.connection.transport {
            Transport::Tcp => self.framing.missing_after(data.direction, data.payload),
            Transport::Udp => 1,
        };
        let (kind, bytes) = (WarningKind::TruncatedUnknown, missing as u64);
        self.note(kind, data.offset, bytes, String::new(), cx);
        self.comment(cx, || {
            let bytes = plural(known as u64, "byte");
            format!("truncated: {known} {bytes} recorded, at least {missing} missing")
        });
        self.estimated = missing as u64;
        self.data(data, known.saturating_add(missing), cx)
    }

    /// Records bytes that went over the connection before the event at `time`.
    pub(super) fn gap<S: Sink>(
        &mut self,
        gap: &Gap,
        offset: u64,
        time: Timestamp,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let Gap {
            bytes,
            direction,
            kind,
        } = *gap;
        match kind {
            GapKind::ProxyHeader => {
                self.note(WarningKind::ProxyHeader, offset, bytes, String::new(), cx);
                self.comment(cx, || {
                    format!("a PROXY protocol header of {bytes} bytes before this is not recorded")
                });
                Ok(())
            }
            // The size was unknown when the event was written; now the rest of it is known.
            GapKind::Cut => {
                self.comment(cx, || {
                    let unit = plural(bytes, "byte");
                    format!("the truncated event before this lacks {bytes} {unit}")
                });
                let rest = bytes.saturating_sub(self.estimated);
                self.hole(rest, direction, offset, time, cx)
            }
            GapKind::Lost => {
                let placed = match direction {
                    Some(_) => WarningKind::LostEvents,
                    None => WarningKind::LostEventsUnplaced,
                };
                self.note(placed, offset, bytes, String::new(), cx);
                self.comment(cx, || {
                    format!("lost before this: {bytes} {}", plural(bytes, "byte"))
                });
                self.hole(bytes, direction, offset, time, cx)
            }
        }
    }

    /// Leaves a gap for missing bytes, if their direction is known.
    fn hole<S: Sink>(
        &mut self,
        bytes: u64,
        direction: Option<Direction>,
        offset: u64,
        time: Timestamp,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        let (Some(direction), Ok(bytes)) = (direction, usize::try_from(bytes)) else {
            return Ok(());
        };
        let data = Data {
            offset,
            time,
            direction,
            payload: &[],
            end_stream: false,
        };
        let said = std::mem::take(&mut self.comments);
        let result = match bytes {
            0 => Ok(()),
            bytes => self.data(data, bytes, cx),
        };
        self.comments = said;
        result
    }
}
