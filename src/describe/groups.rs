//! Groups the warnings of a run: one line for each kind, for any number of traces.
//!
//! Owns their order and wording; the caller decides whether they are printed.
//!
//! Invariant: the lines do not depend on the order in which traces are finished.

use std::collections::BTreeMap;

use crate::grouped;
use crate::model::warning::{Tally, WarningKind};

/// The warnings of all traces so far.
#[derive(Debug, Default)]
pub struct WarningGroups(BTreeMap<WarningKind, Group>);

/// All warnings of one kind.
#[derive(Debug)]
struct Group {
    traces: u64,
    /// The number and name of the first trace. The tally begins with its warnings.
    number: usize,
    name: String,
    tally: Tally,
}

impl WarningGroups {
    /// Adds the warnings of one kind of the trace with this number and name.
    pub fn add(&mut self, number: usize, name: &str, tally: &Tally) {
        let Some(group) = self.0.get_mut(&tally.first.kind) else {
            let group = Group {
                traces: 1,
                number,
                name: name.to_owned(),
                tally: tally.clone(),
            };
            self.0.insert(tally.first.kind, group);
            return;
        };
        group.traces += 1;
        if number < group.number {
            let later = std::mem::replace(&mut group.tally, tally.clone());
            group.tally.add(&later);
            (group.number, group.name) = (number, name.to_owned());
        } else {
            group.tally.add(tally);
        }
    }

    /// A line for each kind, in the order of the kinds.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.values().map(|group| {
            let Group { name, tally, .. } = group;
            match group.traces - 1 {
                0 => format!("{name}: {tally}"),
                1 => format!("{name} and 1 other trace: {tally}"),
                others => format!("{name} and {} other traces: {tally}", grouped(others)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::warning::{Warning, Warnings};

    fn warnings(count: u64, bytes: u64) -> Warnings {
        let mut warnings = Warnings::default();
        for offset in 0..count {
            warnings.add(Warning {
                kind: WarningKind::Truncated,
                offset,
                trace: Some(Default::default()),
                bytes,
                detail: String::new(),
            });
        }
        warnings
    }

    #[test]
    fn the_lines_do_not_depend_on_the_order_of_traces() {
        let traces: Vec<_> = (0..1001_usize)
            .map(|i| (i, format!("{i}.pb"), warnings(2, i as u64)))
            .collect();
        let lines = |order: &mut dyn Iterator<Item = &(usize, String, Warnings)>| {
            let mut groups = WarningGroups::default();
            for (number, name, warnings) in order {
                warnings
                    .tallies()
                    .for_each(|tally| groups.add(*number, name, tally));
            }
            groups.lines().collect::<Vec<_>>()
        };
        let expected = "0.pb and 1,000 other traces: 2,002 truncated events: 1,001,000 bytes are not in the trace, \
            and the capture leaves a gap for them (the first at offset 0, connection #0)";
        assert_eq!(lines(&mut traces.iter()), [expected]);
        assert_eq!(lines(&mut traces.iter().rev()), [expected]);
    }
}
