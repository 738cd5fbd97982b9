//! What a trace lacks or gets wrong without being damaged: counted once a kind, told once a file.
//!
//! Every room reports here, so no loss stays silent. It knows nothing of how a warning is shown.

use std::collections::BTreeMap;
use std::fmt;

use crate::grouped;
use crate::model::event::{Direction, Event, Skip, SkipKind, TraceId};

/// Something that the user of a capture has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which kind of thing.
    pub kind: WarningKind,
    /// Where in the (decoded) input the event begins that gave rise to it, in bytes.
    pub offset: u64,
    /// The connection it is about, if it is one.
    pub trace: Option<TraceId>,
    /// How many bytes it is about; 0 where that says nothing or is unknown.
    pub bytes: u64,
    /// What is particular about this one; may be empty.
    pub detail: String,
}

impl Warning {
    /// That an input has no bytes: a pipe, or else a file.
    pub(crate) fn empty(is_pipe: bool) -> Self {
        let detail = match is_pipe {
            true => "nothing came through the pipe",
            false => {
                "nothing has been written to it yet (Envoy writes a trace when its connection ends)"
            }
        };
        Self {
            kind: WarningKind::Empty,
            offset: 0,
            trace: None,
            bytes: 0,
            detail: detail.to_owned(),
        }
    }
}

/// The kinds of [`Warning`], in the order in which a summary tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningKind {
    /// The input has no bytes.
    Empty,
    /// The trace names connections, but no event of them.
    NoEvents,
    /// Envoy cut a body, and its running count tells how much is missing.
    Truncated,
    /// Envoy cut a body; how much is missing is not recorded, and `bytes` is the least that it can be.
    TruncatedUnknown,
    /// Envoy stopped recording one direction of a buffered trace at its limit.
    DirectionTruncated,
    /// Envoy's running count jumps where no truncation explains it: events are missing, and the capture
    /// leaves room for their bytes.
    LostEvents,
    /// Events are missing, and which way their bytes went is unknown.
    LostEventsUnplaced,
    /// Envoy sent a PROXY protocol header, which it counts and does not record.
    ProxyHeader,
    /// The trace holds an event twice.
    Repeated,
    /// The trace holds an event after one that its count puts before it.
    Reordered,
    /// Several open connections share a trace id, and an event does not say which of them it belongs to.
    SharedId,
    /// An event happened before the one that precedes it in the capture.
    OutOfOrder,
    /// A body recorded as a string is not what went over the connection.
    LossyString,
    /// Envoy could not bring a message into JSON, and wrote that instead.
    ConversionFailed,
    /// Envoy wrote a line for its client between messages.
    EnvoyLine,
    /// Something stands between messages that is none.
    OtherText,
    /// A binary trace went through a terminal, which has changed it.
    ThroughTerminal,
    /// The trace is damaged, and goes on after that.
    Skipped,
    /// Envoy's running count says what cannot be.
    ImpossibleCount,
    /// A datagram is larger than an IP packet, and shown as several.
    OversizedDatagram,
    /// An end of a connection has no address that a packet can carry.
    StandInAddress,
    /// An end of a connection has an address, which came after events that were in the capture by then.
    LateAddress,
    /// A streamed trace of an upstream connection has no local address, as it begins before there is one.
    StandInLocal,
    /// Another connection uses the same endpoints at the same time.
    PortTaken,
    /// A merge puts an event later than recorded, for the ones before it in its trace are not earlier.
    TimeClamped,
    /// An event has no time of its own.
    StandInTime,
    /// A recorded time cannot be: nanoseconds out of range, or years that no capture holds.
    TimeAdjusted,
    /// Client and server were told apart by a guess.
    RoleGuessed,
}

/// What helps where binary bytes go through a terminal.
pub(crate) const THROUGH_TERMINAL: &str =
    "kubectl exec and docker exec leave binary as it is without -t";

impl WarningKind {
    /// What happened `count` times, as a sentence without its end.
    fn describe(self, f: &mut fmt::Formatter<'_>, count: u64, bytes: u64) -> fmt::Result {
        let s = if count == 1 { "" } else { "s" };
        let are = if bytes == 1 { "byte is" } else { "bytes are" };
        let them = if count == 1 { "it" } else { "them" };
        let has_bytes = bytes > 0;
        let (count, bytes) = (grouped(count), grouped(bytes));
        match self {
            Self::Empty => f.write_str("the input is empty"),
            Self::NoEvents => {
                f.write_str("the trace holds no event, so the capture has no packets")
            }
            Self::Truncated => write!(
                f,
                "{count} truncated event{s}: {bytes} {are} not in the trace, the capture leaves room for them"
            ),
            Self::LostEvents => write!(
                f,
                "{count} gap{s} in Envoy's count: events with {bytes} bytes are not in the trace, the capture leaves room for them"
            ),
            Self::LostEventsUnplaced => write!(
                f,
                "{count} gap{s} in Envoy's count: events with {bytes} bytes are not in the trace, nor in the capture, as their direction is unknown"
            ),
            Self::ProxyHeader => write!(
                f,
                "{count} connection{s} that Envoy began with a PROXY protocol header: its {bytes} {are} not in the trace"
            ),
            Self::Repeated => write!(f, "{count} repeated event{s}: dropped"),
            Self::Reordered => write!(f, "{count} event{s} out of order: put in order by seq_num"),
            Self::SharedId => write!(
                f,
                "{count} trace id{s} shared by several connections at once: events that do not name their connection are taken for the latest one's"
            ),
            Self::OutOfOrder => write!(
                f,
                "{count} event{s} earlier than the one before: the times in the capture go back"
            ),
            Self::LossyString => {
                write!(
                    f,
                    "{count} string{s} in place of bytes: what is not UTF-8 is lost in them"
                )?;
                match has_bytes {
                    false => Ok(()),
                    true => write!(f, ", {bytes} bytes or more"),
                }
            }
            Self::ConversionFailed => {
                write!(
                    f,
                    "{count} message{s} that Envoy failed to convert to JSON: not in the trace"
                )
            }
            Self::EnvoyLine => write!(
                f,
                "{count} line{s} of Envoy's own between messages: passed over"
            ),
            Self::OtherText => write!(
                f,
                "{count} piece{s} of other text between messages: {bytes} {are} passed over"
            ),
            Self::ThroughTerminal => f.write_str(
                "the trace went through a terminal, which put a carriage return before each line feed: \
                     taken out again",
            ),
            // What is particular about it says all.
            Self::Skipped => Ok(()),
            Self::ImpossibleCount => write!(
                f,
                "{count} impossible seq_num{s}: the trace is damaged, or several connections share a trace id"
            ),
            Self::TruncatedUnknown => {
                write!(
                    f,
                    "{count} truncated event{s}: Envoy kept only the first bytes and not how many are missing"
                )?;
                match has_bytes {
                    false => Ok(()),
                    true => write!(f, "; the capture leaves room for at least {bytes}"),
                }
            }
            Self::DirectionTruncated => {
                write!(
                    f,
                    "{count} direction{s} truncated at the tap's limit: what followed in {them} is not in the trace"
                )
            }
            Self::OversizedDatagram => {
                write!(
                    f,
                    "{count} datagram{s} larger than an IP packet: shown as several"
                )
            }
            Self::StandInAddress => write!(f, "{count} connection{s} with stand-in addresses"),
            Self::LateAddress => write!(
                f,
                "{count} connection{s} whose addresses came too late: stand-in addresses in their place"
            ),
            Self::StandInLocal => {
                write!(f, "{count} upstream connection{s} with stand-in addresses")
            }
            Self::PortTaken => write!(
                f,
                "{count} connection{s} with a stand-in client port: another connection has its endpoints"
            ),
            Self::TimeClamped => write!(
                f,
                "{count} event{s} put later than recorded: the clock had stepped back, and a merge keeps time order"
            ),
            Self::StandInTime => write!(
                f,
                "{count} event{s} without a time: stand-in times, 1 µs apart"
            ),
            Self::TimeAdjusted => write!(f, "{count} impossible time{s}: normalised or clamped"),
            Self::RoleGuessed => write!(f, "{count} connection{s} with a guessed client side"),
        }
    }

    /// The name that scripts know it by: it stays when the words change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoEvents => "no-events",
            Self::Truncated => "truncated",
            Self::TruncatedUnknown => "truncated-unknown",
            Self::DirectionTruncated => "direction-truncated",
            Self::LostEvents => "lost-events",
            Self::LostEventsUnplaced => "lost-events-unplaced",
            Self::ProxyHeader => "proxy-header",
            Self::Repeated => "repeated-events",
            Self::Reordered => "reordered-events",
            Self::SharedId => "shared-trace-id",
            Self::OutOfOrder => "times-go-back",
            Self::LateAddress => "late-address",
            Self::StandInLocal => "stand-in-local",
            Self::EnvoyLine => "envoy-line",
            Self::OtherText => "other-text",
            Self::Skipped => "skipped",
            Self::ThroughTerminal => "through-terminal",
            Self::LossyString => "lossy-string",
            Self::ConversionFailed => "conversion-failed",
            Self::ImpossibleCount => "impossible-count",
            Self::OversizedDatagram => "oversized-datagram",
            Self::StandInAddress => "stand-in-address",
            Self::PortTaken => "port-taken",
            Self::TimeClamped => "time-clamped",
            Self::StandInTime => "stand-in-time",
            Self::TimeAdjusted => "time-adjusted",
            Self::RoleGuessed => "role-guessed",
        }
    }

    /// Whether it may be about every event of a trace, so that a line for each says no more than their number.
    pub const fn is_of_each_event(self) -> bool {
        matches!(
            self,
            Self::StandInTime | Self::TimeClamped | Self::OutOfOrder
        )
    }

    /// Whether it makes the trace a damaged one.
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::ImpossibleCount | Self::Skipped)
    }

    /// Whether it is about what the trace holds, rather than about what a capture of it shows.
    pub const fn is_of_trace(self) -> bool {
        !matches!(
            self,
            Self::StandInAddress
                | Self::LateAddress
                | Self::StandInLocal
                | Self::StandInTime
                | Self::RoleGuessed
                | Self::PortTaken
                | Self::TimeClamped
                | Self::OversizedDatagram
                | Self::OutOfOrder
        )
    }

    /// What a person can do about it.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Truncated | Self::TruncatedUnknown | Self::DirectionTruncated => Some(
                "raise max_buffered_rx_bytes and max_buffered_tx_bytes in the tap's output_config",
            ),
            Self::StandInAddress => {
                Some("--local and --remote set the addresses that a trace lacks")
            }
            Self::LateAddress => Some(
                "convert the trace from a file: there, addresses may come after the events of their message",
            ),
            Self::StandInLocal => Some(
                "set_connection_per_event: true in the tap's socket_tap_config records the local address; \
                 --local sets it here",
            ),
            Self::StandInTime => Some("--start sets the first time of a trace that records none"),
            Self::RoleGuessed => Some("--role says on which side of the connection the tap sat"),
            Self::LossyString => {
                Some("let the tap write JSON_BODY_AS_BYTES or one of the PROTO formats")
            }
            Self::OutOfOrder => Some("--merge puts all packets in the order of their times"),
            Self::SharedId => Some(
                "let the tap set set_connection_per_event, so that each event names its connection",
            ),
            Self::ThroughTerminal => Some(THROUGH_TERMINAL),
            Self::ConversionFailed
            | Self::EnvoyLine
            | Self::OtherText
            | Self::Skipped
            | Self::OversizedDatagram
            | Self::PortTaken
            | Self::TimeClamped
            | Self::Empty
            | Self::NoEvents
            | Self::LostEvents
            | Self::LostEventsUnplaced
            | Self::ProxyHeader
            | Self::Repeated
            | Self::Reordered
            | Self::ImpossibleCount
            | Self::TimeAdjusted => None,
        }
    }
}

impl Warning {
    /// A warning about an event.
    pub(crate) fn of_event(kind: WarningKind, event: &Event) -> Self {
        Self {
            kind,
            offset: event.offset,
            trace: Some(event.trace),
            bytes: 0,
            detail: String::new(),
        }
    }

    /// A warning about a whole trace.
    pub(crate) fn of_trace(kind: WarningKind) -> Self {
        Self {
            kind,
            offset: 0,
            trace: None,
            bytes: 0,
            detail: String::new(),
        }
    }

    /// Envoy stopped recording one direction of a connection.
    pub(crate) fn cut_direction(event: &Event, direction: Direction) -> Self {
        let detail = match direction {
            Direction::Read => "bytes received by Envoy",
            Direction::Write => "bytes sent by Envoy",
        };
        Self {
            detail: detail.into(),
            ..Self::of_event(WarningKind::DirectionTruncated, event)
        }
    }

    /// A message stood in the trace that Envoy failed to write.
    pub(crate) fn failed(event: &Event) -> Self {
        Self {
            trace: None,
            ..Self::of_event(WarningKind::ConversionFailed, event)
        }
    }

    /// Some of a trace was skipped, from the offset `from` on.
    pub(crate) fn skipped(from: u64, skip: &Skip) -> Self {
        let (kind, detail) = match &skip.kind {
            SkipKind::Damage(why) => (WarningKind::Skipped, why.clone()),
            SkipKind::Text => (WarningKind::OtherText, String::new()),
            SkipKind::Note => (WarningKind::EnvoyLine, String::new()),
            SkipKind::CarriageReturns => (WarningKind::ThroughTerminal, String::new()),
        };
        Self {
            kind,
            offset: from,
            trace: None,
            bytes: skip.to.saturating_sub(from),
            detail,
        }
    }

    /// The offsets between which it is about something.
    pub const fn range(&self) -> (u64, u64) {
        (self.offset, self.offset.saturating_add(self.bytes))
    }

    /// Says what damage was skipped, without the end of the sentence.
    fn describe_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.range();
        write!(f, "{}; skipped from offset {from} to {to}", self.detail)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == WarningKind::Skipped {
            return self.describe_skipped(f);
        }
        write!(f, "at offset {}", self.offset)?;
        if let Some(trace) = self.trace {
            write!(f, ", connection {trace}")?;
        }
        f.write_str(": ")?;
        self.kind.describe(f, 1, self.bytes)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// All warnings of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many there were.
    pub count: u64,
    /// The sum of their bytes.
    pub bytes: u64,
    /// The first of them.
    pub first: Warning,
    /// The next ones, at most [`MAX_LISTED`] with the first; of damage that was skipped alone.
    pub more: Vec<Warning>,
}

/// How many places of damage are listed; of more, the number is.
pub const MAX_LISTED: usize = 8;

impl Tally {
    /// The warnings of this kind that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &Warning> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Says what damage was skipped: the first in full, then the places of others.
    fn describe_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.describe_skipped(f)?;
        if self.count == 1 {
            return Ok(());
        }
        let more = self.count - 1;
        let s = if more == 1 { "" } else { "s" };
        write!(f, ", and in {more} place{s} more: ")?;
        for (i, warning) in self.more.iter().enumerate() {
            let (from, to) = warning.range();
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{from} to {to}")?;
        }
        if more > self.more.len() as u64 {
            f.write_str(", and so on")?;
        }
        write!(f, "; {} bytes in all", self.bytes)
    }
}

impl Tally {
    /// Adds what another trace has of the same kind.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first.kind == WarningKind::Skipped {
            return self.describe_skipped(f);
        }
        self.first.kind.describe(f, self.count, self.bytes)?;
        if !self.first.detail.is_empty() {
            write!(f, ": {}", self.first.detail)?;
        }
        let first = if self.count == 1 {
            "at"
        } else {
            "the first at"
        };
        if matches!(
            self.first.kind,
            WarningKind::EnvoyLine | WarningKind::OtherText
        ) {
            write!(f, " ({first} offset {})", self.first.offset)?;
        }
        if let Some(trace) = self.first.trace {
            write!(
                f,
                " ({first} offset {}, connection {trace})",
                self.first.offset
            )?;
        }
        Ok(())
    }
}

/// Who is called for each warning.
type Listener = Box<dyn FnMut(&Warning) + Send>;

/// Counts warnings by kind, and passes each on where somebody listens.
#[derive(Default)]
pub struct Warnings {
    tallies: BTreeMap<WarningKind, Tally>,
    listener: Option<Listener>,
}

impl fmt::Debug for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warnings")
            .field("tallies", &self.tallies)
            .finish_non_exhaustive()
    }
}

impl Warnings {
    /// Counts warnings, and calls `listener` for each.
    pub fn with_listener(listener: impl FnMut(&Warning) + Send + 'static) -> Self {
        Self {
            tallies: BTreeMap::new(),
            listener: Some(Box::new(listener)),
        }
    }

    /// Takes one warning.
    pub fn add(&mut self, warning: Warning) {
        if let Some(listener) = &mut self.listener {
            listener(&warning);
        }
        match self.tallies.get_mut(&warning.kind) {
            Some(tally) => {
                tally.count += 1;
                tally.bytes = tally.bytes.saturating_add(warning.bytes);
                if warning.kind == WarningKind::Skipped && tally.more.len() + 1 < MAX_LISTED {
                    tally.more.push(warning);
                }
            }
            None => {
                let tally = Tally {
                    count: 1,
                    bytes: warning.bytes,
                    first: warning,
                    more: Vec::new(),
                };
                self.tallies.insert(tally.first.kind, tally);
            }
        }
    }

    /// The tallies, in the order of [`WarningKind`].
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.values()
    }

    /// How many warnings of this kind there were.
    pub fn count(&self, kind: WarningKind) -> u64 {
        self.tallies.get(&kind).map_or(0, |tally| tally.count)
    }
}
