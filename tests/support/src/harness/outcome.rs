//! A process that has ended, and what a test expects of it.

use std::fmt::Debug;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A process that has ended.
pub struct Outcome {
    pub(super) dir: PathBuf,
    pub(super) shown: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// All details of the run, for the end of an assertion's message.
    pub fn explain(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout);
        let stdout: String = stdout.chars().take(2000).collect();
        let Self {
            dir,
            shown,
            status,
            stderr,
            ..
        } = self;
        let line = "=".repeat(79);
        format!(
            "\n{line}\ndirectory: {}\ncommand: {shown}\nstatus: {status}\n---- stdout ({} bytes)\n{stdout}\n\
             ---- stderr\n{stderr}\n{line}",
            dir.display(),
            self.stdout.len(),
        )
    }

    /// Fails unless the process exited with `code` and did not panic.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        self.exits_one_of(&[code])
    }

    /// Fails unless the process exited with one of `codes` and did not panic.
    #[track_caller]
    pub fn exits_one_of(self, codes: &[i32]) -> Self {
        assert!(
            !self.stderr.contains("panicked"),
            "a panic{}",
            self.explain()
        );
        let code = self.status.code();
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "exit {code:?}, not {codes:?}{}",
            self.explain()
        );
        self
    }

    /// Fails unless standard error contains each of `parts`.
    #[track_caller]
    pub fn says<S: AsRef<str> + Debug>(self, parts: impl IntoIterator<Item = S>) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part.as_ref()),
                "standard error lacks {part:?}{}",
                self.explain()
            );
        }
        self
    }

    /// Fails if standard error is not empty.
    #[track_caller]
    pub fn says_nothing(self) -> Self {
        assert!(
            self.stderr.is_empty(),
            "standard error is not empty{}",
            self.explain()
        );
        self
    }

    pub(super) fn text(self) -> String {
        let explain = self.explain();
        String::from_utf8(self.stdout).unwrap_or_else(|e| panic!("{e}{explain}"))
    }
}
