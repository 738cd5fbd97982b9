//! A copy of a trace in its original form, for a merge.
//!
//! A merge reads single events by their offsets. Those of a trace that is compressed, or whose bytes were changed in
//! transit, are the offsets of the restored bytes, so a merge reads a copy.
//!
//! Invariant: the offsets of events in the copy are those that [`Reader`] reports.

use std::io::{self, Write};
use std::path::Path;

use crate::input::{Ending, Input, Wait};
use crate::interrupt::Interrupt;

use super::detect::Encoding;
use super::{Reader, Step};

/// A copy of a trace in its original form.
pub(crate) struct PlainCopy<W> {
    pub(crate) to: W,
    /// How many bytes it has.
    pub(crate) len: u64,
    /// How the unpacking ended, if the trace is compressed.
    pub(crate) ending: Option<Ending>,
}

/// Copies a trace in its original form, if it is compressed or its bytes were changed in transit: unpacked, UTF-16
/// as UTF-8, without prefixes of lines, without a terminal's carriage returns.
///
/// A merge reads single events by their offsets, which are those of the copy. `open` opens the trace, which is
/// read twice; `begin` creates the copy. It ends early at a signal.
///
/// # Errors
/// When reading or writing fails.
pub(crate) fn plain_copy<W: Write>(
    open: impl Fn() -> io::Result<Input>,
    path: &Path,
    wanted: Option<Encoding>,
    interrupt: &Interrupt,
    begin: impl FnOnce() -> io::Result<W>,
) -> io::Result<Option<PlainCopy<W>>> {
    let mut reader = Reader::new(open()?, wanted, Some(path.to_owned()));
    while reader.trace.is_none() && matches!(reader.advance(), Ok(Step::More)) {
        reader.input.fill(&Wait::default())?;
    }
    // The first pass reports an input that is not a trace, and needs no copy for that.
    if reader.trace.is_none() || !reader.is_recoded() {
        return Ok(None);
    }
    // The copy begins with the first byte, so the trace is opened again.
    let recoding = reader.input.recoding().cloned();
    drop(reader);
    let mut input = open()?;
    if let Some(recoding) = recoding {
        input.recode(recoding);
    }
    let mut to = begin()?;
    loop {
        to.write_all(input.window())?;
        input.skip(input.window().len());
        if input.ended() || interrupt.signal().is_some() {
            break;
        }
        input.fill(&Wait::default())?;
    }
    to.flush()?;
    Ok(Some(PlainCopy {
        to,
        len: input.offset(),
        ending: input.ending().cloned(),
    }))
}
