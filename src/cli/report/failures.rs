//! Reports of failures that are not about a single trace.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use capture2pcap::batch::TRACE_EXTENSIONS;
use capture2pcap::capture::Target;
use capture2pcap::convert::Failure;
use capture2pcap::describe::objects;
use capture2pcap::input::Compression;
use serde_json::Value;

use super::{Reporter, reason, say_hint, target_name};

impl Reporter {
    /// Reports that standard output cannot be written.
    pub(crate) fn failed_stdout(&mut self, error: &io::Error) {
        self.lines = None;
        let why = reason(error);
        self.failed("standard output", &format!("cannot write: {why}"));
    }

    /// Reports that a merge failed as a whole.
    pub(crate) fn failed_all(&mut self, target: &Target, failure: &Failure) {
        self.bar.clear();
        let why = reason(failure.error());
        self.object(|| objects::of_failure(&Value::Null, &why));
        match failure {
            Failure::Trace(_) => self.failed("merge", &why),
            Failure::Capture(_) => self.failed(&target_name(target), &why),
        }
    }

    /// Reports that threads could not be started.
    pub(crate) fn failed_threads(&mut self, error: &anyhow::Error) {
        self.failed("threads", &reason(error));
    }

    /// Reports that there is nothing to convert.
    pub(crate) fn no_traces(&mut self, inputs: &[OsString]) {
        let extensions = TRACE_EXTENSIONS
            .map(|extension| format!(".{extension}"))
            .join(", ");
        let compressed = Compression::EXTENSIONS.map(|extension| format!(".{extension}"));
        let compressed = compressed.join(", ");
        let why = format!(
            "no traces found: no file ends in {extensions}, compressed ({compressed}) or not"
        );
        let shown = |input: &OsString| capture2pcap::display_path(Path::new(input)).to_string();
        let names: Vec<_> = inputs.iter().map(shown).collect();
        self.failed(&names.join(", "), &why);
        for input in inputs {
            self.object(|| objects::of_failure(&objects::path(Path::new(input)), &why));
        }
    }

    /// Reports a path that could not be searched.
    pub(crate) fn failed_search(&mut self, path: &Path, error: &io::Error) {
        let why = format!("cannot read: {}", reason(error));
        self.failed(&capture2pcap::display_path(path).to_string(), &why);
        self.object(|| objects::of_failure(&objects::path(path), &why));
    }

    /// Reports that no temporary folder can be created.
    pub(crate) fn failed_temporary(&mut self, error: &io::Error) {
        let why = format!("cannot create a folder: {}", reason(error));
        let folder = std::env::temp_dir();
        self.failed(&capture2pcap::display_path(&folder).to_string(), &why);
    }

    /// Reports that a live tap failed, with a hint.
    pub(crate) fn failed_live(&mut self, message: &str, hint: Option<String>) {
        self.counts.failures += 1;
        self.say(message);
        if let Some(hint) = hint {
            say_hint(&hint);
        }
    }
}
