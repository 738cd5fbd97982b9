//! Scalar values as JSON and the text format spell them: numbers, truth values, enum names, base64 and times.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::trace::error::{Damage, Fault};
use crate::trace::schema::{Field, Kind};

const PADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
static BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PADDED);
static BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PADDED);

/// The engine that decodes `text`, which is in one of the two alphabets of base64.
pub(in crate::trace) fn base64_engine(text: &[u8]) -> &'static GeneralPurpose {
    match memchr::memchr2(b'-', b'_', text) {
        Some(_) => &BASE64_URL,
        None => &BASE64,
    }
}

/// Appends the bytes that `text` encodes in base64, in either alphabet, padded or not. Returns false if it is not
/// base64; the end of `out` is then undefined.
pub(super) fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    #[cfg(any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_feature = "neon")
    ))]
    if simd::decode(text, out) {
        return true;
    }
    out.truncate(start);
    let engine = base64_engine(text);
    if engine.decode_vec(text, out).is_ok() {
        return true;
    }
    // Some programs break it into lines.
    out.truncate(start);
    let mut text = text.to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    engine.decode_vec(&text, out).is_ok()
}

/// Base64 by the vector instructions of the processor, where base64 has an engine for them.
#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon")
))]
mod simd {
    use std::sync::LazyLock;

    use base64::Engine;
    use base64::engine::Simd;

    /// Finds out once what the processor can do.
    static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(super::PADDED));

    /// Appends the bytes of `text`, which is in the alphabet that Envoy uses. Returns false if it is not.
    pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
        BASE64.decode_vec(text, out).is_ok()
    }
}

/// A number, truth value or enum name as its varint.
pub(super) fn number(field: &Field, text: &[u8], offset: u64) -> Result<u64, Damage> {
    match (&field.kind, text) {
        (Kind::Bool, b"false") => return Ok(0),
        (Kind::Bool, b"true") => return Ok(1),
        (Kind::Integer, _) => {
            if let Some(number) = short_decimal(text) {
                return Ok(number);
            }
        }
        _ => {}
    }
    any_number(field, text, offset)
}

/// The value of one to 19 digits, which always fits; `None` for anything else.
fn short_decimal(text: &[u8]) -> Option<u64> {
    if !matches!(text.len(), 1..=19) {
        return None;
    }
    let mut value = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    Some(value)
}

/// The same for every spelling.
fn any_number(field: &Field, text: &[u8], offset: u64) -> Result<u64, Damage> {
    let damage = |expected| {
        let field = field.name;
        Damage::new(offset, Fault::Value { field, expected })
    };
    let text = std::str::from_utf8(text).ok();
    let integer = || {
        let text = text?;
        let (negative, digits) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let value = match digits
            .strip_prefix("0x")
            .or_else(|| digits.strip_prefix("0X"))
        {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        Some(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    };
    match field.kind {
        Kind::Bool => match text {
            Some("true" | "True" | "t" | "1") => Ok(1),
            Some("false" | "False" | "f" | "0") => Ok(0),
            _ => Err(damage("a truth value")),
        },
        Kind::Enum(values) => {
            let named = values.iter().find(|(name, _)| Some(*name) == text);
            // A name of a later release is unknown, as its number would be.
            Ok(named.map(|&(_, n)| n as u64).or_else(integer).unwrap_or(0))
        }
        _ => integer().ok_or_else(|| damage("an integer")),
    }
}

/// Seconds and nanoseconds since 1970 of an RFC 3339 time.
pub(super) fn rfc3339(text: &[u8]) -> Option<(i64, i32)> {
    usual_rfc3339(text).or_else(|| any_rfc3339(text))
}

/// The same for the spelling that Envoy writes, `2026-11-22T06:08:46.153382Z`; `None` for any other.
fn usual_rfc3339(text: &[u8]) -> Option<(i64, i32)> {
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        fraction @ ..,
        b'Z',
    ] = text
    else {
        return None;
    };
    // A byte that is not a digit gives at least 10, and there is no such digit.
    let mut largest = 0;
    let mut digit = |byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        largest = largest.max(digit);
        i64::from(digit)
    };
    let year = digit(y0) * 1000 + digit(y1) * 100 + digit(y2) * 10 + digit(y3);
    let month = digit(m0) * 10 + digit(m1);
    let day = digit(d0) * 10 + digit(d1);
    let hour = digit(h0) * 10 + digit(h1);
    let minute = digit(n0) * 10 + digit(n1);
    let second = digit(s0) * 10 + digit(s1);
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if matches!(digits.len(), 1..=9) => {
            let value = digits
                .iter()
                .fold(0, |value, byte| value * 10 + digit(byte));
            value * 10_i64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    // Rare days and leap seconds are left to the parser of all times.
    let is_usual = largest <= 9
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_usual.then(|| {
        let days = days_since_1970(year, month, day);
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        (seconds, nanos as i32)
    })
}

/// The days from 1970-01-01 to a day of the Gregorian calendar from then on.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end with the leap day.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // From March on, each five months have 153 days.
    let days_before_month = (153 * month + 2) / 5;
    // 1970-01-01 is day 719468 since the first of March of the year 0.
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

/// The same for every RFC 3339 time.
fn any_rfc3339(text: &[u8]) -> Option<(i64, i32)> {
    let text = std::str::from_utf8(text).ok()?;
    let since_epoch = match text.strip_suffix(['Z', 'z']) {
        // Parsed as a civil time, because protobuf's last day is after jiff's last timestamp.
        Some(utc) => {
            let time: jiff::civil::DateTime = utc.parse().ok()?;
            time.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0))
        }
        None => text.parse::<jiff::Timestamp>().ok()?.as_duration(),
    };
    // jiff's nanoseconds have the sign of its seconds, protobuf's are never negative.
    let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    let borrow = i64::from(nanos < 0);
    Some((seconds - borrow, nanos + borrow as i32 * 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::properties::config;

    #[test]
    fn times_of_all_of_protobufs_years() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            (
                "2026-11-22T06:08:46.153382Z",
                Some((1_795_327_726, 153_382_000)),
            ),
            (
                "2026-11-22T08:08:46.5+02:00",
                Some((1_795_327_726, 500_000_000)),
            ),
            ("1969-12-31T23:59:59.75Z", Some((-1, 750_000_000))),
            ("0001-01-01T00:00:00Z", Some((-62_135_596_800, 0))),
            (
                "9999-12-31T23:59:59.999999999Z",
                Some((253_402_300_799, 999_999_999)),
            ),
            ("yesterday", None),
            ("2026-11-22", None),
            ("\u{e9}Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rfc3339(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_fast_path_parses_times_of_every_day_as_the_general_parser() {
        for year in 1970..=2400 {
            for month in 1..=12 {
                for day in [1, 2, 27, 28] {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:58Z");
                    let usual = usual_rfc3339(text.as_bytes());
                    assert!(usual.is_some(), "{text}");
                    assert_eq!(usual, any_rfc3339(text.as_bytes()), "{text}");
                }
            }
        }
    }

    /// A time, of which up to two bytes are replaced.
    fn time() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(b'0'),
            Just(b'9'),
            Just(b':'),
            Just(b'/'),
            Just(b'.'),
            Just(b'Z'),
            any::<u8>()
        ];
        let time = (
            "[0-9]{4}-[0-2][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?[Zz]?",
            vec((0..32_usize, byte), 0..3),
        );
        time.prop_map(|(time, changes)| {
            let mut time = time.into_bytes();
            for (at, byte) in changes {
                if let Some(changed) = time.get_mut(at) {
                    *changed = byte;
                }
            }
            time
        })
    }

    fn base64() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'='), Just(b'-'), Just(b'+'), Just(b'\n'), any::<u8>()];
        let base64 = (
            vec(any::<u8>(), 0..300),
            0..4_usize,
            vec((0..400_usize, byte), 0..3),
        );
        base64.prop_map(|(bytes, cut, changes)| {
            let mut text = BASE64.encode(bytes).into_bytes();
            text.truncate(text.len().saturating_sub(cut));
            for (at, byte) in changes {
                if let Some(changed) = text.get_mut(at) {
                    *changed = byte;
                }
            }
            text
        })
    }

    proptest! {
        #![proptest_config(config(2_000))]

        #[test]
        fn the_fast_path_parses_times_as_the_general_parser(text in time()) {
            if let Some(usual) = usual_rfc3339(&text) {
                prop_assert_eq!(Some(usual), any_rfc3339(&text));
            }
        }

        #[test]
        fn the_fast_path_parses_numbers_as_the_general_parser(text in "[-+]?[0-9]{0,21}x?|true|false|t", is_bool: bool) {
            let kind = if is_bool { Kind::Bool } else { Kind::Integer };
            let field = Field { name: "a", json_name: "a", number: 1, kind };
            let number = |number: Result<u64, Damage>| number.map_err(|damage| damage.to_string());
            prop_assert_eq!(number(super::number(&field, text.as_bytes(), 7)), number(any_number(&field, text.as_bytes(), 7)));
        }

        /// The vector instructions accept the same and decode the same.
        #[test]
        fn base64_is_decoded_as_without_vector_instructions(text in base64()) {
            let engine = base64_engine(&text);
            let unbroken: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let expected = engine.decode(&text).or_else(|_| engine.decode(&unbroken)).ok();
            let mut out = b"before".to_vec();
            let decoded = decode_base64(&text, &mut out).then_some(out);
            prop_assert_eq!(decoded, expected.map(|bytes| [b"before".as_slice(), &bytes].concat()));
        }
    }
}
