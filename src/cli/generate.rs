//! The man page and the completion scripts, generated from the clap definitions, and the Lua plugin.
//!
//! Owns the corrections to what clap_mangen and clap_complete generate.

use std::io::{self, Write as _};

use capture2pcap::wireshark::PLUGIN;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::args::{Args, Generate};

/// The sections of the man page after the options.
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

/// Corrects the fish script: after an option with an optional value, it also completes files, because an input may
/// follow.
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

/// The line of the bash script that reads the word before the completed one.
const BASH_PREVIOUS: &str = "    prev=\"$3\"\n";
/// The correction of the bash script.
const BASH_EQUALS: &str = r#"    # Bash takes the = of --option=value for a word of its own.
    if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then
        cur=""
        prev="${COMP_WORDS[COMP_CWORD-1]}"
    elif [[ "${prev}" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
"#;

/// The command with value names that are safe in every shell's script. In zsh, a colon or a bracket in such a
/// name is syntax, and breaks the completion after that option.
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
    // Written here, because clap_mangen leaves an empty date unquoted, and lists every option in the synopsis.
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
    fn no_value_name_is_shell_syntax() {
        for arg in completed().get_arguments() {
            let names = arg.get_value_names().unwrap_or_default();
            assert!(
                !names.iter().any(|name| name.contains([':', '[', ']'])),
                "{arg}"
            );
        }
    }

    /// Fails when a new clap_complete changes the line that the correction follows.
    #[test]
    fn the_bash_script_splits_at_an_equals_sign() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut completed(), "capture2pcap", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert_eq!(script.matches(BASH_PREVIOUS).count(), 1);
    }
}
