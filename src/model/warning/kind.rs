//! The kinds of warnings: their sentences, their codes for scripts, and their hints.

use std::fmt;

use crate::{grouped, plural};

/// The kinds of [`Warning`](super::Warning), in the order of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningKind {
    /// The input has no bytes.
    Empty,
    /// The trace names connections, but holds no events of them.
    NoEvents,
    /// A connection of which the trace holds nothing but events without contents.
    EmptyEvents,
    /// Envoy truncated a body, and its byte count shows how much is missing.
    Truncated,
    /// Envoy truncated a body, and how much is missing is not recorded; `bytes` is the minimum.
    TruncatedUnknown,
    /// Envoy stopped recording one direction of a buffered trace at its limit.
    DirectionTruncated,
    /// Envoy's byte count jumps, and no truncation explains it: events are missing, and the capture leaves a gap
    /// of that size.
    LostEvents,
    /// Events are missing, and the direction of their bytes is unknown.
    LostEventsUnplaced,
    /// Envoy sent a PROXY protocol header, which it counts but does not record.
    ProxyHeader,
    /// The trace holds an event twice.
    Repeated,
    /// The trace holds an event after one with a higher count.
    Reordered,
    /// Several open connections share a trace id, and an event does not name its connection.
    SharedId,
    /// A message continues a connection that was evicted from memory, because thousands of others came in between.
    Split,
    /// An event is earlier than the one before it in the capture.
    OutOfOrder,
    /// A body recorded as a string differs from the bytes on the connection.
    LossyString,
    /// Envoy could not convert a message to JSON, and wrote an error message instead.
    ConversionFailed,
    /// Envoy wrote a line for its client between messages.
    EnvoyLine,
    /// There is text between messages that is not part of any.
    OtherText,
    /// A binary trace went through a terminal, which changed it.
    ThroughTerminal,
    /// Other bytes follow a compressed trace.
    TrailingBytes,
    /// The trace is damaged, and continues after the damage.
    Skipped,
    /// Envoy's byte count contradicts itself.
    ImpossibleCount,
    /// A datagram is larger than an IP packet, and is split.
    OversizedDatagram,
    /// An endpoint of a connection has no address that a packet can carry.
    StandInAddress,
    /// An endpoint's address was recorded after events that had already been written to the capture.
    LateAddress,
    /// A streamed trace of an upstream connection has no local address, because it begins before there is one.
    StandInLocal,
    /// Another connection uses the same endpoints at the same time.
    PortTaken,
    /// A merge writes an event with a later time than recorded, because its trace holds a later event before it.
    TimeClamped,
    /// An event has no time of its own.
    StandInTime,
    /// A recorded time is impossible: nanoseconds out of range, or a year that a capture cannot hold.
    TimeAdjusted,
    /// Which side is the client was guessed.
    RoleGuessed,
    /// A connection is not recognized as HTTP, so redaction finds no header fields in it.
    NotRedacted,
    /// The positions of values in some bytes are unknown, so redaction overwrites all of these bytes.
    OverwrittenWhole,
}

/// The hint for binary traces that went through a terminal.
pub(crate) const THROUGH_TERMINAL: &str =
    "kubectl exec and docker exec leave binary as it is without -t";

impl WarningKind {
    /// Writes a message about `count` warnings of this kind, which the caller may continue.
    pub(super) fn describe(
        self,
        f: &mut fmt::Formatter<'_>,
        count: u64,
        bytes: u64,
    ) -> fmt::Result {
        let s = if count == 1 { "" } else { "s" };
        let unit = plural(bytes, "byte");
        let are = match bytes {
            1 => "byte is",
            _ => "bytes are",
        };
        let them = if bytes == 1 { "it" } else { "them" };
        let has_bytes = bytes > 0;
        let (count, bytes) = (grouped(count), grouped(bytes));
        match self {
            Self::Empty => f.write_str("the input is empty"),
            Self::NoEvents => {
                f.write_str("the trace holds no event, so the capture has no packets")
            }
            Self::EmptyEvents => write!(
                f,
                "{count} connection{s} with empty events only, as Envoy writes them for batches in JSON_BODY_AS_STRING"
            ),
            Self::Truncated => write!(
                f,
                "{count} truncated event{s}: {bytes} {are} not in the trace, and the capture leaves a gap for {them}"
            ),
            Self::LostEvents => write!(
                f,
                "{count} gap{s} in Envoy's count: events with {bytes} {unit} are not in the trace, and the capture leaves a gap for them"
            ),
            Self::LostEventsUnplaced => write!(
                f,
                "{count} gap{s} in Envoy's count: events with {bytes} {unit} are not in the trace; their direction is unknown, so the capture leaves no gap for them"
            ),
            Self::ProxyHeader => write!(
                f,
                "{count} connection{s} opened by Envoy with a PROXY protocol header: its {bytes} {are} not in the trace"
            ),
            Self::Repeated => write!(f, "{count} repeated event{s}: dropped"),
            Self::Reordered => write!(f, "{count} event{s} out of order: put in order by seq_num"),
            Self::SharedId => write!(
                f,
                "{count} trace id{s} shared by several open connections: events that do not name their connection are assigned to the latest one"
            ),
            Self::Split => write!(
                f,
                "{count} connection{s} continued after thousands of others: shown as {}",
                if s.is_empty() { "a new one" } else { "new ones" }
            ),
            Self::OutOfOrder => write!(
                f,
                "{count} event{s} earlier than the one before: times in the capture go backwards"
            ),
            Self::LossyString => {
                write!(
                    f,
                    "{count} string{s} in place of bytes: bytes that are not UTF-8 are lost"
                )?;
                match has_bytes {
                    false => Ok(()),
                    true => write!(f, ", at least {bytes} {unit}"),
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
                "{count} line{s} from Envoy itself between messages: ignored"
            ),
            Self::OtherText => write!(
                f,
                "{count} piece{s} of other text between messages: {bytes} {are} ignored"
            ),
            Self::ThroughTerminal => f.write_str(
                "the trace went through a terminal, which added a carriage return before each line feed: \
                     removed",
            ),
            Self::TrailingBytes => {
                f.write_str("the compressed trace has other bytes after its end: ignored")
            }
            // The detail of the warning is the whole message.
            Self::Skipped => Ok(()),
            Self::ImpossibleCount => write!(
                f,
                "{count} impossible seq_num{s}: the trace is damaged, or several connections share a trace id"
            ),
            Self::TruncatedUnknown => {
                write!(
                    f,
                    "{count} truncated event{s}: Envoy kept only the first bytes and did not record how many are missing"
                )?;
                match has_bytes {
                    false => Ok(()),
                    true => write!(f, "; the capture leaves a gap of at least {bytes} {unit}"),
                }
            }
            Self::DirectionTruncated => {
                write!(
                    f,
                    "{count} direction{s} truncated at the tap's limit: the bytes after it are not in the trace"
                )
            }
            Self::OversizedDatagram => {
                write!(
                    f,
                    "{count} datagram{s} larger than an IP packet: split into several packets"
                )
            }
            Self::StandInAddress => write!(f, "{count} connection{s} with stand-in addresses"),
            Self::LateAddress => write!(
                f,
                "{count} connection{s} whose addresses were recorded too late, stand-in addresses used"
            ),
            Self::StandInLocal => {
                write!(f, "{count} upstream connection{s} with stand-in addresses")
            }
            Self::PortTaken => write!(
                f,
                "{count} connection{s} with a stand-in client port: another connection uses the same endpoints"
            ),
            Self::TimeClamped => write!(
                f,
                "{count} event{s} moved to a later time: the clock stepped back, and a merge keeps time order"
            ),
            Self::StandInTime => write!(
                f,
                "{count} event{s} without a time: stand-in times, 1 µs apart"
            ),
            Self::TimeAdjusted => write!(f, "{count} impossible time{s}: normalized or clamped"),
            Self::RoleGuessed => write!(f, "{count} connection{s} with a guessed client side"),
            Self::NotRedacted => write!(
                f,
                "{count} connection{s} not recognized as HTTP: not redacted"
            ),
            Self::OverwrittenWhole => write!(
                f,
                "{count} event{s} whose headers cannot be decoded: {bytes} {are} overwritten as a whole"
            ),
        }
    }

    /// The name for scripts. It does not change when the message does.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoEvents => "no-events",
            Self::EmptyEvents => "empty-events",
            Self::Truncated => "truncated",
            Self::TruncatedUnknown => "truncated-unknown",
            Self::DirectionTruncated => "direction-truncated",
            Self::LostEvents => "lost-events",
            Self::LostEventsUnplaced => "lost-events-unplaced",
            Self::ProxyHeader => "proxy-header",
            Self::Repeated => "repeated-events",
            Self::Reordered => "reordered-events",
            Self::SharedId => "shared-trace-id",
            Self::Split => "split-connection",
            Self::OutOfOrder => "times-go-back",
            Self::LateAddress => "late-address",
            Self::StandInLocal => "stand-in-local",
            Self::EnvoyLine => "envoy-line",
            Self::OtherText => "other-text",
            Self::Skipped => "skipped",
            Self::ThroughTerminal => "through-terminal",
            Self::TrailingBytes => "trailing-bytes",
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
            Self::NotRedacted => "not-redacted",
            Self::OverwrittenWhole => "overwritten-whole",
        }
    }

    /// Whether every event of a trace may cause it. A line for each event would then add nothing to the count.
    pub const fn is_of_each_event(self) -> bool {
        matches!(
            self,
            Self::StandInTime | Self::TimeClamped | Self::OutOfOrder
        )
    }

    /// Whether a trace with this warning counts as damaged.
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::ImpossibleCount | Self::Skipped)
    }

    /// Whether it is about the trace, rather than about a capture made from it.
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
                | Self::NotRedacted
                | Self::OverwrittenWhole
        )
    }

    /// What the user can do about it.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Truncated | Self::TruncatedUnknown | Self::DirectionTruncated => Some(
                "raise max_buffered_rx_bytes and max_buffered_tx_bytes in the tap's output_config",
            ),
            Self::StandInAddress => {
                Some("--local and --remote set the addresses that a trace lacks")
            }
            Self::LateAddress => Some(
                "convert the trace from a file: in a file, a message's addresses may follow its events",
            ),
            Self::StandInLocal => Some(
                "set_connection_per_event: true in the tap's socket_tap_config records the local address; \
                 --local sets it here",
            ),
            Self::StandInTime => Some("--start sets the first time of a trace that records none"),
            Self::NotRedacted => Some(
                "--redact-bodies overwrites all bytes of such a connection, and the bodies of the others",
            ),
            Self::OverwrittenWhole => Some(
                "headers can be decoded only if the trace has all earlier headers of the connection, and the sizes of truncated bodies: \
                 raise the limits of the tap, or record with Envoy 1.37 or later",
            ),
            Self::RoleGuessed => Some("--role sets the side of Envoy that the connection is on"),
            Self::LossyString | Self::EmptyEvents => {
                Some("set the tap's format to JSON_BODY_AS_BYTES or one of the PROTO formats")
            }
            Self::OutOfOrder => Some("--merge puts all packets in the order of their times"),
            Self::Split => Some("--merge keeps every connection of a file together"),
            Self::SharedId => Some(
                "set set_connection_per_event: true in the tap's socket_tap_config, so that each event names its connection",
            ),
            Self::ThroughTerminal => Some(THROUGH_TERMINAL),
            Self::ConversionFailed
            | Self::EnvoyLine
            | Self::OtherText
            | Self::Skipped
            | Self::TrailingBytes
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
