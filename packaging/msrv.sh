#!/usr/bin/env bash
# Checks the rust-version in Cargo.toml. If that toolchain is installed, it compiles the program with it. Otherwise it
# checks that no crate of the program declares a newer rust-version. Clippy's lint incompatible_msrv finds newer
# functions of the standard library.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh
version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
if RUSTUP_AUTO_INSTALL=0 cargo "+$version" --version 2>/dev/null | grep -q "^cargo $version"; then
    exec cargo "+$version" check --locked --all-features
fi
command -v python3 >/dev/null || fail "neither Rust $version nor python3 is installed"
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
cargo metadata --locked --format-version 1 >"$metadata"
python3 - "$metadata" "$version" <<'END'
import json, sys

metadata = json.load(open(sys.argv[1]))
packages = {p["id"]: p for p in metadata["packages"]}
needs = {n["id"]: n["deps"] for n in metadata["resolve"]["nodes"]}
reached, left = set(), [metadata["resolve"]["root"]]
while left:
    package = left.pop()
    if package in reached:
        continue
    reached.add(package)
    # Crates that only the tests use may be newer.
    left += [d["pkg"] for d in needs[package] if any(k["kind"] != "dev" for k in d["dep_kinds"])]

def parts(version):
    return tuple(int(part) for part in version.split("."))

newer = [p for p in map(packages.get, reached) if parts(p["rust_version"] or "1") > parts(sys.argv[2])]
for p in newer:
    print(f"{p['name']} {p['version']} needs Rust {p['rust_version']}", file=sys.stderr)
print(f"{len(reached)} crates, {len(newer)} of them newer than Rust {sys.argv[2]}")
sys.exit(1 if newer else 0)
END
