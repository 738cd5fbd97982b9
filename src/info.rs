//! What a trace holds, told without making a capture of it.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use crate::convert::{Failure, Options};
#[cfg(feature = "cli")]
use crate::convert::{Source, open};
use crate::input::{Input, Wait};
use crate::interrupt::Interrupt;
use crate::model::event::{Event, Timestamp};
use crate::model::protocol::DecodeAs;
use crate::model::warning::Warnings;
use crate::pump::{Consumer, End, Pump};
use crate::sequence::{Memory, Sequencer};
use crate::synth::{ConnectionSummary, Frame, Synthesizer};
use crate::trace::{Damage, Encoding, Reader};

/// What a trace holds.
#[derive(Debug, Default)]
pub struct Info {
    /// How it is written; none where it is empty.
    pub encoding: Option<Encoding>,
    /// Which releases of Envoy write such a trace, e.g. `1.28 or later`.
    pub releases: Option<&'static str>,
    /// Its connections, by the times of their first events.
    pub connections: Vec<ConnectionSummary>,
    /// What a reader of its capture has to be told to find the HTTP in it.
    pub decode_as: Vec<DecodeAs>,
    /// Where it stops making sense, if it does.
    pub damage: Option<Damage>,
    /// Why it could not be read to its end, if it could not.
    pub unread: Option<io::Error>,
    /// Whether counts in it are impossible, which is damage as well, or damage in it was skipped.
    pub is_impossible: bool,
}

/// Opens a trace and reads it, and returns what it holds. `wait` ends the wait for a stream's bytes early.
///
/// # Errors
/// When it cannot be opened, or is no trace.
#[cfg(feature = "cli")]
pub fn inspect(
    source: &Source,
    options: &Options,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> Result<Info, Failure> {
    let (input, _) = open(source)?;
    let path = match source {
        Source::Stdin | Source::Live(_) => None,
        Source::File(path) => Some(&**path),
    };
    inspect_input(input, path, options, wait, interrupt, warnings)
}

/// Reads a trace, and returns what it holds. Where its bytes allow more than one encoding, its name in `path` decides.
///
/// # Errors
/// When it is no trace.
pub fn inspect_input(
    input: Input,
    path: Option<&Path>,
    options: &Options,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> Result<Info, Failure> {
    let input = input.with_progress(options.progress.clone());
    let mut reader = Reader::new(input, options.encoding, path.map(Path::to_owned))
        .with_quotes(options.redaction.is_none());
    let mut synth = Synthesizer::new(options.synth.clone());
    synth.keep_summaries();
    let mut info = Info::default();
    let mut look = Look {
        synth: &mut synth,
        info: &mut info,
    };
    let Ok(end) = Pump {
        trace: &mut reader,
        sequencer: Sequencer::new(Memory::Bounded, false),
        interrupt,
        warnings,
    }
    .run(None, wait, &mut look);
    match end {
        End::Whole | End::Interrupted(_) | End::ReaderGone => {}
        End::Unread(error) => info.unread = Some(error),
        End::Damaged(damage) if !reader.recognised() => return Err(Failure::Trace(damage.into())),
        End::Damaged(damage) => info.damage = Some(damage),
    }
    let Ok(()) = synth.finish(warnings, &mut nowhere);
    info.connections.append(&mut synth.take_summaries());
    info.is_impossible = warnings.tallies().any(|tally| tally.first.kind.is_damage());
    info.connections.sort_by_key(ConnectionSummary::order);
    info.decode_as = synth.decode_as();
    info.encoding = reader.encoding();
    info.releases = reader.releases();
    Ok(info)
}

/// Takes the events of a trace that is looked into.
struct Look<'a> {
    synth: &'a mut Synthesizer,
    info: &'a mut Info,
}

impl Consumer for Look<'_> {
    type Error = Infallible;

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> Result<(), Infallible> {
        let done = self.synth.event(event, warnings, &mut nowhere);
        self.info
            .connections
            .append(&mut self.synth.take_summaries());
        done
    }
}

/// Where packets go that are not wanted.
fn nowhere(_: &Frame<'_>) -> Result<(), Infallible> {
    Ok(())
}

impl Info {
    /// The times of its first and last event.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let spans = || self.connections.iter().filter_map(|summary| summary.span);
        Some((
            spans().map(|span| span.0).min()?,
            spans().map(|span| span.1).max()?,
        ))
    }

    /// The sum of something over all connections.
    pub fn total(&self, what: impl Fn(&ConnectionSummary) -> u64) -> u64 {
        self.connections.iter().map(what).sum()
    }
}

/// The tshark command that shows a capture with its HTTP.
///
/// The path is quoted for a shell where it needs to be.
pub fn tshark_command(capture: &Path, decode_as: &[DecodeAs]) -> String {
    let options = decode_as.iter().map(|option| format!(" -d {option}"));
    format!(
        "tshark -r {}{}",
        quoted(capture),
        options.collect::<String>()
    )
}

/// A path as a shell takes it: as it is, in quotes, or byte by byte where a terminal would obey it.
pub fn quoted(path: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+,:@%".contains(c);
    match path.to_str() {
        Some(name) if !name.is_empty() && name.chars().all(plain) => name.to_owned(),
        Some(name) if !name.chars().any(crate::is_terminal_control) => {
            format!("'{}'", name.replace('\'', r"'\''"))
        }
        _ => {
            let byte = |&byte: &u8| match byte {
                b' '..=b'~' if !b"'\\".contains(&byte) => char::from(byte).to_string(),
                byte => format!("\\x{byte:02x}"),
            };
            let bytes = path.as_os_str().as_encoded_bytes();
            format!("$'{}'", bytes.iter().map(byte).collect::<String>())
        }
    }
}
