//! Comments for the next frame of a connection.
//!
//! Invariant: their number is limited, because events without frames could otherwise accumulate them.

/// The maximum number of comments on a frame.
const MAX_COMMENTS: usize = 16;

/// The comments on the next frame.
#[derive(Debug, Default)]
pub(super) struct Comments {
    kept: Vec<String>,
    /// The number of comments beyond the limit.
    more: u64,
}

impl Comments {
    /// Appends a comment.
    pub(super) fn push(&mut self, say: impl FnOnce() -> String) {
        if self.kept.len() < MAX_COMMENTS {
            self.kept.push(say());
        } else {
            self.more += 1;
        }
    }

    /// Takes all comments. The last one reports the number beyond the limit.
    pub(super) fn take(&mut self) -> Vec<String> {
        let more = std::mem::take(&mut self.more);
        if more > 0 {
            self.kept.push(format!("and {more} more"));
        }
        std::mem::take(&mut self.kept)
    }

    /// Inserts `first` before the others.
    pub(super) fn prepend(&mut self, first: Vec<String>) {
        self.kept.splice(0..0, first);
    }
}

impl From<Vec<String>> for Comments {
    fn from(kept: Vec<String>) -> Self {
        Self { kept, more: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_beyond_the_limit_are_counted() {
        let mut comments = Comments::default();
        for i in 0..MAX_COMMENTS {
            comments.push(|| i.to_string());
        }
        let mut said = 0;
        for _ in 0..1_000_000 {
            comments.push(|| {
                said += 1;
                "one too many".to_owned()
            });
        }
        assert_eq!(said, 0, "what is not kept is not made");
        comments.prepend(vec!["first".to_owned()]);
        let all = comments.take();
        assert_eq!(all.len(), MAX_COMMENTS + 2);
        assert_eq!(all[0], "first");
        assert_eq!(all[MAX_COMMENTS + 1], "and 1000000 more");
        assert_eq!(comments.take(), [""; 0]);
    }
}
