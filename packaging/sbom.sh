#!/usr/bin/env bash
# Lists the crates from which the program is built, in the format of CycloneDX, as target/publish/capture2pcap-0.1.0.cdx.json.
# It needs cargo-cyclonedx (cargo install --locked cargo-cyclonedx).
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh
cargo cyclonedx --version >/dev/null 2>&1 || fail "cargo-cyclonedx is missing: cargo install --locked cargo-cyclonedx"
export_epoch
name=capture2pcap-$(package_version)
# cargo cyclonedx writes its file next to Cargo.toml.
cargo cyclonedx --quiet --format json --describe binaries --all-features --spec-version 1.5
mkdir -p target/publish
mv capture2pcap_bin.cdx.json "target/publish/$name.cdx.json"
echo "target/publish/$name.cdx.json"
