//! Parses the values of options.

use capture2pcap::capture::DEFAULT_SNAPLEN;
use capture2pcap::model::event::Timestamp;

pub(super) fn snaplen(text: &str) -> Result<u32, String> {
    match text.parse() {
        // 0 means the default, as in tcpdump.
        Ok(0) => Ok(DEFAULT_SNAPLEN),
        Ok(n) if n <= DEFAULT_SNAPLEN => Ok(n),
        _ => Err(format!("not a number of bytes from 0 to {DEFAULT_SNAPLEN}")),
    }
}

pub(super) fn mss(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n @ 1..=65_535) => Ok(n),
        _ => Err("not a number of bytes from 1 to 65535".into()),
    }
}

pub(super) fn jobs(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("not a number from 1 to 1024".into()),
    }
}

/// Parses a time in editcap's formats. A time without a zone is UTC, so that the capture does not depend on the
/// host.
pub(super) fn start(text: &str) -> Result<Timestamp, String> {
    let civil = || {
        let text = Some(text).filter(|text| text.contains(':'))?;
        let time: jiff::civil::DateTime = text.parse().ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let time = match text {
        "now" => Some(jiff::Timestamp::now()),
        _ => epoch(text).or_else(|| text.parse().ok()).or_else(civil),
    };
    let time = time.ok_or("not a time like 2024-05-01T12:00:00Z, 1714564800.5 or now")?;
    let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| "before 1970 or after 2554")?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Parses seconds since 1970 with a fraction of up to nine digits.
fn epoch(text: &str) -> Option<jiff::Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    jiff::Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_formats_of_editcap() {
        let noon = 1_714_564_800_000_000_000;
        let cases = [
            ("2024-05-01T12:00:00Z", noon),
            ("2024-05-01T12:00:00", noon),
            ("2024-05-01 12:00:00", noon),
            ("2024-05-01 12:00:00Z", noon),
            ("2024-05-01T14:00:00+02:00", noon),
            ("2024-05-01T12:00:00.123456789Z", noon + 123_456_789),
            ("2024-05-01T12:00:00.5", noon + 500_000_000),
            ("1714564800", noon),
            ("1714564800.000000001", noon + 1),
            ("1714564800.25", noon + 250_000_000),
            ("0", 0),
        ];
        for (text, nanos) in cases {
            assert_eq!(start(text), Ok(Timestamp::from_nanos(nanos)), "{text}");
        }
        let none = [
            "",
            ".",
            "1.",
            ".5",
            "1.0000000001",
            "-1",
            "yesterday",
            "12:00",
            "1e9",
        ];
        for text in none {
            assert!(start(text).unwrap_err().starts_with("not a time"), "{text}");
        }
        for text in [
            "1969-12-31T23:59:59Z",
            "2600-01-01T00:00:00Z",
            "99999999999",
        ] {
            assert_eq!(
                start(text),
                Err("before 1970 or after 2554".into()),
                "{text}"
            );
        }
    }
}
