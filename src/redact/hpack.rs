//! The header blocks of one direction of an HTTP/2 connection (RFC 7541), followed byte by byte.
//!
//! Of the dynamic table it keeps the lengths of each name and entry, and whether the value was overwritten. A later
//! reference to an entry shows the overwritten value in the capture.
//!
//! Invariant: a value is overwritten by the same number of characters in the same number of bytes, so that a reader's
//! table has the same entries of the same sizes.

mod integer;
mod pieces;
mod table;
mod whole;

use arrayvec::ArrayVec;

use super::names::{MAX_NAME, Names};
use super::patch::Patch;
use integer::Integer;
use pieces::Text;
use table::{ENTRY, Entry, Table};

pub(super) use table::STATIC;

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
                place => {
                    if let Place::Field = place {
                        let after = self.whole_fields(at..end, patch, names);
                        if after > at {
                            at = after;
                            continue;
                        }
                    }
                    self.byte(bytes[at], names).ok_or(Lost(at))?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Adds a complete field, whose value has this many characters, to the table if it belongs there.
    fn add(&mut self, field: Field, chars: u32) {
        let Field {
            is_added,
            is_secret,
            name_len,
        } = field;
        if is_added {
            self.table.add(Entry {
                size: name_len.saturating_add(chars).saturating_add(ENTRY),
                name_len,
                is_secret,
            });
        }
    }
}
