//! The extcap interface of Wireshark and tshark: "Envoy tap (live)".
//!
//! Implements the extcap protocol of Wireshark 4.0 and later. Wireshark asks for interfaces, link types and
//! options several times at every start, so those answers are constant and need no network. During a capture,
//! Wireshark shows standard error in a dialog, so it carries only errors.
//!
//! The crate r-extcap (0.2) is not used, for two reasons. Its function that reloads a selector gets no arguments, but the
//! list of taps depends on the URL in the same dialog. And a signal does not interrupt its opening of the FIFO.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::sync::Arc;

use capture2pcap::capture::{self, Format, Target};
use capture2pcap::convert::{Failure, Options, Source, convert};
use capture2pcap::input::admin::{
    DEFAULT_MAX_BYTES, DEFAULT_URL, Error, Request, Tap, Url, config_ids,
};
use capture2pcap::interrupt::Interrupt;
use capture2pcap::model::warning::Warnings;
use capture2pcap::redact::{NameError, Names, Redaction};

use crate::cli::live::lines;
use crate::cli::report;
use crate::cli::run::FAILURE;
use crate::cli::usage::USAGE;

/// The interface's name in Wireshark and tshark.
const INTERFACE: &str = "envoy-tap";
/// The selector's entry for the only tap. It cannot be the name of a tap that Envoy lists.
const ONLY: &str = "*";
/// The choices of what is redacted.
const NOTHING: &str = "nothing";
const FIELDS: &str = "fields";
const BODIES: &str = "bodies";

/// The extcap arguments that take a value, and the options of the dialog.
const WITH_VALUE: [&str; 13] = [
    "--extcap-interface",
    "--extcap-capture-filter",
    "--extcap-control-in",
    "--extcap-control-out",
    "--extcap-reload-option",
    "--extcap-cleanup-postkill",
    "--fifo",
    "--admin",
    "--config-id",
    "--max-bytes",
    "--tap-config",
    "--redact",
    "--redact-fields",
];

/// Whether Wireshark calls this program as an extcap program.
pub(crate) fn is_asked(mut args: impl Iterator<Item = OsString>) -> bool {
    args.any(|arg| arg.as_encoded_bytes().starts_with(b"--extcap-") || arg == "--capture")
}

/// The arguments of one extcap call.
#[derive(Debug, Default)]
struct Call {
    flags: Vec<String>,
    values: HashMap<String, OsString>,
}

impl Call {
    /// Parses `--name value` and `--name=value`. Unknown arguments, which later versions of Wireshark may add,
    /// are ignored.
    fn read(args: impl Iterator<Item = OsString>) -> Self {
        let mut call = Self::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str() else { continue };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None if WITH_VALUE.contains(&text) => (text, args.next()),
                None => (text, None),
            };
            match value {
                Some(value) => drop(call.values.insert(name.to_owned(), value)),
                None => call.flags.push(name.to_owned()),
            }
        }
        call
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// The text of a value; `None` if it is empty.
    fn text(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name)?.to_str()?;
        Some(value).filter(|value| !value.is_empty())
    }
}

/// Answers Wireshark's request, and returns the exit status.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let call = Call::read(args);
    let answer = if call.has("--extcap-interfaces") {
        Some(interfaces())
    } else if call.has("--extcap-dlts") {
        Some("dlt {number=1}{name=EN10MB}{display=Ethernet}\n".to_owned())
    } else if call.values.contains_key("--extcap-reload-option") {
        Some(reload(&call))
    } else if call.has("--extcap-config") {
        Some(config())
    } else {
        None
    };
    let done = match answer {
        // An error means that Wireshark has exited.
        Some(answer) => {
            let _ = io::stdout().write_all(answer.as_bytes());
            Ok(())
        }
        None if call.has("--capture") => capture(&call),
        None => Err(("unknown request from Wireshark".to_owned(), USAGE)),
    };
    match done {
        Ok(()) => 0,
        Err((message, code)) => {
            report::say(&message);
            code
        }
    }
}

fn interfaces() -> String {
    format!(
        "extcap {{version={}}}{{display=Envoy tap}}\ninterface {{value={INTERFACE}}}{{display=Envoy tap (live)}}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The arguments of the dialog. None is marked as required, because a required argument with a default would keep the
/// start button disabled. tshark passes only the arguments that have a default here, so missing arguments have the same
/// defaults.
fn config() -> String {
    format!(
        "arg {{number=0}}{{call=--admin}}{{display=Admin interface}}{{type=string}}{{default={DEFAULT_URL}}}\
         {{tooltip=The URL of Envoy's admin interface}}{{placeholder={DEFAULT_URL}}}{{validation=^(http://)?[^ ]+$}}{{group=Envoy}}\n\
         arg {{number=1}}{{call=--config-id}}{{display=config_id}}{{type=selector}}{{reload=true}}\
         {{placeholder=Ask Envoy}}{{tooltip=Which tap; the button asks Envoy for its taps}}{{group=Envoy}}\n\
         {}\
         arg {{number=2}}{{call=--max-bytes}}{{display=Bytes of each event}}{{type=unsigned}}{{range=1,{}}}\
         {{default={DEFAULT_MAX_BYTES}}}{{tooltip=How much of each event is recorded, in each direction}}{{group=Tap}}\n\
         arg {{number=3}}{{call=--tap-config}}{{display=Own request}}{{type=fileselect}}{{mustexist=true}}\
         {{fileext=YAML or JSON (*.yaml *.yml *.json)}}{{tooltip=A request to send to /tap unchanged; it sets config_id and the number of bytes itself}}{{group=Tap}}\n\
         arg {{number=4}}{{call=--redact}}{{display=Redact}}{{type=selector}}\
         {{tooltip=Overwrite the values of authorization, proxy-authorization, cookie, set-cookie and x-api-key, or bodies as well}}{{group=Privacy}}\n\
         {}{}{}\
         arg {{number=5}}{{call=--redact-fields}}{{display=More fields}}{{type=string}}\
         {{tooltip=Names of other header fields whose values are overwritten, with commas between them}}{{group=Privacy}}\n",
        choice(ONLY, "the only tap", true),
        u32::MAX,
        choice_of(4, NOTHING, "nothing", true),
        choice_of(4, FIELDS, "secret header fields", false),
        choice_of(4, BODIES, "secret header fields and bodies", false),
    )
}

fn choice(value: &str, display: &str, default: bool) -> String {
    choice_of(1, value, display, default)
}

fn choice_of(number: u8, value: &str, display: &str, default: bool) -> String {
    format!("value {{arg={number}}}{{value={value}}}{{display={display}}}{{default={default}}}\n")
}

/// Lists the taps that Envoy knows, for the dialog.
fn reload(call: &Call) -> String {
    let ids = url(call).and_then(|url| config_ids(&url).map_err(|error| one_line(&error)));
    let ids = ids.unwrap_or_else(|message| {
        report::say(&message);
        Vec::new()
    });
    // The protocol cannot express a brace or a newline.
    let plain = |id: &&String| !id.contains(['{', '}']) && !id.contains(char::is_control);
    let ids = ids.iter().filter(plain);
    let choices = ids.map(|id| choice(id, id, false));
    std::iter::once(choice(ONLY, "the only tap", true))
        .chain(choices)
        .collect()
}

fn url(call: &Call) -> Result<Url, String> {
    let text = call.text("--admin").unwrap_or(DEFAULT_URL);
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// Streams a tap into Wireshark's FIFO.
fn capture(call: &Call) -> Result<(), (String, u8)> {
    // Wireshark validates a capture filter with a call without a FIFO.
    if call.text("--extcap-capture-filter").is_some() {
        let why = "Envoy's taps have no capture filters; use a display filter";
        return Err((why.to_owned(), FAILURE));
    }
    let Some(fifo) = call.values.get("--fifo") else {
        return match call.values.contains_key("--extcap-capture-filter") {
            true => Ok(()),
            false => Err(("--fifo is missing".to_owned(), USAGE)),
        };
    };
    let failed = |message: String| (message, FAILURE);
    let interrupt = Interrupt::install()
        .map_err(|error| failed(format!("cannot catch signals: {}", report::reason(&error))))?;
    // If the request cannot be sent, an empty capture is still needed; Wireshark would wait for one forever.
    let asked = || Ok((url(call)?, request(call)?, redaction(call)?));
    let (url, request, redaction) = match asked() {
        Ok(asked) => asked,
        Err(message) => {
            write_header(fifo, &interrupt);
            return Err(failed(message));
        }
    };
    let tap = Tap::start(url, request).map_err(|error| failed(report::reason(&error)))?;
    let source = Source::Live(Arc::new(tap));
    let target = Target::File(fifo.into());
    let result = convert(
        &source,
        &target,
        &Options {
            redaction,
            ..options()
        },
        &interrupt,
        &mut Warnings::default(),
    );
    match result {
        // Stopping a capture is not an error.
        Ok(summary) if summary.signal.is_some() || summary.reader_gone => Ok(()),
        Ok(summary) => match (summary.damage, summary.unread) {
            (None, None) => Ok(()),
            (Some(damage), _) => Err(failed(lines(&damage.to_string()))),
            (None, Some(error)) => Err(failed(lines(&report::reason(&error)))),
        },
        Err(Failure::Trace(error) | Failure::Capture(error)) => {
            let message = error.downcast_ref::<Error>().map(one_line);
            Err(failed(
                message.unwrap_or_else(|| report::reason(&format!("{error:#}"))),
            ))
        }
    }
}

/// Formats an error and its hint as one line, since the dialog shows longer text badly.
fn one_line(error: &Error) -> String {
    let message = error.to_string();
    let first = lines(message.lines().next().unwrap_or_default());
    match error.hint() {
        Some(hint) => format!("{first} ({})", lines(hint)),
        None => first,
    }
}

fn options() -> Options {
    Options {
        capture: capture::CaptureOptions {
            format: Format::Pcapng,
            ..capture::CaptureOptions::default()
        },
        ..Options::default()
    }
}

/// What is overwritten: nothing by default. If only names of fields are given, header fields are.
fn redaction(call: &Call) -> Result<Option<Redaction>, String> {
    let names = call.text("--redact-fields");
    let bodies = match call.text("--redact") {
        None | Some(NOTHING) if names.is_none() => return Ok(None),
        None | Some(NOTHING | FIELDS) => false,
        Some(BODIES) => true,
        Some(other) => return Err(format!("{}: unknown value of --redact", lines(other))),
    };
    let names = match names.map(str::parse) {
        None => Names::default(),
        Some(Ok(names)) => names,
        Some(Err(error)) => return Err(lines(&NameError::to_string(&error))),
    };
    Ok(Some(Redaction { names, bodies }))
}

/// The request to send to Envoy.
fn request(call: &Call) -> Result<Request, String> {
    if let Some(path) = call.text("--tap-config") {
        return match fs::read_to_string(path) {
            Ok(body) => Ok(Request::Body(body)),
            Err(error) => Err(format!(
                "{}: cannot read: {}",
                lines(path),
                report::reason(&error)
            )),
        };
    }
    let max_bytes = match call.text("--max-bytes") {
        None => DEFAULT_MAX_BYTES,
        Some(text) => match text.parse() {
            Ok(n @ 1..) => n,
            _ => return Err(format!("{}: not a number of bytes", lines(text))),
        },
    };
    Ok(Request::Any {
        config_id: call
            .text("--config-id")
            .filter(|&id| id != ONLY)
            .map(str::to_owned),
        max_bytes,
    })
}

/// Writes a capture without packets.
fn write_header(fifo: &OsStr, interrupt: &Interrupt) {
    let target = Target::File(fifo.into());
    // The caller reports the error that led here.
    let _ = capture::Output::create(&target, None, interrupt.wake())
        .and_then(|output| capture::Capture::new(output, options().capture, &[])?.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_two_forms() {
        let args = "--extcap-version=4.0 --capture --fifo /tmp/f --admin=http://h:1 --from-2031 --max-bytes 7 --config-id";
        let call = Call::read(args.split(' ').map(OsString::from));
        assert!(call.has("--capture") && call.has("--from-2031"));
        assert_eq!(call.text("--fifo"), Some("/tmp/f"));
        assert_eq!(call.text("--admin"), Some("http://h:1"));
        assert_eq!(call.text("--max-bytes"), Some("7"));
        assert_eq!(call.text("--config-id"), None);
        assert_eq!(call.text("--extcap-version"), Some("4.0"));
    }
}
