//! The configuration of the unit tests that check properties with proptest.
//!
//! Invariant: nothing is written to the source tree. A failing case is printed, to become a test with a name.

use proptest::prelude::ProptestConfig;

/// The configuration of a property that is checked with this many cases.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
