//! Inspects a trace without making a capture.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use crate::convert::{Failure, Options};
#[cfg(feature = "cli")]
use crate::convert::{Source, open};
#[cfg(feature = "cli")]
use crate::input::or_read;
use crate::input::{Input, Wait};
use crate::interrupt::Interrupt;
use crate::model::event::{Event, PlainEvent, Timestamp};
use crate::model::protocol::DecodeAs;
use crate::model::warning::Warnings;
use crate::pump::{Consumer, End, Pump};
use crate::sequence::{Memory, Sequencer};
use crate::synth::{ConnectionSummary, Nowhere, Synthesizer};
use crate::trace::{Damage, Encoding, Lent, Reader};

/// The contents of a trace.
#[derive(Debug, Default)]
pub struct Info {
    /// The encoding; `None` if the trace is empty.
    pub encoding: Option<Encoding>,
    /// The releases of Envoy that write such a trace, e.g. `1.28 or later`.
    pub releases: Option<&'static str>,
    /// Its connections, by the time of their first events.
    pub connections: Vec<ConnectionSummary>,
    /// The options that a reader of its capture needs to find the HTTP in it.
    pub decode_as: Vec<DecodeAs>,
    /// The damage that ends it early, if any.
    pub damage: Option<Damage>,
    /// The error that ended reading early, if any.
    pub unread: Option<io::Error>,
    /// Whether it has impossible counts or skipped damage, which count as damage, too.
    pub is_impossible: bool,
}

/// Opens and inspects a trace. `wait` ends the wait for a stream's bytes early.
///
/// # Errors
/// When it cannot be opened, or is not a trace.
#[cfg(feature = "cli")]
pub fn inspect(
    source: &Source,
    options: &Options,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> Result<Info, Failure> {
    let path = source.path();
    // A listener is called for each warning at once. Then the trace must not have to be read again.
    let Some(before) = warnings.draft().filter(|_| path.is_some()) else {
        let (input, _) = open(source)?;
        return inspect_input(input, path, options, wait, interrupt, warnings);
    };
    or_read(|access| {
        let input = match open(source) {
            Ok((input, _)) => input,
            Err(failure) => return (Err(failure), false),
        };
        *warnings = before.draft().unwrap_or_default();
        let input = input.with_access(access);
        read(input, path, options, wait, interrupt, warnings)
    })
}

/// Inspects a trace. If its bytes allow more than one encoding, its name in `path` decides.
///
/// # Errors
/// When it is not a trace.
pub fn inspect_input(
    input: Input,
    path: Option<&Path>,
    options: &Options,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> Result<Info, Failure> {
    read(input, path, options, wait, interrupt, warnings).0
}

/// Reads a trace, and returns its contents. Also returns whether the trace was mapped and has been truncated since: then
/// the contents are invalid.
fn read(
    input: Input,
    path: Option<&Path>,
    options: &Options,
    wait: &Wait<'_>,
    interrupt: &Interrupt,
    warnings: &mut Warnings,
) -> (Result<Info, Failure>, bool) {
    let input = input.with_progress(options.progress.clone());
    let mut reader = Reader::new(input, options.encoding, path.map(Path::to_owned))
        .with_quotes(options.redaction.is_none());
    let mut synth = Synthesizer::new(options.synth.clone());
    synth.keep_summaries();
    let mut info = Info::default();
    let mut inspection = Inspection {
        synth: &mut synth,
        info: &mut info,
    };
    let Ok(end) = Pump {
        trace: &mut reader,
        sequencer: Sequencer::new(Memory::Bounded, false),
        interrupt,
        warnings,
    }
    .run(None, wait, &mut inspection);
    let is_torn = reader.is_torn();
    match end {
        End::Whole | End::Interrupted(_) | End::ReaderGone => {}
        End::Unread(error) => info.unread = Some(error),
        End::Damaged(damage) if !reader.recognised() => {
            return (Err(Failure::Trace(damage.into())), is_torn);
        }
        End::Damaged(damage) => info.damage = Some(damage),
    }
    let Ok(()) = synth.finish(warnings, &mut |_| Ok::<_, Infallible>(()));
    info.connections.append(&mut synth.take_summaries());
    info.is_impossible = warnings.tallies().any(|tally| tally.first.kind.is_damage());
    info.connections.sort_by_key(ConnectionSummary::order);
    info.decode_as = synth.decode_as();
    info.encoding = reader.encoding();
    info.releases = reader.releases();
    (Ok(info), is_torn)
}

/// An inspection in progress.
struct Inspection<'a> {
    synth: &'a mut Synthesizer,
    info: &'a mut Info,
}

impl Consumer for Inspection<'_> {
    type Error = Infallible;

    fn takes_plain(&self) -> bool {
        true
    }

    #[inline(always)]
    fn plain(
        &mut self,
        event: &PlainEvent<'_>,
        _: &Lent<'_>,
        _: &mut Warnings,
    ) -> Option<Result<(), Infallible>> {
        self.synth.plain(event, &mut Nowhere)
    }

    fn event(&mut self, event: &Event, warnings: &mut Warnings) -> Result<(), Infallible> {
        let done = self.synth.any_event(event, warnings, &mut Nowhere);
        self.info
            .connections
            .append(&mut self.synth.take_summaries());
        done
    }
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

    /// Sums a value over all connections.
    pub fn total(&self, what: impl Fn(&ConnectionSummary) -> u64) -> u64 {
        self.connections.iter().map(what).sum()
    }
}

/// The tshark command that shows a capture with its HTTP.
///
/// The path is quoted for a shell if necessary.
pub fn tshark_command(capture: &Path, decode_as: &[DecodeAs]) -> String {
    let options = decode_as.iter().map(|option| format!(" -d {option}"));
    format!(
        "tshark -r {}{}",
        quoted(capture),
        options.collect::<String>()
    )
}

/// Quotes a path for a shell: unchanged, in quotes, or byte by byte if it contains terminal controls.
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
