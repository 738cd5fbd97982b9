//! The escapes in the strings of JSON and of the text format.
//!
//! Invariant: an escape is decoded as a whole or not at all, and nothing after it is examined.

/// Why an escape cannot be decoded.
pub(in crate::trace) enum Stop {
    /// It may continue after the window.
    Short,
    /// It is invalid.
    Wrong,
}

/// Appends the value of the JSON escape at the front of `rest`, and returns the escape's length.
pub(super) fn json(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    text.push(match rest.get(1).ok_or(Stop::Short)? {
        b'u' => return unicode(rest, text),
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        &byte @ (b'"' | b'\\' | b'/') => byte,
        _ => return Err(Stop::Wrong),
    });
    Ok(2)
}

/// Appends the value of the text format's escape at the front of `rest`, and returns the escape's length.
pub(super) fn text(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    let byte = *rest.get(1).ok_or(Stop::Short)?;
    text.push(match byte {
        b'0'..=b'7' => return octal(rest, text),
        b'x' | b'X' => {
            let digits = rest[2..]
                .iter()
                .take(2)
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            if digits < 2 && rest.len() == 2 + digits {
                return Err(Stop::Short);
            }
            if digits == 0 {
                return Err(Stop::Wrong);
            }
            text.push(hex(&rest[2..], digits)? as u8);
            return Ok(2 + digits);
        }
        b'u' => return unicode(rest, text),
        b'U' => {
            let point = hex(&rest[2..], 8)?;
            if point > u32::from(char::MAX) {
                return Err(Stop::Wrong);
            }
            // The only other code points that are no characters are surrogates.
            push(
                char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
                text,
            );
            return Ok(10);
        }
        _ => one_letter(byte).ok_or(Stop::Wrong)?,
    });
    Ok(2)
}

/// The value of a backslash and one letter in the text format.
const fn one_letter(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'?' | b'\'' | b'"' | b'\\' => letter,
        _ => return None,
    })
}

/// Appends the byte of one to three octal digits.
fn octal(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    let mut value = 0;
    let mut length = 1;
    for byte in rest.iter().skip(1).take(3) {
        if !matches!(byte, b'0'..=b'7') {
            break;
        }
        value = value << 3 | u32::from(byte - b'0');
        length += 1;
    }
    if length < 4 && length == rest.len() {
        return Err(Stop::Short);
    }
    text.push(u8::try_from(value).map_err(|_| Stop::Wrong)?);
    Ok(length)
}

/// Appends the character of the `\uXXXX` at the front of `rest`, or of a surrogate pair, and returns its length.
/// A lone surrogate becomes U+FFFD.
fn unicode(rest: &[u8], text: &mut Vec<u8>) -> Result<usize, Stop> {
    let unit = hex(&rest[2..], 4)?;
    let low = match &rest[6..] {
        _ if !(0xd800..0xdc00).contains(&unit) => None,
        // Only the bytes of the escape are examined, or a live stream would stall here.
        [] | [b'\\'] => return Err(Stop::Short),
        [b'\\', b'u', digits @ ..] => match hex(digits, 4) {
            Ok(low @ 0xdc00..0xe000) => Some(low),
            Err(Stop::Short) => return Err(Stop::Short),
            // Whatever follows is examined again on its own.
            Ok(_) | Err(Stop::Wrong) => None,
        },
        _ => None,
    };
    let point = low.map_or(unit, |low| {
        0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
    });
    push(
        char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
        text,
    );
    Ok(if low.is_some() { 12 } else { 6 })
}

/// The value of the `count` hexadecimal digits at the front of `rest`, at most eight.
fn hex(rest: &[u8], count: usize) -> Result<u32, Stop> {
    let mut value = 0;
    for byte in rest.iter().take(count) {
        value = value << 4 | char::from(*byte).to_digit(16).ok_or(Stop::Wrong)?;
    }
    if rest.len() < count {
        Err(Stop::Short)
    } else {
        Ok(value)
    }
}

/// Appends `char` in UTF-8.
fn push(char: char, text: &mut Vec<u8>) {
    text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}
