//! Protobuf's wire format, up to a field's header. The caller checks every length.

use crate::trace::error::Fault;

/// The largest message that protobuf allows, in bytes.
pub(in crate::trace) const MAX_MESSAGE: u64 = i32::MAX as u64;
/// The maximum length of a 64-bit varint, in bytes.
const MAX_VARINT: usize = 10;
/// The largest field number, 2^29 − 1.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// The layout of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum WireValue {
    /// The value itself.
    Varint(u64),
    /// Eight or four bytes that follow the header.
    Fixed(u64),
    /// This many bytes that follow the header.
    Len(u64),
}

/// A field's number and value, and the length of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) struct Header {
    pub(in crate::trace) number: u32,
    pub(in crate::trace) value: WireValue,
    pub(in crate::trace) len: usize,
}

/// Why no header could be read.
///
/// Only one or two bytes, because every field returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum NoHeader {
    /// More bytes are needed.
    Short,
    Varint,
    FieldNumber,
    WireType(u8),
}

impl NoHeader {
    /// What is wrong with the bytes; `None` if there are too few.
    pub(in crate::trace) const fn fault(self) -> Option<Fault> {
        Some(match self {
            Self::Short => return None,
            Self::Varint => Fault::Varint,
            Self::FieldNumber => Fault::FieldNumber,
            Self::WireType(wire_type) => Fault::WireType(wire_type),
        })
    }
}

/// Reads a varint, and returns its length.
pub(in crate::trace) fn varint(bytes: &[u8]) -> Result<(u64, usize), NoHeader> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        // The tenth byte holds only the last of 64 bits.
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

/// Splits the varint from the front of `bytes`.
#[inline(always)]
pub(in crate::trace) fn split_varint(bytes: &[u8]) -> Result<(u64, &[u8]), NoHeader> {
    let seven = |byte: u8| u64::from(byte & 0x7f);
    Ok(match *bytes {
        // Most are keys and lengths of one byte, or parts of times with four or five.
        [a @ ..0x80, ref rest @ ..] => (a.into(), rest),
        [a, b @ ..0x80, ref rest @ ..] => (seven(a) | seven(b) << 7, rest),
        [a, b, c @ ..0x80, ref rest @ ..] => (seven(a) | seven(b) << 7 | seven(c) << 14, rest),
        [a, b, c, d @ ..0x80, ref rest @ ..] => {
            let low = seven(a) | seven(b) << 7 | seven(c) << 14;
            (low | seven(d) << 21, rest)
        }
        [a, b, c, d, e @ ..0x80, ref rest @ ..] => {
            let low = seven(a) | seven(b) << 7 | seven(c) << 14;
            (low | seven(d) << 21 | seven(e) << 28, rest)
        }
        _ => {
            let (value, len) = varint(bytes)?;
            (value, &bytes[len..])
        }
    })
}

/// Splits a varint of up to eight bytes from the front of `bytes`, with one load if it has more than one byte.
///
/// Returns `None` for any other varint, and near the end of `bytes`: these are left to [`varint`].
#[inline(always)]
pub(in crate::trace) fn short_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes {
        [byte @ ..0x80, rest @ ..] => Some((u64::from(*byte), rest)),
        _ => word_varint(bytes),
    }
}

/// The same for a varint that usually has more than one byte.
#[inline(always)]
pub(in crate::trace) fn word_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    // The last byte is the lowest one without its highest bit.
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let rest = &bytes[(ends.trailing_zeros() / 8 + 1) as usize..];
    let word = word & (ends ^ (ends - 1));
    // Joins groups of seven bits: in pairs, in fours, in eights.
    let word = (word & 0x7f00_7f00_7f00_7f00) >> 1 | word & 0x007f_007f_007f_007f;
    let word = (word & 0x3fff_0000_3fff_0000) >> 2 | word & 0x0000_3fff_0000_3fff;
    let word = (word & 0x0fff_ffff_0000_0000) >> 4 | word & 0x0000_0000_0fff_ffff;
    Some((word, rest))
}

/// Reads the header of the field at the front of `bytes`.
#[inline(always)]
pub(in crate::trace) fn header(bytes: &[u8]) -> Result<Header, NoHeader> {
    let (key, mut rest) = split_varint(bytes)?;
    let number = key >> 3;
    if number == 0 || number > MAX_FIELD {
        return Err(NoHeader::FieldNumber);
    }
    let value = match key & 7 {
        wire_type @ (0 | 2) => {
            let value;
            (value, rest) = split_varint(rest)?;
            match wire_type {
                0 => WireValue::Varint(value),
                _ => WireValue::Len(value),
            }
        }
        1 => WireValue::Fixed(8),
        5 => WireValue::Fixed(4),
        other => return Err(NoHeader::WireType(other as u8)),
    };
    Ok(Header {
        number: number as u32,
        value,
        len: bytes.len() - rest.len(),
    })
}

/// Why a complete message cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Broken {
    /// A field is expected and does not begin.
    NoHeader(NoHeader),
    /// A field is longer than the rest of the message.
    Overrun { claimed: u64, left: u64 },
}

impl From<NoHeader> for Broken {
    fn from(why: NoHeader) -> Self {
        Self::NoHeader(why)
    }
}

/// The key of a varint field.
pub(in crate::trace) const fn varint_key(number: u32) -> u64 {
    (number << 3) as u64
}

/// The key of a field with a length: bytes, a string, a message.
pub(in crate::trace) const fn len_key(number: u32) -> u64 {
    (number << 3 | 2) as u64
}

/// Calls `field` with the key of each field of a complete message and the bytes after the key. `field` takes the
/// value from them, and returns the rest.
#[inline(always)]
pub(in crate::trace) fn each_field<'a>(
    message: &'a [u8],
    mut field: impl FnMut(u64, Rest<'a>) -> Result<Rest<'a>, Broken>,
) -> Result<(), Broken> {
    let mut rest = Rest(message);
    while !rest.0.is_empty() {
        let (key, value) = rest.number()?;
        rest = field(key, value)?;
    }
    Ok(())
}

/// The rest of a message. Each step returns the next rest, so that it stays in registers.
#[derive(Clone, Copy, Debug)]
pub(in crate::trace) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A key, or the value of a varint field.
    #[inline(always)]
    pub(in crate::trace) fn number(self) -> Result<(u64, Self), Broken> {
        let (number, rest) = split_varint(self.0)?;
        Ok((number, Self(rest)))
    }

    /// The value of a field with a length prefix.
    #[inline(always)]
    pub(in crate::trace) fn bytes(self) -> Result<(&'a [u8], Self), Broken> {
        let (len, rest) = self.number()?;
        rest.split(len)
    }

    #[inline(always)]
    fn split(self, len: u64) -> Result<(&'a [u8], Self), Broken> {
        match self
            .0
            .split_at_checked(usize::try_from(len).unwrap_or(usize::MAX))
        {
            Some((bytes, rest)) => Ok((bytes, Self(rest))),
            None => Err(Broken::Overrun {
                claimed: len,
                left: self.0.len() as u64,
            }),
        }
    }

    /// The bytes after the value of an unknown field, if the field is valid.
    #[cold]
    pub(in crate::trace) fn after(self, key: u64) -> Result<Self, Broken> {
        let number = key >> 3;
        if number == 0 || number > MAX_FIELD {
            return Err(NoHeader::FieldNumber.into());
        }
        let rest = match key & 7 {
            0 => self.number()?.1,
            1 => self.split(8)?.1,
            2 => self.bytes()?.1,
            5 => self.split(4)?.1,
            other => return Err(NoHeader::WireType(other as u8).into()),
        };
        Ok(rest)
    }
}

/// The fields at the front of `bytes`: each header with the available bytes of its value. Ends at the first
/// error, and records it.
pub(in crate::trace) struct Fields<'a> {
    pub(in crate::trace) rest: &'a [u8],
    pub(in crate::trace) end: Option<NoHeader>,
}

impl<'a> Fields<'a> {
    pub(in crate::trace) const fn new(bytes: &'a [u8]) -> Self {
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
    fn bytes_after_a_header_do_not_affect_it() {
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
                    // Zeros at a varint's end do not change it.
                    while bytes.len() < len + MAX_VARINT {
                        let end = bytes.len();
                        let whole = header(&bytes).unwrap();
                        assert_eq!(whole.len, end);
                        let (WireValue::Varint(read) | WireValue::Len(read)) = whole.value else {
                            panic!("{whole:?}");
                        };
                        assert_eq!(read, value);
                        for after in [0x00, 0x7f, 0x80, 0xff] {
                            let more = [&[after; 2], &bytes[..], &[after; 9]].concat();
                            assert_eq!(header(&more[2..2 + end]), Ok(whole));
                            assert_eq!(header(&more[2..]), Ok(whole));
                            for cut in 0..end {
                                let short = header(&more[2..2 + cut]);
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
