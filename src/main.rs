//! The `capture2pcap` command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run::main()
}
