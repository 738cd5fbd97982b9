//! How an input may be compressed, and how its first bytes show it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

#[cfg(any(feature = "cli", feature = "unpack"))]
const GZIP: &[u8] = b"\x1f\x8b";
#[cfg(any(feature = "cli", feature = "unpack"))]
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// What follows the first byte of a frame of zstd that holds no data; that byte is one of [`SKIPPABLE_FIRST`].
#[cfg(any(feature = "cli", feature = "unpack"))]
const SKIPPABLE: &[u8] = b"\x2a\x4d\x18";
#[cfg(any(feature = "cli", feature = "unpack"))]
const SKIPPABLE_FIRST: std::ops::RangeInclusive<u8> = 0x50..=0x5f;
/// How many bytes show whether an input is compressed.
#[cfg(any(feature = "cli", feature = "unpack"))]
pub(super) const MAGIC_LEN: usize = 4;

/// The format of compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
}

impl Compression {
    /// The extensions of compressed files, which follow the extension of the contents.
    pub const EXTENSIONS: [&str; 2] = ["gz", "zst"];

    /// The name of a file's contents: the name of the file without the extension of a compressed file.
    pub fn unpacked_name(path: &Path) -> Cow<'_, Path> {
        let extension = path.extension().and_then(OsStr::to_str);
        match extension.is_some_and(|extension| Self::EXTENSIONS.contains(&extension)) {
            true => Cow::Owned(path.with_extension("")),
            false => Cow::Borrowed(path),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Why compressed bytes cannot be unpacked to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unpackable {
    /// They end too early.
    Cut,
    /// A frame of zstd needs a window of more than 128 MiB.
    Window,
    /// They are corrupt, and this is the decoder's reason.
    Corrupt(String),
}

impl fmt::Display for Unpackable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("ends early"),
            Self::Window => f.write_str("needs a window of more than 128 MiB to be unpacked"),
            Self::Corrupt(why) => write!(f, "is corrupt ({why})"),
        }
    }
}

/// How unpacking ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "cli", feature = "unpack")),
    allow(dead_code, reason = "nothing is unpacked")
)]
pub(crate) enum Ending {
    /// At the end of the last member or frame, which is the end of the input.
    Whole,
    /// At the end of the last member or frame, which other bytes follow.
    Trailing,
    /// Early, because of a fault.
    Fault(Compression, Unpackable),
}

/// The compression that the first bytes of an input show.
#[cfg(any(feature = "cli", feature = "unpack"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    Is(Compression),
    /// More bytes are needed to decide.
    Short,
    Other,
}

#[cfg(any(feature = "cli", feature = "unpack"))]
impl Magic {
    /// Examines `bytes`; `ended` if no others follow.
    pub(super) fn of(bytes: &[u8], ended: bool) -> Self {
        if bytes.starts_with(GZIP) {
            return Self::Is(Compression::Gzip);
        }
        let skippable = match bytes {
            [first, rest @ ..] if SKIPPABLE_FIRST.contains(first) => Some(rest),
            _ => None,
        };
        if bytes.starts_with(ZSTD) || skippable.is_some_and(|rest| rest.starts_with(SKIPPABLE)) {
            return Self::Is(Compression::Zstd);
        }
        let may_become = GZIP.starts_with(bytes)
            || ZSTD.starts_with(bytes)
            || skippable.is_some_and(|rest| SKIPPABLE.starts_with(rest));
        match may_become && !ended {
            true => Self::Short,
            false => Self::Other,
        }
    }
}
