use proptest::prelude::*;

use super::*;

/// A string in the code.
fn encode(text: &[u8]) -> Vec<u8> {
    let bits: usize = text
        .iter()
        .map(|&c| usize::from(LENGTHS[usize::from(c)]))
        .sum();
    let mut bytes = vec![0; bits.div_ceil(8)];
    let mut out = Bits::new(&mut bytes);
    for &c in text {
        let symbol = usize::from(c);
        out.push(TREE.codes[symbol], LENGTHS[symbol].into());
    }
    out.pad();
    bytes
}

fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
    let (mut text, mut node) = (Vec::new(), 0);
    decode(bytes, &mut node, |c| text.push(c))?;
    end(node)?;
    Ok(text)
}

#[test]
fn the_code_is_that_of_rfc_7541() {
    // Appendices C.4.1 to C.4.3 and C.6.1.
    let cases: [(&[u8], &[u8]); 5] = [
        (
            b"www.example.com",
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        ),
        (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
        (b"custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
        (
            b"Mon, 21 Oct 2013 20:13:21 GMT",
            b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
        ),
        (
            b"https://www.example.com",
            b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
        ),
    ];
    for (text, bytes) in cases {
        assert_eq!(encode(text), bytes);
        assert_eq!(decoded(bytes).unwrap(), text);
    }
    assert_eq!(TREE.codes[EOS], 0x3fff_ffff);
    assert_eq!(decoded(b"\xff\xff\xff\xff"), Err(Invalid), "the end's code");
    assert_eq!(decoded(b"\x00"), Err(Invalid), "padded with zeros");
    assert_eq!(
        decoded(b"\x07\xff"),
        Err(Invalid),
        "a whole byte of padding"
    );
}

/// Below what stands for a node are codes of all lengths that are below the node, wherever it is cut again.
#[test]
fn a_cut_character_can_be_finished_with_any_length() {
    for (symbol, (&length, &code)) in LENGTHS[..EOS].iter().zip(&TREE.codes).enumerate() {
        let length = usize::from(length);
        let mut before = (0, 0);
        for depth in 1..length {
            let prefix = code >> (length - depth);
            let node = (0..256)
                .find(|&node| {
                    usize::from(TREE.depths[node]) == depth && TREE.prefixes[node] == prefix
                })
                .unwrap();
            let stand_in = TREE.stand_ins[node];
            assert_eq!(usize::from(TREE.depths[stand_in as usize]), depth);
            let bits = TREE.prefixes[stand_in as usize];
            assert_eq!(bits >> (depth - before.0), before.1, "{symbol} at {depth}");
            let finished = TREE.code(stand_in, length);
            assert_eq!(finished >> (length - depth), bits, "{symbol} at {depth}");
            assert!(
                (0..EOS).any(|s| TREE.codes[s] == finished && usize::from(LENGTHS[s]) == length)
            );
            before = (depth, bits);
        }
    }
}

/// Overwrites a string in pieces that end at `cuts`.
fn overwritten(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, u32) {
    let mut out = bytes.to_vec();
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut begin, mut node, mut chars) = (0, 0, 0);
    for (i, &end) in ends.iter().enumerate() {
        let is_last = i + 1 == ends.len();
        chars += overwrite(&mut out[begin..end], &mut node, is_last).unwrap();
        begin = end;
    }
    (out, chars)
}

#[test]
fn an_ordinary_secret_becomes_stars_dashes_and_zeros() {
    let bytes = encode(b"Bearer eyJhbGciOiJIUzI1NiJ9");
    let (out, chars) = overwritten(&bytes, &[]);
    assert_eq!(chars, 27);
    assert_eq!(decoded(&out).unwrap(), b"**********00000000000000000");
}

/// What becomes of a complete string at once and in the general way: its characters and its bytes.
fn both_ways(bytes: &[u8]) -> [(Result<u32, Invalid>, Vec<u8>); 2] {
    let (mut at_once, mut general) = (bytes.to_vec(), bytes.to_vec());
    let chars = overwrite_all(&mut at_once);
    let expected = overwrite(&mut general, &mut 0, true);
    [(chars, at_once), (expected, general)]
}

#[test]
fn short_strings_are_overwritten_at_once_as_in_pieces() {
    for a in 0..=255 {
        for b in 0..=255 {
            for bytes in [&[a][..], &[a, b], &[0x1c, a, b], &[a, b, 0x1c, 0x64, b]] {
                let [at_once, general] = both_ways(bytes);
                assert_eq!(at_once, general, "{bytes:?}");
                let chars = decoded(bytes).map(|text| text.len() as u32);
                assert_eq!(count(bytes), chars, "{bytes:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_overwritten_string_has_as_many_characters(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            "[ -~]{0,60}".prop_map(String::into_bytes),
            "[a-e0-2]{0,60}".prop_map(String::into_bytes),
        ],
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let bytes = encode(&text);
        let [at_once, general] = both_ways(&bytes);
        prop_assert_eq!(at_once, general);
        prop_assert_eq!(count(&bytes), Ok(text.len() as u32));
        let (out, chars) = overwritten(&bytes, &cuts);
        prop_assert_eq!(chars as usize, text.len());
        prop_assert_eq!(out.len(), bytes.len());
        let decoded = decoded(&out).unwrap();
        prop_assert_eq!(decoded.len(), text.len());
        // Any other text of the same lengths, cut at the same places, gives the same.
        if cuts.is_empty() {
            let mut other = text.clone();
            other.reverse();
            prop_assert_eq!(overwritten(&encode(&other), &[]).0, out);
        }
    }
}

#[test]
fn long_strings_of_codes_of_each_length_are_counted() {
    for begin in (0..=8).map(|len| "0".repeat(len)) {
        for middle in (0..=3).map(|len| ":".repeat(len)) {
            for rest in ["0", "-", ":", "*", "-:"].map(|text| text.repeat(40)) {
                let text = [&*begin, &middle, &rest].concat();
                let counted = count_short(&encode(text.as_bytes()));
                assert_eq!(counted.map(|(count, _)| count as usize), Some(text.len()));
            }
        }
    }
}
