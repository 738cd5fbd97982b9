//! Describes the outcome of conversions: messages for people, and [`objects`] for programs.
//!
//! The caller decides whether and where they are printed. The command and the page in the browser share them.

mod groups;
#[cfg(feature = "json")]
pub mod objects;

use std::fmt::Display;

use crate::convert::{Failure, Summary};
use crate::grouped;
use crate::model::event::Timestamp;
use crate::model::protocol::Role;
use crate::synth::ConnectionSummary;
use crate::trace::{Damage, Fault};

pub use groups::WarningGroups;

/// Formats an error and its causes, without the numbers of system errors.
pub fn reason(error: &dyn Display) -> String {
    let text = format!("{error:#}");
    let system = text.rfind(" (os error ").filter(|_| text.ends_with(')'));
    text[..system.unwrap_or(text.len())].to_owned()
}

/// The hint for an input that is recognized as something other than a trace.
pub fn hint(failure: &Failure) -> Option<&'static str> {
    match &*failure.error().downcast_ref::<Damage>()?.fault {
        Fault::Unrecognised { is: Some(is), .. } => is.hint,
        _ => None,
    }
}

/// Reports the damage of the trace called `name`, and the error that ended its reading, one line each.
pub fn damage(name: &str, summary: &Summary) -> Vec<String> {
    let saved = match summary.events {
        1 => "the event before it is in the capture".to_owned(),
        n => format!("{} events before it are in the capture", grouped(n)),
    };
    let mut lines = Vec::new();
    if let Some(damage) = &summary.damage {
        lines.push(format!("{name}: {damage}; {saved}"));
    }
    if let Some(error) = &summary.unread {
        let why = reason(error);
        lines.push(format!("{name}: cannot read the rest: {why}; {saved}"));
    }
    lines
}

/// The share of connections that the tap records, in millionths.
pub fn sample_rate(summaries: &[ConnectionSummary]) -> Option<u32> {
    summaries.iter().find_map(|summary| summary.sample_rate)
}

/// The side of Envoy that a connection is on, if known.
pub const fn side(summary: &ConnectionSummary) -> Option<&'static str> {
    match summary.role {
        Some(Role::Downstream) => Some("downstream"),
        Some(Role::Upstream) => Some("upstream"),
        None => None,
    }
}

/// Formats a time in nanoseconds.
pub fn rfc3339(time: Timestamp) -> String {
    format!("{:.9}", date_time(time))
}

/// A time as a date in UTC.
pub fn date_time(time: Timestamp) -> jiff::Timestamp {
    // Every `Timestamp` lies within jiff's range of years.
    jiff::Timestamp::from_nanosecond(i128::from(time.nanos())).unwrap_or_default()
}
