//! Stores the part of an index that does not fit in memory: in an unnamed temporary file, or without the feature `cli` in
//! memory after all.

#[cfg(feature = "cli")]
pub(super) use file::Spill;
#[cfg(not(feature = "cli"))]
pub(super) use memory::Spill;

#[cfg(feature = "cli")]
mod file {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;

    #[derive(Debug)]
    pub(in crate::merge) struct Spill(File);

    impl Spill {
        /// Creates an empty file in `folder`.
        pub(in crate::merge) fn new(folder: &Path) -> io::Result<Self> {
            tempfile::tempfile_in(folder).map(Self)
        }

        /// Adds bytes at the end.
        pub(in crate::merge) fn writer(&mut self) -> impl io::Write {
            &self.0
        }

        /// Reads bytes that were added.
        pub(in crate::merge) fn read(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
            self.0.read_exact_at(bytes, position)
        }
    }
}

#[cfg(not(feature = "cli"))]
mod memory {
    use std::io;
    use std::path::Path;

    #[derive(Debug)]
    pub(in crate::merge) struct Spill(Vec<u8>);

    impl Spill {
        pub(in crate::merge) fn new(_folder: &Path) -> io::Result<Self> {
            Ok(Self(Vec::new()))
        }

        pub(in crate::merge) fn writer(&mut self) -> impl io::Write {
            &mut self.0
        }

        pub(in crate::merge) fn read(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
            let start = usize::try_from(position).unwrap_or(usize::MAX);
            let mut rest = self.0.get(start..).unwrap_or_default();
            io::Read::read_exact(&mut rest, bytes)
        }
    }
}
