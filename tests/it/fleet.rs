//! Several processes: the commands of docs/fleet.md, run without changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::batch::{alone, files, write_trace};
use crate::harness::{Outcome, Scratch};
use crate::pcap::Capture;

/// The first code block in the language `info` below `heading` in docs/fleet.md.
#[track_caller]
fn block(heading: &str, info: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let section = text.split_once(&format!("# {heading}\n"));
    let (_, section) = section.unwrap_or_else(|| panic!("docs/fleet.md has no section {heading}"));
    let fenced = section.split_once(&format!("```{info}\n"));
    let fenced = fenced.and_then(|(_, rest)| rest.split_once("```"));
    let (block, _) = fenced.unwrap_or_else(|| panic!("{heading} has no {info}"));
    block.to_owned()
}

/// Makes a tree of traces and its list, as in docs/fleet.md. Returns the expected captures.
fn tapped(scratch: &Scratch) -> Vec<Vec<u8>> {
    let mut captures = Vec::new();
    for i in 0..230 {
        let extension = ["pb", "pb_length_delimited", "pb_text", "json"][i as usize % 4];
        let odd = if i == 7 { "new\nline, 'quote" } else { "path" };
        let name = format!("taps/host {}/{odd}_{}.{extension}", i % 3, i / 3);
        captures.push(alone(&write_trace(scratch, name, i)));
    }
    scratch.write("taps/notes.txt", b"Not all here is a trace.\n");
    captures.sort();
    scratch.shell(&block("The list", "sh")).run().exits(0);
    captures
}

/// Fails unless the folder `out` contains exactly these captures, in this number of shards.
#[track_caller]
fn assert_holds(scratch: &Scratch, shards: usize, captures: &[Vec<u8>], outcome: &Outcome) {
    let found: BTreeMap<PathBuf, Vec<u8>> = files(&scratch.path("out"));
    let folders = fs::read_dir(scratch.path("out")).expect("out/").count();
    let mut found: Vec<_> = found.into_values().collect();
    found.sort();
    let explain = outcome.explain();
    assert_eq!(
        (found.len(), folders),
        (captures.len(), shards),
        "{explain}"
    );
    assert!(found == captures, "other captures{explain}");
}

/// Needs GNU parallel, which tests/run.sh installs.
#[test]
fn parallel_runs_several_jobs() {
    let scratch = Scratch::new();
    let captures = tapped(&scratch);
    let version = scratch.shell("parallel --version").run();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let gnu = version.starts_with("GNU parallel");
    assert!(
        gnu,
        "GNU parallel is not installed (run tests/run.sh): {version:?}"
    );
    let example = block("GNU parallel", "sh");
    let outcome = scratch.shell(&example).run().exits(0);
    assert_holds(&scratch, 3, &captures, &outcome);
    assert!(outcome.stdout.is_empty(), "{}", outcome.explain());

    // A bad trace fails only its own shard.
    fs::remove_dir_all(scratch.path("out")).expect("out/");
    scratch.write("taps/host 1/path_1.pb", b"hello, world\n");
    scratch.shell(&block("The list", "sh")).run().exits(0);
    let outcome = scratch.shell(&example).run().exits(1);
    let outcome = outcome.says(["capture2pcap: taps/host 1/path_1.pb: "]);
    let found = files(&scratch.path("out")).len();
    assert_eq!(found, captures.len() - 1, "{}", outcome.explain());
}

/// The commands of the containers in the Kubernetes manifest, one after the other, with its volumes in the current
/// folder.
fn job_script() -> String {
    let manifest = block("A Kubernetes Indexed Job", "yaml");
    let (_, init) = manifest.split_once("        - |\n").expect("a script");
    let init: String = init
        .lines()
        .take_while(|line| line.starts_with("          "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let (_, args) = manifest.split_once("args: [").expect("arguments");
    let (args, _) = args.split_once("]\n").expect("arguments");
    let args = args.replace(',', "").replace("$(INDEX)", "$INDEX");
    format!("mkdir -p shard\n{init}capture2pcap {args}\n").replace("/shard/", "shard/")
}

/// Each numbered shard makes its part, and all shards together make every capture once.
#[test]
fn shards_by_number_cover_the_list() {
    let array = block("A Slurm array", "sh");
    let array = array.strip_prefix("#!/bin/bash\n").expect("a script");
    let cases = [
        ("INDEX", block("Shards by number", "sh")),
        ("SLURM_ARRAY_TASK_ID", array.to_owned()),
        ("INDEX", job_script()),
    ];
    let scratch = Scratch::new();
    let captures = tapped(&scratch);
    for (variable, script) in cases {
        let mut last = None;
        for index in 0..16 {
            let run = scratch.shell(&script).env(variable, &index.to_string());
            let outcome = run.env("SLURM_CPUS_PER_TASK", "2").run().exits(0);
            last = Some(outcome.says_nothing());
        }
        assert_holds(&scratch, 16, &captures, &last.expect("an outcome"));
        fs::remove_dir_all(scratch.path("out")).expect("out/");
    }
    // A merge reads the same list.
    let run = scratch
        .capture2pcap()
        .args(["-m", "-0", "--files-from=traces.list", "all.pcap"]);
    run.run().exits(0);
    let streams = Capture::read(&scratch.path("all.pcap")).streams().len();
    assert_eq!(streams, 2 * captures.len());
}

/// Checks of the manifest that need no cluster, if Python can read YAML.
#[test]
fn the_manifest_is_yaml() {
    let scratch = Scratch::new();
    if !scratch
        .shell("python3 -c 'import yaml'")
        .run()
        .status
        .success()
    {
        eprintln!("NOT TESTED: python3-yaml is not installed");
        return;
    }
    let script = "import sys, yaml
job = yaml.safe_load(sys.stdin)
spec = job['spec']
pod = spec['template']['spec']
shard, container = pod['initContainers'][0], pod['containers'][0]
volumes = [v['name'] for v in pod['volumes']]
mounts = [v['name'] for v in container['volumeMounts']]
assert volumes == mounts and container['env'] == shard['env'], (volumes, mounts)
assert all(isinstance(a, str) for a in container['args']), container['args']
print(job['kind'], spec['completionMode'], spec['completions'], shard['command'][2].count('/16 '))";
    scratch.write("read.py", script.as_bytes());
    let manifest = block("A Kubernetes Indexed Job", "yaml");
    let outcome = scratch.shell("python3 read.py").stdin(manifest).run();
    let outcome = outcome.exits(0);
    let printed = String::from_utf8_lossy(&outcome.stdout);
    assert_eq!(printed, "Job Indexed 16 1\n", "{}", outcome.explain());
}

/// The number of senders, counted by their address and port and those of their peer.
fn senders(scratch: &Scratch, capture: &str) -> usize {
    let fields = "-e ip.src -e tcp.srcport -e ip.dst -e tcp.dstport";
    let script = format!("tshark -n -r {capture} -T fields {fields} | sort -u | wc -l");
    let outcome = scratch.shell(&script).run().exits(0);
    let printed = String::from_utf8_lossy(&outcome.stdout);
    printed.trim().parse().expect("a number")
}

/// Two hosts whose traces lack the same addresses.
#[test]
fn captures_of_several_processes_are_joined_without_mixing_connections() {
    let scratch = Scratch::new();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/envoy-1.40/taps");
    for host in ["host 1", "host 2"] {
        write_trace(&scratch, format!("taps/{host}/path_0.pb"), 0);
        let copy = scratch.path(&format!("taps/{host}/path_236.pb"));
        fs::copy(recorded.join("buf_uds_236.pb"), copy).expect("a recording");
    }
    fs::remove_file(scratch.path("taps/host 2/path_0.pb")).expect("a trace");
    let outcome = scratch.shell(&block("One capture of all", "sh")).run();
    outcome.exits(0).says_nothing();
    assert_eq!(senders(&scratch, "all.pcap"), 2 * 3);

    // As the page warns, without separate stand-ins two connections share an address.
    let apart = "for i in 1 2; do capture2pcap -q -m \"taps/host $i\" $i.pcap; done; mergecap -w mixed.pcap ?.pcap";
    scratch.shell(apart).run().exits(0);
    assert_eq!(senders(&scratch, "mixed.pcap"), 2 * 2);
}

/// The files' times select the traces.
#[test]
fn a_merge_is_limited_by_the_times_of_the_files() {
    let scratch = Scratch::new();
    for (i, time) in [(0, "11:59"), (1, "12:01"), (2, "12:59"), (3, "13:01")] {
        let name = format!("taps/path_{i}.pb");
        write_trace(&scratch, &name, i);
        let touch = format!("touch -d '2024-05-01 {time}' {name}");
        scratch.shell(&touch).run().exits(0);
    }
    scratch
        .shell(&block("One hour of a day", "sh"))
        .run()
        .exits(0);
    let streams = Capture::read(&scratch.path("12h.pcap")).streams().len();
    assert_eq!(streams, 2 * 2);
}
