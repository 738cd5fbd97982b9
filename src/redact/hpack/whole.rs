//! Literal fields that are complete in an event, as nearly all are.

use std::ops::Range;

use super::super::huffman;
use super::super::names::Names;
use super::super::patch::Patch;
use super::integer::whole_integer;
use super::{Begin, Field, HeaderBlocks};

impl HeaderBlocks {
    /// Takes a complete literal field, and returns its end. Returns `None`, and does nothing, if there is another one
    /// or it is invalid: then [`byte`](Self::byte) takes it.
    ///
    /// Few fields continue in another event.
    pub(super) fn literal(
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
}

/// Whether the complete string at `at` is in Huffman's code, and where it lies.
#[inline]
fn whole_string(bytes: &[u8], at: usize) -> Option<(bool, Range<usize>)> {
    let is_huffman = *bytes.get(at)? >= 0x80;
    let (len, at) = whole_integer(bytes, at, 7)?;
    let end = at.checked_add(len as usize)?;
    (end <= bytes.len()).then_some((is_huffman, at..end))
}
