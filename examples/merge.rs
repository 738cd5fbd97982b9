//! Merges the traces that the arguments name into one pcapng capture in memory, and writes that to standard output:
//! `cargo run --example merge -- path_0.pb path_1.pb > merged.pcapng`.

use std::io::Write as _;

use capture2pcap::{Converter, Format, Trace};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut traces = Vec::new();
    for name in std::env::args_os().skip(1) {
        let bytes = std::fs::read(&name)?;
        traces.push(Trace::new(name, bytes));
    }
    let converter = Converter::new().format(Format::Pcapng);
    let (merged, capture) = converter.merge(&traces, Vec::new())?;
    for trace in &merged.traces {
        if let Err(failure) = &trace.result {
            eprintln!("{}: {failure}", trace.path.display());
        }
        for warning in trace.warnings.tallies() {
            eprintln!("{}: {warning}", trace.path.display());
        }
    }
    eprintln!("{} packets", merged.frames);
    std::io::stdout().write_all(&capture)?;
    Ok(())
}
