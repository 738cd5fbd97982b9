//! Fields of any kind, taken a byte or a piece of a string at a time, wherever events end.

use std::ops::Range;

use super::super::huffman::{self, Node};
use super::super::names::Names;
use super::super::patch::Patch;
use super::integer::Integer;
use super::{Begin, Field, HeaderBlocks, Place};

/// A string so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) left: u32,
    is_huffman: bool,
    node: Node,
    chars: u32,
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

impl HeaderBlocks {
    /// Takes a byte outside strings.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8, names: &Names) -> Option<()> {
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
    pub(super) fn name_piece(&mut self, mut text: Text, piece: &[u8], names: &Names) -> Option<()> {
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
    pub(super) fn value_piece(
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
        self.add(self.field, chars);
        self.place = Place::Field;
    }
}
