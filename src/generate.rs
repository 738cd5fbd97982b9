//! The man page and the completion scripts, made from the clap definitions.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Args, Generate};

/// What the man page says behind the options.
const MAN_SECTIONS: &str = include_str!("man.roff");

/// Prints the man page or a completion script to standard output.
pub(crate) fn generate(what: Generate) -> io::Result<()> {
    let mut text = Vec::new();
    let shell = match what {
        Generate::Man => {
            man(&mut text)?;
            return io::stdout().write_all(&text);
        }
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
        Generate::Powershell => Shell::PowerShell,
    };
    clap_complete::generate(shell, &mut Args::command(), "capture2pcap", &mut text);
    io::stdout().write_all(&text)
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
