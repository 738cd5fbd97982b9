//! The header blocks of one direction of an HTTP/2 connection (RFC 7541), followed byte by byte.
//!
//! Of the dynamic table it keeps the lengths of each name and entry, and whether the value was overwritten. A later
//! reference to an entry shows the overwritten value in the capture.
//!
//! Invariant: a value is overwritten by the same number of characters in the same number of bytes, so that a reader's
//! table has the same entries of the same sizes.

mod table;

use std::ops::Range;

use arrayvec::ArrayVec;

use super::huffman::{self, Node};

use super::names::{MAX_NAME, Names};

use super::patch::Patch;
use table::{ENTRY, Entry, Table};

pub(super) use table::STATIC;

/// The maximum number of bits of an integer; a longer length or index is invalid here.
const MAX_BITS: u32 = 28;

/// An indexed field whose index, which is not 0, is complete in its first byte.
const INDEXED_BY_ONE_BYTE: Range<u8> = 0x81..0xff;

/// A header block is invalid from this index of the event's bytes on.
#[derive(Debug)]
pub(super) struct Lost(pub(super) usize);

/// The position in the header blocks of one direction.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    table: Table,
    place: Place,
    /// The current field.
    field: Field,
    /// The current name, up to one byte more than the longest name to overwrite.
    name: ArrayVec<u8, { MAX_NAME + 1 }>,
    /// Whether this block has had a field, after which no table size is valid.
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

impl Begin {
    /// The meaning of a field's first byte, and the number of bits of the integer in it.
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
    /// Begins an integer in the last `bits` bits of a byte, and returns whether it also ends there.
    const fn begin(byte: u8, bits: u32) -> (Self, bool) {
        let max = (1 << bits) - 1;
        let value = byte as u32 & max;
        (Self { value, bits: 0 }, value < max)
    }

    /// Takes the next byte, and returns whether it is the last; `None` if the integer is invalid.
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

/// The complete integer in the last `bits` bits of the byte at `at` and after it, and its end.
#[inline]
fn whole_integer(bytes: &[u8], at: usize, bits: u32) -> Option<(u32, usize)> {
    let (mut integer, mut is_end) = Integer::begin(*bytes.get(at)?, bits);
    let mut at = at + 1;
    while !is_end {
        is_end = integer.next(*bytes.get(at)?)?;
        at += 1;
    }
    Some((integer.value, at))
}

/// Whether the complete string at `at` is in Huffman's code, and where it lies.
#[inline]
fn whole_string(bytes: &[u8], at: usize) -> Option<(bool, Range<usize>)> {
    let is_huffman = *bytes.get(at)? >= 0x80;
    let (len, at) = whole_integer(bytes, at, 7)?;
    let end = at.checked_add(len as usize)?;
    (end <= bytes.len()).then_some((is_huffman, at..end))
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

    /// Notes the largest table that the other side allows.
    pub(super) fn allow(&mut self, size: u32) {
        self.table.allow(size);
    }

    /// Begins a block.
    pub(super) const fn begin(&mut self) {
        self.has_fields = false;
    }

    /// Whether a block may end here.
    pub(super) const fn may_end(&self) -> bool {
        matches!(self.place, Place::Field)
    }

    /// Advances over the indexed fields at the beginning of bytes, and returns the number of these bytes. Such a field
    /// has no value, and does not change the table.
    #[inline]
    pub(super) fn indexed(&mut self, bytes: &[u8]) -> usize {
        if !self.may_end() {
            return 0;
        }
        let known = self.table.len();
        let is_known =
            |byte: &&u8| INDEXED_BY_ONE_BYTE.contains(*byte) && usize::from(**byte & 0x7f) <= known;
        let count = bytes.iter().take_while(is_known).count();
        self.has_fields |= count > 0;
        count
    }

    /// Advances over a fragment of a block, from `at` to `end` of the event's bytes.
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
                // Most fields are indexed.
                Place::Field if INDEXED_BY_ONE_BYTE.contains(&bytes[at]) => {
                    match self.indexed(&bytes[at..end]) {
                        0 => return Err(Lost(at)),
                        count => at += count,
                    }
                }
                place => {
                    if let Place::Field = place
                        && let Some(after) = self.literal(at, end, patch, names)
                    {
                        at = after;
                        continue;
                    }
                    self.byte(bytes[at], names).ok_or(Lost(at))?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes a complete literal field, and returns its end. Returns `None`, and does nothing, if there is another one
    /// or it is invalid: then [`byte`](Self::byte) takes it.
    ///
    /// Few fields continue in another event.
    fn literal(
        &mut self,
        at: usize,
        end: usize,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> Option<usize> {
        let bytes = &patch.bytes()[..end];
        let is_added = match Begin::of(*bytes.get(at)?) {
            (Begin::Added, _) => true,
            (Begin::Literal, _) => false,
            (Begin::Indexed | Begin::TableSize, _) => return None,
        };
        let (index, at) = whole_integer(bytes, at, if is_added { 6 } else { 4 })?;
        let (name_len, is_secret, at) = match index {
            0 => self.whole_name(bytes, at, names)?,
            index => {
                let (name_len, is_secret) = self.table.name(index, names)?;
                (name_len, is_secret, at)
            }
        };
        let (is_huffman, value) = whole_string(bytes, at)?;
        let at = value.end;
        let chars = match (is_huffman, is_secret) {
            (false, false) => value.len() as u32,
            (false, true) => {
                patch.overwrite(value.clone());
                value.len() as u32
            }
            (true, true) => huffman::overwrite_all(patch.part(value)).ok()?,
            // Only the table needs the number of its characters.
            (true, false) if is_added => huffman::count(&bytes[value]).ok()?,
            (true, false) => 0,
        };
        self.has_fields = true;
        self.field = Field {
            is_added,
            is_secret,
            name_len,
        };
        self.value_ends(chars);
        Some(at)
    }

    /// The length of the complete name of a field, whether the field's value is overwritten, and the name's end.
    fn whole_name(&mut self, bytes: &[u8], at: usize, names: &Names) -> Option<(u32, bool, usize)> {
        let (is_huffman, name) = whole_string(bytes, at)?;
        let (name, at) = (&bytes[name.clone()], name.end);
        if !is_huffman {
            return Some((name.len() as u32, names.has(name), at));
        }
        self.name.clear();
        let (mut chars, mut node) = (0, 0);
        let take = |byte| {
            chars += 1;
            let _ = self.name.try_push(byte);
        };
        huffman::decode(name, &mut node, take).ok()?;
        huffman::end(node).ok()?;
        Some((chars, names.has(&self.name), at))
    }

    /// Takes a byte outside strings.
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

    /// Takes the integer that a field begins with.
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
        // An empty name is invalid HTTP, but valid HPACK.
        self.place = match len {
            0 => Place::ValueLength,
            _ => Place::Name(Text::new(is_huffman, len)),
        };
    }

    /// Takes a part of a name; `None` if it is invalid.
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

    /// Takes a part of a value; `None` if it is invalid.
    fn value_piece(
        &mut self,
        mut text: Text,
        piece: Range<usize>,
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
            // Only the table needs the number of its characters.
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
