//! Fields that are complete in an event, as nearly all are.

use std::ops::Range;

use super::super::huffman;
use super::super::names::Names;
use super::super::patch::Patch;
use super::integer::whole_integer;
use super::{Begin, Field, HeaderBlocks};

/// An indexed field with the index 1, and the largest index in one byte (RFC 7541, section 6.1).
const INDEXED: u8 = 0x81;
const MAX_IN_ONE_BYTE: usize = 0x7e;

impl HeaderBlocks {
    /// Advances over the complete fields at the beginning of a range of the event's bytes, and returns their end. They
    /// are indexed by one byte or literal. Has to be called before a field.
    #[inline(always)]
    pub(in super::super) fn whole_fields(
        &mut self,
        range: Range<usize>,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> usize {
        debug_assert!(self.may_end());
        let bytes = &patch.bytes()[..range.end];
        let mut at = range.start;
        loop {
            at += self.indexed(&bytes[at..]);
            if at == bytes.len() {
                return at;
            }
            match self.literal(bytes, at, patch, names) {
                Some(end) => at = end,
                None => return at,
            }
        }
    }

    /// Advances over the indexed fields at the beginning of bytes, and returns the number of these bytes. Such a field
    /// has no value, and does not change the table.
    #[inline]
    fn indexed(&mut self, bytes: &[u8]) -> usize {
        let known = self.table.len().min(MAX_IN_ONE_BYTE) as u8;
        let is_known = |byte: &&u8| byte.wrapping_sub(INDEXED) < known;
        let count = bytes.iter().take_while(is_known).count();
        self.has_fields |= count > 0;
        count
    }

    /// Takes a complete literal field, and returns its end. Returns `None`, and does nothing, if there is another one
    /// or it is invalid: then [`byte`](Self::byte) takes it.
    #[inline(never)]
    fn literal(
        &mut self,
        bytes: &[u8],
        at: usize,
        patch: &mut Patch<'_>,
        names: &Names,
    ) -> Option<usize> {
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
        let field = Field {
            is_added,
            is_secret,
            name_len,
        };
        self.add(field, chars);
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
}

/// Whether the complete string at `at` is in Huffman's code, and where it lies.
#[inline]
fn whole_string(bytes: &[u8], at: usize) -> Option<(bool, Range<usize>)> {
    let is_huffman = *bytes.get(at)? >= 0x80;
    let (len, at) = whole_integer(bytes, at, 7)?;
    let end = at.checked_add(len as usize)?;
    (end <= bytes.len()).then_some((is_huffman, at..end))
}
