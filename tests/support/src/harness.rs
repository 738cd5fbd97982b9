//! Runs the program and the tools that check it, and reports all details of a run that failed.
//!
//! It owns processes and scratch directories, and knows nothing about traces or packets. No test passes or fails by
//! timing: [`GUARD`] only ends processes that hang.

mod outcome;
mod running;
mod tools;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

pub use outcome::Outcome;
pub use running::{Pipe, Running, Terminal};
pub use tools::{capinfos, http2_on, tcpdump, tshark, tshark_run};

/// The time after which a process counts as hanging.
pub const GUARD: Duration = Duration::from_secs(120);

/// The program under test, which Cargo puts next to the folder of the test binaries.
///
/// `CARGO_BIN_EXE_capture2pcap` is known only to the crates of the tests themselves.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let test = std::env::current_exe().expect("the path of the test");
    let folder = test.ancestors().nth(2).expect("the folder of the profile");
    let program = folder.join("capture2pcap");
    program.into_os_string().into_string().expect("UTF-8")
});

pub const SIGINT: u32 = 2;
pub const SIGKILL: u32 = 9;
pub const SIGTERM: u32 = 15;

/// Reports that something cannot be tested here. Written to the terminal itself, because the usual output of a test
/// that passes is not shown.
pub fn not_tested(why: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {test}: {why}");
}

/// A temporary directory for one test. It is kept if the test fails.
pub struct Scratch(TempDir);

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    pub fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("capture2pcap-test-")
                .tempdir()
                .expect("a scratch directory"),
        )
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A run of the program in this directory.
    pub fn capture2pcap(&self) -> Run {
        self.here(&PROGRAM)
    }

    /// The same, but the program can be interrupted even if the tests run with signals ignored, which child processes
    /// inherit.
    pub fn interruptible(&self) -> Run {
        self.here("env")
            .arg("--default-signal=INT,TERM")
            .arg(&*PROGRAM)
    }

    /// A run of a shell script in this directory, which finds the program by its name.
    pub fn shell(&self, script: &str) -> Run {
        let folder = Path::new(&*PROGRAM).parent().expect("a folder");
        let mut path = folder.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").expect("a PATH"));
        let mut run = self.here("sh").args(["-c", script]);
        run.command.env("PATH", path);
        run
    }

    fn here(&self, program: &str) -> Run {
        let mut run = Run::new(program);
        run.command.current_dir(self.dir());
        // A time zone that no host has, so that a dependence on the local time is found.
        run.command.env("TZ", "TST-12:45");
        run.dir = self.dir().to_owned();
        run
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.disable_cleanup(thread::panicking());
    }
}

/// A process to run.
pub struct Run {
    command: Command,
    dir: PathBuf,
    stdin: Vec<u8>,
}

impl Run {
    pub fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        // The host's language and the user's configuration must not affect a test.
        let home = Path::new(&*PROGRAM).with_file_name("home");
        std::fs::create_dir_all(&home).unwrap_or_else(|e| panic!("{}: {e}", home.display()));
        command
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", home);
        for name in [
            "XDG_CONFIG_HOME",
            "WIRESHARK_CONFIG_DIR",
            "WIRESHARK_PROFILE",
            "RUST_BACKTRACE",
        ] {
            command.env_remove(name);
        }
        Self {
            command,
            dir: PathBuf::from("."),
            stdin: Vec::new(),
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs in a folder.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the bytes of its standard input, which is empty by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts the process and leaves its pipes open.
    pub fn start(mut self) -> Running {
        let shown = format!("{:?}", self.command);
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|e| match e.kind() {
            ErrorKind::NotFound => {
                panic!("not installed (run tests/run.sh, which installs it): {shown}")
            }
            _ => panic!("{e}: {shown}"),
        });
        let stdin = child.stdin.take();
        let stdout = Pipe::new(child.stdout.take().expect("a pipe"));
        let stderr = Pipe::new(child.stderr.take().expect("a pipe"));
        Running {
            dir: self.dir,
            shown,
            child,
            stdin,
            stdout: Some(stdout),
            stderr,
        }
    }

    /// Runs the process to its end on a terminal with `columns` columns. Returns its exit status and its output, with
    /// `\n` as line ends. Standard input is empty.
    pub fn on_terminal(mut self, columns: u16) -> (ExitStatus, String) {
        self.command.stdin(Stdio::null());
        self.start_on_terminal(columns, false).end()
    }

    /// Starts the process on a terminal with `columns` columns, for typing.
    pub fn open_terminal(self, columns: u16) -> Terminal {
        self.start_on_terminal(columns, true)
    }

    fn start_on_terminal(mut self, columns: u16, typed: bool) -> Terminal {
        let shown = format!("{:?}", self.command);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let terminal = openpt(flags).expect("a terminal");
        grantpt(&terminal).expect("a terminal");
        unlockpt(&terminal).expect("a terminal");
        let size = Winsize {
            ws_row: 40,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).expect("a size");
        let name = ptsname(&terminal, Vec::new()).expect("a name");
        let name = name.into_string().expect("UTF-8");
        let end = || {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true);
            options
                .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
                .open(&name)
                .expect(&name)
        };
        self.command.env("TERM", "xterm").env_remove("NO_COLOR");
        self.command.stdout(end()).stderr(end());
        if typed {
            self.command.stdin(end());
        }
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|e| panic!("{e}: {shown}"));
        // Dropping the command closes this process's descriptors of the terminal, so that it ends with the program.
        drop(self.command);
        let keys = File::from(terminal);
        let screen = Pipe::new(keys.try_clone().expect("a descriptor"));
        Terminal {
            shown,
            child,
            keys,
            screen,
        }
    }

    /// Runs the process to its end.
    pub fn run(mut self) -> Outcome {
        let stdin = std::mem::take(&mut self.stdin);
        let mut running = self.start();
        let mut pipe = running.stdin.take().expect("a pipe");
        // A process may end before it has read everything, so a failed write is not an error.
        let feeder = thread::spawn(move || drop(pipe.write_all(&stdin)));
        let outcome = running.finish();
        feeder.join().expect("the feeder");
        outcome
    }

    /// Runs the process with a pipe from its standard output to the standard input of `next`. Returns both outcomes.
    pub fn pipe_into(mut self, mut next: Self) -> (Outcome, Outcome) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let shown = format!("{:?} | {:?}", self.command, next.command);
        self.command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped());
        next.command
            .stdin(reader)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = |run: Self| {
            let Self {
                mut command, dir, ..
            } = run;
            let mut child = command
                .spawn()
                .unwrap_or_else(|e| panic!("{e} (see tests/run.sh): {shown}"));
            // Dropping `command` closes this process's end of the pipe. Otherwise the reader would not see the end.
            drop(command);
            let stdout = child.stdout.take().map(Pipe::new);
            let stderr = Pipe::new(child.stderr.take().expect("a pipe"));
            Running {
                dir,
                shown: shown.clone(),
                child,
                stdin: None,
                stdout,
                stderr,
            }
        };
        let (first, second) = (start(self), start(next));
        (first.finish(), second.finish())
    }
}

/// Waits until a condition is true.
#[track_caller]
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < GUARD, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A number in the format of messages.
pub fn grouped(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", grouped(n / 1000), n % 1000),
    }
}

/// Messages with a placeholder for the time that a run took.
pub fn timeless(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(", ") {
        Some((rest, last)) if last.ends_with(" s") && rest.contains(" of ") => {
            format!("{rest}, [time]\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Runs `work` for every item, on all cores. Fails at the end with the names of all items for which it failed.
#[track_caller]
pub fn each<T: Sync>(items: &[T], name: impl Fn(&T) -> String + Sync, work: impl Fn(&T) + Sync) {
    assert!(!items.is_empty(), "nothing to do");
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| work(item))).is_err() {
                failed.lock().expect("no panic holds it").push(name(item));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(worker);
        }
    });
    let mut failed = failed.into_inner().expect("no panic holds it");
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {} failed (see above): {}",
        failed.len(),
        items.len(),
        failed.join(", ")
    );
}
