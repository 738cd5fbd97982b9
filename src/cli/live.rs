//! `--tap`: takes events live from Envoy's admin interface.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use capture2pcap::input::admin::{self, DEFAULT_MAX_BYTES, Request, Tap, Url};
use capture2pcap::interrupt::Interrupt;
use clap::Args;

use crate::cli::report;

/// The options of a live tap.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LiveArgs {
    /// Take events live from Envoy's admin interface instead of traces, e.g. http://localhost:9901
    ///
    /// Envoy serves one client at a time, and records connections that open while the client is connected. The
    /// tap ends with Ctrl-C, or when the reader of a pipe closes it.
    #[arg(long, value_name = "URL", conflicts_with_all = ["files_from", "merge", "info", "input_format"])]
    pub(crate) tap: Option<Url>,

    /// With --tap: the tap's config_id [default: the only one in /config_dump]
    #[arg(long, value_name = "ID", requires = "tap")]
    config_id: Option<String>,

    /// With --tap: send this request (YAML or JSON) unchanged
    #[arg(long, value_name = "FILE", requires = "tap", conflicts_with_all = ["config_id", "max_bytes"])]
    tap_config: Option<PathBuf>,

    /// With --tap: record at most N bytes of each event, in each direction [default: 1048576]
    #[arg(long, value_name = "N", requires = "tap", value_parser = clap::value_parser!(u32).range(1..))]
    max_bytes: Option<u32>,
}

/// A live tap to convert.
#[derive(Debug)]
pub(crate) struct LiveTap {
    url: Url,
    config_id: Option<String>,
    tap_config: Option<PathBuf>,
    max_bytes: u32,
}

impl LiveArgs {
    /// Returns the live tap, if `--tap` was given.
    pub(crate) fn resolve(self) -> Option<LiveTap> {
        Some(LiveTap {
            url: self.tap?,
            config_id: self.config_id,
            tap_config: self.tap_config,
            max_bytes: self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES),
        })
    }
}

impl LiveTap {
    /// Sends the request and waits for Envoy's answer; returns `None` if a signal arrives first.
    ///
    /// # Errors
    /// A message, and a hint.
    pub(crate) fn attach(
        self,
        interrupt: &Interrupt,
    ) -> Result<Option<Arc<Tap>>, (String, Option<String>)> {
        let request = match self.tap_config {
            Some(path) => match fs::read_to_string(&path) {
                Ok(body) => Request::Body(body),
                Err(error) => {
                    let path = capture2pcap::display_path(&path);
                    let why = report::reason(&error);
                    return Err((format!("{path}: cannot read: {why}"), None));
                }
            },
            None => Request::Any {
                config_id: self.config_id,
                max_bytes: self.max_bytes,
            },
        };
        match Tap::attach(self.url.clone(), request, interrupt) {
            Ok(tap) => Ok(tap.map(Arc::new)),
            Err(error) => {
                let message = format!("{}/tap: {}", self.url, lines(&format!("{error:#}")));
                let known = error.downcast_ref::<admin::Error>();
                Err((message, known.and_then(admin::Error::hint).map(lines)))
            }
        }
    }
}

/// Escapes terminal controls in text from outside, and keeps its line ends.
pub(crate) fn lines(text: &str) -> String {
    let escape = |line: &str| capture2pcap::escaped(line, |c| c.escape_unicode().to_string());
    let lines: Vec<_> = text.lines().map(escape).collect();
    lines.join("\n  ")
}
