//! How close a conversion of large events comes to what the system allows.
//!
//! `cargo bench --bench floor -- TRACE [ROUNDS]` compares the program with a minimal pipeline of two threads: one reads
//! the trace in pieces of 1 MiB and sums its words, the other writes the same bytes. No program that reads, sums and
//! writes can be faster.
#![allow(missing_docs, reason = "a program")]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const PIECE: usize = 1 << 20;
const WRITE: usize = 256 << 10;
const BUFFERS: usize = 3;

fn main() -> io::Result<()> {
    // Cargo adds an option.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let mut arguments = arguments.iter().filter(|argument| *argument != "--bench");
    let Some(trace) = arguments.next().map(PathBuf::from) else {
        println!("floor: no trace to measure with");
        return Ok(());
    };
    let second = arguments.next();
    if trace.as_os_str() == "--pipeline" {
        let (Some(from), Some(to)) = (second, arguments.next()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        return pipeline(Path::new(from), Path::new(to));
    }
    let rounds = second.and_then(|rounds| rounds.to_str()?.parse().ok());
    compare(&trace, rounds.unwrap_or(15))
}

/// Runs both in turn, and prints the medians of their times.
fn compare(trace: &Path, rounds: usize) -> io::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let out = folder.path().join("out");
    let own = std::env::current_exe()?;
    let (mut floors, mut times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let mut floor = Command::new(&own);
        floor.arg("--pipeline").arg(trace).arg(&out);
        let mut tool = Command::new(env!("CARGO_BIN_EXE_capture2pcap"));
        tool.arg("-q").arg(trace).arg(&out);
        // The second one benefits from the memory that the first one has freed, so the order alternates.
        let (one, other) = match round % 2 {
            0 => {
                let floor = time(&mut floor, &out)?;
                (floor, time(&mut tool, &out)?)
            }
            _ => {
                let tool = time(&mut tool, &out)?;
                (time(&mut floor, &out)?, tool)
            }
        };
        // The first round is a warm-up.
        if round > 0 {
            floors.push(one.as_secs_f64());
            times.push(other.as_secs_f64());
            ratios.push(other.as_secs_f64() / one.as_secs_f64());
        }
    }
    let (floor, tool, ratio) = (median(floors), median(times), median(ratios));
    println!("floor {floor:.3} s, capture2pcap {tool:.3} s: {ratio:.2} times as long");
    Ok(())
}

fn time(command: &mut Command, out: &Path) -> io::Result<Duration> {
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    std::fs::remove_file(out)?;
    match status.success() {
        true => Ok(time),
        false => Err(io::Error::other("a command failed")),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Memory that begins at a page boundary, which the system copies faster.
struct Aligned(Vec<u8>, usize);

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; PAGE + PIECE];
        let address = memory.as_ptr().addr();
        Self(memory, address.next_multiple_of(PAGE) - address)
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0[self.1..][..PIECE]
    }
}

/// Reads, sums and writes.
fn pipeline(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    // Preallocated, as in the program, so that the file system does not allocate block by block.
    #[cfg(target_os = "linux")]
    rustix::fs::fallocate(
        &to,
        rustix::fs::FallocateFlags::empty(),
        0,
        from.metadata()?.len(),
    )?;
    let (full, to_write) = mpsc::sync_channel::<(Aligned, usize)>(BUFFERS);
    let (written, free) = mpsc::channel();
    for _ in 0..BUFFERS {
        let given = written.send(Aligned::new());
        given.map_err(io::Error::other)?;
    }
    let writer = std::thread::spawn(move || -> io::Result<()> {
        for (mut buffer, len) in to_write {
            for piece in buffer.bytes()[..len].chunks(WRITE) {
                to.write_all(piece)?;
            }
            // The other thread may have ended.
            drop(written.send(buffer));
        }
        Ok(())
    });
    let mut sum = 0_u64;
    loop {
        let mut buffer = free.recv().map_err(io::Error::other)?;
        let len = from.read(buffer.bytes())?;
        if len == 0 {
            break;
        }
        let (words, _) = buffer.bytes()[..len].as_chunks();
        for word in words {
            sum = sum.wrapping_add(u64::from(u32::from_le_bytes(*word)));
        }
        full.send((buffer, len)).map_err(io::Error::other)?;
    }
    black_box(sum);
    drop(full);
    let ended = writer.join();
    ended.unwrap_or_else(|_| Err(io::Error::other("the writer has panicked")))
}
