//! The main interface of the library: [`Converter`] converts a [`Trace`] to a capture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;

use crate::capture::{Format, Precision};
use crate::convert::{Failure, Options, Summary, convert_input};
use crate::info::{Info, inspect_input};
use crate::input::{Input, ReadAt, Wait};
use crate::interrupt::Interrupt;
use crate::merge::{Merged, merge_inputs};
use crate::model::event::Timestamp;
use crate::model::protocol::Role;
use crate::model::warning::Warnings;
use crate::synth::{AddressOverride, Handshake};
use crate::trace::Encoding;

/// A trace in memory, or in another place that [`ReadAt`] reads. With the feature `cli` or `unpack`, it may be compressed
/// with gzip or zstd.
#[derive(Clone)]
pub struct Trace {
    name: PathBuf,
    bytes: Arc<dyn ReadAt>,
}

impl Trace {
    /// Creates a trace. The file name decides if the bytes allow more than one encoding, and a pcapng capture contains it.
    pub fn new(name: impl Into<PathBuf>, bytes: impl ReadAt + 'static) -> Self {
        Self {
            name: name.into(),
            bytes: Arc::new(bytes),
        }
    }

    /// The name.
    pub fn name(&self) -> &Path {
        &self.name
    }

    fn input(&self) -> Input {
        Input::from_anywhere(Arc::clone(&self.bytes))
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trace").field(&self.name).finish()
    }
}

/// How traces are converted. The defaults are the command's.
#[derive(Clone, Debug, Default)]
pub struct Converter {
    options: Options,
}

/// The result of a conversion.
#[derive(Debug)]
pub struct Converted<W, S = Summary> {
    /// The writer, to which the whole capture was written.
    pub capture: W,
    /// The contents of the capture, and the damage in the trace, if there is any.
    pub summary: S,
    /// The warnings about everything that is missing, or that could not be converted as recorded.
    pub warnings: Warnings,
}

impl Converter {
    /// Creates a converter with the command's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the format of the captures; default: pcap.
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.options.capture.format = format;
        self
    }

    /// Sets the resolution of times in a pcap; default: microseconds. A pcapng always has nanoseconds.
    #[must_use]
    pub const fn precision(mut self, precision: Precision) -> Self {
        self.options.capture.precision = precision;
        self
    }

    /// Sets the maximum number of bytes that are kept of a packet; default: 262,144.
    #[must_use]
    pub const fn snaplen(mut self, snaplen: u32) -> Self {
        self.options.capture.snaplen = snaplen;
        self
    }

    /// Sets the encoding of the traces; default: detected from their content.
    #[must_use]
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.options.encoding = Some(encoding);
        self
    }

    /// Sets which connections get a synthesized handshake; default: [`Handshake::Auto`].
    #[must_use]
    pub const fn handshake(mut self, handshake: Handshake) -> Self {
        self.options.synth.handshake = handshake;
        self
    }

    /// Sets the stand-in for a local address that a trace lacks; default: a documentation address.
    #[must_use]
    pub fn local(mut self, address: AddressOverride) -> Self {
        self.options.synth.local = Some(address);
        self
    }

    /// Sets the stand-in for a remote address that a trace lacks; default: a documentation address.
    #[must_use]
    pub fn remote(mut self, address: AddressOverride) -> Self {
        self.options.synth.remote = Some(address);
        self
    }

    /// Sets the side of Envoy on which the connections were tapped; default: detected.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.options.synth.role = Some(role);
        self
    }

    /// Sets the time of the first event of a trace without times; default: the Unix epoch.
    #[must_use]
    pub const fn start(mut self, time: Timestamp) -> Self {
        self.options.synth.start = time;
        self
    }

    /// Sets whether a damaged trace is an error; default: everything up to the damage is converted.
    #[must_use]
    pub const fn strict(mut self, strict: bool) -> Self {
        self.options.strict = strict;
        self
    }

    /// Converts a trace into a capture, which is written to `writer`.
    ///
    /// # Errors
    /// When there is no capture. Damage after the first events is reported in the summary instead.
    pub fn convert<W: Write + Send + 'static>(
        &self,
        trace: &Trace,
        writer: W,
    ) -> Result<Converted<W>, Failure> {
        let mut warnings = Warnings::default();
        let (summary, capture) = convert_input(
            trace.input(),
            &trace.name,
            writer,
            &self.options,
            &mut warnings,
        )?;
        Ok(Converted {
            capture,
            summary,
            warnings,
        })
    }

    /// Merges traces into one capture in time order, which is written to `writer`.
    ///
    /// The warnings about each trace are in its outcome. A compressed trace is unpacked into memory.
    ///
    /// # Errors
    /// When no trace can be read, or the capture cannot be written.
    pub fn merge<W: Write + Send + 'static>(
        &self,
        traces: &[Trace],
        writer: W,
    ) -> Result<(Merged, W), Failure> {
        let traces = traces.iter();
        let traces = traces.map(|trace| (trace.name.clone(), Arc::clone(&trace.bytes)));
        let (merged, writer) = merge_inputs(traces.collect(), writer, &self.options, || {
            Box::new(Vec::new())
        })?;
        let nothing = || Failure::Trace(anyhow!("none of the traces can be read"));
        Ok((merged, writer.ok_or_else(nothing)?))
    }

    /// Reads a trace, and returns a description of its contents.
    ///
    /// # Errors
    /// When it is not a trace.
    pub fn inspect(&self, trace: &Trace) -> Result<(Info, Warnings), Failure> {
        let mut warnings = Warnings::default();
        let (path, wait, interrupt) = (Some(&*trace.name), Wait::default(), Interrupt::default());
        let options = &self.options;
        let input = trace.input();
        let info = inspect_input(input, path, options, &wait, &interrupt, &mut warnings)?;
        Ok((info, warnings))
    }
}
