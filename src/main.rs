//! The command: parse, call the library, print what there is to say, choose the exit status.

mod cli;
mod generate;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use capture2pcap::capture::Target;
use capture2pcap::convert::{Failure, Options, Source, Summary, convert};
use capture2pcap::interrupt::Interrupt;
use capture2pcap::notice::{Notice, Notices};
use clap::Parser as _;

use cli::{Args, Command, Verbosity};

/// Something failed, or a damaged trace was converted in part.
const FAILURE: u8 = 1;
/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_BASE: u8 = 128;

fn main() -> ExitCode {
    // clap exits with 2 where the usage is wrong.
    match Args::parse().resolve() {
        Command::Generate(what) => match generate::generate(what) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("cannot write standard output: {error}"));
                ExitCode::from(FAILURE)
            }
        },
        Command::Convert {
            source,
            target,
            options,
            verbosity,
        } => run(&source, &target, &options, verbosity),
    }
}

fn run(source: &Source, target: &Target, options: &Options, verbosity: Verbosity) -> ExitCode {
    let name = match source {
        Source::Stdin => "standard input".to_owned(),
        Source::File(path) => capture2pcap::shown(path).to_string(),
    };
    let mut notices = if verbosity == Verbosity::Verbose {
        let name = name.clone();
        Notices::with_listener(move |notice: &Notice| say(&format!("{name}: {notice}")))
    } else {
        Notices::default()
    };
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            say(&format!("cannot catch signals: {error}"));
            return ExitCode::from(FAILURE);
        }
    };
    let summary = match convert(source, target, options, &interrupt, &mut notices) {
        Ok(summary) => summary,
        Err(Failure::Trace(error)) => {
            say(&format!("{name}: {}", reason(&error)));
            return ExitCode::from(FAILURE);
        }
        Err(Failure::Capture(error)) => {
            let name = match target {
                Target::Stdout => "standard output".to_owned(),
                Target::File(path) => capture2pcap::shown(path).to_string(),
            };
            say(&format!("{name}: {}", reason(&error)));
            return ExitCode::from(FAILURE);
        }
    };
    if verbosity != Verbosity::Quiet {
        let mut hints = Vec::new();
        for tally in notices.tallies() {
            // Verbose, each of them has been told already.
            if verbosity == Verbosity::Normal {
                say(&format!("{name}: {tally}"));
            }
            hints.extend(tally.first.kind.hint().filter(|hint| !hints.contains(hint)));
        }
        hints.into_iter().for_each(say_hint);
    }
    let saved = match summary.events {
        1 => "the event before it is in the capture".to_owned(),
        n => format!("{n} events before it are in the capture"),
    };
    if let Some(damage) = &summary.damage {
        say(&format!("{name}: {damage}; {saved}"));
    }
    if let Some(error) = &summary.unread {
        let error = reason(error);
        say(&format!("{name}: cannot read on: {error}; {saved}"));
    }
    if verbosity == Verbosity::Verbose
        || (verbosity == Verbosity::Normal && io::stderr().is_terminal())
    {
        tell(&name, target, &summary);
    }
    let damaged = notices.tallies().any(|tally| tally.first.kind.is_damage());
    match summary {
        Summary {
            signal: Some(signal),
            ..
        } => ExitCode::from(SIGNAL_BASE + signal),
        Summary {
            damage: None,
            unread: None,
            ..
        } if !damaged => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILURE),
    }
}

/// One line of counts, and the command that opens the capture.
fn tell(name: &str, target: &Target, summary: &Summary) {
    let plural = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    say(&format!(
        "{name}: {}, {}, {} ({} bytes read, {} written)",
        plural(summary.connections, "connection"),
        plural(summary.events, "event"),
        plural(summary.frames, "packet"),
        summary.bytes_read,
        summary.bytes_written,
    ));
    if let Target::File(path) = target {
        say_hint(&open_command(path, &summary.http2_ports));
    }
}

/// The tshark command that shows a capture with its HTTP/2.
fn open_command(path: &Path, http2_ports: &[u16]) -> String {
    let name = capture2pcap::shown(path).to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+,:@%".contains(c);
    let quoted = match name.chars().all(plain) {
        true => name,
        false => format!("'{}'", name.replace('\'', r"'\''")),
    };
    let ports: String = http2_ports
        .iter()
        .map(|port| format!(" -d tcp.port=={port},http2"))
        .collect();
    format!("tshark -r {quoted}{ports}")
}

/// What went wrong and why, without the numbers that only programmers know.
fn reason(error: &dyn Display) -> String {
    let text = format!("{error:#}");
    let system = text.rfind(" (os error ").filter(|_| text.ends_with(')'));
    text[..system.unwrap_or(text.len())].to_owned()
}

fn say(message: &str) {
    // Where even the message cannot be written, the exit status has to do.
    let _ = writeln!(io::stderr(), "capture2pcap: {message}");
}

fn say_hint(hint: &str) {
    let _ = writeln!(io::stderr(), "hint: {hint}");
}
