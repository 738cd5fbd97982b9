//! The search of a lexer for the next message, through one window after the other.

use crate::trace::detect::Generation;
use crate::trace::readable::lexer::{Foreign, Passed, Step};
use crate::trace::readable::scan::View;
use crate::trace::readable::seek::{Found, Grammar, Seeker};

/// Why the next message is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The previous message is damaged.
    Damage,
    /// Other bytes take the place of a message.
    Foreign,
    /// Envoy failed to write a message, and the reason comes first (JSON).
    Reason,
}

/// A search for the next message.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) seeker: Seeker,
    pub(super) why: Why,
    /// The offset of the first byte that is not part of a message.
    from: u64,
    /// The bytes that were skipped last.
    pub(super) passed: Passed,
}

impl Search {
    pub(super) fn new(grammar: Grammar, generation: Generation) -> Self {
        Self {
            seeker: Seeker::new(grammar, generation),
            why: Why::Foreign,
            from: 0,
            passed: Passed::default(),
        }
    }

    /// Begins a search at the offset `from`.
    pub(super) fn begin(&mut self, from: u64, why: Why) {
        self.seeker.restart(true);
        self.from = from;
        self.why = why;
    }

    /// Skips what is not a message, up to the next item or the end of the input. Then [`passed`](Self::passed) has
    /// what was skipped.
    pub(super) fn advance(&mut self, view: &mut View<'_>) -> Step<Found> {
        let (taken, found) = self.seeker.feed(view.rest(), view.position());
        view.at += taken;
        if found.is_none() {
            if !view.ended {
                return Step::More;
            }
            self.seeker.end();
        }
        self.passed = Passed {
            from: self.from,
            to: found.map_or(view.position(), |_| self.seeker.at),
            what: match self.seeker.passage.is_fragment {
                true => Foreign::Fragment,
                false => Foreign::Text,
            },
            is_last: found.is_none(),
        };
        found.map_or(Step::End, Step::Item)
    }
}
