//! The metadata in pcapng captures, and the programs that read it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::batch::write_trace;
use crate::fixtures;
use crate::harness::{Scratch, capinfos, each, tcpdump, tshark};
use crate::losses::{STREAMED, counted, cut};
use crate::make::{Ev, Made, What};
use crate::pcap::Capture;

fn taps(name: &str) -> PathBuf {
    fixtures::testdata().join("envoy-1.40/taps").join(name)
}

/// Converts fixtures to a pcapng file in `scratch`.
fn convert(scratch: &Scratch, options: &[&str], inputs: &[PathBuf], code: i32) -> PathBuf {
    let path = scratch.path("out.pcapng");
    scratch
        .capture2pcap()
        .args(options)
        .args(inputs)
        .arg(&path)
        .run()
        .exits(code);
    path
}

/// A line for each packet: interface name, direction and comments, as tshark shows them.
fn shown(path: &Path) -> Vec<String> {
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.comment",
    ];
    let mut args: Vec<OsString> = ["-T", "fields", "-r"].map(Into::into).into();
    args.push(path.into());
    args.extend(
        fields
            .into_iter()
            .flat_map(|field| ["-e".into(), field.into()]),
    );
    tshark(args).lines().map(str::to_owned).collect()
}

#[test]
fn packets_have_their_connection_direction_and_missing_bytes() {
    let scratch = Scratch::new();
    let (inbound, outbound) = ("0x00000001", "0x00000002");

    let path = convert(
        &scratch,
        &[],
        &[taps("str_trunc_126.pb_length_delimited")],
        0,
    );
    let name = "downstream 127.0.0.1:10014 #126";
    let expected = [
        (inbound, ""),
        (outbound, ""),
        (inbound, ""),
        (outbound, ""),
        (outbound, "truncated: 1024 of 20069 bytes recorded"),
        (outbound, ""),
        (outbound, "truncated: 1024 of 16528 bytes recorded"),
        (inbound, ""),
        (inbound, "closed"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(way, said)| format!("{name}\t{way}\t{said}"))
        .collect();
    assert_eq!(shown(&path), expected);

    let path = convert(&scratch, &[], &[taps("buf_uds_236.pb")], 0);
    let lines = shown(&path);
    let stand_ins = "stand-in: 192.0.2.1:80 for the local unix:@capture-lab,\
        stand-in: 192.0.2.2:49388 for the remote unix:@capture-lab";
    let name = "downstream unix:@capture-lab #236";
    assert_eq!(lines[0], format!("{name}\t{inbound}\t{stand_ins}"));
    assert_eq!(lines[1], format!("{name}\t{outbound}\t"));
    let resolved = tshark(["-N".as_ref(), "n".as_ref(), "-r".as_ref(), path.as_os_str()]);
    assert!(
        resolved.contains("unix:@capture-lab → unix:@capture-lab"),
        "{resolved}"
    );

    let path = convert(&scratch, &[], &[taps("up_str_146.pb_length_delimited")], 1);
    let lines = shown(&path);
    assert!(
        lines[0].starts_with(&format!(
            "upstream 127.0.0.1:18081 #146\t{outbound}\tstand-in"
        )),
        "{lines:?}"
    );

    let http = taps("http_buf_json_body_as_string_1150931188729898772.json");
    let path = convert(&scratch, &[], &[http], 0);
    let said: Vec<_> = shown(&path)
        .iter()
        .map(|line| line.split('\t').nth(2).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        said.iter()
            .filter(|said| *said == "GET /index.html,upstream: 127.0.0.1:18080")
            .count(),
        1,
        "{said:?}"
    );

    let path = convert(
        &scratch,
        &[],
        &[taps("http_str_proto_binary_102564249338562369.pb")],
        0,
    );
    assert!(
        shown(&path)
            .iter()
            .filter(|line| line.contains("stand-in time"))
            .count()
            > 2
    );
}

/// Lost events, a truncated body, the end of a stream, a closed connection, a name in place of an address.
#[test]
fn every_kind_of_comment_is_written() {
    let scratch = Scratch::new();
    let mut made = Made::v4(vec![
        counted(What::Read, 0, b"twelve bytes", 1),
        Ev {
            end_stream: true,
            ..counted(What::Write, 10, b"beyond a gap", 50)
        },
        cut(What::Read, 20, b"cut", 62),
        counted(What::Closed, 30, b"", 163),
    ]);
    made.local.0 = "tap.internal".into();
    for form in STREAMED {
        let input = scratch.write("trace", &made.encode(form).bytes);
        let path = convert(&scratch, &[], &[input], 0);
        let said: Vec<_> = shown(&path)
            .iter()
            .map(|line| line.split('\t').nth(2).unwrap_or_default().to_owned())
            .collect();
        let stand_in = format!("for the local tap.internal:{}", made.local.1);
        assert!(said[0].ends_with(&stand_in), "{form:?}: {said:?}");
        let rest = [
            "lost before this: 37 bytes,end_stream",
            "truncated: 3 of 100 bytes recorded",
            "closed",
        ];
        assert_eq!(said[1..], rest, "{form:?}");
        let named = tshark(["-N".as_ref(), "n".as_ref(), "-r".as_ref(), path.as_os_str()]);
        assert!(named.contains("tap.internal → "), "{form:?}: {named}");
    }
}

#[test]
fn the_section_names_its_program_and_its_traces() {
    let scratch = Scratch::new();
    let inputs = [taps("buf_tcp_232.pb"), taps("buf_tcp_234.pb")];
    let path = convert(&scratch, &["-m"], &inputs, 0);
    let info = capinfos([path.as_os_str()]);
    let version = env!("CARGO_PKG_VERSION");
    for expected in [
        format!("Capture application: capture2pcap {version}"),
        "Capture comment:     from 2 traces: buf_tcp_232.pb, buf_tcp_234.pb".to_owned(),
        "Number of interfaces in file: 2".to_owned(),
        "Name = downstream 127.0.0.1:10033 #232".to_owned(),
        "Description = buf_tcp_234.pb, trace 234".to_owned(),
        "Time precision = nanoseconds (9)".to_owned(),
        "Number of stat entries = 1".to_owned(),
        "File type:           Wireshark/... - pcapng".to_owned(),
    ] {
        assert!(info.contains(&expected), "{expected:?} is not in\n{info}");
    }
}

/// The packets equal those of the pcap, converted by editcap, and every reader accepts them.
#[test]
fn every_reader_finds_the_packets_of_the_pcap() {
    let mut traces = fixtures::socket_traces();
    traces.retain(|fixture| !fixture.name.contains("proto_text"));
    each(
        &traces,
        |fixture| fixture.name.clone(),
        |fixture| {
            let (scratch, code) = (Scratch::new(), fixture.code());
            let path = convert(&scratch, &[], std::slice::from_ref(&fixture.path), code);
            let (edited, ours) = (scratch.path("edited.pcap"), scratch.path("ours.pcap"));
            let status = std::process::Command::new("editcap")
                .args(["-F", "nsecpcap"])
                .args([&path, &edited])
                .status()
                .expect("editcap");
            assert!(status.success());
            scratch
                .capture2pcap()
                .args(["--nano", "-F", "pcap"])
                .arg(&fixture.path)
                .arg(&ours)
                .run()
                .exits(code);
            let (edited, ours) = (Capture::read(&edited), Capture::read(&ours));
            assert_eq!(edited.records.len(), ours.records.len());
            for (i, (edited, ours)) in edited.records.iter().zip(&ours.records).enumerate() {
                let parts = |record: &crate::pcap::Record| {
                    (record.time, record.original, record.data.clone())
                };
                assert_eq!(parts(edited), parts(ours), "packet {}", i + 1);
            }
            let args = ["-n", "-q", "-t", "-r"].map(OsString::from);
            let lines = tcpdump(args.into_iter().chain([path.into()]));
            assert_eq!(lines.lines().count(), ours.records.len(), "tcpdump");
        },
    );
}

#[test]
fn a_capture_without_packets_is_valid() {
    let scratch = Scratch::new();
    let empty = scratch.write("empty.pb", b"");
    let path = convert(&scratch, &[], &[empty], 0);
    assert!(capinfos(["-c".as_ref(), path.as_os_str()]).contains("Number of packets:   0"));
    assert_eq!(tcpdump(["-r".as_ref(), path.as_os_str()]), "");
    assert_eq!(shown(&path), Vec::<String>::new());
}

#[test]
fn a_merge_has_an_interface_a_connection_and_the_name_decides_the_format() {
    let scratch = Scratch::new();
    let inputs = [
        "buf_proto_binary_0.pb",
        "str_proto_binary_51.pb",
        "buf_v6_99.pb",
    ]
    .map(taps);
    let path = convert(&scratch, &["--merge"], &inputs, 0);
    let mut names: Vec<_> = shown(&path)
        .iter()
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(
        names,
        [
            "downstream 127.0.0.1:10000 #0",
            "downstream 127.0.0.1:10005 #51",
            "downstream [::1]:10011 #99"
        ]
    );

    scratch
        .capture2pcap()
        .args(["-F", "pcapng"])
        .args(&inputs)
        .arg("folder")
        .run()
        .exits(0);
    let magic = |name: &str| {
        let bytes = std::fs::read(scratch.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        bytes[..4].to_vec()
    };
    assert_eq!(magic("folder/buf_v6_99.pcapng"), [0x0a, 0x0d, 0x0d, 0x0a]);
    scratch
        .capture2pcap()
        .args(["-F", "pcap"])
        .arg(&inputs[0])
        .arg("odd.pcapng")
        .run()
        .exits(0);
    assert_eq!(magic("odd.pcapng"), [0xd4, 0xc3, 0xb2, 0xa1]);
    // A folder with the name of a capture is refused, unless it exists.
    let hint = "hint: --merge writes one capture";
    for (name, format) in [
        ("all.PCAPNG", [0x0a, 0x0d, 0x0d, 0x0a]),
        ("all.pcap", [0xd4, 0xc3, 0xb2, 0xa1]),
    ] {
        let run = scratch.capture2pcap().args(&inputs[..2]).arg(name);
        run.run().exits(2).says([hint]);
        std::fs::create_dir(scratch.path(name)).expect("a folder");
        scratch
            .capture2pcap()
            .args(&inputs[..2])
            .arg(name)
            .run()
            .exits(0)
            .says(["2 captures of 2 traces"]);
        let extension = name
            .split_once('.')
            .map(|(_, extension)| extension.to_lowercase());
        let made = format!("{name}/buf_proto_binary_0.{}", extension.expect("one"));
        assert_eq!(magic(&made), format);
    }
}

/// dumpcap reads the input of `tshark -i -`, `wireshark -k -i -` and every extcap. It fails on a section header of more
/// than 2,048 bytes, which the names of some hundred sources would exceed.
#[test]
fn dumpcap_takes_a_merge_of_400_sources_from_a_pipe() {
    let scratch = Scratch::new();
    for number in 0..400 {
        write_trace(&scratch, format!("in/path_{number}.pb"), number);
    }
    let merge = "capture2pcap -m -F pcapng in -";
    let script = format!(
        "{merge} | dumpcap -q -i - -w out.pcapng &&
         {merge} | tshark -n -l -i - -T fields -e frame.interface_name >shown"
    );
    let outcome = scratch.shell(&script).run().exits(0);
    let script = format!("{merge} >all.pcapng");
    scratch.shell(&script).run().exits(0);
    let args = |name: &str| {
        let path = scratch.path(name);
        let args: [OsString; 6] = [
            "-r".into(),
            path.into(),
            "-T".into(),
            "fields".into(),
            "-e".into(),
            "frame.interface_name".into(),
        ];
        tshark(args)
    };
    let expected = args("all.pcapng");
    assert!(expected.lines().count() >= 800, "{expected}");
    assert!(args("out.pcapng") == expected, "{}", outcome.explain());
    let shown = std::fs::read_to_string(scratch.path("shown")).expect("what tshark shows");
    assert!(shown == expected, "{}", outcome.explain());
}
