//! White space, numbers and other words of JSON.

/// The white space of JSON.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a number, truth value or null may contain `byte`.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Whether `word` is a number of RFC 8259, section 6.
pub(super) fn is_number(word: &[u8]) -> bool {
    let digits = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let mut parts = word
        .strip_prefix(b"-")
        .unwrap_or(word)
        .splitn(2, |b| matches!(b, b'e' | b'E'));
    let mut mantissa = parts.next().unwrap_or_default().splitn(2, |&b| b == b'.');
    let whole = mantissa.next().unwrap_or_default();
    digits(whole)
        && (whole.len() == 1 || whole[0] != b'0')
        && mantissa.next().is_none_or(digits)
        && parts.next().is_none_or(|exponent| {
            digits(
                exponent
                    .strip_prefix(b"-")
                    .or(exponent.strip_prefix(b"+"))
                    .unwrap_or(exponent),
            )
        })
}
