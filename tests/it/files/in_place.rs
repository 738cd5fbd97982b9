//! Outputs that are written in place: devices, FIFOs, sockets and standard output; and links, whose targets are replaced.

use super::*;

/// A full disk is reported for outputs that are written in place, too. This test needs no mounts.
#[test]
fn a_full_device_is_reported() {
    let scratch = Scratch::new();
    write_trace(&scratch, "small.pb", 0);
    let run = scratch.shell("exec capture2pcap small.pb - > /dev/full");
    let outcome = run.run().exits(1);
    let message = "capture2pcap: standard output: cannot write: No space left on device";
    outcome.says([message]);
}

#[test]
fn a_fifo_and_a_socket_are_written_in_place() {
    let scratch = Scratch::new();
    let trace = write_trace(&scratch, "small.pb", 0);
    let expected = alone(&trace);
    for options in [&[][..], &["-m"]] {
        let expected = match options {
            [] => expected.clone(),
            _ => {
                let run = scratch.capture2pcap().args(options);
                run.args(["small.pb", "-"]).run().exits(0).stdout
            }
        };
        scratch.shell("mkfifo fifo; ln -s fifo link").run().exits(0);
        let socket = UnixListener::bind(scratch.path("socket")).expect("a socket");
        let listener = thread::spawn(move || {
            let mut bytes = Vec::new();
            let (mut stream, _) = socket.accept().expect("a connection");
            stream.read_to_end(&mut bytes).expect("a capture");
            bytes
        });
        for name in ["fifo", "link"] {
            let cat = scratch.shell("exec cat fifo").start();
            let run = scratch
                .capture2pcap()
                .args(options)
                .args(["small.pb", name]);
            run.run().exits(0);
            assert!(cat.finish().stdout == expected, "{name} {options:?}");
        }
        let run = scratch
            .capture2pcap()
            .args(options)
            .args(["small.pb", "socket"]);
        run.run().exits(0);
        assert!(
            listener.join().expect("a listener") == expected,
            "socket {options:?}"
        );
        let kind = |name: &str| {
            fs::symlink_metadata(scratch.path(name))
                .expect("there")
                .file_type()
        };
        assert!(kind("fifo").is_fifo() && kind("socket").is_socket() && kind("link").is_symlink());
        assert_left_over(&scratch, &["fifo", "link", "small.pb", "socket"]);
        scratch.shell("rm fifo link socket").run().exits(0);
    }
}

/// Standard output is not replaced if it is named as a file, but written to at its position.
#[test]
fn standard_output_by_name_is_not_replaced() {
    let scratch = Scratch::new();
    let trace = write_trace(&scratch, "a.pb", 0);
    let expected = [b"before".as_slice(), &alone(&trace), b"after"].concat();
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let script = format!("(printf before; capture2pcap a.pb {name}; printf after) > all");
        scratch.shell(&script).run().exits(0);
        assert!(
            fs::read(scratch.path("all")).expect("it") == expected,
            "{name}"
        );
    }
}

#[test]
fn a_device_is_written_in_place() {
    let scratch = Scratch::new();
    write_trace(&scratch, "small.pb", 0);
    // A bind mount of the device, so that a fault of the program would not destroy the system's device.
    let script = "
        for device in null full; do
            touch $device
            mount --bind /dev/$device $device
            code=0; capture2pcap small.pb $device || code=$?
            test -c $device; echo $device $code
        done";
    let Some(outcome) = with_mounts(&scratch, script) else {
        return;
    };
    let outcome = outcome
        .exits(0)
        .says(["capture2pcap: full: cannot write: No space left on device"]);
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    assert_eq!(stdout, "null 0\nfull 1\n", "{}", outcome.explain());
    assert_left_over(&scratch, &["full", "null", "small.pb"]);
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let scratch = Scratch::new();
    let trace = write_trace(&scratch, "small.pb", 0);
    let expected = alone(&trace);
    fs::create_dir(scratch.path("folder")).expect("a folder");
    let target = scratch.write("folder/target.pcap", b"old");
    let links = [
        ("relative", "folder/target.pcap"),
        ("twice", "relative"),
        ("folder/back", "../folder/target.pcap"),
        ("dangling", "folder/new.pcap"),
    ];
    for (link, to) in links {
        symlink(to, scratch.path(link)).expect("a link");
        let before = fs::metadata(&target).expect("a target").ino();
        scratch
            .capture2pcap()
            .args(["small.pb", link])
            .run()
            .exits(0);
        let found = fs::read_link(scratch.path(link)).expect("still a link");
        assert_eq!(found, Path::new(to), "{link}");
        assert!(
            fs::read(scratch.path(link)).expect("a capture") == expected,
            "{link}"
        );
        // The file is replaced, not overwritten: readers of the old file are not affected.
        let replaced = fs::metadata(&target).expect("a target").ino() != before;
        assert_eq!(replaced, link != "dangling", "{link}");
    }
    assert_left_over(
        &scratch,
        &["dangling", "folder", "relative", "small.pb", "twice"],
    );
    let found: Vec<_> = files(&scratch.path("folder")).into_keys().collect();
    assert_eq!(
        found,
        ["back", "new.pcap", "target.pcap"].map(PathBuf::from)
    );

    symlink("nowhere/new.pcap", scratch.path("lost")).expect("a link");
    symlink("loop", scratch.path("loop")).expect("a link");
    for (link, why) in [
        ("lost", "there is no folder nowhere"),
        ("loop", "Too many levels of symbolic links"),
    ] {
        let outcome = scratch.capture2pcap().args(["small.pb", link]).run();
        outcome
            .exits(1)
            .says([&format!("capture2pcap: {link}: cannot write: {why}")]);
        assert!(scratch.path(link).is_symlink(), "{link}");
    }
}

/// A reader that closes its end ends the conversion without an error, for every kind of output that is written in
/// place.
#[test]
fn a_reader_that_goes_away_ends_the_work() {
    let scratch = Scratch::new();
    write_large(&scratch);
    scratch.shell("mkfifo fifo").run().exits(0);
    let socket = UnixListener::bind(scratch.path("socket")).expect("a socket");
    let listener = thread::spawn(move || {
        let (mut stream, _) = socket.accept().expect("a connection");
        stream.read_exact(&mut [0; 24]).expect("a header");
    });
    let run = scratch.capture2pcap().args(["large.pb", "socket"]);
    run.run().exits(0).says_nothing();
    listener.join().expect("a listener");
    for how in [
        "-m large.pb - | head -c 24 > head",
        "-m large.pb fifo & head -c 24 fifo > head; wait $!",
        "large.pb fifo & head -c 24 fifo > head; wait $!",
    ] {
        // The script prints the exit status, because a pipeline returns only that of its last command.
        let script = match how.split_once(" | ") {
            Some((run, reader)) => {
                format!("{{ code=0; capture2pcap {run} || code=$?; echo $code >&2; }} | {reader}")
            }
            None => format!("capture2pcap {how}; echo $? >&2"),
        };
        let outcome = scratch.shell(&script).run().exits(0);
        assert_eq!(outcome.stderr, "0\n", "{how}{}", outcome.explain());
        assert_eq!(
            fs::read(scratch.path("head")).expect("head").len(),
            24,
            "{how}"
        );
    }
}
