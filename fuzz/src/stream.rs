//! A file, a stream and memory give the same result.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use capture2pcap::input::{Input, Wait};
use capture2pcap::trace::{Encoding, Fault};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::convert::make;
use crate::decode::{Contents, read};
use crate::options;

/// The number of bytes that set the sizes of chunks, in turn.
const SIZES: usize = 4;
/// A chunk for which a stream's window has to grow, in bytes.
const LARGE: usize = 70_000;
/// The size of the largest compressed trace that is tested, unpacked, in bytes.
const MAX_UNPACKED: u64 = 1 << 20;

/// A stream that returns its bytes in chunks.
#[derive(Clone)]
struct Chunks {
    rest: Bytes,
    sizes: [u8; SIZES],
    turn: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = match self.sizes[self.turn % SIZES] {
            255 => LARGE,
            size => usize::from(size) + 1,
        };
        self.turn += 1;
        let taken = self
            .rest
            .split_to(size.min(self.rest.len()).min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// For any sizes of the chunks, a stream gives the same events, damage and capture as memory and a file.
pub fn stream(data: &[u8]) {
    let Some((sizes, data)) = data.split_first_chunk::<SIZES>() else {
        return;
    };
    let Some((options, trace)) = options::split(data) else {
        return;
    };
    let trace = Bytes::copy_from_slice(trace);
    let chunks = Chunks {
        rest: trace.clone(),
        sizes: *sizes,
        turn: 0,
    };
    let is_zstd =
        |magic: &[u8]| magic == [0x28, 0xb5, 0x2f, 0xfd] || magic[1..] == [0x2a, 0x4d, 0x18];
    if trace.starts_with(&[0x1f, 0x8b]) || trace.get(..4).is_some_and(is_zstd) {
        return packed(&trace, options.encoding);
    }
    let file = file(&trace);
    for wanted in [None, options.encoding] {
        let input = Input::from_bytes(trace.clone());
        let whole = comparable(read(input, trace.len(), wanted));
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        // Opened again, because a copy of the descriptor would share its position.
        let opened = Input::from_file(File::open(&path).expect("a file")).expect("a file");
        let contents = comparable(read(opened, trace.len(), wanted));
        assert_eq!(contents, whole, "{wanted:?}: a file");
        let input = Input::from_reader(chunks.clone());
        let pieces = comparable(read(input, trace.len(), wanted));
        assert_eq!(pieces, whole, "{wanted:?}: a stream");
    }
    let from_memory = make(Input::from_bytes(trace.clone()), trace.len(), &options);
    let from_stream = make(Input::from_reader(chunks), trace.len(), &options);
    assert_eq!(from_stream.len, from_memory.len);
    assert!(
        from_stream.capture == from_memory.capture,
        "another capture from a stream"
    );
    assert_eq!(from_stream.damage.is_some(), from_memory.damage.is_some());
}

/// Compares a compressed trace from a file, which is unpacked into a pipe, with the same trace from memory.
fn packed(trace: &Bytes, wanted: Option<Encoding>) {
    let mut opened = file(trace);
    opened.rewind().expect("a file in memory");
    let in_memory = || Input::from_anywhere(Arc::new(trace.to_vec()));
    let mut measured = in_memory();
    while !measured.ended() {
        measured.skip(measured.window().len());
        measured.fill(&Wait::default()).expect("memory");
        if measured.offset() > MAX_UNPACKED {
            return;
        }
    }
    let len = measured.offset() as usize;
    let of_file = Input::from_file(opened).expect("a file");
    let [of_file, of_memory] =
        [of_file, in_memory()].map(|input| comparable(read(input, len, wanted)));
    assert_eq!(of_memory, of_file, "{wanted:?}: compressed, in memory");
}

/// The contents without the excerpt and the guess about an input that is not a trace. A stream may have less of it.
fn comparable(mut contents: Contents) -> Contents {
    if let Some(damage) = &mut contents.damage
        && let Fault::Unrecognised { text, is } = &mut *damage.fault
    {
        (*text, *is) = (None, None);
    }
    contents
}

/// An anonymous file with `bytes`.
fn file(bytes: &[u8]) -> File {
    let fd = memfd_create("trace", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("memory is writable");
    file
}
