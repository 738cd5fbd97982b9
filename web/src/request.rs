//! Requests and their answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capture2pcap::capture::Format;
use capture2pcap::convert::{Failure, Options, Summary, convert_input};
use capture2pcap::describe::{self, WarningGroups, objects, reason};
use capture2pcap::info::inspect_input;
use capture2pcap::input::{Input, Wait};
use capture2pcap::interrupt::Interrupt;
use capture2pcap::merge::merge_inputs;
use capture2pcap::model::warning::{WarningKind, Warnings};
use capture2pcap::progress::Progress;
use capture2pcap::redact::{Names, Redaction};
use capture2pcap::synth::Handshake;
use capture2pcap::{ReadAt, display_path};
use serde_json::{Value, json};

use crate::host::{Capture, Copy, File, report_progress};

/// The answer to a request: the command's object, and what the command would print on standard error.
pub(crate) fn answer(request: &Value) -> Value {
    let mut messages = Messages::default();
    let object = match options(request) {
        Ok(options) => perform(request, options, &mut messages),
        Err(why) => {
            messages.say(&why);
            Value::Null
        }
    };
    json!({ "object": object, "messages": messages.lines() })
}

fn perform(request: &Value, mut options: Options, messages: &mut Messages) -> Value {
    let files = files(request);
    let capture = PathBuf::from(text(request, "capture"));
    options.progress = Progress::new(report_progress);
    match (text(request, "task"), &*files) {
        ("inspect", [(path, file)]) => inspect(path, *file, &capture, &options, messages),
        ("convert", [(path, file)]) => convert(path, *file, &capture, options, messages),
        ("merge", files) => merge(files, &capture, options, messages),
        _ => Value::Null,
    }
}

/// The string member `name` of an object, or an empty string.
fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The files of a request.
fn files(request: &Value) -> Vec<(PathBuf, File)> {
    let files = request.get("files").and_then(Value::as_array);
    let names = files.into_iter().flatten().filter_map(Value::as_str);
    let numbered = names.map(PathBuf::from).zip(0..);
    numbered.map(|(path, id)| (path, File(id))).collect()
}

/// The options of a request, or what is wrong with one of them.
fn options(request: &Value) -> Result<Options, String> {
    let mut options = Options::default();
    if text(request, "format") == "pcapng" {
        options.capture.format = Format::Pcapng;
    }
    options.synth.handshake = match text(request, "handshake") {
        "always" => Handshake::Always,
        "never" => Handshake::Never,
        _ => Handshake::Auto,
    };
    for (name, address) in [
        ("local", &mut options.synth.local),
        ("remote", &mut options.synth.remote),
    ] {
        let given = text(request, name).trim();
        if !given.is_empty() {
            let parsed = given.parse();
            *address = Some(parsed.map_err(|why| format!("{name} address {given:?}: {why}"))?);
        }
    }
    let bodies = text(request, "redact-bodies") == "1";
    if bodies || text(request, "redact") == "1" {
        let given = text(request, "redact-names").trim();
        let names = match given {
            "" => Names::default(),
            given => given
                .parse()
                .map_err(|why| format!("names of header fields {given:?}: {why}"))?,
        };
        options.redaction = Some(Redaction { names, bodies });
    }
    Ok(options)
}

fn inspect(
    path: &Path,
    file: File,
    capture: &Path,
    options: &Options,
    messages: &mut Messages,
) -> Value {
    let mut warnings = Warnings::default();
    let input = Input::from_anywhere(Arc::new(file));
    let (wait, interrupt) = (Wait::default(), Interrupt::default());
    let result = inspect_input(input, Some(path), options, &wait, &interrupt, &mut warnings);
    let name = objects::path(path);
    match result {
        Ok(info) => objects::of_info(name, Some(capture), &info, &warnings),
        Err(failure) => {
            messages.failure(path, &failure);
            objects::of_failure(&name, &reason(failure.error()))
        }
    }
}

fn convert(
    path: &Path,
    file: File,
    capture: &Path,
    mut options: Options,
    messages: &mut Messages,
) -> Value {
    options.summaries = true;
    let mut warnings = Warnings::default();
    let input = Input::from_anywhere(Arc::new(file));
    let result = convert_input(input, path, Capture, &options, &mut warnings);
    let name = objects::path(path);
    match result {
        Ok((summary, Capture)) => {
            messages.trace(0, path, &warnings, &summary);
            objects::of_conversion(name, capture, &summary, &warnings)
        }
        Err(failure) => {
            messages.failure(path, &failure);
            objects::of_failure(&name, &reason(failure.error()))
        }
    }
}

fn merge(
    files: &[(PathBuf, File)],
    capture: &Path,
    mut options: Options,
    messages: &mut Messages,
) -> Value {
    options.summaries = true;
    let traces = files.iter();
    let traces = traces.map(|(path, file)| (path.clone(), Arc::new(*file) as Arc<dyn ReadAt>));
    match merge_inputs(traces.collect(), Capture, &options, Copy::begin) {
        Ok((merged, _)) => {
            for (number, trace) in merged.traces.iter().enumerate() {
                match &trace.result {
                    Ok(summary) => messages.trace(number, &trace.path, &trace.warnings, summary),
                    Err(failure) => messages.failure(&trace.path, failure),
                }
            }
            objects::of_merge(capture, &merged, false)
        }
        Err(failure) => {
            let why = reason(failure.error());
            messages.say(&format!("merge: {why}"));
            objects::of_failure(&Value::Null, &why)
        }
    }
}

/// The messages that the command would print on standard error.
#[derive(Default)]
struct Messages {
    lines: Vec<String>,
    groups: WarningGroups,
    hints: BTreeSet<(WarningKind, &'static str)>,
}

impl Messages {
    fn say(&mut self, message: &str) {
        self.lines.push(format!("capture2pcap: {message}"));
    }

    /// Adds the failure of a trace.
    fn failure(&mut self, path: &Path, failure: &Failure) {
        let name = match failure {
            Failure::Trace(_) => display_path(path).to_string(),
            Failure::Capture(_) => "capture".to_owned(),
        };
        self.say(&format!("{name}: {}", reason(failure.error())));
        let hint = describe::hint(failure);
        self.hints
            .extend(hint.map(|hint| (WarningKind::ThroughTerminal, hint)));
    }

    /// Adds the warnings and the damage of a trace that is in a capture.
    fn trace(&mut self, number: usize, path: &Path, warnings: &Warnings, summary: &Summary) {
        let name = display_path(path).to_string();
        for tally in warnings.tallies() {
            let kind = tally.first.kind;
            self.groups.add(number, &name, tally);
            self.hints.extend(kind.hint().map(|hint| (kind, hint)));
        }
        for line in describe::damage(&name, summary) {
            self.say(&line);
        }
    }

    /// All lines, in the command's order.
    fn lines(mut self) -> Vec<String> {
        for line in std::mem::take(&mut self.groups).lines() {
            self.say(&line);
        }
        let mut given = BTreeSet::new();
        let hints = self.hints.into_iter().map(|(_, hint)| hint);
        let hints = hints.filter(|hint| given.insert(*hint));
        self.lines.extend(hints.map(|hint| format!("hint: {hint}")));
        self.lines
    }
}
