//! The progress bar, and what is printed after an interruption.

use super::*;

/// The bar is redrawn many times. This only checks that it appeared.
#[track_caller]
fn assert_bar(scratch: &Scratch, script: &str, parts: &[&str]) {
    let (status, text) = scratch.shell(script).on_terminal(80);
    assert!(status.success(), "{script}: {status}\n{text}");
    let drawn: Vec<_> = text.split(['\r', '\n']).collect();
    let bar = drawn
        .iter()
        .find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(
        bar.is_some(),
        "{script}: no bar with {parts:?} in\n{drawn:#?}"
    );
    // It is removed at the end.
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(
        last.contains("open ") && last.contains(" with: tshark"),
        "{last:?}"
    );
}

/// A pipe, a file, a folder and a merge, each delayed until the bar appears.
#[test]
fn long_work_shows_how_far_it_has_come() {
    let scratch = Scratch::new();
    let events = (0..400).map(|i| Ev::new(What::Read, i, vec![b'a'; 20_000]));
    let large = Made::v4(events.collect()).encode(Form::Streamed).bytes;
    assert!(large.len() > 7 << 20);
    fs::create_dir(scratch.path("in")).expect("a folder");
    scratch.write("in/large.pb", &large);
    write_trace(&scratch, "in/small.pb", 1);
    scratch.shell("mkfifo fifo slow.pb").run().exits(0);

    let halves = "{ head -c 2000000 in/large.pb; sleep 1; tail -c +2000001 in/large.pb; }";
    let script = format!("{halves} | capture2pcap - out.pcap");
    assert_bar(&scratch, &script, &[" MiB read, ", "iB/s"]);

    // The reader of the FIFO keeps the conversion waiting.
    let reader = "{ sleep 1; cat >read; } <fifo &";
    let script = format!("{reader} capture2pcap in/large.pb fifo");
    assert_bar(&scratch, &script, &[" of 7.6", " MiB, ", "iB/s, ", " left"]);

    let script = format!("{reader} capture2pcap -m in/large.pb in/small.pb fifo");
    assert_bar(&scratch, &script, &["pass 2 of 2, ", "iB/s, ", " left"]);

    let script = format!("{{ {halves}; }} >slow.pb & capture2pcap in slow.pb out");
    assert_bar(&scratch, &script, &[" of 3 traces, ", "iB/s, ", " left"]);

    // No bar with --quiet, and none if a reader of standard output writes to the same terminal.
    let script = format!("{halves} | capture2pcap -q - out.pcap");
    let (status, text) = scratch.shell(&script).on_terminal(80);
    assert!(status.success() && text.is_empty(), "{text:?}");
    let script = format!("{halves} | capture2pcap - - | wc -c");
    let (_, text) = scratch.shell(&script).on_terminal(80);
    assert!(!text.contains("iB"), "{text:?}");
}

/// It once announced a capture without packets that did not exist.
#[test]
fn an_interrupt_before_the_first_event_announces_no_capture() {
    let scratch = Scratch::new();
    scratch.write("old.pcap", b"kept");
    for output in ["new.pcap", "old.pcap"] {
        let running = scratch.interruptible().args(["-v", "-", output]).start();
        let mut running = running;
        let stdin = running.stdin.take();
        running.signal(SIGINT);
        let outcome = running.finish().exits(130);
        drop(stdin);
        let expected =
            format!("capture2pcap: interrupted before the first event: {output} not written\n");
        assert_eq!(outcome.stderr, expected);
    }
    assert!(!scratch.path("new.pcap").exists());
    assert_eq!(fs::read(scratch.path("old.pcap")).expect("it"), b"kept");
}

/// Starts the conversion of three traces and two FIFOs, interrupts it after the traces, and returns its messages.
fn interrupted(scratch: &Scratch) -> String {
    for number in 0..3 {
        write_trace(scratch, format!("in/{number}.pb"), number);
    }
    scratch.shell("mkfifo slow.pb never.pb").run().exits(0);
    // The only thread reaches the FIFOs last, as they have no size.
    let run = scratch.interruptible();
    let running = run
        .args(["-j1", "in", "slow.pb", "never.pb", "out"])
        .start();
    wait_until("three captures", || {
        (0..3).all(|number| scratch.path(&format!("out/{number}.pcap")).exists())
    });
    running.signal(SIGINT);
    timeless(&running.finish().exits(130).stderr)
}

#[test]
fn a_folder_that_was_interrupted_says_so() {
    assert_data_eq!(
        interrupted(&Scratch::new()),
        str![[r#"
capture2pcap: 3 captures of 5 traces, 3 connections, 6 events (57 bytes received, 81 sent), [time]
capture2pcap: interrupted: 2 traces not converted

"#]]
    );
}

/// Files that could not be searched once counted as traces, so that the number of the others went below zero.
#[test]
fn unreadable_files_are_not_among_the_traces_that_were_not_converted() {
    let scratch = Scratch::new();
    let links = "mkdir in; for i in 1 2 3; do ln -s nowhere in/$i-gone.pb; done";
    scratch.shell(links).run().exits(0);
    let messages = interrupted(&scratch);
    let last = messages.lines().last();
    assert_eq!(
        last,
        Some("capture2pcap: interrupted: 2 traces not converted"),
        "{messages}"
    );
}
