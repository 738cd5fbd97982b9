//! The static table of HPACK and the dynamic one of a direction (RFC 7541, section 2.3), without the values.

use std::collections::VecDeque;

use super::super::names::Names;

/// The size of a table before any update (RFC 9113, section 6.5.2).
const DEFAULT_TABLE: u32 = 4096;

/// The size of the largest table that is followed (RFC 7541, section 4.1), in bytes.
const MAX_TABLE: u32 = 1 << 20;

/// The size of an entry beside its name and value, in bytes.
pub(super) const ENTRY: u32 = 32;

/// The names of the static table (RFC 7541, appendix A).
pub(in super::super) const STATIC: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// A dynamic table (RFC 7541, section 2.3.2), without its contents.
#[derive(Debug)]
pub(super) struct Table {
    /// The latest first.
    entries: VecDeque<Entry>,
    size: u32,
    max_size: u32,
    /// The largest size that the other side has allowed.
    limit: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) size: u32,
    pub(super) name_len: u32,
    pub(super) is_secret: bool,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: DEFAULT_TABLE,
            limit: DEFAULT_TABLE,
        }
    }

    /// The length of the name with this index, and whether its values are overwritten.
    pub(super) fn name(&self, index: u32, names: &Names) -> Option<(u32, bool)> {
        let index = (index as usize).checked_sub(1)?;
        if let Some(name) = STATIC.get(index) {
            return Some((name.len() as u32, names.has_static(index)));
        }
        let entry = self.entries.get(index - STATIC.len())?;
        Some((entry.name_len, entry.is_secret))
    }

    pub(super) fn has(&self, index: u32) -> bool {
        (1..=self.len()).contains(&(index as usize))
    }

    /// The number of entries, those of the static table included.
    pub(super) fn len(&self) -> usize {
        STATIC.len() + self.entries.len()
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.make_room(entry.size);
        if entry.size <= self.max_size {
            self.size += entry.size;
            self.entries.push_front(entry);
        }
    }

    /// Notes the largest size that the other side allows.
    pub(super) fn allow(&mut self, size: u32) {
        self.limit = self.limit.max(size.min(MAX_TABLE));
    }

    /// Changes the size, and returns whether it is allowed.
    pub(super) fn resize(&mut self, size: u32) -> bool {
        if size > self.limit {
            return false;
        }
        self.max_size = size;
        self.make_room(0);
        true
    }

    /// Drops the oldest entries until there is room for one of this size.
    fn make_room(&mut self, size: u32) {
        while self.size + size > self.max_size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}
