//! The manual page and the help, which are generated from the same definitions.

use std::path::Path;

use crate::harness::Scratch;

/// All long options, with their letter if they have one.
const OPTIONS: [(&str, Option<char>); 31] = [
    ("format", Some('F')),
    ("time-stamp-precision", None),
    ("nano", None),
    ("micro", None),
    ("snaplen", Some('s')),
    ("mss", None),
    ("handshake", None),
    ("input-format", None),
    ("local", None),
    ("remote", None),
    ("merge", Some('m')),
    ("info", None),
    ("json", None),
    ("role", None),
    ("start", None),
    ("files-from", None),
    ("strict", None),
    ("jobs", Some('j')),
    ("quiet", Some('q')),
    ("verbose", Some('v')),
    ("tap", None),
    ("config-id", None),
    ("tap-config", None),
    ("max-bytes", None),
    ("open", None),
    ("proto-path", None),
    ("install-wireshark", None),
    ("uninstall-wireshark", None),
    ("generate", None),
    ("help", Some('h')),
    ("version", Some('V')),
];

fn printed(args: &[&str]) -> String {
    let outcome = Scratch::new()
        .capture2pcap()
        .args(args)
        .run()
        .exits(0)
        .says_nothing();
    String::from_utf8(outcome.stdout).expect("UTF-8")
}

/// `capture2pcap --generate man > man/capture2pcap.1` regenerates it.
#[test]
fn the_man_page_is_the_one_that_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/capture2pcap.1");
    let committed = std::fs::read_to_string(&path).expect("man/capture2pcap.1");
    let current = printed(&["--generate", "man"]);
    for (committed, current) in committed.lines().zip(current.lines()) {
        assert_eq!(committed, current, "man/capture2pcap.1 is out of date");
    }
    assert_eq!(
        committed.len(),
        current.len(),
        "man/capture2pcap.1 is out of date"
    );
}

#[test]
fn every_option_of_the_contract_is_explained() {
    let (help, man) = (printed(&["--help"]), printed(&["--generate", "man"]));
    for (long, short) in OPTIONS {
        let line = help.lines().find(|line| {
            let names = line.trim_start();
            names.starts_with('-')
                && names
                    .split([',', ' ', '[', '='])
                    .any(|word| word == format!("--{long}"))
        });
        let line = line.unwrap_or_else(|| panic!("--help lacks --{long}"));
        if let Some(short) = short {
            assert!(
                line.contains(&format!("-{short},")),
                "--help lacks -{short}: {line}"
            );
        }
        let escaped = format!("\\-\\-{}", long.replace('-', "\\-"));
        assert!(man.contains(&escaped), "the man page lacks --{long}");
    }
    assert!(
        help.lines().any(|line| line.trim_start().starts_with("-0")),
        "--help lacks -0"
    );
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
        assert!(
            man.contains(&format!(".SH {section}")),
            "the man page lacks {section}"
        );
    }
    assert!(
        man.contains("EXIT STATUS"),
        "the man page lacks EXIT STATUS"
    );
}

/// Usage errors are shorter than a screen, and have exit status 2.
#[test]
fn usage_errors_are_reported() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "INPUT and OUTPUT are missing"),
        (&["one"], "OUTPUT"),
        (&["--nano", "--micro", "a", "b"], "--nano"),
        (&["--start", "yesterday", "a", "b"], "2024-05-01T12:00:00Z"),
        (&["--local", "nowhere", "a", "b"], "IP address"),
        (&["--mss", "0", "a", "b"], "--mss"),
        (&["--json", "a", "-"], "--json"),
        (&["-", "b", "folder/"], "standard input"),
        (&["-m", "-", "out"], "standard input"),
    ];
    for (args, expected) in cases {
        let scratch = Scratch::new();
        scratch
            .capture2pcap()
            .args(args)
            .run()
            .exits(2)
            .says([expected]);
        assert_eq!(
            scratch.dir().read_dir().expect("a folder").count(),
            0,
            "{args:?}"
        );
    }
}

/// Reports of faults need these details.
#[test]
fn the_long_version_names_the_features_and_the_target() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&["-V"]), format!("capture2pcap {version}\n"));
    let long = printed(&["--version"]);
    let lines: Vec<_> = long.lines().collect();
    let [first, features, target] = lines[..] else {
        panic!("{long}");
    };
    assert!(
        first.starts_with(&format!("capture2pcap {version}")),
        "{long}"
    );
    assert!(features.starts_with("features: "), "{long}");
    assert!(target.starts_with("target: "), "{long}");
}
