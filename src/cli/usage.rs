//! Errors in the command line, with the wording and form of all other messages.
//!
//! Owns the messages for clap's errors and for those of planning. Opens no files.

use std::ffi::OsString;

use capture2pcap::batch::PlanError;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::report;

/// The exit status for an invalid command line.
pub(crate) const USAGE: u8 = 2;

/// Options whose value needs a `=`, and the values that may also follow a space.
///
/// For clap, a word after a space is an input, so `--handshake never OUTPUT` would create a folder.
const OPTIONAL_VALUES: [(&str, &[&str]); 2] = [
    ("--handshake", &["auto", "always", "never"]),
    ("--open", &["wireshark", "tshark"]),
];

/// Options of other tools that name an input or output file.
const FILE_OPTIONS: [&str; 6] = ["-o", "-w", "-r", "--out", "--write", "--read"];

/// An invalid command line.
#[derive(Debug)]
pub(crate) struct Misuse {
    message: String,
    hint: Option<String>,
}

impl Misuse {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Prints the message, and returns the exit status.
    pub(crate) fn report(&self) -> u8 {
        report::say(&self.message);
        if let Some(hint) = &self.hint {
            report::say_hint(hint);
        }
        USAGE
    }
}

/// Joins options to the values that follow them after a space: `--handshake never` becomes `--handshake=never`.
pub(crate) fn joined(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.peekable();
    let mut joined = Vec::new();
    while let Some(mut argument) = arguments.next() {
        if argument == "--" {
            joined.push(argument);
            break;
        }
        let option = OPTIONAL_VALUES.iter().find(|(name, _)| argument == *name);
        if let Some((_, words)) = option
            && let Some(value) = arguments.next_if(|next| words.iter().any(|word| next == word))
        {
            argument.push("=");
            argument.push(value);
        }
        joined.push(argument);
    }
    joined.extend(arguments);
    joined
}

/// Prints clap's help or error, and returns the exit status.
pub(crate) fn misparsed(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // If the help cannot be written, a message probably cannot either.
        return match error.print() {
            Ok(()) => 0,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Err(_) => crate::cli::run::FAILURE,
        };
    }
    of_clap(error).report()
}

/// The message for an error of clap.
fn of_clap(error: &clap::Error) -> Misuse {
    let argument = text(error, ContextKind::InvalidArg);
    // `--mss <N>` is shortened to `--mss`.
    let option = name(&argument);
    let value = text(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(error, &argument),
        ErrorKind::InvalidValue if value.is_empty() => {
            Misuse::new(format!("{argument}: the value is missing"))
        }
        ErrorKind::InvalidValue => {
            let misuse = Misuse::new(format!("{option}: unknown value '{value}'"));
            let values = text(error, ContextKind::ValidValue);
            misuse.hint(format!("{option} takes one of {values}"))
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_default();
            Misuse::new(format!("{option}: '{value}': {}", escaped(&why)))
        }
        ErrorKind::ArgumentConflict => {
            let other = text(error, ContextKind::PriorArg);
            match name(&other) {
                "" => Misuse::new(format!("{option} takes no other argument")),
                other => Misuse::new(format!("{option} cannot be used with {other}")),
            }
        }
        ErrorKind::MissingRequiredArgument => Misuse::new(format!("{argument} is missing")),
        ErrorKind::TooManyValues => {
            Misuse::new(format!("{option} takes no value, but got '{value}'"))
        }
        _ => {
            let rendered = error.to_string();
            let line = rendered.lines().next().unwrap_or_default();
            Misuse::new(escaped(line.trim_start_matches("error: ")))
        }
    }
}

/// The name of an option as clap shows it, without the placeholder of its value.
fn name(argument: &str) -> &str {
    argument.split([' ', '[', '=']).next().unwrap_or_default()
}

/// An unknown option.
fn unknown(error: &clap::Error, argument: &str) -> Misuse {
    let misuse = Misuse::new(format!("unknown option '{argument}'"));
    let suggested = text(error, ContextKind::SuggestedArg);
    if !suggested.is_empty() {
        return misuse.hint(format!("did you mean {suggested}?"));
    }
    let names_file = |option: &str| match option.starts_with("--") {
        true => argument.starts_with(option),
        false => argument == option,
    };
    if FILE_OPTIONS.iter().any(|option| names_file(option)) {
        return misuse.hint(
            "the last argument is the output, the others are inputs: capture2pcap INPUT OUTPUT",
        );
    }
    misuse.hint(format!(
        "capture2pcap --help explains every option; write ./{argument} for a file of that name"
    ))
}

/// Part of the context of clap's error, escaped for a terminal.
fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => escaped(text),
        Some(ContextValue::Strings(texts)) => escaped(&texts.join(", ")),
        _ => String::new(),
    }
}

fn escaped(text: &str) -> String {
    capture2pcap::escaped(text, |c| c.escape_unicode().to_string())
}

/// The message for an error of planning.
pub(crate) fn of_plan(error: &PlanError) -> Misuse {
    let shown = |path| capture2pcap::display_path(path).to_string();
    match error {
        PlanError::Stream(why) => Misuse::new(*why),
        PlanError::NoFolder(path) => Misuse::new(format!(
            "{}: several captures need a folder, but this is a file",
            shown(path)
        ))
        .hint("--merge writes one capture of several traces"),
        PlanError::Folder(path) => Misuse::new(format!(
            "{}: a folder, but --merge writes one capture",
            shown(path)
        ))
        .hint("name a file as OUTPUT; without --merge, each trace gets its own capture"),
        PlanError::NewFolder(path) => Misuse::new(format!(
            "{0}: several captures need a folder, but this is the name of a file",
            shown(path)
        ))
        .hint(format!(
            "--merge writes one capture of several traces; a / at the end names a folder: {}/",
            shown(path)
        )),
        PlanError::Compressed(path) => Misuse::new(format!(
            "{}: compressed captures are not supported",
            shown(path)
        ))
        .hint("compress it with another program: capture2pcap INPUT - | gzip > capture.pcap.gz"),
        PlanError::TraceName(path) => Misuse::new(format!(
            "{}: several captures need a folder, but this is the name of a trace",
            shown(path)
        ))
        .hint("the last argument is the output: capture2pcap INPUT... DIRECTORY"),
        PlanError::Trace(path) => Misuse::new(format!(
            "{}: refusing to overwrite a trace",
            shown(path)
        ))
        .hint(
            "the last argument is the output; if it is a folder, each trace gets a capture in it",
        ),
        PlanError::Same(target) => Misuse::new(format!(
            "{}: INPUT and OUTPUT are the same file",
            report::target_name(target)
        )),
        PlanError::Collision(one, other) => Misuse::new(format!(
            "{} and {} would become the same capture",
            shown(one),
            shown(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_after_a_space_is_joined_and_an_input_never() {
        let cases = [
            ("x --handshake never a b", "x --handshake=never a b"),
            ("x a b --handshake always", "x a b --handshake=always"),
            ("x --handshake a b", "x --handshake a b"),
            ("x --handshake ./never b", "x --handshake ./never b"),
            ("x --handshake=auto never b", "x --handshake=auto never b"),
            ("x -- --handshake never", "x -- --handshake never"),
            ("x --handshake", "x --handshake"),
        ];
        for (typed, expected) in cases {
            let words = typed.split(' ').map(OsString::from);
            let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(joined(words), expected);
        }
    }
}
