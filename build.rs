//! Compiles proto/ into the types with which `trace` decodes, and into the table of names and numbers for text and JSON
//! traces. It needs no protoc.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::{env, fs, path::PathBuf};

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    describe_build();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = protox::compile(["proto/tap.proto", "proto/capture.proto"], ["proto"])?;
    fs::write(out.join("schema.rs"), schema_table(&files)?)?;

    // prost rejects a message with a string that is not UTF-8. Envoy writes such strings, so all strings are decoded as
    // bytes.
    for file in &mut files.file {
        for message in &mut file.message_type {
            strings_to_bytes(message);
        }
    }
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}

/// Sets what `--version` reports in addition to the version: the commit, the features and the target.
fn describe_build() {
    let commit = commit().map_or(String::new(), |commit| format!(" ({commit})"));
    let mut features: Vec<_> = env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase()))
        .filter(|feature| !["default", "cli", "json"].contains(&&**feature))
        .map(|feature| feature.replace('_', "-"))
        .collect();
    features.sort();
    let features = match features.is_empty() {
        true => "none".into(),
        false => features.join(", "),
    };
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=CAPTURE2PCAP_COMMIT={commit}");
    println!("cargo:rustc-env=CAPTURE2PCAP_FEATURES={features}");
    println!("cargo:rustc-env=CAPTURE2PCAP_TARGET={target}");
}

/// The commit of a release build, with `-dirty` if tracked files have changed since. A debug build reports none, so that
/// a commit does not cause a rebuild.
fn commit() -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    // In a package from a registry, which records its commit.
    if let Ok(info) = fs::read_to_string(".cargo_vcs_info.json") {
        let (_, rest) = info.split_once("\"sha1\": \"")?;
        return Some(rest.get(..COMMIT_LENGTH)?.to_owned());
    }
    // A package that was unpacked below another repository is not part of it.
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        println!("cargo:rerun-if-changed={path}");
    }
    for path in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let length = format!("--abbrev={COMMIT_LENGTH}");
    git(&["describe", "--always", "--dirty", "--exclude=*", &length])
}

/// The number of digits of a commit that are shown.
const COMMIT_LENGTH: usize = 12;

/// The output of git, if it succeeds.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn strings_to_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
    for nested in &mut message.nested_type {
        strings_to_bytes(nested);
    }
}

/// A `static` for each message, e.g.
/// `pub(in crate::trace) static TAP_BODY: Message = Message { name: "Body", fields: &[…] };`.
fn schema_table(files: &FileDescriptorSet) -> Result<String, Box<dyn std::error::Error>> {
    let mut messages = Vec::new();
    let mut enums = BTreeMap::new();
    for file in &files.file {
        let package = format!(".{}", file.package());
        for message in &file.message_type {
            collect(&package, message, &mut messages, &mut enums);
        }
    }
    let mut table = String::new();
    let names = messages.iter().map(|(path, _)| static_name(path));
    let taps: Vec<_> = names
        .filter(|name| name.starts_with("TAP_"))
        .map(|name| format!("&{name}"))
        .collect();
    writeln!(
        table,
        "pub(in crate::trace) static TAP_MESSAGES: &[&Message] = &[{}];",
        taps.join(", ")
    )?;
    for (path, message) in messages {
        writeln!(
            table,
            "pub(in crate::trace) static {}: Message = Message {{ name: {:?}, fields: &[",
            static_name(&path),
            message.name()
        )?;
        for field in &message.field {
            let kind = match field.r#type() {
                Type::Message => format!("Kind::Message(&{})", static_name(field.type_name())),
                Type::Enum => {
                    let values: &&EnumDescriptorProto = enums
                        .get(field.type_name())
                        .ok_or("an enum that no file defines")?;
                    let names: Vec<_> = values
                        .value
                        .iter()
                        .map(|v| (v.name().to_owned(), v.number()))
                        .collect();
                    format!("Kind::Enum(&{names:?})")
                }
                Type::Bytes => "Kind::Bytes".into(),
                Type::String => "Kind::String".into(),
                Type::Bool => "Kind::Bool".into(),
                Type::Uint64 | Type::Uint32 | Type::Int64 | Type::Int32 => "Kind::Integer".into(),
                other => return Err(format!("no trace holds a field of type {other:?}").into()),
            };
            writeln!(
                table,
                "    Field {{ name: {:?}, json_name: {:?}, number: {}, kind: {kind} }},",
                field.name(),
                field.json_name(),
                field.number(),
            )?;
        }
        writeln!(table, "] }};")?;
    }
    Ok(table)
}

fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    messages: &mut Vec<(String, &'a DescriptorProto)>,
    enums: &mut BTreeMap<String, &'a EnumDescriptorProto>,
) {
    let path = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&path, nested, messages, enums);
    }
    for nested in &message.enum_type {
        enums.insert(format!("{path}.{}", nested.name()), nested);
    }
    messages.push((path, message));
}

/// `.capture2pcap.tap.SocketEvent.Read` → `TAP_SOCKETEVENT_READ`.
fn static_name(path: &str) -> String {
    path.trim_start_matches(".capture2pcap.")
        .replace('.', "_")
        .to_uppercase()
}
