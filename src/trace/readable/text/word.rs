//! The characters of names and values in the text format.

/// The beginning of an Any's URL.
pub(super) const URL: &[u8] = b"[type.";

/// Whether a name may contain `byte`. C++ writes fields that are not in its schema as numbers.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the name of an extension or the URL of an Any may contain `byte`, inside the brackets.
pub(super) fn is_url(byte: u8) -> bool {
    is_name(byte) || b"./-~%!$&()*+=".contains(&byte)
}

/// Whether a number or name may begin with `byte`.
pub(super) fn is_word_start(byte: u8) -> bool {
    is_name(byte) || byte == b'.'
}

/// Whether a number or name may contain `byte`.
pub(super) fn is_word(byte: u8) -> bool {
    is_word_start(byte) || matches!(byte, b'+' | b'-')
}

/// Whether `word` is a number or name, perhaps after a minus.
pub(super) fn is_value(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"-").unwrap_or(word);
    if let [b'0', b'x' | b'X', digits @ ..] = word {
        return !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    }
    if word
        .first()
        .is_some_and(|first| !first.is_ascii_digit() && *first != b'.')
    {
        return word.iter().copied().all(is_name);
    }
    // Octal numbers are accepted here as decimal ones. Their value is decoded elsewhere.
    let float = word
        .strip_suffix(b"f")
        .or(word.strip_suffix(b"F"))
        .unwrap_or(word);
    std::str::from_utf8(float).is_ok_and(|float| float.parse::<f64>().is_ok())
}
