//! The man page and the completion scripts, made from the clap definitions, and the Lua plugin.
//!
//! It owns what the libraries that make them get wrong.

use std::io::{self, Write as _};

use capture2pcap::wireshark::PLUGIN;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::args::{Args, Generate};

/// What the man page says after the options.
const MAN_SECTIONS: &str = include_str!("man.roff");

/// Prints the man page, a completion script or the plugin to standard output.
pub(crate) fn generate(what: Generate) -> io::Result<()> {
    let mut text = Vec::new();
    let shell = match what {
        Generate::Man => {
            man(&mut text)?;
            return io::stdout().write_all(&text);
        }
        Generate::Wireshark => return io::stdout().write_all(PLUGIN.as_bytes()),
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
        Generate::Powershell => Shell::PowerShell,
    };
    clap_complete::generate(shell, &mut completed(), "capture2pcap", &mut text);
    let text = String::from_utf8_lossy(&text);
    let text = match shell {
        Shell::Bash => text.replacen(BASH_PREVIOUS, &format!("{BASH_PREVIOUS}{BASH_EQUALS}"), 1),
        Shell::Fish => with_files(&text),
        _ => text.into_owned(),
    };
    io::stdout().write_all(text.as_bytes())
}

/// The script for fish with files, too, after an option whose value may be left out: an input may follow it.
fn with_files(script: &str) -> String {
    let is_optional = |line: &str| {
        let command = completed();
        let optional = command
            .get_arguments()
            .filter(|arg| arg.is_require_equals_set());
        let mut names = optional.filter_map(clap::Arg::get_long);
        names.any(|name| line.contains(&format!(" -l {name} ")))
    };
    let line = |line: &str| match is_optional(line) {
        true => line.replacen(" -r -f -a ", " -r -F -a ", 1) + "\n",
        false => format!("{line}\n"),
    };
    script.lines().map(line).collect()
}

/// Where the script for bash looks at the word before the one that is completed.
const BASH_PREVIOUS: &str = "    prev=\"$3\"\n";
/// What the script lacks.
const BASH_EQUALS: &str = r#"    # Bash takes the = of --option=value for a word of its own.
    if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then
        cur=""
        prev="${COMP_WORDS[COMP_CWORD-1]}"
    elif [[ "${prev}" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
"#;

/// The command with names of values that every shell's script can hold: zsh takes a colon or a bracket in one for its
/// own, and then completes nothing after that option.
fn completed() -> Command {
    let simple = |arg: clap::Arg| arg.value_name("ADDR");
    Args::command()
        .mut_arg("local", simple)
        .mut_arg("remote", simple)
}

fn man(text: &mut Vec<u8>) -> io::Result<()> {
    let command = Args::command();
    let version = command.get_version().unwrap_or_default().to_owned();
    let usage = command.clone().render_usage().to_string();
    let man = Man::new(command);
    // The library leaves an empty date without quotes, and lists every option in the synopsis.
    writeln!(
        text,
        r#".TH CAPTURE2PCAP 1 "" "capture2pcap {version}" "User Commands""#
    )?;
    man.render_name_section(text)?;
    writeln!(text, ".SH SYNOPSIS")?;
    for line in usage.trim_start_matches("Usage:").lines() {
        writeln!(text, ".B {}\n.br", line.trim().replace('-', r"\-"))?;
    }
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    text.extend_from_slice(MAN_SECTIONS.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_value_is_syntax_to_a_shell() {
        for arg in completed().get_arguments() {
            let names = arg.get_value_names().unwrap_or_default();
            assert!(
                !names.iter().any(|name| name.contains([':', '[', ']'])),
                "{arg}"
            );
        }
    }

    /// Where the library's script changes, what is put into it has to change as well.
    #[test]
    fn the_script_for_bash_knows_an_equals_sign() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut completed(), "capture2pcap", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert_eq!(script.matches(BASH_PREVIOUS).count(), 1);
    }
}
