//! Processes that run during the recording: Envoy, tcpdump, the gRPC server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::GUARD;

/// A process whose output goes to files. It is killed when this value is dropped.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// The file with its standard output.
    pub(crate) out: PathBuf,
    /// The file with its standard error.
    pub(crate) err: PathBuf,
}

impl Daemon {
    /// Starts `command`, with its output in `dir`.
    pub(crate) fn start(dir: &Path, name: &str, command: &mut Command) -> Self {
        let out = dir.join(format!("{name}.out"));
        let err = dir.join(format!("{name}.err"));
        let create = |path| File::create(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn()
            .unwrap_or_else(|e| panic!("{e} (tests/envoy/run.sh installs it): {command:?}"));
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            out,
            err,
        }
    }

    fn text(path: &Path) -> String {
        String::from_utf8_lossy(&fs::read(path).expect("the output")).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        Self::text(&self.err)
    }

    /// Waits for a result of the process, and returns it.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(it) = there() {
                return it;
            }
            let ended = self.child.try_wait().expect("a status");
            if ended.is_some() || begun.elapsed() > GUARD {
                let state = ended.map_or("waited in vain".to_owned(), |status| status.to_string());
                let name = &self.name;
                panic!("{name}: no {what}: {state}\n{}", self.stderr());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the process with a signal, or by closing its input. It has to exit successfully.
    pub(crate) fn stop(mut self, signal: Option<&str>) {
        drop(self.stdin.take());
        if let Some(signal) = signal {
            let pid = self.child.id().to_string();
            let sent = Command::new("sh")
                .args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid])
                .status();
            assert!(sent.expect("a shell").success(), "kill {}", self.name);
        }
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(begun.elapsed() < GUARD, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(5));
        };
        let (name, stderr) = (&self.name, self.stderr());
        assert!(status.success(), "{name}: {status}\n{stderr}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
