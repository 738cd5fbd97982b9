//! Remembers what had to be forgotten, to report it if it continues.
//!
//! The memory for open connections and exchanges is limited, and a hash of one takes a hundredth of its memory.
//! Knows nothing of either.
//!
//! Invariant: at most [`MAX_HASHES`] hashes are kept, those of the latest.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash};

use foldhash::HashMap;
use foldhash::fast::FixedState;

const MAX_HASHES: usize = 1 << 17;

/// The keys that were forgotten last.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// The hashes, and how often each was added.
    counts: HashMap<u64, u32>,
    /// The hashes, oldest first.
    order: VecDeque<u64>,
}

impl Forgotten {
    /// Remembers a key.
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

    /// Whether a key is one of those remembered.
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
    fn it_keeps_the_latest() {
        let mut forgotten = Forgotten::default();
        for key in 0..=MAX_HASHES {
            forgotten.add(key);
        }
        assert_eq!(forgotten.order.len(), MAX_HASHES);
        assert_eq!(forgotten.counts.len(), MAX_HASHES);
        assert!(!forgotten.has(0));
        assert!(forgotten.has(1) && forgotten.has(MAX_HASHES));
    }
}
