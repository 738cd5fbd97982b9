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
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// It may be one when more bytes come.
    Short,
    Fault(Fault),
}

/// Reads a varint, and tells how many bytes it takes.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), NoHeader> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        // The tenth byte holds the last of 64 bits.
        if i == MAX_VARINT - 1 && byte > 1 {
            return Err(NoHeader::Fault(Fault::Varint));
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(if bytes.len() < MAX_VARINT {
        NoHeader::Short
    } else {
        NoHeader::Fault(Fault::Varint)
    })
}

/// Reads a field's header.
pub(super) fn header(bytes: &[u8]) -> Result<Header, NoHeader> {
    let (key, key_len) = varint(bytes)?;
    let number = key >> 3;
    if number == 0 || number > MAX_FIELD {
        return Err(NoHeader::Fault(Fault::FieldNumber));
    }
    let (value, len) = match key & 7 {
        0 => varint(&bytes[key_len..]).map(|(value, n)| (WireValue::Varint(value), key_len + n))?,
        1 => (WireValue::Fixed(8), key_len),
        2 => varint(&bytes[key_len..]).map(|(value, n)| (WireValue::Len(value), key_len + n))?,
        5 => (WireValue::Fixed(4), key_len),
        other => return Err(NoHeader::Fault(Fault::WireType(other as u8))),
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
    fn varints_at_their_limits() {
        assert_eq!(varint(&[0x96, 0x01]), Ok((150, 2)));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&max), Ok((u64::MAX, 10)));
        assert_eq!(varint(&max[..9]), Err(NoHeader::Short));
        assert_eq!(varint(&[]), Err(NoHeader::Short));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(varint(&over), Err(NoHeader::Fault(Fault::Varint)));
        assert_eq!(varint(&[0x80; 11]), Err(NoHeader::Fault(Fault::Varint)));
    }

    #[test]
    fn headers_that_no_tap_writes_are_refused() {
        assert_eq!(header(&[0x00]), Err(NoHeader::Fault(Fault::FieldNumber)));
        assert_eq!(header(&[0x0b]), Err(NoHeader::Fault(Fault::WireType(3))));
        assert_eq!(header(&[0x0a]), Err(NoHeader::Short));
        let group = Header {
            number: 1,
            value: WireValue::Fixed(4),
            len: 1,
        };
        assert_eq!(header(&[0x0d]), Ok(group));
    }
}
