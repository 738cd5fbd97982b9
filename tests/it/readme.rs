//! The README: its commands print what it shows, and its configurations are those in docs/envoy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use snapbox::{IntoData as _, assert_data_eq};

use crate::admin::Admin;
use crate::harness::{Scratch, not_tested, timeless, tshark};

/// The checkout, and its path in the README's output.
const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");
const SHOWN_CHECKOUT: &str = "/home/me/capture2pcap";
/// The admin interface in the README's commands.
const SHOWN_ADMIN: &str = "http://localhost:9901";
/// The version of tshark whose output the README shows.
const SHOWN_TSHARK: &str = "TShark (Wireshark) 4.0.";

/// A code block.
struct Block {
    /// The number of its first line in the README.
    line: usize,
    /// Whether the sentence before it announces the output on a terminal of 80 columns.
    is_of_terminal: bool,
    text: String,
}

/// A command and the output that the README shows for it.
struct Example {
    command: String,
    output: String,
}

impl Block {
    fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for line in self.text.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                None => {
                    let example = examples.last_mut().expect("a command before its output");
                    example.output += line;
                    example.output += "\n";
                }
            }
        }
        examples
    }
}

/// The README's code blocks in a language.
fn blocks(language: &str) -> Vec<Block> {
    let readme = fs::read_to_string(Path::new(CHECKOUT).join("README.md")).expect("README.md");
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut before = String::new();
    let mut lines = readme.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if !line.starts_with("```") {
            before = format!("{before} {line}");
            continue;
        }
        let body = lines.by_ref().map_while(|(line, _)| match line {
            "```" => None,
            line => Some(format!("{line}\n")),
        });
        let text: String = body.collect();
        let before = std::mem::take(&mut before);
        if line == fence {
            blocks.push(Block {
                line: number + 1,
                is_of_terminal: before.trim_end().ends_with("on a terminal of 80 columns:"),
                text,
            });
        }
    }
    blocks
}

/// A folder in which the README's commands find their files.
fn checkout() -> Scratch {
    let scratch = Scratch::new();
    let root = Path::new(CHECKOUT);
    let link = |from: &Path| {
        let name = from.file_name().expect("a name").to_str().expect("UTF-8");
        symlink(from, scratch.path(name)).expect("a link");
    };
    for name in ["testdata", "docs", "testdata/path_0.pb"] {
        link(&root.join(name));
    }
    let taps = fs::read_dir(root.join("testdata/envoy-1.40/taps")).expect("taps");
    for trace in taps {
        link(&trace.expect("a trace").path());
    }
    scratch
}

/// Output in which values that differ from run to run are replaced.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for line in timeless(text).lines() {
        if line.starts_with("Running as user \"root\"") {
            continue;
        }
        settled += &match line.split_once(" after ") {
            Some((curl, rest)) if curl.starts_with("curl: ") => {
                let (_, why) = rest.split_once(" ms").expect("a time");
                format!("{curl} after [time]{why}\n")
            }
            _ => format!("{line}\n"),
        };
    }
    settled
}

/// What a command prints on both outputs, or on a terminal.
fn printed(scratch: &Scratch, command: &str, is_on_terminal: bool) -> String {
    let run = scratch.shell(&format!("{{ {command}\n}} 2>&1"));
    let run = run.env("HOME", scratch.dir().to_str().expect("UTF-8"));
    let run = run.env("http_proxy", "");
    if is_on_terminal {
        let (_, text) = run.on_terminal(80);
        return anstream::adapter::strip_str(&text).to_string();
    }
    String::from_utf8(run.run().stdout).expect("UTF-8")
}

#[test]
fn commands_print_what_the_readme_shows() {
    let is_shown_version = tshark(["--version"]).starts_with(SHOWN_TSHARK);
    if !is_shown_version {
        not_tested("tshark's output in the README, which is that of tshark 4.0");
    }
    let admin = Admin::new(&["my_tap"]);
    let blocks = blocks("console");
    assert!(blocks.len() >= 12, "{} blocks", blocks.len());
    let (mut shown, mut expected) = (String::new(), String::new());
    for block in blocks {
        let scratch = checkout();
        for Example { command, output } in block.examples() {
            let run = command.replace(SHOWN_ADMIN, &admin.url());
            let printed = printed(&scratch, &run, block.is_of_terminal)
                .replace(&admin.url(), SHOWN_ADMIN)
                .replace(CHECKOUT, SHOWN_CHECKOUT);
            let is_left_out = command.contains("--install-wireshark")
                || command.starts_with("tshark ") && !is_shown_version;
            if !is_left_out {
                let place = format!("README.md:{}: $ {command}\n", block.line);
                shown += &(place.clone() + &settled(&printed));
                expected += &(place + &settled(&output));
            }
        }
    }
    assert_data_eq!(shown, expected.into_data().raw());
}

/// The first command of the quick start is run by cargo, and the messages that it ends with follow it.
#[test]
fn the_quick_start_ends_with_the_messages_that_the_readme_shows() {
    let command = blocks("sh")
        .iter()
        .find_map(|block| {
            let line = block.text.lines().find(|line| line.contains("cargo run"))?;
            let (_, arguments) = line.split_once(" -- ")?;
            Some(format!("capture2pcap {arguments}"))
        })
        .expect("a command");
    let messages = &blocks("text")[0];
    let printed = printed(&checkout(), &command, false);
    assert_data_eq!(printed, messages.text.clone().into_data().raw());
}

#[test]
fn configurations_in_the_readme_are_those_of_docs_envoy() {
    let folder = fs::read_dir(Path::new(CHECKOUT).join("docs/envoy")).expect("docs/envoy");
    let files: Vec<_> = folder
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a configuration"))
        .collect();
    let blocks = blocks("yaml");
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for block in blocks {
        assert!(
            files.iter().any(|file| file.contains(&block.text)),
            "README.md:{}: in no file of docs/envoy",
            block.line
        );
    }
}
