//! A trace that is cut anywhere gives the first events of the whole one.

use super::*;

/// Positions at which to cut a trace: around the start of each event, and others evenly between. All positions, if the
/// trace is short or the run long.
fn cuts(len: usize, events: &[Event]) -> Vec<usize> {
    let even = cases(120) as usize;
    let step = (len / even).max(1);
    let mut cuts: Vec<usize> = (0..len).step_by(step).collect();
    // A trace with many events is cut at some of them.
    let near = (events.len() / even).max(1);
    for event in events.iter().step_by(near) {
        let at = event.offset as usize;
        cuts.extend([at.saturating_sub(1), at, at + 1, at + 2]);
    }
    cuts.extend(len.saturating_sub(3)..len);
    cuts.retain(|&cut| cut < len);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Whether `events` are the first ones of `whole`. The last may be the start of an event, with the number of missing
/// bytes, and without its connection, which follows the payload.
fn are_first(events: &[Event], whole: &[Event]) -> bool {
    let Some((last, before)) = events.split_last() else {
        return true;
    };
    let mut rest = whole.iter().skip(before.len());
    let Some(there) = rest.next() else {
        return false;
    };
    let there = match there.what {
        Said::Connection(_) if last.payload().is_some() => rest.next().unwrap_or(there),
        _ => there,
    };
    let is_front = || match (last.payload(), there.payload()) {
        (Some((way, front)), Some((whole_way, payload))) => {
            let missing = (payload.len() - front.len()) as u64;
            way == whole_way
                && payload.starts_with(front)
                && last.missing.unwrap_or_default() == missing + there.missing.unwrap_or_default()
                && (last.trace, last.offset) == (there.trace, there.offset)
        }
        _ => false,
    };
    whole.starts_with(before) && (last == there || is_front())
}

/// Fails unless `records` are the first ones of `whole`. The last one or two may differ: an event that Envoy truncated,
/// whose true size is unknown without the next event, and an event at which the trace is cut, perhaps before its
/// addresses.
#[track_caller]
fn assert_first(records: &[Record], whole: &[Record], place: &str) {
    let same = records.iter().zip(whole).take_while(|(a, b)| a == b);
    let same = same.count();
    assert!(records.len() <= same + 2, "{place}: other records");
    assert!(
        records.len() <= whole.len(),
        "{place}: more records than of the whole"
    );
    for (i, (got, full)) in records.iter().zip(whole).enumerate().skip(same) {
        let at = (got.time, full.time);
        let (got, full) = (got.segment(), full.segment());
        let (got, full) = (got.expect("a segment"), full.expect("a segment"));
        // A first event may have stand-in addresses, and after an unknown size the sequence numbers differ.
        let is_there = got.sequence == full.sequence || i == 0 || i > same;
        assert!(
            at.0 == at.1
                && is_there
                && got.length <= full.length
                && full.payload.starts_with(got.payload),
            "{place}: {got:?}, and {full:?} of the whole"
        );
    }
}

/// Whether `bytes` end at the end of an outermost message, judged only by Envoy's layout.
fn is_whole(bytes: &[u8], encoding: Encoding) -> bool {
    let varint = |bytes: &[u8]| {
        let len = bytes.iter().position(|&byte| byte < 0x80)? + 1;
        let value = bytes[..len].iter().rev();
        let value = value.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
        Some((value, len))
    };
    let mut rest = bytes;
    match encoding {
        // Envoy indents all lines except those of the outermost level.
        Encoding::Text | Encoding::Json => {
            let rest = bytes.trim_ascii_end();
            rest.is_empty() || rest.ends_with(b"\n}")
        }
        Encoding::Binary | Encoding::Delimited => {
            while !rest.is_empty() {
                // A message without a delimiter has a field key before its length.
                let key = usize::from(encoding == Encoding::Binary);
                let Some((len, header)) = rest.get(key..).and_then(varint) else {
                    return false;
                };
                let Some(after) = rest.get(key + header + len..) else {
                    return false;
                };
                rest = after;
            }
            true
        }
    }
}

/// For every prefix of every recording: either there is no damage, or its offset is right, and the events before it are
/// those of the whole trace.
#[test]
fn a_prefix_gives_the_first_events_of_the_whole() {
    let sockets = fixtures::socket_traces();
    let sockets = sockets.iter().map(|fixture| (fixture.path.clone(), true));
    let http = fixtures::http_traces()
        .into_iter()
        .map(|path| (path, false));
    let traces: Vec<_> = sockets.chain(http).collect();
    each(
        &traces,
        |(path, _)| path.display().to_string(),
        |(path, socket)| {
            let bytes = std::fs::read(path).expect("a recording");
            let (whole, _) = read(&bytes);
            let encoding = encoding(&bytes).expect("a trace");
            // The closing packets are synthesized, and follow the last event of the prefix.
            let how = How {
                handshake: Handshake::Never,
                ..How::default()
            };
            let (records, _) = convert(&bytes, how);
            for cut in cuts(bytes.len(), &whole) {
                let place = format!("{} cut at {cut}", path.display());
                let (events, damage) = read(&bytes[..cut]);
                assert!(are_first(&events, &whole), "{place}: other events");
                match damage {
                    None => assert!(is_whole(&bytes[..cut], encoding), "{place}: no damage"),
                    // Too short to be recognized. Otherwise the only damage is the cut.
                    Some(damage) => match *damage.fault {
                        Fault::Unrecognised { .. } => assert!(events.is_empty(), "{place}"),
                        Fault::Cut { .. } => {
                            assert_eq!(damage.offset, cut as u64, "{place}: {damage}");
                        }
                        _ => panic!("{place}: {damage}"),
                    },
                }
                // The end of an exchange is synthesized if its start was delivered.
                if *socket {
                    let (cut, _) = convert(&bytes[..cut], how);
                    assert_first(&cut.records, &records.records, &place);
                }
            }
        },
    );
}
