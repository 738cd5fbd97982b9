#!/usr/bin/env bash
# Runs the tests. First installs the programs that they need besides Rust: tshark, dumpcap and capinfos (Debian's package
# tshark), tcpdump, GNU parallel, zstd, jq, curl, and the shells whose completions are tested. Arguments are passed to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v tshark >/dev/null && command -v dumpcap >/dev/null && command -v capinfos >/dev/null || packages+=(tshark)
command -v tcpdump >/dev/null || packages+=(tcpdump)
# The package moreutils has a different program named parallel.
[[ $(parallel --version 2>/dev/null) == "GNU parallel"* ]] || packages+=(parallel)
for program in zstd jq curl; do
    command -v "$program" >/dev/null || packages+=("$program")
done
for shell in zsh fish; do
    command -v "$shell" >/dev/null || packages+=("$shell")
done

if [ ${#packages[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        root=(sudo)
    fi
    if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
        echo "tests/run.sh: the tests need tshark, capinfos, tcpdump, GNU parallel, zstd, jq, curl, zsh and fish: please" \
            "install them (Debian: apt-get install tshark tcpdump parallel zstd jq curl zsh fish; Fedora: dnf install" \
            "wireshark-cli tcpdump parallel zstd jq curl zsh fish; macOS: brew install wireshark parallel zstd jq fish)" >&2
        exit 1
    fi
    echo "tests/run.sh: installing ${packages[*]}" >&2
    # env, because sudo does not pass environment variables on.
    quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    "${root[@]}" "${quiet[@]}" update >&2
    "${root[@]}" "${quiet[@]}" install --no-install-recommends "${packages[@]}" >&2
fi

# Without benches and the examples in the documentation: .ci/run tests those with cargo test --doc.
exec cargo test --locked --lib --bins --tests "$@"
