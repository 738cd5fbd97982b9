//! The header blocks of one direction of an HTTP/2 connection (RFC 7541), followed byte by byte.
//!
//! Of the dynamic table it keeps how long each name and entry is and whether the value was overwritten: an entry
//! that is referred to later holds what stands in the capture.
//!
//! Invariant: a value is overwritten by as many characters in as many bytes, so that a reader's table has the
//! same entries of the same sizes.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use super::huffman::{self, Node};
use super::names::{MAX_NAME, Names};
use super::patch::Patch;

/// The size of a table before any update (RFC 9113, section 6.5.2).
pub(super) const DEFAULT_TABLE: u32 = 4096;
/// The largest table that is followed, in the measure of RFC 7541, section 4.1.
pub(super) const MAX_TABLE: u32 = 1 << 20;
/// What an entry counts beside its name and value.
const ENTRY: u32 = 32;
/// The most bits of an integer; a length or an index with more makes no sense here.
const MAX_BITS: u32 = 28;

/// The names of the static table (RFC 7541, appendix A).
const STATIC: [&str; 61] = [
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

/// A header block makes no sense from this place of the event's bytes on.
#[derive(Debug)]
pub(super) struct Lost(pub(super) usize);

/// The place in the header blocks of one direction.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    table: Table,
    place: Place,
    /// The field that is being read.
    field: Field,
    /// The name that is being read, as far as it may be one that is looked for.
    name: ArrayVec<u8, { MAX_NAME + 1 }>,
    /// Whether a field has been read in this block: no table's size comes after one.
    has_fields: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before a field.
    Field,
    /// In the integer that a field begins with.
    Integer(Begin, Integer),
    NameLength,
    NameInteger(bool, Integer),
    Name(Text),
    ValueLength,
    ValueInteger(bool, Integer),
    Value(Text),
}

/// How a field begins (RFC 7541, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Indexed,
    Literal,
    /// A literal that goes into the table.
    Added,
    TableSize,
}

/// An integer so far (RFC 7541, section 5.1).
#[derive(Clone, Copy, Debug)]
struct Integer {
    value: u32,
    bits: u32,
}

/// A string so far.
#[derive(Clone, Copy, Debug)]
struct Text {
    left: u32,
    is_huffman: bool,
    node: Node,
    chars: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Field {
    is_added: bool,
    /// Whether its value is overwritten.
    is_secret: bool,
    name_len: u32,
}

/// A dynamic table (RFC 7541, section 2.3.2), without its contents.
#[derive(Debug)]
struct Table {
    /// The latest first.
    entries: VecDeque<Entry>,
    size: u32,
    max_size: u32,
    /// The largest size that the other side has allowed.
    limit: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    size: u32,
    name_len: u32,
    is_secret: bool,
}

impl Table {
    const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: DEFAULT_TABLE,
            limit: DEFAULT_TABLE,
        }
    }

    /// The length of a name, and whether it is one that is looked for.
    fn name(&self, index: u32, names: &Names) -> Option<(u32, bool)> {
        let index = (index as usize).checked_sub(1)?;
        if let Some(name) = STATIC.get(index) {
            return Some((name.len() as u32, names.has(name.as_bytes())));
        }
        let entry = self.entries.get(index - STATIC.len())?;
        Some((entry.name_len, entry.is_secret))
    }

    fn has(&self, index: u32) -> bool {
        (1..=self.len()).contains(&(index as usize))
    }

    /// The number of entries, those of the static table included.
    fn len(&self) -> usize {
        STATIC.len() + self.entries.len()
    }

    fn add(&mut self, entry: Entry) {
        self.make_room(entry.size);
        if entry.size <= self.max_size {
            self.size += entry.size;
            self.entries.push_front(entry);
        }
    }

    fn resize(&mut self, size: u32) -> bool {
        if size > self.limit {
            return false;
        }
        self.max_size = size;
        self.make_room(0);
        true
    }

    /// Drops the oldest entries until there is room for one of so much.
    fn make_room(&mut self, size: u32) {
        while self.size + size > self.max_size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

impl Begin {
    /// How the field begins whose first byte this is, and how many bits of an integer are in it.
    const fn of(byte: u8) -> (Self, u32) {
        match byte {
            0x80.. => (Self::Indexed, 7),
            0x40..0x80 => (Self::Added, 6),
            0x20..0x40 => (Self::TableSize, 5),
            0..0x20 => (Self::Literal, 4),
        }
    }
}

impl Integer {
    /// The integer that begins in the last `bits` bits of a byte, and whether it ends there.
    const fn begin(byte: u8, bits: u32) -> (Self, bool) {
        let max = (1 << bits) - 1;
        let value = byte as u32 & max;
        (Self { value, bits: 0 }, value < max)
    }

    /// Takes the next byte, and returns whether it is the last; none: it makes no sense.
    fn next(&mut self, byte: u8) -> Option<bool> {
        if self.bits >= MAX_BITS {
            return None;
        }
        self.value = self
            .value
            .checked_add(u32::from(byte & 0x7f) << self.bits)?;
        self.bits += 7;
        Some(byte < 0x80)
    }
}

impl HeaderBlocks {
    pub(super) const fn new() -> Self {
        Self {
            table: Table::new(),
            place: Place::Field,
            field: Field {
                is_added: false,
                is_secret: false,
                name_len: 0,
            },
            name: ArrayVec::new_const(),
            has_fields: false,
        }
    }

    /// Takes note of the largest table that the other side allows.
    pub(super) fn allow(&mut self, size: u32) {
        self.table.limit = self.table.limit.max(size.min(MAX_TABLE));
    }

    /// Begins a block.
    pub(super) const fn begin(&mut self) {
        self.has_fields = false;
    }

    /// Whether a block may end here.
    pub(super) const fn may_end(&self) -> bool {
        matches!(self.place, Place::Field)
    }

    /// Goes on over a fragment of a block, which ends at `end` of the event's bytes.
    pub(super) fn follow(
        &mut self,
        mut at: usize,
        end: usize,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> Result<(), Lost> {
        let bytes = patch.bytes();
        while at < end {
            match self.place {
                Place::Name(text) => {
                    let piece = at..end.min(at + text.left as usize);
                    let lost = Lost(at);
                    at = piece.end;
                    self.name_piece(text, &bytes[piece], names).ok_or(lost)?;
                }
                Place::Value(text) => {
                    let piece = at..end.min(at + text.left as usize);
                    let lost = Lost(at);
                    at = piece.end;
                    self.value_piece(text, piece, patch).ok_or(lost)?;
                }
                // Fields by index: most are.
                Place::Field if (0x81..0xff).contains(&bytes[at]) => {
                    let known = self.table.len();
                    let is_known = |byte: u8| usize::from(byte & 0x7f) <= known;
                    self.has_fields = true;
                    while at < end && (0x81..0xff).contains(&bytes[at]) {
                        if !is_known(bytes[at]) {
                            return Err(Lost(at));
                        }
                        at += 1;
                    }
                }
                _ => {
                    self.byte(bytes[at], names).ok_or(Lost(at))?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes a byte that belongs to no string.
    #[inline]
    fn byte(&mut self, byte: u8, names: &Names) -> Option<()> {
        match self.place {
            Place::Field => {
                let (begin, bits) = Begin::of(byte);
                match Integer::begin(byte, bits) {
                    (integer, true) => self.begun(begin, integer.value, names)?,
                    (integer, false) => self.place = Place::Integer(begin, integer),
                }
            }
            Place::Integer(begin, mut integer) => match integer.next(byte)? {
                true => self.begun(begin, integer.value, names)?,
                false => self.place = Place::Integer(begin, integer),
            },
            Place::NameLength => match Integer::begin(byte, 7) {
                (integer, true) => self.name_begins(byte >= 0x80, integer.value),
                (integer, false) => self.place = Place::NameInteger(byte >= 0x80, integer),
            },
            Place::NameInteger(is_huffman, mut integer) => match integer.next(byte)? {
                true => self.name_begins(is_huffman, integer.value),
                false => self.place = Place::NameInteger(is_huffman, integer),
            },
            Place::ValueLength => match Integer::begin(byte, 7) {
                (integer, true) => self.value_begins(byte >= 0x80, integer.value),
                (integer, false) => self.place = Place::ValueInteger(byte >= 0x80, integer),
            },
            Place::ValueInteger(is_huffman, mut integer) => match integer.next(byte)? {
                true => self.value_begins(is_huffman, integer.value),
                false => self.place = Place::ValueInteger(is_huffman, integer),
            },
            Place::Name(_) | Place::Value(_) => return None,
        }
        Some(())
    }

    /// Takes what a field begins with.
    fn begun(&mut self, begin: Begin, integer: u32, names: &Names) -> Option<()> {
        self.place = Place::Field;
        if begin == Begin::TableSize {
            return (!self.has_fields && self.table.resize(integer)).then_some(());
        }
        self.has_fields = true;
        if begin == Begin::Indexed {
            return self.table.has(integer).then_some(());
        }
        let is_added = begin == Begin::Added;
        let (name_len, is_secret) = match integer {
            0 => (0, false),
            index => self.table.name(index, names)?,
        };
        self.field = Field {
            is_added,
            is_secret,
            name_len,
        };
        self.place = match integer {
            0 => Place::NameLength,
            _ => Place::ValueLength,
        };
        Some(())
    }

    fn name_begins(&mut self, is_huffman: bool, len: u32) {
        self.name.clear();
        // No name is empty, but that is not for this to judge.
        self.place = match len {
            0 => Place::ValueLength,
            _ => Place::Name(Text::new(is_huffman, len)),
        };
    }

    /// Takes a piece of a name; none: it makes no sense.
    fn name_piece(&mut self, mut text: Text, piece: &[u8], names: &Names) -> Option<()> {
        text.left -= piece.len() as u32;
        let name = &mut self.name;
        if text.is_huffman {
            let take = |byte| {
                text.chars += 1;
                let _ = name.try_push(byte);
            };
            huffman::decode(piece, &mut text.node, take).ok()?;
        } else {
            text.chars += piece.len() as u32;
            let kept = piece.len().min(name.remaining_capacity());
            let _ = name.try_extend_from_slice(&piece[..kept]);
        }
        if text.left > 0 {
            self.place = Place::Name(text);
            return Some(());
        }
        if text.is_huffman {
            huffman::end(text.node).ok()?;
        }
        self.field.name_len = text.chars;
        self.field.is_secret = names.has(&self.name);
        self.place = Place::ValueLength;
        Some(())
    }

    fn value_begins(&mut self, is_huffman: bool, len: u32) {
        match len {
            0 => self.value_ends(0),
            _ => self.place = Place::Value(Text::new(is_huffman, len)),
        }
    }

    /// Takes a piece of a value; none: it makes no sense.
    fn value_piece(
        &mut self,
        mut text: Text,
        piece: std::ops::Range<usize>,
        patch: &mut Patch<'_>,
    ) -> Option<()> {
        let len = piece.len() as u32;
        text.left -= len;
        match (text.is_huffman, self.field.is_secret) {
            (false, is_secret) => {
                text.chars += len;
                if is_secret {
                    patch.overwrite(piece);
                }
            }
            (true, true) => {
                let piece = patch.part(piece);
                text.chars += huffman::overwrite(piece, &mut text.node, text.left == 0).ok()?;
            }
            // How many characters it has matters in the table only.
            (true, false) if self.field.is_added => {
                let piece = &patch.bytes()[piece];
                huffman::decode(piece, &mut text.node, |_| text.chars += 1).ok()?;
                if text.left == 0 {
                    huffman::end(text.node).ok()?;
                }
            }
            (true, false) => {}
        }
        match text.left {
            0 => self.value_ends(text.chars),
            _ => self.place = Place::Value(text),
        }
        Some(())
    }

    fn value_ends(&mut self, chars: u32) {
        let Field {
            is_added,
            is_secret,
            name_len,
        } = self.field;
        if is_added {
            self.table.add(Entry {
                size: name_len.saturating_add(chars).saturating_add(ENTRY),
                name_len,
                is_secret,
            });
        }
        self.place = Place::Field;
    }
}

impl Text {
    const fn new(is_huffman: bool, left: u32) -> Self {
        Self {
            left,
            is_huffman,
            node: 0,
            chars: 0,
        }
    }
}
