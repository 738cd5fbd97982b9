//! Compressed traces that are cut or corrupt, and bytes after their end.

use super::*;

/// Everything before a cut or a fault is converted, as far as gzip itself can unpack it.
#[test]
fn a_cut_gives_what_was_unpacked_before_it() {
    let trace = made().encode(Form::StreamedDelimited).bytes;
    let scratch = Scratch::new();
    let (_, whole) = convert(&scratch, &trace, &[]);
    let whole = whole.expect("a capture");
    for (program, bytes) in [("gzip", gzip(&trace)), ("zstd", zstd(&trace))] {
        for cut in (3..bytes.len()).step_by(bytes.len() / 40 + 1) {
            let place = format!("{program}, cut at {cut} of {}", bytes.len());
            let packed = scratch.write("packed", &bytes[..cut]);
            let judge = Run::new(program).args(["-dc"]).stdin(&bytes[..cut]).run();
            let (outcome, records) = convert(&scratch, &bytes[..cut], &[]);
            let outcome = outcome.exits(1);
            let records = records.unwrap_or_default();
            assert!(
                whole.starts_with(&records) || !records.is_empty(),
                "{place}"
            );
            let (_, expected) = convert(&scratch, &judge.stdout, &[]);
            let expected = expected.unwrap_or_default();
            assert!(records.len() >= expected.len(), "{place}");
            // Fewer than four bytes do not show the compression.
            if cut >= 4 {
                let why = format!("of the unpacked trace: the {program} data ends early");
                outcome.says(["cut at offset", &why]);
            }
            let run = scratch.capture2pcap().args(["--strict", "-q"]);
            run.arg(&packed).arg("strict.pcap").run().exits(1);
            assert!(!scratch.path("strict.pcap").exists(), "{place}");
        }
    }
    let trace = several_blocks();
    for bytes in [gzip(&trace), zstd(&trace)] {
        let (_, records) = convert(&scratch, &bytes[..bytes.len() / 2], &[]);
        let given = records.unwrap_or_default().len();
        assert!((75..=100).contains(&given), "{given} of 200");
        // In a merge, too.
        scratch.write("half.pb", &bytes[..bytes.len() / 2]);
        let run = scratch.capture2pcap().args(["-m", "half.pb", "half.pcap"]);
        let outcome = run.run().exits(1);
        outcome.says(["half.pb: cut at offset", "of the unpacked trace"]);
        let merged = Capture::read(&scratch.path("half.pcap"));
        let merged = merged.segments().into_iter().filter(|s| s.length > 0);
        assert_eq!(merged.count(), given);
        // The end is intact, and a byte in the middle is wrong.
        let mut corrupt = bytes.clone();
        let middle = bytes.len() / 2;
        corrupt[middle] ^= 0x55;
        let (outcome, records) = convert(&scratch, &corrupt, &[]);
        outcome.exits(1).says(["data is corrupt ("]);
        assert!(!records.unwrap_or_default().is_empty());
    }
}

/// Like gzip: zeros are padding; other bytes are ignored and reported.
#[test]
fn bytes_after_the_end_are_reported_unless_they_are_zeros() {
    let trace = made().encode(Form::Binary).bytes;
    let scratch = Scratch::new();
    let (_, whole) = convert(&scratch, &trace, &[]);
    for bytes in [gzip(&trace), zstd(&trace)] {
        let padded = [&bytes[..], &[0; 100_000]].concat();
        let (outcome, records) = convert(&scratch, &padded, &[]);
        outcome.exits(0).says_nothing();
        assert_eq!(records, whole);
        let followed = [&bytes[..], &[0; 10], b"garbage"].concat();
        for options in [&[][..], &["--strict"]] {
            let (outcome, records) = convert(&scratch, &followed, options);
            outcome
                .exits(0)
                .says(["has other bytes after its end: ignored"]);
            assert_eq!(records, whole);
        }
        let run = scratch.capture2pcap().args(["-m", "input", "all.pcap"]);
        run.run().exits(0).says(["has other bytes after its end"]);
    }
}
