//! The completion scripts, each tested in its shell on a terminal: the test types keys, and runs the completed line.

use std::path::Path;

use crate::fixtures;
use crate::harness::{Scratch, not_tested};

/// The keys typed after the program's name, with a tab for each completion, and the resulting arguments.
const TYPED: [(&str, &str); 16] = [
    ("--inp\tjson a b", "--input-format json a b"),
    ("--format pcapn\ta b", "--format pcapng a b"),
    ("--format=pcapn\ta b", "--format=pcapng a b"),
    ("-F pcapn\ta b", "-F pcapng a b"),
    ("--handshake=ne\ta b", "--handshake=never a b"),
    ("--handshake ne\ta b", "--handshake never a b"),
    ("--handshake pa\ta", "--handshake path_0.pb a"),
    ("--role=up\ta b", "--role=upstream a b"),
    (
        "--time-stamp-precision na\ta b",
        "--time-stamp-precision nano a b",
    ),
    // zsh once completed nothing after --local.
    ("--local 1.2.3.4 pa\ta", "--local 1.2.3.4 path_0.pb a"),
    (
        "--remote 1.2.3.4 --str\tpa\ta",
        "--remote 1.2.3.4 --strict path_0.pb a",
    ),
    ("--files-from pa\ta", "--files-from path_0.pb a"),
    ("pa\ta", "path_0.pb a"),
    ("--merge pa\ta", "--merge path_0.pb a"),
    ("--info --js\tpa\t", "--info --json path_0.pb"),
    ("--generate pow\t", "--generate powershell"),
];

/// A shell, the command that starts it without the user's configuration, and the commands that prepare it. The prompt
/// is @@, which does not occur in the typed keys.
struct Shell {
    name: &'static str,
    start: &'static str,
    prepare: &'static str,
}

const SHELLS: [Shell; 3] = [
    Shell {
        name: "bash",
        start: "exec setsid --ctty --wait bash --norc --noprofile -i",
        prepare: "capture2pcap() { printf '<%s>' \"$@\"; echo; }; source ./script; PS1='@''@'",
    },
    Shell {
        name: "zsh",
        start: "mkdir f; cp script f/_capture2pcap; exec setsid --ctty --wait zsh -f -i",
        prepare: "capture2pcap() { printf '<%s>' \"$@\"; echo; }; fpath=($PWD/f $fpath); \
            autoload -Uz compinit; compinit -u -D; PS1='@''@'",
    },
    Shell {
        name: "fish",
        start: "exec setsid --ctty --wait fish --no-config -i",
        prepare: "function capture2pcap; printf '<%s>' $argv; echo; end; source ./script; \
            function fish_prompt; printf '@''@'; end",
    },
];

/// Whether a program is installed.
fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn completes(shell: &Shell) {
    if !is_installed(shell.name) {
        return not_tested(&format!(
            "{} is not installed (tests/run.sh installs it)",
            shell.name
        ));
    }
    let scratch = Scratch::new();
    let run = scratch.capture2pcap().args(["--generate", shell.name]);
    scratch.write("script", &run.run().exits(0).says_nothing().stdout);
    let trace = fixtures::testdata().join("path_0.pb");
    std::fs::copy(trace, scratch.path("path_0.pb")).expect("a trace");
    let mut terminal = scratch
        .shell(shell.start)
        .env("HOME", path(scratch.dir()))
        .open_terminal(200);
    // Any prompt is enough: it is printed before the shell reads, and keys typed early are read later.
    terminal.type_line(shell.prepare);
    terminal.until("@@");
    for (typed, expected) in TYPED {
        terminal.type_line(&format!("capture2pcap {typed}"));
        let shown = terminal.until("@@");
        // Shells differ in whether they put an option's value after = or after a space.
        let words = expected.split([' ', '=']);
        let expected: String = words.map(|word| format!("<{word}>")).collect();
        let mut lines = shown.split(['\r', '\n']);
        assert!(
            lines.any(|line| line.replace('=', "><") == expected),
            "{}: {typed:?} does not become {expected}: {shown:?}",
            shell.name
        );
    }
    terminal.type_line("exit");
    terminal.end();
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn bash_completes() {
    completes(&SHELLS[0]);
}

#[test]
fn zsh_completes() {
    completes(&SHELLS[1]);
}

#[test]
fn fish_completes() {
    completes(&SHELLS[2]);
}

/// Debian has no PowerShell, so only the existence of the script is tested.
#[test]
fn powershell_gets_a_script_too() {
    let scratch = Scratch::new();
    let outcome = scratch
        .capture2pcap()
        .args(["--generate", "powershell"])
        .run()
        .exits(0);
    let script = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert!(script.contains("'--files-from'"), "{script}");
}
