//! Inputs that are mapped instead of read, for work that does not need all of their bytes.
//!
//! The first access to a page of a map costs a part of a page fault and a miss in the processor's table of pages, and
//! later the removal of the page from the map. If all bytes are needed, this takes longer than reading them:
//! docs/security.md has the figures. So a file is mapped only from the first event on that is larger than a page, and
//! never by a conversion.
//!
//! If a mapped file is truncated, its missing bytes read as zeros, see [`map`](super::map). Then [`or_read`] drops the
//! result, and does the work again with reads.

use super::Input;
#[cfg(feature = "cli")]
use super::map::Tears;
#[cfg(feature = "cli")]
use crate::align::PAGE;

/// How much of a file is mapped at once, in bytes.
#[cfg(feature = "cli")]
const MAP_SIZE: usize = 4 << 20;

/// How the bytes of a file are accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Mapped from the first large event on, if it is a regular file that holds a binary trace.
    #[cfg(feature = "cli")]
    Map,
    /// Read.
    Read,
}

/// Does some work with maps, and again with reads if a mapped file was truncated in the meantime. `work` also
/// returns whether one was: [`Input::is_torn`].
#[cfg(feature = "cli")]
pub(crate) fn or_read<T>(mut work: impl FnMut(Access) -> (T, bool)) -> T {
    match work(Access::Map) {
        (done, false) => done,
        (_, true) => work(Access::Read).0,
    }
}

/// Whether an input is mapped.
#[derive(Debug, Default)]
pub(super) enum Mapping {
    /// It is read.
    #[default]
    Never,
    /// It may be mapped, once its first bytes have shown its encoding.
    #[cfg(feature = "cli")]
    Allowed,
    /// It is mapped from the first large event on.
    #[cfg(feature = "cli")]
    Begun {
        tears: Tears,
        /// The end of the part mapped so far, in bytes of the input; 0 if no event was large.
        end: u64,
    },
}

impl Input {
    /// Chooses how the bytes are accessed.
    #[must_use]
    pub(crate) fn with_access(mut self, access: Access) -> Self {
        self.mapping = match access {
            #[cfg(feature = "cli")]
            Access::Map => Mapping::Allowed,
            Access::Read => Mapping::Never,
        };
        self
    }
}

#[cfg(not(feature = "cli"))]
impl Input {
    /// Without files, nothing is mapped.
    pub(crate) const fn begin_mapping(&mut self) {}

    /// See [`begin_mapping`](Self::begin_mapping).
    pub(crate) const fn is_torn(&self) -> bool {
        false
    }
}

#[cfg(feature = "cli")]
impl Input {
    /// Has the bytes after the window mapped, if that is allowed and possible, and worthwhile.
    pub(crate) fn begin_mapping(&mut self) {
        if matches!(self.mapping, Mapping::Allowed)
            && self.recoder.is_none()
            && self.origin.begin_mapping()
        {
            self.mapping = Mapping::Begun {
                tears: Tears::none_yet(),
                end: 0,
            };
        }
    }

    /// Whether a mapped file was truncated. Zeros in place of its bytes may have been decoded then, so that nothing made
    /// from the input is valid.
    pub(crate) fn is_torn(&self) -> bool {
        match self.mapping {
            // Reading zeros at the end of a file's last page raises no signal, so its size is compared, too.
            Mapping::Begun { tears, end } => {
                tears.happened() || self.origin.size().is_none_or(|size| size < end)
            }
            Mapping::Never | Mapping::Allowed => false,
        }
    }

    /// Maps the next window. Returns false if it has to be read instead.
    pub(super) fn fill_by_map(&mut self) -> std::io::Result<bool> {
        let Mapping::Begun { end, .. } = &mut self.mapping else {
            return Ok(false);
        };
        // The first bytes of an event. It stands for those around it.
        let at_hand = self.buffer.window().len();
        if *end == 0 && at_hand < PAGE {
            return Ok(false);
        }
        // The size doubles each time for an event larger than the window.
        let len = MAP_SIZE.max(at_hand.saturating_mul(2));
        let Some((map, lead)) = self.origin.map(self.offset, len)? else {
            return Ok(false);
        };
        let mapped = map.len() - lead;
        *end = (*end).max(self.offset + mapped as u64);
        if mapped <= at_hand {
            // The file has ended, or was truncated.
            return Ok(false);
        }
        let range = lead..map.len();
        self.buffer.show(map, range);
        self.progress.add((mapped - at_hand) as u64);
        Ok(true)
    }
}

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests {
    use super::super::Wait;
    use super::*;

    #[test]
    fn a_file_is_mapped_from_the_first_large_event_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 8 << 20]).unwrap();
        let input = Input::from_file(file.reopen().unwrap()).unwrap();
        let mut input = input.with_access(Access::Map);
        input.begin_mapping();
        let mut is_mapped_after = |at_hand: usize| {
            if let Some(taken) = input.window().len().checked_sub(at_hand) {
                input.skip(taken);
            }
            input.fill(&Wait::default()).unwrap();
            matches!(input.mapping, Mapping::Begun { end, .. } if end > 0)
        };
        assert!(!is_mapped_after(0));
        assert!(!is_mapped_after(PAGE - 1));
        assert!(is_mapped_after(PAGE));
        assert!(is_mapped_after(0));
        assert!(!input.is_torn());
    }
}
