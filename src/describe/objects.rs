//! The objects of `--info --json` and `--json`, whose members have a fixed order.
//!
//! Owns the names of the members, which scripts rely on and the man page lists.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{reason, rfc3339, sample_rate, side};
use crate::convert::Summary;
use crate::info::{Info, tshark_command};
use crate::merge::{Merged, Outcome};
use crate::model::event::{Endpoint, Timestamp};
use crate::model::protocol::DecodeAs;
use crate::model::warning::{Tally, Warnings};
use crate::synth::ConnectionSummary;
use crate::trace::{Damage, Encoding};

/// The contents of a trace or a capture.
#[derive(Debug, Default)]
struct Contents<'a> {
    path: Option<Value>,
    /// The path of the capture and its number of packets. The path is null if there is no capture.
    capture: Option<(Option<&'a Path>, u64)>,
    encoding: Option<Encoding>,
    releases: Option<&'a str>,
    summaries: &'a [ConnectionSummary],
    decode_as: &'a [DecodeAs],
    /// The capture for the tshark command.
    opens: Option<&'a Path>,
    damage: Option<&'a Damage>,
    unread: Option<&'a io::Error>,
    interrupted: Option<bool>,
}

impl Contents<'_> {
    /// Builds the object, without its last member.
    fn object(&self, warnings: Vec<Value>) -> Map<String, Value> {
        let mut object = Map::new();
        let mut add = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
        if let Some(path) = &self.path {
            add("path", path.clone());
        }
        if let Some((capture, packets)) = self.capture {
            add("capture", capture.map(path).into());
            add("packets", packets.into());
        }
        add("error", Value::Null);
        if self.path.is_some() {
            add(
                "encoding",
                self.encoding.map(|encoding| encoding.to_string()).into(),
            );
            add("envoy", self.releases.into());
            let rate = sample_rate(self.summaries).map(|rate| f64::from(rate) / 1e6);
            add("sample_rate", rate.into());
        }
        let total = |what: fn(&ConnectionSummary) -> u64| {
            self.summaries.iter().map(what).sum::<u64>().into()
        };
        let spans = || self.summaries.iter().filter_map(|summary| summary.span);
        add("events", total(|summary| summary.events));
        add("bytes_received", total(|summary| summary.bytes_read));
        add("bytes_sent", total(|summary| summary.bytes_written));
        add(
            "first",
            spans().map(|span| span.0).min().map(rfc3339).into(),
        );
        add("last", spans().map(|span| span.1).max().map(rfc3339).into());
        add(
            "truncated_events",
            total(|summary| summary.truncated_events),
        );
        add("truncated_bytes", total(|summary| summary.truncated_bytes));
        add("estimated_bytes", total(|summary| summary.estimated_bytes));
        add("lost_bytes", total(|summary| summary.lost_bytes));
        add("warnings", warnings.into());
        if self.path.is_some() {
            add("damage", damage(self.damage));
            add("unread", unread(self.unread));
        }
        if let Some(interrupted) = self.interrupted {
            add("interrupted", interrupted.into());
        }
        let command = self
            .opens
            .map(|capture| tshark_command(capture, self.decode_as));
        add("tshark", command.into());
        let connections: Vec<_> = self.summaries.iter().map(connection).collect();
        add("connections", connections.into());
        object
    }
}

/// The object of an inspected trace. `capture` is the path that its capture would have.
pub fn of_info(source: Value, capture: Option<&Path>, info: &Info, warnings: &Warnings) -> Value {
    let contents = Contents {
        path: Some(source),
        encoding: info.encoding,
        releases: info.releases,
        summaries: &info.connections,
        decode_as: &info.decode_as,
        opens: capture,
        damage: info.damage.as_ref(),
        unread: info.unread.as_ref(),
        ..Contents::default()
    };
    let of_trace = warnings
        .tallies()
        .filter(|tally| tally.first.kind.is_of_trace());
    contents
        .object(of_trace.map(warning_object).collect())
        .into()
}

/// The object of a trace that was converted into the capture at `target`.
pub fn of_conversion(
    source: Value,
    target: &Path,
    summary: &Summary,
    warnings: &Warnings,
) -> Value {
    let capture = Some(target).filter(|_| summary.written);
    let contents = Contents {
        path: Some(source),
        capture: Some((capture, summary.frames)),
        encoding: summary.encoding,
        releases: summary.releases,
        summaries: &summary.summaries,
        decode_as: &summary.decode_as,
        opens: capture,
        damage: summary.damage.as_ref(),
        unread: summary.unread.as_ref(),
        interrupted: Some(summary.signal.is_some()),
    };
    contents
        .object(warnings.tallies().map(warning_object).collect())
        .into()
}

/// The object of a merged capture, with the outcome of each trace.
pub fn of_merge(target: &Path, merged: &Merged, interrupted: bool) -> Value {
    let capture = Some(target).filter(|_| merged.written);
    let contents = Contents {
        capture: Some((capture, merged.frames)),
        summaries: &merged.summaries,
        decode_as: &merged.decode_as,
        opens: capture,
        interrupted: Some(interrupted),
        ..Contents::default()
    };
    let mut tallies = Vec::new();
    for Outcome { warnings, .. } in &merged.traces {
        tallies.extend(warnings.tallies());
    }
    let mut object = contents.object(summed(&tallies));
    if !merged.written && !interrupted {
        object.insert("error".to_owned(), "none of the traces can be read".into());
    }
    let traces: Vec<_> = merged.traces.iter().map(of_outcome).collect();
    object.insert("traces".to_owned(), traces.into());
    object.into()
}

/// The object of one trace of a merge.
fn of_outcome(outcome: &Outcome) -> Value {
    let path = path(&outcome.path);
    match &outcome.result {
        Ok(summary) => json!({
            "path": path,
            "error": null,
            "encoding": summary.encoding.map(|encoding| encoding.to_string()),
            "envoy": summary.releases,
            "events": summary.events,
            "bytes_received": summary.bytes_read,
            "bytes_sent": summary.bytes_written,
            "warnings": outcome.warnings.tallies().map(warning_object).collect::<Vec<_>>(),
            "damage": damage(summary.damage.as_ref()),
            "unread": unread(summary.unread.as_ref()),
        }),
        Err(failure) => json!({ "path": path, "error": reason(failure.error()) }),
    }
}

/// The object of an input that failed.
pub fn of_failure(input: &Value, error: &str) -> Value {
    json!({ "path": input, "error": error })
}

/// The `path` member of a file.
pub fn path(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn warning_object(tally: &Tally) -> Value {
    json!({
        "code": tally.first.kind.code(),
        "count": tally.count,
        "bytes": tally.bytes,
        "message": tally.to_string(),
    })
}

/// Sums the warnings of several traces by kind.
fn summed(tallies: &[&Tally]) -> Vec<Value> {
    let mut sums = std::collections::BTreeMap::<_, Tally>::new();
    for tally in tallies {
        let kind = tally.first.kind;
        match sums.get_mut(&kind) {
            Some(sum) => sum.add(tally),
            None => drop(sums.insert(kind, (*tally).clone())),
        }
    }
    sums.values().map(warning_object).collect()
}

fn damage(damage: Option<&Damage>) -> Value {
    damage.map_or(
        Value::Null,
        |damage| json!({ "offset": damage.offset, "message": damage.to_string() }),
    )
}

fn unread(error: Option<&io::Error>) -> Value {
    error.map(|error| reason(error)).into()
}

fn connection(summary: &ConnectionSummary) -> Value {
    let end = |end: &Option<Endpoint>| end.as_ref().map(ToString::to_string);
    let time = |time: Option<Timestamp>| time.map(rfc3339);
    json!({
        // Many readers of JSON numbers keep only 53 bits and an id has 64, so it is a string, as in Envoy's own
        // JSON.
        "id": summary.id.number.to_string(),
        "local": end(&summary.connection.local),
        "remote": end(&summary.connection.remote),
        "namespace": summary.connection.namespace,
        "upstreams": summary.upstreams,
        "side": side(summary),
        "protocol": summary.protocol.map(|protocol| protocol.to_string()),
        "events": summary.events,
        "bytes_received": summary.bytes_read,
        "bytes_sent": summary.bytes_written,
        "first": time(summary.span.map(|span| span.0)),
        "last": time(summary.span.map(|span| span.1)),
        "truncated_events": summary.truncated_events,
        "truncated_bytes": summary.truncated_bytes,
        "estimated_bytes": summary.estimated_bytes,
        "lost_bytes": summary.lost_bytes,
        "closed": summary.closed,
    })
}
