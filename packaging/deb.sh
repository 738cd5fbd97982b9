#!/usr/bin/env bash
# Makes the Debian package, as target/publish/capture2pcap_0.1.0-1_amd64.deb.
#
#   packaging/deb.sh [--out FOLDER]
#
# It needs cargo-deb (cargo install --locked cargo-deb). The binary is linked with this machine's glibc, so the
# package can be installed on this release of Debian or Ubuntu and on later ones. The package contains the files for
# Wireshark if the program can print them.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

out=target/publish
if [ "${1-}" = --out ]; then
    out=$2
    shift 2
fi
[ $# -eq 0 ] || fail "unknown argument: $1"
cargo deb --version >/dev/null 2>&1 || fail "cargo-deb is missing: cargo install --locked cargo-deb"

export_epoch
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
export_flags "$target_dir"
cargo build --locked --profile dist --target "$host" --target-dir "$target_dir" --bin capture2pcap
binary=$target_dir/$host/dist/capture2pcap

root=target/debian-root
share=$root/usr/share
rm -rf "$root"
generate "$binary" man "$share/man/man1/capture2pcap.1"
generate "$binary" bash "$share/bash-completion/completions/capture2pcap"
generate "$binary" zsh "$share/zsh/vendor-completions/_capture2pcap"
generate "$binary" fish "$share/fish/vendor_completions.d/capture2pcap.fish"
mkdir -p "$share/doc/capture2pcap"
cp README.md "$share/doc/capture2pcap"
packaging/third-party.sh "$host" | gzip -9n >"$share/doc/capture2pcap/THIRD-PARTY.txt.gz"
# Debian's Wireshark searches this folder for the extensions of all users.
wireshark=$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/wireshark
if has_wireshark_plugin "$binary"; then
    generate "$binary" wireshark "$wireshark/plugins/capture2pcap.lua"
else
    echo "packaging/deb.sh: this version has no plugin for Wireshark, so the package has none" >&2
fi
if is_extcap "$binary"; then
    mkdir -p "$wireshark/extcap"
    ln -s ../../../../bin/capture2pcap "$wireshark/extcap/capture2pcap"
else
    echo "packaging/deb.sh: this version cannot be a capture interface of Wireshark, so the package has none" >&2
fi

mkdir -p "$out"
cargo deb --locked --no-build --no-strip --profile dist --target "$host" --output "$out"
