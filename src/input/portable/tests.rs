//! Frames unpacked by ruzstd, compared with the reference implementation.

use std::io::Write as _;

use zstd::stream::raw::CParameter;

use super::super::reference;
use super::*;

/// Unpacks a frame that arrives in pieces of `step` bytes. Returns its contents, and the error or the length of the frame.
fn run(
    mut run: impl FnMut(&[u8], &mut [u8], bool) -> Result<Made, (Made, Unpackable)>,
    packed: &[u8],
    step: usize,
) -> (Vec<u8>, Option<Unpackable>, usize) {
    let (mut bytes, mut at) = (Vec::new(), 0);
    let mut room = [0; 5000];
    loop {
        let end = packed.len().min(at + step);
        let (made, fault) = match run(&packed[at..end], &mut room, end == packed.len()) {
            Ok(made) => (made, None),
            Err((made, fault)) => (made, Some(fault)),
        };
        bytes.extend_from_slice(&room[..made.given]);
        at += made.taken;
        let is_stuck = at == packed.len() && made.taken == 0 && made.given == 0;
        if made.ended || fault.is_some() || is_stuck {
            let cut = (!made.ended).then_some(Unpackable::Cut);
            let fault = fault.or(cut);
            let end = if fault.is_none() { at } else { 0 };
            return (bytes, fault, end);
        }
    }
}

fn by_both(packed: &[u8], step: usize) -> [(Vec<u8>, Option<Unpackable>, usize); 2] {
    let (mut rust, mut c) = (Frames::new().unwrap(), reference::Frames::new().unwrap());
    rust.begin();
    c.begin();
    [
        run(|a, b, c| rust.run(a, b, c), packed, step),
        run(|x, y, z| c.run(x, y, z), packed, step),
    ]
}

/// Frames of all kinds, with their contents.
fn frames() -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = b"GET /a HTTP/1.1\r\nhost: a.example\r\n\r\n";
    let mut noise = 1_u32;
    let mut noise = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let mixed = (0..400_000).map(|i| {
        if i % 3 == 0 {
            noise()
        } else {
            text[i % text.len()]
        }
    });
    let contents = [
        Vec::new(),
        text.to_vec(),
        vec![7; 300_000],
        mixed.collect(),
        (0..150_000).map(|_| noise()).collect(),
        text.repeat(30_000),
    ];
    let mut frames = Vec::new();
    for bytes in contents {
        for (level, log, is_sized, has_checksum) in [
            (1, 10, false, true),
            (3, 17, true, false),
            (19, 20, true, true),
            (3, 27, false, false),
        ] {
            let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
            encoder.set_parameter(CParameter::WindowLog(log)).unwrap();
            encoder.include_checksum(has_checksum).unwrap();
            if is_sized {
                encoder
                    .set_pledged_src_size(Some(bytes.len() as u64))
                    .unwrap();
            }
            for piece in bytes.chunks(70_001) {
                encoder.write_all(piece).unwrap();
                encoder.flush().unwrap();
            }
            frames.push((encoder.finish().unwrap(), bytes.clone()));
        }
    }
    frames
}

#[test]
fn frames_return_their_contents() {
    for (packed, bytes) in frames() {
        for step in [1, 7, 5000, packed.len() + 10] {
            if step == 1 && packed.len() > 20_000 {
                continue;
            }
            let followed = [&packed[..], b"after"].concat();
            let [rust, c] = by_both(&followed, step);
            assert!(rust == (bytes.clone(), None, packed.len()), "{step}");
            assert!(c == rust, "{step}");
        }
    }
    let skippable = b"\x5f\x2a\x4d\x18\x07\x00\x00\x00abcdefg after";
    let [rust, c] = by_both(skippable, 3);
    assert_eq!((rust.1.clone(), rust.2), (None, 15));
    assert_eq!(rust, c);
}

#[test]
fn a_cut_frame_returns_the_same_as_the_reference() {
    for (packed, _) in frames() {
        for cut in (0..packed.len()).step_by(packed.len() / 12 + 1) {
            let [rust, c] = by_both(&packed[..cut], 4096);
            assert!(
                rust == c,
                "{cut} of {}: {:?} {:?}",
                packed.len(),
                rust.1,
                c.1
            );
        }
    }
}

/// The two implementations do not find every fault in the same block. The reference returns nothing of a corrupt block,
/// and refuses some frames whose window is larger than declared.
#[test]
fn a_corrupt_frame_returns_the_bytes_before_the_fault() {
    let (mut same, mut all) = (0, 0);
    for (packed, _) in frames() {
        for at in (4..packed.len()).step_by(packed.len() / 12 + 1) {
            let mut corrupt = packed.clone();
            corrupt[at] ^= 0x55;
            let [rust, c] = by_both(&corrupt, 4096);
            let place = format!(
                "{at} of {}: {} {:?}, {} {:?}",
                packed.len(),
                rust.0.len(),
                rust.1,
                c.0.len(),
                c.1
            );
            let (short, long) = match rust.0.len() < c.0.len() {
                true => (&rust.0, &c.0),
                false => (&c.0, &rust.0),
            };
            assert!(long.starts_with(short), "{place}");
            all += 1;
            same += u32::from(rust.0 == c.0 && rust.1 == c.1);
        }
    }
    assert!(same * 10 > all * 7, "{same} of {all} the same");
}

#[test]
fn a_window_has_a_limit() {
    for (log, is_taken) in [(27, true), (28, false)] {
        let window = (log - 10) << 3;
        let packed = [&b"\x28\xb5\x2f\xfd\x00"[..], &[window], &[0x09, 0, 0, b'x']].concat();
        let [rust, c] = by_both(&packed, 100);
        assert_eq!(rust, c);
        let expected = (!is_taken).then_some(Unpackable::Window);
        assert_eq!(rust.1, expected, "{log}");
    }
}
