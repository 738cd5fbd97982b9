//! The keys of connections and exchanges that were evicted from memory, so that a later event of one can be reported.
//!
//! The memory for open connections and exchanges is limited. The hash of a key takes a hundredth of the memory of an open
//! connection.
//!
//! Invariant: at most [`MAX_HASHES`] hashes are kept, those of the keys that were added last.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash};

use foldhash::HashMap;
use foldhash::fast::FixedState;

const MAX_HASHES: usize = 1 << 17;

/// The keys that were evicted last.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    /// The hashes, and how often each was added.
    counts: HashMap<u64, u32>,
    /// The hashes, oldest first.
    order: VecDeque<u64>,
}

impl Evicted {
    /// Adds a key.
    pub(crate) fn add(&mut self, key: impl Hash) {
        if self.order.len() == MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        let hash = FixedState::default().hash_one(key);
        self.order.push_back(hash);
        *self.counts.entry(hash).or_default() += 1;
    }

    /// Whether a key was added, and is still kept.
    pub(crate) fn has(&self, key: impl Hash) -> bool {
        !self.counts.is_empty()
            && self
                .counts
                .contains_key(&FixedState::default().hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_keys_are_kept() {
        let mut evicted = Evicted::default();
        for key in 0..=MAX_HASHES {
            evicted.add(key);
        }
        assert_eq!(evicted.order.len(), MAX_HASHES);
        assert_eq!(evicted.counts.len(), MAX_HASHES);
        assert!(!evicted.has(0));
        assert!(evicted.has(1) && evicted.has(MAX_HASHES));
    }
}
