//! Restores bytes that something has changed on their way: UTF-16, a prefix on each line, the line ends of a
//! terminal.
//!
//! This module knows nothing about traces: the caller states how the bytes were changed. Offsets in a recoded input
//! are those of the recoded bytes.
//!
//! Invariant: the result does not depend on how the bytes are divided into pieces. No more bytes are held back than a
//! prefix or a character needs.

/// How the bytes of an input were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recoding {
    /// They are UTF-16, and are converted to UTF-8.
    pub(crate) utf16: Option<Utf16>,
    /// Each line begins with a prefix, which is removed. Lines without it stay as they are.
    pub(crate) prefix: Option<Prefix>,
    /// A terminal has inserted a carriage return before each line feed.
    pub(crate) terminal: bool,
}

/// The byte order of UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Utf16 {
    Little,
    Big,
}

impl Utf16 {
    pub(crate) const fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

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
const MAX_PREFIX: usize = 512;

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

/// Restores bytes, piece by piece.
#[derive(Debug)]
pub(super) struct Recoder {
    recoding: Recoding,
    /// The first bytes of an incomplete UTF-16 character.
    character: Vec<u8>,
    /// Whether the first character has been seen. A byte order mark there is removed.
    begun: bool,
    /// The first bytes of a line, which may be a prefix; `None` in the rest of the line.
    line: Option<Vec<u8>>,
    /// Whether the last byte was a carriage return, which is removed if a line feed follows.
    carriage_return: bool,
    /// The number of bytes passed to [`feed`](Self::feed).
    taken: u64,
}

impl Recoder {
    pub(super) fn new(recoding: Recoding) -> Self {
        Self {
            recoding,
            character: Vec::new(),
            begun: false,
            line: Some(Vec::new()),
            carriage_return: false,
            taken: 0,
        }
    }

    /// The number of bytes passed to [`feed`](Self::feed).
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) const fn recoding(&self) -> &Recoding {
        &self.recoding
    }

    /// Appends the restored `bytes` to `out`. `ended` if they are the last.
    pub(super) fn feed(&mut self, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        self.taken += bytes.len() as u64;
        let utf8;
        let mut bytes = bytes;
        if let Some(order) = self.recoding.utf16 {
            utf8 = self.utf16(order, bytes, ended);
            bytes = utf8.as_bytes();
        }
        if self.recoding.terminal {
            self.terminal(bytes, ended, out);
        } else if let Some(prefix) = self.recoding.prefix.take() {
            self.lines(&prefix, bytes, ended, out);
            self.recoding.prefix = Some(prefix);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    fn utf16(&mut self, order: Utf16, bytes: &[u8], ended: bool) -> String {
        let mut units = std::mem::take(&mut self.character);
        units.extend_from_slice(bytes);
        let mut whole = units.len() / 2 * 2;
        let unit = |pair: &[u8]| order.unit([pair[0], pair[1]]);
        // The first half of a surrogate pair is held back until the second half is there.
        let last = units[..whole].chunks_exact(2).next_back().map(unit);
        if last.is_some_and(|last| (0xd800..0xdc00).contains(&last)) && !ended {
            whole -= 2;
        }
        let chars = char::decode_utf16(units[..whole].chunks_exact(2).map(unit));
        let mut text: String = chars
            .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        if !self.begun && !text.is_empty() {
            self.begun = true;
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
        }
        if ended && whole < units.len() {
            text.push(char::REPLACEMENT_CHARACTER);
        } else {
            self.character = units.split_off(whole);
        }
        text
    }

    /// Removes the carriage return that the terminal inserted before each line feed. In a line that ended with
    /// CR LF already, the first one stays.
    fn terminal(&mut self, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        for &byte in bytes {
            if std::mem::take(&mut self.carriage_return) && byte != b'\n' {
                out.push(b'\r');
            }
            match byte {
                b'\r' => self.carriage_return = true,
                byte => out.push(byte),
            }
        }
        if ended && std::mem::take(&mut self.carriage_return) {
            out.push(b'\r');
        }
    }

    /// Removes the prefix of each line.
    fn lines(&mut self, prefix: &Prefix, bytes: &[u8], ended: bool, out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(line) = &mut self.line else {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                out.extend_from_slice(&rest[..end]);
                if rest[..end].ends_with(b"\n") {
                    self.line = Some(Vec::new());
                }
                rest = &rest[end..];
                continue;
            };
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (more, after) = rest.split_at(end.min(MAX_PREFIX));
            line.extend_from_slice(more);
            rest = after;
            let whole = line.ends_with(b"\n");
            let len = match prefix.matches(line, whole) {
                Match::Short => continue,
                Match::Yes(len) => len,
                Match::No => 0,
            };
            out.extend_from_slice(&line[len..]);
            self.line = whole.then(Vec::new);
        }
        if ended && let Some(line) = self.line.take() {
            let len = match prefix.matches(&line, true) {
                Match::Yes(len) => len,
                Match::No | Match::Short => 0,
            };
            out.extend_from_slice(&line[len..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Restores `bytes`, and checks that the size of the pieces makes no difference.
    fn recoded(recoding: &Recoding, bytes: &[u8]) -> String {
        let all = |size: usize| {
            let (mut recoder, mut out) = (Recoder::new(recoding.clone()), Vec::new());
            for piece in bytes.chunks(size) {
                recoder.feed(piece, false, &mut out);
            }
            recoder.feed(b"", true, &mut out);
            out
        };
        let whole = all(bytes.len().max(1));
        for size in 1..bytes.len() {
            assert_eq!(all(size), whole, "pieces of {size}");
        }
        String::from_utf8_lossy(&whole).into_owned()
    }

    #[test]
    fn utf16_becomes_utf8() {
        let text = "{\"a\": \"gr\u{fc}n \u{20ac} \u{1f980}\"}\r\n";
        for (order, mark) in [
            (Utf16::Little, true),
            (Utf16::Big, true),
            (Utf16::Little, false),
        ] {
            let mark = if mark { "\u{feff}" } else { "" };
            let units = format!("{mark}{text}");
            let bytes: Vec<u8> = units
                .encode_utf16()
                .flat_map(|unit| match order {
                    Utf16::Little => unit.to_le_bytes(),
                    Utf16::Big => unit.to_be_bytes(),
                })
                .collect();
            let recoding = Recoding {
                utf16: Some(order),
                ..Recoding::default()
            };
            assert_eq!(recoded(&recoding, &bytes), text);
            // An incomplete character becomes the replacement character.
            let cut = recoded(&recoding, &bytes[..bytes.len() - 1]);
            assert_eq!(cut, format!("{}\u{fffd}", &text[..text.len() - 1]));
        }
    }

    #[test]
    fn a_terminals_carriage_returns_are_removed() {
        let recoding = Recoding {
            terminal: true,
            ..Recoding::default()
        };
        let cases = [
            ("a\r\nb\r\r\nc\rd\r", "a\nb\r\nc\rd\r"),
            ("\r\r\r\n\r\n", "\r\r\n\n"),
            // A line end that the terminal has not changed.
            ("a\nb", "a\nb"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(recoded(&recoding, bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn prefixes_differ_only_in_their_numbers() {
        let cases = [
            (
                "2026-11-22T06:08:46.153382123Z ",
                "2026-11-22T06:08:46.1Z {\n2026-11-23T16:08:47Z   \"a\": 1\n2026-11-23T16:08:47.25Z\n",
                "{\n  \"a\": 1\n\n",
            ),
            (
                "[pod/tap-6f9c/envoy] ",
                "[pod/tap-6f9c/envoy] {\n[pod/other/envoy] }\n[pod/tap-6f9c/envoy] }",
                "{\n[pod/other/envoy] }\n}",
            ),
            ("envoy-1  | ", "envoy-1  | {\nenvoy-12 | }\n", "{\n}\n"),
            (
                "\x1b[36menvoy-1  | \x1b[0m",
                "\x1b[36menvoy-1  | \x1b[0m{\n\x1b[36menvoy-1  | \x1b[0m }\n",
                "{\n }\n",
            ),
            ("     1\t", "     1\t{\n    10\t }\n", "{\n }\n"),
            ("12:", "12:{\n13: }\n", "{\n }\n"),
            ("> ", "> {\n>  }\n}", "{\n }\n}"),
            ("data: ", "data: {}\n\ndata: {}\n", "{}\n\n{}\n"),
        ];
        for (sample, lines, expected) in cases {
            let recoding = Recoding {
                prefix: Some(Prefix::of(sample.as_bytes()).unwrap()),
                ..Recoding::default()
            };
            assert_eq!(recoded(&recoding, lines.as_bytes()), expected, "{sample:?}");
        }
    }

    #[test]
    fn text_that_may_be_part_of_a_message_is_no_prefix() {
        let long = "x".repeat(MAX_PREFIX) + " ";
        for sample in [
            "",
            "  ",
            "}",
            "} ",
            "\"a\": ",
            "seconds: 170",
            "cat x",
            &long,
        ] {
            assert_eq!(Prefix::of(sample.as_bytes()), None, "{sample:?}");
        }
    }

    /// A long line that could still be the start of a prefix is held back only up to the length of a prefix.
    #[test]
    fn the_bytes_held_back_are_limited() {
        let recoding = Recoding {
            prefix: Prefix::of(b"1 a "),
            ..Recoding::default()
        };
        for byte in [b"1", b" "] {
            let mut recoder = Recoder::new(recoding.clone());
            let mut out = Vec::new();
            recoder.feed(b"1", false, &mut out);
            recoder.feed(&byte.repeat(5000), false, &mut out);
            assert!(out.len() > 5000 - MAX_PREFIX, "{}", out.len());
        }
    }
}
