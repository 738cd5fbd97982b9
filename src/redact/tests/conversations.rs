//! Generated conversations with secrets, and bytes without sense.

use std::collections::HashSet;

use proptest::prelude::*;
use support::secrets::{Choices, Conversation};

use super::*;

fn tokens() -> Redaction {
    Redaction {
        names: "X-Token".parse().unwrap(),
        bodies: false,
    }
}

/// Checks a redacted conversation: only the secret values have changed.
fn check(conversation: &Conversation, redaction: &Redaction) -> Result<(), TestCaseError> {
    let direction = |from_client| if from_client { READ } else { WRITE };
    let events: Vec<_> = conversation
        .sent
        .iter()
        .map(|sent| Event::of_bytes(direction(sent.from_client), &sent.bytes))
        .collect();
    let (payloads, warnings) = redacted(redaction, &events);
    prop_assert_eq!(warnings.tallies().count(), 0, "{:?}", warnings);
    let mut sides = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for (sent, payload) in conversation.sent.iter().zip(&payloads) {
        let is_kept = |i: usize| sent.is_value[i] || payload[i] == sent.bytes[i];
        let changed = (0..payload.len()).find(|&i| !is_kept(i));
        let (before, after) = (sent.bytes.escape_ascii(), payload.escape_ascii());
        prop_assert_eq!(changed, None, "{}\n{}", before, after);
        let side = &mut sides[usize::from(sent.from_client)];
        side.0.extend_from_slice(&sent.bytes);
        side.1.extend_from_slice(payload);
    }
    let parts = parts(&conversation.secrets);
    for (i, (before, after)) in sides.iter().enumerate() {
        no_part_of(&parts, after)?;
        let Some(begins) = conversation.frames else {
            continue;
        };
        let (before, after) = (blocks(&before[begins[i]..]), blocks(&after[begins[i]..]));
        prop_assert_eq!(before.len(), after.len());
        for ((name, value), (name_after, value_after)) in before.iter().zip(&after) {
            prop_assert_eq!(name, name_after);
            if !redaction.names.has(name) {
                prop_assert_eq!(value, value_after);
                continue;
            }
            prop_assert_eq!(value.len(), value_after.len());
            no_part_of(&parts, value_after)?;
        }
    }
    Ok(())
}

/// All that eight bytes of a secret can be.
fn parts(secrets: &[Vec<u8>]) -> HashSet<&[u8]> {
    secrets
        .iter()
        .flat_map(|secret| secret.windows(8))
        .collect()
}

/// Fails where eight bytes of a secret stand in `bytes`.
fn no_part_of(parts: &HashSet<&[u8]>, bytes: &[u8]) -> Result<(), TestCaseError> {
    let found = bytes.windows(8).find(|part| parts.contains(part));
    prop_assert_eq!(found, None, "{}", bytes.escape_ascii());
    Ok(())
}

/// The fields of all header blocks in one direction of an HTTP/2 connection, decoded by another decoder.
fn blocks(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    // Each first block sets the size.
    let mut decoder = httlib_hpack::Decoder::with_dynamic_size(20_000);
    let (mut fields, mut block) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_at_checked(9) {
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let (mut payload, after) = after.split_at(len);
        rest = after;
        let (kind, flags) = (header[3], header[4]);
        if !matches!(kind, 1 | 5 | 9) {
            continue;
        }
        if kind != 9 && flags & 8 != 0 {
            payload = &payload[1..payload.len() - usize::from(payload[0])];
        }
        let fixed = if kind == 5 {
            4
        } else if kind == 1 && flags & 0x20 != 0 {
            5
        } else {
            0
        };
        block.extend_from_slice(&payload[fixed..]);
        if flags & 4 != 0 {
            let mut decoded = Vec::new();
            decoder
                .decode(&mut std::mem::take(&mut block), &mut decoded)
                .unwrap();
            fields.extend(decoded.into_iter().map(|(name, value, _)| (name, value)));
        }
    }
    fields
}

#[test]
fn only_values_change_wherever_events_end() {
    let config = ProptestConfig {
        failure_persistence: None,
        cases: 300,
        ..ProptestConfig::default()
    };
    proptest!(config, |(seed: u64)| {
        let mut choices = Choices(seed);
        let mut conversation = Conversation::new(&mut choices);
        conversation.cut(&mut choices);
        check(&conversation, &tokens())?;
    });
}

/// Random bytes cause no panic, and no change of a length.
#[test]
fn random_bytes_keep_their_lengths() {
    let mut choices = Choices(1);
    let begins: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 300\r\n\r\n",
        &[PREFACE, &frame(4, 0, 0, b"")].concat(),
        b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff",
        b"",
    ];
    for round in 0..5_000 {
        let mut events = vec![Event::of_bytes(READ, begins[round % 5])];
        for _ in 0..8 {
            let some = b"\r\n0;: 1\0\0\x01\x04\x09\x82\x40\x0f\x11\x85HTTP/1.1 200 OK\r\nGET / \xff\r\n\r\nCookie";
            let len = choices.below(60);
            let payload: Vec<u8> = (0..len).map(|_| some[choices.below(some.len())]).collect();
            let direction = if choices.one_in(2) { READ } else { WRITE };
            let event = Event::of_bytes(direction, &payload);
            events.push(match choices.below(6) {
                0 => cut(event, None),
                1 => cut(event, Some(choices.below(99) as u64)),
                2 => after_gap(
                    event,
                    choices.below(99) as u64,
                    [None, Some(READ), Some(WRITE)][choices.below(3)],
                ),
                _ => event,
            });
        }
        for bodies in [false, true] {
            let names = Names::default();
            redacted(&Redaction { names, bodies }, &events);
        }
    }
}
