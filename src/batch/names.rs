//! The names of captures, from the paths of their traces.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::search::FoundTrace;
use super::{PlanError, is_named_as_trace};
use crate::input::Compression;

/// Names the captures below the output folder, in the order of `traces`.
///
/// If names collide, these traces keep their extension; then a folder of their path is added in front; then both,
/// and so on until the names are unique.
pub(super) fn names(traces: &[FoundTrace], extension: &str) -> Result<Vec<PathBuf>, PlanError> {
    let mut steps = vec![0_usize; traces.len()];
    loop {
        let names: Vec<_> = traces
            .iter()
            .zip(&steps)
            .map(|(trace, step)| name(trace, *step, extension))
            .collect();
        let mut taken: HashMap<&Path, usize> = HashMap::with_capacity(names.len());
        let mut colliding = Vec::new();
        // A capture cannot have the name of a folder of other captures: x.pb next to a folder x.pcap.
        let folders: HashSet<&Path> = names
            .iter()
            .flat_map(|name| name.ancestors().skip(1))
            .collect();
        for (i, name) in names.iter().enumerate() {
            if let Some(first) = taken.insert(name, i) {
                colliding.extend([first, i]);
            }
            if folders.contains(&**name) {
                colliding.push(i);
            }
        }
        if colliding.is_empty() {
            return Ok(names);
        }
        colliding.sort_unstable();
        colliding.dedup();
        let mut moved = false;
        for &i in &colliding {
            // After the whole path, names only repeat.
            if steps[i] < 2 * traces[i].path.components().count() {
                steps[i] += 1;
                moved = true;
            }
        }
        if !moved {
            let path = |i: usize| traces[i].path.clone();
            let (first, last) = (colliding[0], colliding[colliding.len() - 1]);
            return Err(PlanError::Collision(path(first), path(last)));
        }
    }
}

/// A trace's name without its extension, or without both of a compressed one.
pub fn stem(name: &Path) -> PathBuf {
    let unpacked = Compression::unpacked_name(name);
    match unpacked.as_ref() == name || is_named_as_trace(&unpacked) {
        true => unpacked.with_extension(""),
        false => unpacked.into_owned(),
    }
}

/// The name of a trace's capture, `step` steps after the shortest.
fn name(trace: &FoundTrace, step: usize, extension: &str) -> PathBuf {
    // A path out of the folder, or to the root, cannot be mirrored.
    let parts: Vec<_> = trace
        .path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect();
    let (whole, parents) = (step % 2 == 1, step / 2);
    let depth = (trace.depth + parents).min(parts.len());
    let mut name: PathBuf = parts[parts.len() - depth..].iter().collect();
    if !whole {
        name = stem(&name);
    }
    let mut name = name.into_os_string();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(traces: &[(&str, usize)]) -> Vec<String> {
        let trace = |&(path, depth): &(&str, usize)| FoundTrace {
            path: path.into(),
            size: 0,
            depth,
        };
        let traces: Vec<_> = traces.iter().map(trace).collect();
        let names = names(&traces, "pcap").unwrap();
        names
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn names_are_the_shortest_unique_ones() {
        type Case<'a> = (&'a [(&'a str, usize)], &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (&[("/x/path_0.pb", 1)], &["path_0.pcap"]),
            (
                &[("in/a/path_0.pb", 2), ("in/b/path_0.pb", 2)],
                &["a/path_0.pcap", "b/path_0.pcap"],
            ),
            (
                &[("p_0.json", 1), ("p_0.pb", 1), ("p_1.pb", 1)],
                &["p_0.json.pcap", "p_0.pb.pcap", "p_1.pcap"],
            ),
            (
                &[("/n1/p_0.pb", 1), ("/n2/p_0.pb", 1)],
                &["n1/p_0.pcap", "n2/p_0.pcap"],
            ),
            (
                &[("n/1/p.json", 1), ("n/1/p.pb", 1), ("n/2/p.pb", 1)],
                &["p.json.pcap", "1/p.pcap", "2/p.pcap"],
            ),
            (
                &[("in/x.pb", 1), ("in/x.pcap/y.pb", 2)],
                &["x.pb.pcap", "x.pcap/y.pcap"],
            ),
            (
                &[
                    ("in/x.pb", 1),
                    ("in/x.pb.pcap/y.pb", 2),
                    ("in/x.pcap/y.pb", 2),
                ],
                &["in/x.pcap", "x.pb.pcap/y.pcap", "x.pcap/y.pcap"],
            ),
            (
                &[("../../p_0.pb", 1), ("no extension", 1)],
                &["p_0.pcap", "no extension.pcap"],
            ),
        ];
        for (traces, expected) in cases {
            assert_eq!(planned(traces), expected);
        }
    }

    #[test]
    fn paths_that_differ_only_outside_are_distinguished_as_well() {
        let names = planned(&[("../p_0.pb", 1), ("p_0.pb", 1)]);
        assert_ne!(names[0], names[1]);
    }
}
