//! How much of a binary trace is examined.
//!
//! What shows a trace may follow a large body, since protobuf allows the fields of a message in any order. The bytes
//! of the body itself show nothing, so they do not count.
//!
//! Invariant: at most [`MAX_EXAMINED`] bytes of an input that is not a trace are kept in memory.

use super::Fit;
use crate::trace::detect::PREFIX;

/// The most bytes that are examined, including those that do not count. Taps are not likely to buffer larger bodies.
const MAX_EXAMINED: usize = 16 << 20;
/// The length of a value that does not count, in bytes. Shorter ones make little difference.
const LONG: u64 = 4 << 10;

/// How much of a binary trace is examined: [`PREFIX`] bytes, and the long values among them.
#[derive(Clone, Copy, Debug)]
pub(in crate::trace) struct Reach {
    end: usize,
    /// An attempt with fewer bytes is pointless, as it would end in the same long value as the last one.
    from: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            end: PREFIX,
            from: 0,
        }
    }
}

impl Reach {
    /// Whether an attempt with these bytes is pointless; `ended`: no more follow.
    pub(in crate::trace) const fn is_pointless(self, window: &[u8], ended: bool) -> bool {
        !ended && window.len() < self.from
    }

    /// The bytes of `window` that are examined.
    pub(super) fn of(self, window: &[u8]) -> &[u8] {
        &window[..window.len().min(self.end)]
    }

    /// Whether more than the bytes of `window` may be examined.
    pub(super) const fn is_beyond(self, window: &[u8]) -> bool {
        window.len() < self.end
    }

    /// Extends it by the long values in the examined bytes, once these are complete. Returns whether that changed it.
    pub(super) fn extend<'a>(
        &mut self,
        examined: &[u8],
        fits: impl Iterator<Item = &'a Fit> + Clone,
    ) -> bool {
        if examined.len() < self.end {
            return false;
        }
        let live = fits.filter(|fit| !fit.is_bad);
        let passed = live.clone().map(|fit| fit.passed).max().unwrap_or(0);
        let end = PREFIX.saturating_add(passed as usize);
        if end <= self.end || end > MAX_EXAMINED {
            return false;
        }
        let missing = live.map(|fit| fit.missing).min().unwrap_or(0);
        self.from = examined.len().saturating_add(missing as usize);
        self.end = end;
        true
    }
}

/// Records a value of `len` bytes, of which `value` is at hand.
pub(super) fn pass(fit: &mut Fit, len: u64, value: &[u8]) {
    if len >= LONG {
        // More than that is beyond the limit in any case.
        let bytes = |len: u64| u32::try_from(len).unwrap_or(u32::MAX);
        fit.passed = bytes(len);
        fit.missing = bytes(len - value.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(passed: u32, missing: u32) -> Fit {
        Fit {
            passed,
            missing,
            ..Fit::default()
        }
    }

    #[test]
    fn it_goes_as_far_as_the_long_values() {
        let bytes = vec![0; PREFIX + 300_000];
        let mut reach = Reach::default();
        let examined = reach.of(&bytes).len();
        assert_eq!(examined, PREFIX);
        assert!(!reach.extend(&bytes[..examined - 1], [fit(5000, 0)].iter()));
        assert!(!reach.extend(&bytes[..examined], [fit(0, 0)].iter()));
        // Another layout ends in a shorter value.
        let fits = [fit(200_000, 150_000), fit(5000, 20), Fit::BAD];
        assert!(reach.extend(&bytes[..examined], fits.iter()));
        assert_eq!(reach.of(&bytes).len(), PREFIX + 200_000);
        assert!(reach.is_pointless(&bytes[..PREFIX + 19], false));
        assert!(!reach.is_pointless(&bytes[..PREFIX + 19], true));
        assert!(!reach.is_pointless(&bytes[..PREFIX + 20], false));
        // The same values again.
        let examined = reach.of(&bytes);
        assert!(!reach.extend(examined, [fit(200_000, 0)].iter()));
    }

    #[test]
    fn it_has_a_limit() {
        let bytes = vec![0; PREFIX];
        for passed in [16 << 20, u32::MAX] {
            let mut reach = Reach::default();
            assert!(!reach.extend(&bytes, [fit(passed, passed)].iter()));
            assert!(!reach.is_beyond(&bytes));
        }
        let mut fit = fit(0, 0);
        pass(&mut fit, u64::MAX, &bytes);
        assert_eq!((fit.passed, fit.missing), (u32::MAX, u32::MAX));
        fit.add(fit);
        assert_eq!(fit.passed, u32::MAX);
    }
}
