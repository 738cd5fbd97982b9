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
    let mut command = Args::command();
    let mut text = Vec::new();
    let shell = match what {
        Generate::Man => {
            let man = Man::new(command.after_help(""));
            man.render_title(&mut text)?;
            man.render_name_section(&mut text)?;
            man.render_synopsis_section(&mut text)?;
            man.render_description_section(&mut text)?;
            man.render_options_section(&mut text)?;
            text.extend_from_slice(MAN_SECTIONS.as_bytes());
            man.render_version_section(&mut text)?;
            return io::stdout().write_all(&text);
        }
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
        Generate::Powershell => Shell::PowerShell,
    };
    clap_complete::generate(shell, &mut command, "capture2pcap", &mut text);
    io::stdout().write_all(&text)
}
