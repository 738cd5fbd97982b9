//! The prefix that logs, pagers and terminals put before each line of a text.
//!
//! Invariant: further bytes of a line do not change a decision, and [`MAX_PREFIX`] + 2 bytes are always enough for one.

/// A prefix of lines: the same on each, except for its numbers and the width of its blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(Vec<PrefixPart>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrefixPart {
    Byte(u8),
    /// Digits, with single points or commas between them.
    Number,
    /// Spaces and tabs.
    Blank,
}

/// Whether a line begins with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It does, with a prefix of this length in bytes.
    Yes(usize),
    No,
    /// More of the line is needed.
    Short,
}

/// The length of the longest prefix, in bytes: enough for a time, the names of a pod and a container, and a log
/// level.
pub(super) const MAX_PREFIX: usize = 512;

impl Prefix {
    /// The prefix of which `sample` is an example; `None` if `sample` could be part of a message.
    pub(crate) fn of(sample: &[u8]) -> Option<Self> {
        // The escape sequence that ends a colour may follow the separator.
        let mut visible = sample;
        while let Some(before) = without_escape(visible) {
            visible = before;
        }
        let last = *visible.last()?;
        let separates = matches!(last, b' ' | b'\t' | b':' | b'|' | b'>' | b']' | b')' | b'+');
        let structure = |byte: &u8| matches!(byte, b'{' | b'}' | b'"' | b'\\' | b'\r' | b'\n');
        let blank = sample.iter().all(u8::is_ascii_whitespace);
        if !separates || blank || sample.len() > MAX_PREFIX || sample.iter().any(structure) {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = sample;
        while let Some(&byte) = rest.first() {
            let (part, len) = match byte {
                b' ' | b'\t' => (PrefixPart::Blank, blanks(rest)),
                b'0'..=b'9' => (PrefixPart::Number, number(rest)),
                byte => (PrefixPart::Byte(byte), 1),
            };
            parts.push(part);
            rest = &rest[len..];
        }
        Some(Self(parts))
    }

    /// The word that the prefix begins with.
    pub(crate) fn word(&self) -> Vec<u8> {
        let parts = self.0.iter().skip_while(|part| **part == PrefixPart::Blank);
        parts
            .map_while(|part| match part {
                PrefixPart::Byte(byte) if byte.is_ascii_alphanumeric() || *byte == b'_' => {
                    Some(*byte)
                }
                _ => None,
            })
            .collect()
    }

    /// Whether `line` begins with the prefix. `whole` if `line` is not going to grow.
    pub(crate) fn matches(&self, line: &[u8], whole: bool) -> Match {
        let mut at = 0;
        for (i, part) in self.0.iter().enumerate() {
            let rest = &line[at..];
            let is_last = i + 1 == self.0.len();
            let Some(&next) = rest.first() else {
                return match whole || at >= MAX_PREFIX {
                    true => Match::No,
                    false => Match::Short,
                };
            };
            let len = match part {
                PrefixPart::Byte(byte) => usize::from(next == *byte),
                // Only one character of the last blank is the prefix. The others are the line's indentation.
                PrefixPart::Blank if is_last => match next {
                    // Editors and terminals often remove blanks at the end of a line.
                    b'\r' | b'\n' => return Match::Yes(at),
                    _ => blanks(&rest[..1]),
                },
                PrefixPart::Blank => blanks(rest),
                PrefixPart::Number => number(rest),
            };
            if len == 0 {
                return Match::No;
            }
            // The number or blank may continue in the bytes that follow.
            let grows = matches!(part, PrefixPart::Number | PrefixPart::Blank)
                && !(is_last && *part == PrefixPart::Blank);
            if grows && len + 1 >= rest.len() && !whole {
                let point = len + 1 == rest.len() && *part == PrefixPart::Number;
                if len == rest.len() || (point && matches!(rest[len], b'.' | b',')) {
                    return match at + len > MAX_PREFIX {
                        true => Match::No,
                        false => Match::Short,
                    };
                }
            }
            at += len;
        }
        Match::Yes(at)
    }
}

/// The text before the escape sequence for a colour at the end of `text`, if there is one.
fn without_escape(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_suffix(b"m")?;
    let digits = rest
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b';'));
    rest[..rest.len() - digits.count()].strip_suffix(b"\x1b[")
}

/// The number of spaces and tabs at the start of `bytes`.
fn blanks(bytes: &[u8]) -> usize {
    let other = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    other.unwrap_or(bytes.len())
}

/// The length of the number at the start of `bytes`; 0 if there is none.
fn number(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(byte) = bytes.get(len) {
        let is_point = matches!(byte, b'.' | b',') && len > 0;
        let goes_on = bytes.get(len + 1).is_some_and(u8::is_ascii_digit);
        let is_part = byte.is_ascii_digit() || (is_point && goes_on);
        if !is_part {
            break;
        }
        len += 1;
    }
    len
}
