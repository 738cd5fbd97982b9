//! What a trace holds, told without making a capture of it.

use std::io;
use std::path::Path;

use crate::convert::{Failure, Source, open};
use crate::event::Timestamp;
use crate::input::Wait;
use crate::interrupt::Interrupt;
use crate::notice::Notices;
use crate::protocol::DecodeAs;
use crate::synth::{self, Frame, Story, Synthesizer};
use crate::trace::{Damage, Encoding, Reader, Step};

/// What a trace holds.
#[derive(Debug, Default)]
pub struct Info {
    /// How it is written; none where it is empty.
    pub encoding: Option<Encoding>,
    /// Which releases of Envoy write such a trace, e.g. `1.28 or later`.
    pub releases: Option<&'static str>,
    /// Its connections, by the times of their first events.
    pub connections: Vec<Story>,
    /// What a reader of its capture has to be told to find the HTTP/2 in it.
    pub decode_as: Vec<DecodeAs>,
    /// Where it stops making sense, if it does.
    pub damage: Option<Damage>,
    /// Why it could not be read to its end, if it could not.
    pub unread: Option<io::Error>,
}

/// Reads a trace, and tells what it holds.
///
/// # Errors
/// When it cannot be opened, or is no trace.
pub fn inspect(
    source: &Source,
    encoding: Option<Encoding>,
    options: &synth::Options,
    interrupt: &Interrupt,
    notices: &mut Notices,
) -> Result<Info, Failure> {
    let (input, _) = open(source)?;
    let path = match source {
        Source::Stdin => None,
        Source::File(path) => Some(path.clone()),
    };
    let mut reader = Reader::new(input, encoding, path);
    let mut synth = Synthesizer::new(options.clone());
    synth.keep_stories();
    let mut info = Info::default();
    let wait = Wait {
        wake: interrupt.wake(),
        ..Wait::default()
    };
    let nowhere = &mut |_: &Frame<'_>| Ok::<(), std::convert::Infallible>(());
    while interrupt.signal().is_none() {
        match reader.advance() {
            Ok(Step::Item(())) => {
                if let Some(event) = reader.current() {
                    let Ok(()) = synth.event(event, notices, nowhere);
                    info.connections.append(&mut synth.take_stories());
                }
            }
            Ok(Step::More) => match reader.fill(&wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    info.unread = Some(error);
                    break;
                }
            },
            Ok(Step::End) => break,
            Err(damage) if !reader.recognised() => return Err(Failure::Trace(damage.into())),
            Err(damage) => {
                info.damage = Some(damage);
                break;
            }
        }
    }
    match synth.finish(info.damage.is_none(), notices, nowhere) {
        Ok(()) => info.connections.append(&mut synth.take_stories()),
    }
    info.connections
        .sort_by_key(|story| (story.span.map(|(first, _)| first), story.id));
    info.decode_as = synth.decode_as();
    info.encoding = reader.encoding();
    info.releases = reader.releases();
    Ok(info)
}

impl Info {
    /// The times of its first and last event.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let spans = || self.connections.iter().filter_map(|story| story.span);
        Some((
            spans().map(|span| span.0).min()?,
            spans().map(|span| span.1).max()?,
        ))
    }

    /// The sum of something over all connections.
    pub fn total(&self, what: impl Fn(&Story) -> u64) -> u64 {
        self.connections.iter().map(what).sum()
    }
}

/// The tshark command that shows a capture with its HTTP/2.
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
fn quoted(path: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+,:@%".contains(c);
    match path.to_str() {
        Some(name) if !name.is_empty() && name.chars().all(plain) => name.to_owned(),
        Some(name) if !name.chars().any(crate::is_obeyed) => {
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
