//! What `--info` prints: a table for a person, a JSON object a line for a script.

use std::io::{self, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use capture2pcap::convert::Source;
use capture2pcap::event::Timestamp;
use capture2pcap::info::{Info, tshark_command};
use capture2pcap::notice::{Kind, Notice, Notices};
use capture2pcap::protocol::Role;
use capture2pcap::synth::{Story, percent};
use serde_json::{Value, json};

const NAME: Style = Style::new().bold();
const HEADER: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default();

/// The table's columns.
const COLUMNS: [&str; 10] = [
    "id", "local", "remote", "side", "protocol", "events", "read", "written", "first", "time",
];

/// Prints what a trace holds, for a person. `capture` is the name that its capture would have.
pub(crate) fn table(
    source: &Source,
    capture: Option<&Path>,
    info: &Info,
    notices: &Notices,
) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let encoding = info
        .encoding
        .map_or_else(|| "empty".to_owned(), |encoding| encoding.to_string());
    let releases = info
        .releases
        .map(|releases| format!(", Envoy {releases}"))
        .unwrap_or_default();
    writeln!(
        out,
        "{NAME}{}{NAME:#}: {encoding}{releases}",
        source_name(source)
    )?;
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(info.connections.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..COLUMNS.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for (i, row) in rows
        .iter()
        .enumerate()
        .filter(|_| !info.connections.is_empty())
    {
        let style = if i == 0 { HEADER } else { Style::new() };
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("  {cell:width$}"));
        writeln!(
            out,
            "{style}{}{style:#}",
            cells.collect::<String>().trim_end()
        )?;
    }
    for story in &info.connections {
        for upstream in &story.upstreams {
            writeln!(out, "  {}: upstream {upstream}", story.id)?;
        }
        if let Some(namespace) = &story.connection.namespace {
            let namespace = namespace.escape_debug();
            writeln!(out, "  {}: network namespace {namespace}", story.id)?;
        }
    }
    if let Some(rate) = sample_rate(info) {
        writeln!(out, "  sample rate: {}", percent(rate))?;
    }
    for tally in notices
        .tallies()
        .filter(|tally| tally.first.kind.is_of_trace())
    {
        writeln!(out, "  {BAD}{tally}{BAD:#}")?;
    }
    if let Some(damage) = &info.damage {
        writeln!(out, "  {BAD}{damage}{BAD:#}")?;
    }
    if let Some(error) = &info.unread {
        writeln!(
            out,
            "  {BAD}cannot read on: {}{BAD:#}",
            crate::report::reason(error)
        )?;
    }
    if let Some(capture) = capture.filter(|_| !info.connections.is_empty()) {
        writeln!(out, "  {}", tshark_command(capture, &info.decode_as))?;
    }
    out.flush()
}

/// The share of connections that the tap records, in parts of a million.
fn sample_rate(info: &Info) -> Option<u32> {
    info.connections.iter().find_map(|story| story.sample_rate)
}

fn row(story: &Story) -> [String; 10] {
    let end = |end: &Option<capture2pcap::event::Endpoint>| {
        end.as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let duration = |(first, last): (Timestamp, Timestamp)| {
        format!("{:.6} s", (last.nanos() - first.nanos()) as f64 / 1e9)
    };
    [
        story.id.to_string(),
        end(&story.connection.local),
        end(&story.connection.remote),
        side(story).unwrap_or("-").to_owned(),
        story
            .protocol
            .map_or_else(|| "other".to_owned(), |protocol| protocol.to_string()),
        story.events.to_string(),
        human(story.bytes_read),
        human(story.bytes_written),
        story
            .span
            .map_or_else(|| "-".to_owned(), |(first, _)| rfc3339(first)),
        story.span.map_or_else(|| "-".to_owned(), duration),
    ]
}

/// Prints what a trace holds as one line of JSON.
pub(crate) fn json(
    source: &Source,
    capture: Option<&Path>,
    info: &Info,
    notices: &Notices,
) -> io::Result<()> {
    let connections: Vec<_> = info.connections.iter().map(connection).collect();
    let span = info.span();
    let tallies = notices
        .tallies()
        .filter(|tally| tally.first.kind.is_of_trace());
    let warnings: Vec<_> = tallies.map(ToString::to_string).collect();
    let skipped = notices
        .tallies()
        .find(|tally| tally.first.kind == Kind::Skipped);
    let first_skipped = skipped.map(|tally| {
        let (offset, _) = tally.first.range();
        json!({ "offset": offset, "message": tally.first.to_string() })
    });
    let places = skipped.into_iter().flat_map(|tally| tally.listed());
    let places: Vec<_> = places.map(skipped_place).collect();
    let object = json!({
        "path": match source {
            Source::Stdin => "-".into(),
            Source::File(path) => path.to_string_lossy(),
        },
        "encoding": info.encoding.map(|encoding| encoding.to_string()),
        "envoy": info.releases,
        "sample_rate": sample_rate(info).map(|rate| f64::from(rate) / 1e6),
        "connections": connections,
        "events": info.total(|story| story.events),
        "bytes_read": info.total(|story| story.bytes_read),
        "bytes_written": info.total(|story| story.bytes_written),
        "first": span.map(|(first, _)| rfc3339(first)),
        "last": span.map(|(_, last)| rfc3339(last)),
        "truncated_events": info.total(|story| story.truncated_events),
        "truncated_bytes": info.total(|story| story.truncated_bytes),
        "estimated_bytes": info.total(|story| story.estimated_bytes),
        "lost_bytes": info.total(|story| story.lost_bytes),
        "warnings": warnings,
        "damage": info.damage.as_ref().map(|damage| {
            json!({ "offset": damage.offset, "message": damage.to_string() })
        }).or(first_skipped),
        "skipped": places,
        "skipped_places": skipped.map_or(0, |tally| tally.count),
        "skipped_bytes": skipped.map_or(0, |tally| tally.bytes),
        "unread": info.unread.as_ref().map(|error| crate::report::reason(error)),
        "tshark": capture.map(|capture| tshark_command(capture, &info.decode_as)),
    });
    // All there is of such characters stands in strings.
    let line = capture2pcap::escaped(&object.to_string(), |c| {
        let mut units = [0; 2];
        let units = c.encode_utf16(&mut units).iter();
        units.map(|unit| format!("\\u{unit:04x}")).collect()
    });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A place of the trace that is damaged, after which it goes on.
fn skipped_place(notice: &Notice) -> Value {
    let (from, to) = notice.range();
    json!({ "from": from, "to": to, "message": notice.to_string() })
}

fn connection(story: &Story) -> Value {
    let end = |end: &Option<capture2pcap::event::Endpoint>| end.as_ref().map(ToString::to_string);
    json!({
        // A JSON number holds 53 bits for many readers, an id has 64: a string, as Envoy's own JSON has.
        "id": story.id.number.to_string(),
        "local": end(&story.connection.local),
        "remote": end(&story.connection.remote),
        "namespace": story.connection.namespace,
        "upstreams": story.upstreams,
        "side": side(story),
        "protocol": story.protocol.map(|protocol| protocol.to_string()),
        "events": story.events,
        "bytes_read": story.bytes_read,
        "bytes_written": story.bytes_written,
        "first": story.span.map(|(first, _)| rfc3339(first)),
        "last": story.span.map(|(_, last)| rfc3339(last)),
        "truncated_events": story.truncated_events,
        "truncated_bytes": story.truncated_bytes,
        "estimated_bytes": story.estimated_bytes,
        "lost_bytes": story.lost_bytes,
        "closed": story.closed,
    })
}

const fn side(story: &Story) -> Option<&'static str> {
    match story.role {
        Some(Role::Downstream) => Some("downstream"),
        Some(Role::Upstream) => Some("upstream"),
        None => None,
    }
}

fn source_name(source: &Source) -> String {
    match source {
        Source::Stdin => "-".to_owned(),
        Source::File(path) => capture2pcap::shown(path).to_string(),
    }
}

fn rfc3339(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.nanos()));
    // Every time that we hold lies within jiff's years.
    time.map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

/// A size in the unit that a person reads.
fn human(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{size:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (36_872, "36.0 KiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human(bytes), expected);
        }
        assert_eq!(human(u64::MAX), "16777216.0 TiB");
    }
}
