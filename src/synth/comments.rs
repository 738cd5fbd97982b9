//! What there is to say about the next frame of a connection, up to a limit: events that make no frame must
//! not pile it up.

/// The most comments that a frame has.
const MAX_COMMENTS: usize = 16;

/// The comments on a frame that has not come yet.
#[derive(Debug, Default)]
pub(super) struct Comments {
    said: Vec<String>,
    /// How many there were beyond the limit.
    more: u64,
}

impl Comments {
    /// Adds a comment after the others.
    pub(super) fn push(&mut self, say: impl FnOnce() -> String) {
        if self.said.len() < MAX_COMMENTS {
            self.said.push(say());
        } else {
            self.more += 1;
        }
    }

    /// Takes all comments, with the number of those beyond the limit as the last.
    pub(super) fn take(&mut self) -> Vec<String> {
        let more = std::mem::take(&mut self.more);
        if more > 0 {
            self.said.push(format!("and {more} more"));
        }
        std::mem::take(&mut self.said)
    }

    /// Puts `first` before the others.
    pub(super) fn prepend(&mut self, first: Vec<String>) {
        self.said.splice(0..0, first);
    }
}

impl From<Vec<String>> for Comments {
    fn from(said: Vec<String>) -> Self {
        Self { said, more: 0 }
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
