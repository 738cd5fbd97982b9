//! Compressed traces in memory, converted and merged by the library.

use super::*;

/// The same captures as those of the command.
#[test]
fn compressed_traces_in_memory_give_the_capture_of_what_they_hold() {
    let convert = |name: &str, bytes: &[u8]| {
        let trace = Trace::new(name, bytes.to_vec());
        let converted = Converter::new().convert(&trace, Vec::new());
        converted.map(|converted| (converted.capture, converted.summary, converted.warnings))
    };
    each(
        &fixtures::socket_traces(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let name = fixture.path.file_name().expect("a name").to_string_lossy();
            let plain = convert(&name, &fixture.bytes());
            let plain = plain.map(|(capture, ..)| capture).ok();
            for (way, extension, bytes) in ways(&fixture.bytes()) {
                let packed = convert(&format!("{name}.{extension}"), &bytes);
                let packed = packed.map(|(capture, ..)| capture).ok();
                assert!(packed == plain, "{}: {way} of {extension}", fixture.name);
            }
        },
    );
    let trace = several_blocks();
    for bytes in [gzip(&trace), zstd(&trace)] {
        let half = &bytes[..bytes.len() / 2];
        let (_, summary, _) = convert("cut", half).expect("a capture");
        let damage = summary.damage.expect("damage").to_string();
        assert!(damage.contains("ends early"), "{damage}");
        let followed = [&bytes[..], b"garbage"].concat();
        let (_, summary, warnings) = convert("followed", &followed).expect("a capture");
        assert_eq!(summary.damage, None);
        let tally = warnings.tallies().next().expect("a warning").to_string();
        assert!(tally.contains("has other bytes after its end"), "{tally}");
    }
}

#[test]
fn a_merge_takes_compressed_traces_in_memory() {
    let scratch = Scratch::new();
    let paths = folder(&scratch);
    let read = |folder: &str| {
        let traces = paths.iter().map(|path| {
            let name = path.file_name().expect("a name");
            let found = fs::read_dir(scratch.path(folder)).expect("a folder");
            let found = found.map(|entry| entry.expect("an entry").path());
            let is_it = |path: &PathBuf| {
                path.to_string_lossy()
                    .contains(name.to_str().expect("UTF-8"))
            };
            let path = found.into_iter().find(is_it).expect("the trace");
            let name = path.file_name().expect("a name").to_owned();
            Trace::new(name, fs::read(path).expect("a trace"))
        });
        let traces: Vec<_> = traces.collect();
        Converter::new()
            .merge(&traces, Vec::new())
            .expect("a capture")
    };
    let ((plain, expected), (packed, given)) = (read("plain"), read("in"));
    assert!(given == expected);
    assert_eq!(packed.frames, plain.frames);
    // If a compressed trace is cut, a merge reports that, too.
    let cut = gzip(&made().encode(Form::StreamedDelimited).bytes);
    let traces = [Trace::new("cut", cut[..cut.len() - 9].to_vec())];
    let (merged, _) = Converter::new()
        .merge(&traces, Vec::new())
        .expect("a capture");
    let summary = merged.traces[0].result.as_ref().expect("a part");
    let damage = summary.damage.as_ref().expect("damage").to_string();
    assert!(damage.contains("the gzip data ends early"), "{damage}");
}
