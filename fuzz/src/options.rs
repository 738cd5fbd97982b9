//! The options of a conversion, taken from the first bytes of an input.

use capture2pcap::capture::{self, DEFAULT_SNAPLEN, Format, Precision};
use capture2pcap::convert::Options;
use capture2pcap::model::protocol::Role;
use capture2pcap::synth::{self, Handshake};
use capture2pcap::trace::Encoding;

/// The number of bytes that encode the options.
pub(crate) const LEN: usize = 6;

/// Takes the options from the front of `data`; `None` if it is too short.
///
/// All zeros are the defaults.
pub(crate) fn split(data: &[u8]) -> Option<(Options, &[u8])> {
    let (encoded, rest) = data.split_first_chunk::<LEN>()?;
    let [shape, snaplen, mss_low, mss_high, ends, encoding] = *encoded;
    let (format, precision) = match shape & 3 {
        0 => (Format::Pcap, Precision::Micro),
        1 => (Format::Pcap, Precision::Nano),
        _ => (Format::Pcapng, Precision::Micro),
    };
    let given = |text: Option<&str>| text.map(|text| text.parse().expect("an address"));
    let options = Options {
        encoding: match encoding % 5 {
            0 => None,
            1 => Some(Encoding::Binary),
            2 => Some(Encoding::Delimited),
            3 => Some(Encoding::Text),
            _ => Some(Encoding::Json),
        },
        synth: synth::SynthOptions {
            mss: match u16::from_le_bytes([mss_low, mss_high]) {
                0 => None,
                mss => Some(mss.into()),
            },
            handshake: match shape >> 2 & 3 {
                0 => Handshake::Auto,
                1 => Handshake::Always,
                _ => Handshake::Never,
            },
            role: match shape >> 4 & 3 {
                0 | 1 => None,
                2 => Some(Role::Downstream),
                _ => Some(Role::Upstream),
            },
            local: given(
                [None, Some("10.9.9.9"), Some("[fd00::9]:80"), None][usize::from(ends & 3)],
            ),
            remote: given(
                [None, Some("10.9.9.8:99"), Some("fd00::8"), None][usize::from(ends >> 2 & 3)],
            ),
            latest: format.last_time(),
            labels: (format == Format::Pcapng).then(|| vec!["fuzz".to_owned()]),
            ..synth::SynthOptions::default()
        },
        capture: capture::CaptureOptions {
            format,
            precision,
            snaplen: match snaplen {
                0 => DEFAULT_SNAPLEN,
                // Headers have 42 to 82 bytes, so most of these truncate elsewhere.
                n => u32::from(n),
            },
        },
        strict: false,
        ..Options::default()
    };
    Some((options, rest))
}
