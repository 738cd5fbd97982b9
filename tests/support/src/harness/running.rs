//! Processes that run, and their outputs, which are read by threads.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{GUARD, Outcome, Run, SIGKILL, wait_until};

/// A terminal that a process writes to.
pub struct Terminal {
    pub(super) shown: String,
    pub(super) child: Child,
    pub(super) keys: File,
    pub(super) screen: Pipe,
}

impl Terminal {
    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let line = format!("{line}\r");
        self.keys
            .write_all(line.as_bytes())
            .unwrap_or_else(|e| panic!("{e}: {line}"));
    }

    /// The output up to a text, which has to appear.
    pub fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let shown = String::from_utf8_lossy(&seen);
            if let Some(at) = shown.find(text) {
                return shown[..at].to_owned();
            }
            match self.screen.read(1, GUARD) {
                Ok(byte) => seen.extend(byte),
                Err(e) => panic!("no {text:?}: {e}: {}\n{shown}", self.shown),
            }
        }
    }

    /// Waits for the end. Returns the exit status and the output, with `\n` as line ends.
    pub fn end(mut self) -> (ExitStatus, String) {
        let (bytes, ended) = self.screen.rest();
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("a status");
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        let shown = &self.shown;
        assert!(
            ended,
            "killed after {GUARD:?} without a sign of life: {shown}\n{text}"
        );
        assert!(!text.contains("panicked"), "{shown}\n{text}");
        (status, text)
    }
}

/// An output of a process, read by a thread.
pub struct Pipe(mpsc::Receiver<Vec<u8>>, Vec<u8>);

impl Pipe {
    pub(super) fn new(mut from: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(4);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break; // The test has dropped the pipe, so this end is closed, too.
                }
            }
        });
        Self(receiver, Vec::new())
    }

    /// The next `n` bytes, or the reason why there are none.
    pub fn read(&mut self, n: usize, guard: Duration) -> Result<Vec<u8>, String> {
        while self.1.len() < n {
            match self.0.recv_timeout(guard) {
                Ok(bytes) => self.1.extend(bytes),
                Err(e) => return Err(format!("{} of {n} bytes, then {e}", self.1.len())),
            }
        }
        Ok(self.1.drain(..n).collect())
    }

    /// Everything up to the end. The flag is false if the end did not come in time.
    pub(super) fn rest(&mut self) -> (Vec<u8>, bool) {
        let ended = loop {
            match self.0.recv_timeout(GUARD) {
                Ok(bytes) => self.1.extend(bytes),
                Err(e) => break e == mpsc::RecvTimeoutError::Disconnected,
            }
        };
        (std::mem::take(&mut self.1), ended)
    }
}

/// A running process.
pub struct Running {
    pub(super) dir: PathBuf,
    pub(super) shown: String,
    pub(super) child: Child,
    /// Its standard input, to be written to and dropped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output. Dropping it closes the pipe.
    pub stdout: Option<Pipe>,
    pub(super) stderr: Pipe,
}

impl Running {
    /// Sends a signal once the process has its handlers; at once if the signal cannot be caught.
    pub fn signal(&self, signal: u32) {
        let pid = self.child.id();
        let caught = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a mask")
        };
        if signal != SIGKILL {
            wait_until("a handler", || caught() & 1 << (signal - 1) != 0);
        }
        Run::new("sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .run()
            .exits(0);
    }

    /// Whether it has ended, without reading its output.
    pub fn has_ended(&self) -> bool {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a status");
        status.lines().any(|line| line.starts_with("State:\tZ"))
    }

    /// Its peak memory so far, in bytes.
    pub fn peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a size").parse::<u64>().expect("a size") << 10
    }

    /// Closes its standard input and waits for its end.
    pub fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        // Both outputs are read at once, as either pipe may fill up.
        let (stdout, stderr) = thread::scope(|scope| {
            let stderr = scope.spawn(|| self.stderr.rest());
            let stdout = self.stdout.as_mut().map_or((Vec::new(), true), Pipe::rest);
            (stdout, stderr.join().expect("the reader of standard error"))
        });
        let hangs = !stdout.1 || !stderr.1;
        if hangs {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("a status");
        let stderr = String::from_utf8_lossy(&stderr.0).into_owned();
        let outcome = Outcome {
            dir: self.dir,
            shown: self.shown,
            status,
            stdout: stdout.0,
            stderr,
        };
        assert!(
            !hangs,
            "killed after {GUARD:?} without a sign of life{}",
            outcome.explain()
        );
        outcome
    }
}
