//! Protobuf's wire format, as far as a field's header goes. Every length is checked by the caller.

use super::error::Fault;

/// The largest message that protobuf allows, in bytes.
pub(super) const MAX_MESSAGE: u64 = i32::MAX as u64;
/// The most bytes that a varint of 64 bits takes.
const MAX_VARINT: usize = 10;
/// The largest field number, 2^29 − 1.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// How a field's value is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireValue {
    /// The value itself.
    Varint(u64),
    /// Eight or four bytes that follow the header.
    Fixed(u64),
    /// As many bytes that follow the header.
    Len(u64),
}

/// A field's number and value, and the length of what came before the value's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u32,
    pub(super) value: WireValue,
    pub(super) len: usize,
}

/// Why there is no header at the front of some bytes.
///
/// A byte or two: this goes through the hands of every field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// It may be one when more bytes come.
    Short,
    Varint,
    FieldNumber,
    WireType(u8),
}

impl NoHeader {
    /// What is wrong with the bytes; none where there are too few.
    pub(super) const fn fault(self) -> Option<Fault> {
        Some(match self {
            Self::Short => return None,
            Self::Varint => Fault::Varint,
            Self::FieldNumber => Fault::FieldNumber,
            Self::WireType(wire_type) => Fault::WireType(wire_type),
        })
    }
}

/// Reads a varint, and tells how many bytes it takes.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), NoHeader> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        // The tenth byte holds the last of 64 bits.
        if i == MAX_VARINT - 1 && byte > 1 {
            return Err(NoHeader::Varint);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(if bytes.len() < MAX_VARINT {
        NoHeader::Short
    } else {
        NoHeader::Varint
    })
}

/// Reads the header of the field at the front of `bytes`.
pub(super) fn header(bytes: &[u8]) -> Result<Header, NoHeader> {
    header_at(bytes, 0, bytes.len())
}

/// Reads the header of the field that begins at `at`, in a message that ends at `end`.
#[inline]
pub(super) fn header_at(bytes: &[u8], at: usize, end: usize) -> Result<Header, NoHeader> {
    // Bytes behind the message may be looked at, but must not be part of the header.
    if let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk)
        && let Some(header) = small_header(u64::from_le_bytes(*eight))
        && header.len <= end - at
    {
        return Ok(header);
    }
    large_header(&bytes[at..end])
}

/// The header at the low end of `eight` bytes, where its key takes one of them and its number or length
/// ends in them: nearly all do.
#[inline(always)]
fn small_header(eight: u64) -> Option<Header> {
    /// The top bit of each byte, which says that another one follows.
    const MORE: u64 = 0x8080_8080_8080_8080;
    let (key, rest) = (eight & 0xff, eight >> 8);
    // Wire types 0 and 2 alone have a varint behind the key. Field 0 is none.
    if key & 0x85 != 0 || key < 0x08 {
        return None;
    }
    let (x, len) = if rest & 0x80 == 0 {
        (rest & 0x7f, 2)
    } else {
        let last = !rest & (MORE >> 8);
        if last == 0 {
            return None;
        }
        // All bits up to the first byte that says that nothing follows.
        let x = rest & (last ^ (last - 1)) & !MORE;
        // Seven bits of each byte move together: in pairs, in fours, in eights.
        let x = (x & 0x007f_007f_007f_007f) | (x & 0x7f00_7f00_7f00_7f00) >> 1;
        let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x3fff_0000_3fff_0000) >> 2;
        let x = (x & 0x0000_0000_0fff_ffff) | (x & 0x0fff_ffff_0000_0000) >> 4;
        (x, last.trailing_zeros() as usize / 8 + 2)
    };
    Some(Header {
        number: (key >> 3) as u32,
        value: if key & 2 == 0 {
            WireValue::Varint(x)
        } else {
            WireValue::Len(x)
        },
        len,
    })
}

#[cold]
fn large_header(bytes: &[u8]) -> Result<Header, NoHeader> {
    let (key, key_len) = varint(bytes)?;
    let number = key >> 3;
    if number == 0 || number > MAX_FIELD {
        return Err(NoHeader::FieldNumber);
    }
    let (value, len) = match key & 7 {
        0 => varint(&bytes[key_len..]).map(|(value, n)| (WireValue::Varint(value), key_len + n))?,
        1 => (WireValue::Fixed(8), key_len),
        2 => varint(&bytes[key_len..]).map(|(value, n)| (WireValue::Len(value), key_len + n))?,
        5 => (WireValue::Fixed(4), key_len),
        other => return Err(NoHeader::WireType(other as u8)),
    };
    Ok(Header {
        number: number as u32,
        value,
        len,
    })
}

/// The fields at the front of `bytes`: each header with the bytes of its value, as far as they are
/// there. It ends at the first thing that is no field, and tells why.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
    pub(super) end: Option<NoHeader>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            end: None,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.end.is_some() {
            return None;
        }
        match header(self.rest) {
            Ok(header) => {
                let len = match header.value {
                    WireValue::Varint(_) => 0,
                    WireValue::Fixed(n) | WireValue::Len(n) => n,
                };
                let value = &self.rest[header.len..];
                let len = value.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                self.rest = &value[len..];
                Some((header, &value[..len]))
            }
            Err(reason) => {
                self.end = Some(reason);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_alike_whatever_lies_behind_it() {
        for bits in 0..64 {
            for value in [
                1_u64 << bits,
                u64::MAX >> bits,
                0x0123_4567_89ab_cdef >> bits,
            ] {
                for (key, len) in [(0x08, 1), (0x7a, 1), (0xfa, 2)] {
                    let mut bytes = vec![key];
                    bytes.extend((len == 2).then_some(1));
                    prost::encoding::encode_varint(value, &mut bytes);
                    // Zeros at a varint's end count for nothing.
                    while bytes.len() < len + MAX_VARINT {
                        let end = bytes.len();
                        let whole = header(&bytes).unwrap();
                        assert_eq!(whole, large_header(&bytes).unwrap());
                        assert_eq!(whole.len, end);
                        let (WireValue::Varint(read) | WireValue::Len(read)) = whole.value else {
                            panic!("{whole:?}");
                        };
                        assert_eq!(read, value);
                        for behind in [0x00, 0x7f, 0x80, 0xff] {
                            let more = [&[behind; 2], &bytes[..], &[behind; 9]].concat();
                            assert_eq!(header_at(&more, 2, 2 + end), Ok(whole));
                            assert_eq!(header_at(&more, 2, more.len()), Ok(whole));
                            for cut in 0..end {
                                let short = header_at(&more, 2, 2 + cut);
                                assert_eq!(short, Err(NoHeader::Short), "{more:x?} {cut}");
                            }
                        }
                        bytes[end - 1] |= 0x80;
                        bytes.push(0);
                    }
                }
            }
        }
    }

    #[test]
    fn varints_at_their_limits() {
        assert_eq!(varint(&[0x96, 0x01]), Ok((150, 2)));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&max), Ok((u64::MAX, 10)));
        assert_eq!(varint(&max[..9]), Err(NoHeader::Short));
        assert_eq!(varint(&[]), Err(NoHeader::Short));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(varint(&over), Err(NoHeader::Varint));
        assert_eq!(varint(&[0x80; 11]), Err(NoHeader::Varint));
    }

    #[test]
    fn headers_that_no_tap_writes_are_refused() {
        assert_eq!(header(&[0x00]), Err(NoHeader::FieldNumber));
        assert_eq!(header(&[0x0b]), Err(NoHeader::WireType(3)));
        assert_eq!(header(&[0x0a]), Err(NoHeader::Short));
        let group = Header {
            number: 1,
            value: WireValue::Fixed(4),
            len: 1,
        };
        assert_eq!(header(&[0x0d]), Ok(group));
    }
}
