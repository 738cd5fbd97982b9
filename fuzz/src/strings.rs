//! The strings of a trace in a readable encoding, found without its grammar or the code under test.

/// The start of a note of Envoy, which may be between the objects of a JSON trace.
const NOTE: &[u8] = b"Failed to convert";

/// The strings of a text trace. Adjacent ones are one string. Words are included, because the decoder accepts values
/// without quotes.
pub(crate) fn of_text(text: &[u8]) -> Vec<Vec<u8>> {
    let mut strings = words(text);
    let mut rest = text;
    // Whether only blanks and comments followed the last string.
    let mut joins = false;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'#' => {
                let line = rest.iter().position(|&byte| byte == b'\n');
                rest = &rest[line.unwrap_or(rest.len())..];
            }
            b'"' | b'\'' => {
                let mut string = Vec::new();
                let Some(after) = string_of(rest, *first, true, &mut string) else {
                    return strings;
                };
                rest = after;
                match strings.last_mut().filter(|_| joins) {
                    Some(last) => last.extend(string),
                    None => strings.push(string),
                }
                joins = true;
            }
            b' ' | b'\t'..=b'\r' => {}
            _ => joins = false,
        }
    }
    strings
}

/// The strings and words of a JSON trace; `None` if it contains notes of Envoy, which may have quotes.
pub(crate) fn of_json(json: &[u8]) -> Option<Vec<Vec<u8>>> {
    if memchr::memmem::find(json, NOTE).is_some() {
        return None;
    }
    let mut strings = words(json);
    let mut rest = json;
    while let Some(quote) = rest.iter().position(|&byte| byte == b'"') {
        let mut string = Vec::new();
        match string_of(&rest[quote + 1..], b'"', false, &mut string) {
            Some(after) => rest = after,
            None => break,
        }
        strings.push(string);
    }
    Some(strings)
}

/// The runs of bytes that can be in a number or a name.
fn words(trace: &[u8]) -> Vec<Vec<u8>> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(byte);
    let words = trace.split(|byte| !is_part(byte));
    words
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Reads a string up to its closing quote, and returns the rest after it.
fn string_of<'a>(
    mut rest: &'a [u8],
    quote: u8,
    text: bool,
    string: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if byte == quote {
            return Some(rest);
        }
        if byte != b'\\' {
            string.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        match kind {
            b'n' => string.push(b'\n'),
            b'r' => string.push(b'\r'),
            b't' => string.push(b'\t'),
            b'b' => string.push(8),
            b'f' => string.push(12),
            b'a' if text => string.push(7),
            b'v' if text => string.push(11),
            b'0'..=b'7' if text => {
                let more = rest.iter().take(2);
                let more = more.take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let digits = rest[..more].iter().copied();
                let value = std::iter::once(kind)
                    .chain(digits)
                    .fold(0, |value, digit| value * 8 + u32::from(digit - b'0'));
                string.push(u8::try_from(value).ok()?);
                rest = &rest[more..];
            }
            b'x' | b'X' if text => {
                let more = rest.iter().take(2);
                let more = more.take_while(|byte| byte.is_ascii_hexdigit()).count();
                string.push(hex(&rest[..more])? as u8);
                rest = &rest[more..];
            }
            b'U' if text => {
                let point = hex(rest.get(..8)?)?;
                push(string, point);
                rest = &rest[8..];
            }
            b'u' => {
                let unit = hex(rest.get(..4)?)?;
                rest = &rest[4..];
                let low = rest
                    .strip_prefix(b"\\u")
                    .and_then(|digits| hex(digits.get(..4)?))
                    .filter(|low| (0xdc00..0xe000).contains(low));
                match low {
                    Some(low) if (0xd800..0xdc00).contains(&unit) => {
                        push(string, 0x10000 + ((unit & 0x3ff) << 10 | low & 0x3ff));
                        rest = &rest[6..];
                    }
                    _ => push(string, unit),
                }
            }
            other => string.push(other),
        }
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

fn push(string: &mut Vec<u8>, point: u32) {
    let char = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
    string.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// `bytes` in base64, without padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = |i: usize| u32::from(group.get(i).copied().unwrap_or(0)) << (16 - 8 * i);
        let word = bits(0) | bits(1) | bits(2);
        let digit = |i: usize| ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
        text.extend((0..=group.len()).map(digit));
    }
    text
}

/// The base64 in a string, in the format of [`base64`].
pub(crate) fn plain_base64(string: &[u8]) -> Vec<u8> {
    let end = string.iter().rposition(|&byte| byte != b'=');
    let digits = string[..end.map_or(0, |end| end + 1)].iter();
    digits
        .map(|digit| match digit {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect()
}
