//! `--info`: a table of connections for each trace.
//!
//! Owns the layout. Knows neither JSON nor how a trace is read.
//!
//! Invariant: on a terminal, the table is no wider than the terminal unless a single address is. Elsewhere each
//! connection is one line, for programs to parse.

use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use capture2pcap::convert::Source;
use capture2pcap::describe::{date_time, reason, sample_rate, side};
use capture2pcap::grouped;
use capture2pcap::info::{Info, tshark_command};
use capture2pcap::model::event::{Endpoint, Timestamp};
use capture2pcap::model::warning::Warnings;
use capture2pcap::synth::{ConnectionSummary, percent};
use capture2pcap::wireshark;

const NAME: Style = Style::new().bold();
const HEADER: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default();

/// Indent of everything below a trace's name.
const INDENT: usize = 2;
/// Indent of a connection's second line.
const INDENT_MORE: usize = 6;

/// A column of the table.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    cell: fn(&ConnectionSummary) -> Option<String>,
    align: Align,
    /// Whether the column moves to a second line on a narrow terminal.
    wraps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

const COLUMNS: [Column; 10] = [
    column("id", |summary| Some(summary.id.to_string())),
    wrapping("local", |summary| endpoint(&summary.connection.local)),
    wrapping("remote", |summary| endpoint(&summary.connection.remote)),
    column("side", |summary| side(summary).map(str::to_owned)),
    column("protocol", |summary| {
        let protocol = summary.protocol.map(|protocol| protocol.to_string());
        protocol.or_else(|| Some("other".to_owned()))
    }),
    number("events", |summary| Some(grouped(summary.events))),
    number("received", |summary| Some(human(summary.bytes_read))),
    number("sent", |summary| Some(human(summary.bytes_written))),
    wrapping("first", |summary| {
        summary.span.map(|span| microseconds(span.0))
    }),
    number("duration", |summary| summary.span.map(duration)),
];

const fn column(name: &'static str, cell: fn(&ConnectionSummary) -> Option<String>) -> Column {
    Column {
        name,
        cell,
        align: Align::Left,
        wraps: false,
    }
}

const fn wrapping(name: &'static str, cell: fn(&ConnectionSummary) -> Option<String>) -> Column {
    Column {
        wraps: true,
        ..column(name, cell)
    }
}

const fn number(name: &'static str, cell: fn(&ConnectionSummary) -> Option<String>) -> Column {
    Column {
        align: Align::Right,
        ..column(name, cell)
    }
}

/// Formats the contents of a trace for a terminal of `width` columns; `None` is no terminal. `capture` is the
/// path that its capture would have. The text is styled.
pub(crate) fn table(
    source: &Source,
    capture: Option<&Path>,
    info: &Info,
    warnings: &Warnings,
    width: Option<usize>,
) -> String {
    let width = width.unwrap_or(usize::MAX);
    let name = match source {
        Source::Stdin => "-".to_owned(),
        Source::File(path) => capture2pcap::display_path(path).to_string(),
        Source::Live(tap) => capture2pcap::display_path(Path::new(&tap.to_string())).to_string(),
    };
    let encoding = info
        .encoding
        .map_or_else(|| "empty".to_owned(), |encoding| encoding.to_string());
    let releases = info
        .releases
        .map(|releases| format!(", Envoy {releases}"))
        .unwrap_or_default();
    let what = format!("{encoding}{releases}");
    let mut text = match name.chars().count() + 2 + what.len() {
        length if length > width => format!("{NAME}{name}{NAME:#}:\n{:INDENT$}{what}\n", ""),
        _ => format!("{NAME}{name}{NAME:#}: {what}\n"),
    };
    rows(&info.connections, width, &mut text);
    text += &details(info);
    let mut bad = |message: &str| {
        for line in wrapped(message, width) {
            text += &format!("{BAD}{line}{BAD:#}\n");
        }
    };
    for tally in warnings.tallies() {
        if tally.first.kind.is_of_trace() {
            bad(&tally.to_string());
        }
    }
    if let Some(damage) = &info.damage {
        bad(&damage.to_string());
    }
    if let Some(error) = &info.unread {
        bad(&format!("cannot read the rest: {}", reason(error)));
    }
    if let Some(capture) = capture.filter(|_| !info.connections.is_empty()) {
        // Never wrapped, so that it can be copied.
        text += &format!(
            "{:INDENT$}{}\n",
            "",
            tshark_command(capture, &wireshark::needed(&info.decode_as))
        );
    }
    text
}

/// Facts about a connection that have no column.
fn details(info: &Info) -> String {
    let mut text = String::new();
    for summary in &info.connections {
        for upstream in &summary.upstreams {
            text += &format!("{:INDENT$}{}: upstream {upstream}\n", "", summary.id);
        }
        if let Some(namespace) = &summary.connection.namespace {
            let namespace = namespace.escape_debug();
            text += &format!(
                "{:INDENT$}{}: network namespace {namespace}\n",
                "", summary.id
            );
        }
    }
    if let Some(rate) = sample_rate(&info.connections) {
        text += &format!("{:INDENT$}sample rate: {}\n", "", percent(rate));
    }
    text
}

/// A column with its cells and their width.
struct Filled {
    column: Column,
    cells: Vec<Option<String>>,
    width: usize,
}

impl Filled {
    fn of(column: Column, summaries: &[ConnectionSummary]) -> Self {
        let cells: Vec<_> = summaries.iter().map(column.cell).collect();
        let widths = cells.iter().flatten().map(|cell| cell.chars().count());
        Self {
            width: widths.max().unwrap_or(0).max(column.name.len()),
            column,
            cells,
        }
    }

    /// The cell of a connection.
    fn cell(&self, row: usize) -> Option<&str> {
        self.cells.get(row)?.as_deref()
    }

    fn padded(&self, cell: &str) -> String {
        let width = self.width;
        match self.column.align {
            Align::Left => format!("{:INDENT$}{cell:width$}", ""),
            Align::Right => format!("{:INDENT$}{cell:>width$}", ""),
        }
    }

    /// A cell outside the table, with the column's name.
    fn named(&self, row: usize) -> Option<String> {
        let cell = self.cell(row)?;
        Some(match self.column.name {
            // A time needs no name.
            "first" => cell.to_owned(),
            name => format!("{name} {cell}"),
        })
    }
}

/// Appends the table of connections to `text`, without the columns that are empty.
fn rows(summaries: &[ConnectionSummary], width: usize, text: &mut String) {
    if summaries.is_empty() {
        return;
    }
    let columns = COLUMNS.iter().map(|column| Filled::of(*column, summaries));
    let columns: Vec<_> = columns
        .filter(|filled| filled.cells.iter().any(Option::is_some))
        .collect();
    let total: usize = columns.iter().map(|filled| INDENT + filled.width).sum();
    let (below, beside): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .partition(|filled| filled.column.wraps && total > width);
    let header: String = beside
        .iter()
        .map(|filled| filled.padded(filled.column.name))
        .collect();
    *text += &format!("{HEADER}{}{HEADER:#}\n", header.trim_end());
    for row in 0..summaries.len() {
        let cells = beside
            .iter()
            .map(|filled| filled.padded(filled.cell(row).unwrap_or("-")));
        *text += cells.collect::<String>().trim_end();
        text.push('\n');
        let parts = below.iter().filter_map(|filled| filled.named(row));
        for line in joined(parts, width.saturating_sub(INDENT_MORE)) {
            *text += &format!("{:INDENT_MORE$}{line}\n", "");
        }
    }
}

/// Joins parts with commas into lines of at most `width`, unless a part is longer.
fn joined(parts: impl Iterator<Item = String>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + part.chars().count() <= width => {
                line.push_str(", ");
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// Wraps a message below a table to lines of at most `width`, unless a word is longer.
fn wrapped(message: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in message.split(' ') {
        if line.is_empty() {
            let indent = INDENT + usize::from(!lines.is_empty()) * INDENT;
            line = format!("{:indent$}{word}", "");
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(std::mem::replace(
                &mut line,
                format!("{:1$}{word}", "", 2 * INDENT),
            ));
        }
    }
    lines.push(line);
    lines
}

fn endpoint(endpoint: &Option<Endpoint>) -> Option<String> {
    endpoint.as_ref().map(ToString::to_string)
}

fn duration((first, last): (Timestamp, Timestamp)) -> String {
    format!("{:.6} s", (last.nanos() - first.nanos()) as f64 / 1e9)
}

/// Formats a time in microseconds, the resolution of today's Envoy.
fn microseconds(time: Timestamp) -> String {
    format!("{:.6}", date_time(time))
}

/// The width of the terminal on standard output; `None` if it is not a terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0)).filter(|&width| width > 0)
}

/// Formats a size with a suitable unit.
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
    use capture2pcap::describe::rfc3339;

    #[test]
    fn sizes_have_suitable_units() {
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

    #[test]
    fn times_have_fixed_digits() {
        let time = |nanos: u64| Timestamp::from_nanos(1_714_564_800_000_000_000 + nanos);
        assert_eq!(microseconds(time(0)), "2024-05-01T12:00:00.000000Z");
        assert_eq!(microseconds(time(120_000)), "2024-05-01T12:00:00.000120Z");
        assert_eq!(rfc3339(time(120_000)), "2024-05-01T12:00:00.000120000Z");
        assert_eq!(
            rfc3339(Timestamp::default()),
            "1970-01-01T00:00:00.000000000Z"
        );
        assert_eq!(
            rfc3339(Timestamp::from_nanos(u64::MAX)),
            "2554-07-21T23:34:33.709551615Z"
        );
    }

    #[test]
    fn lines_fit_the_width() {
        let parts = ["local 10.0.0.1:1", "remote 10.0.0.2:2", "first now"];
        let lines = |width| joined(parts.iter().map(|part| part.to_string()), width);
        assert_eq!(
            lines(80),
            ["local 10.0.0.1:1, remote 10.0.0.2:2, first now"]
        );
        assert_eq!(
            lines(35),
            ["local 10.0.0.1:1, remote 10.0.0.2:2", "first now"]
        );
        assert_eq!(lines(3), parts);
        assert_eq!(wrapped("one two three", usize::MAX), ["  one two three"]);
        assert_eq!(wrapped("one two three", 9), ["  one two", "    three"]);
        assert_eq!(
            wrapped("one two three", 1),
            ["  one", "    two", "    three"]
        );
    }
}
