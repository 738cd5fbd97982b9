#!/usr/bin/env bash
# Makes the archive of a release, as target/publish/capture2pcap-0.1.0-x86_64-linux.tar.gz, and its checksum.
#
#   packaging/dist.sh [--target TRIPLE] [--out FOLDER]
#
# The binary for Linux is static. It contains glibc, or musl if TRIPLE says so. The same commit gives the same bytes
# in any folder; `packaging/reproducible.sh` tests that. The binary has to run on this machine, because it prints the
# completions itself.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

target=$(rustc -vV | sed -n 's/^host: //p')
out=target/publish
while [ $# -gt 0 ]; do
    case $1 in
    --target) target=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    *) fail "unknown argument: $1" ;;
    esac
done

# The tar of macOS is not GNU tar; Homebrew installs GNU tar as gtar.
tar=$(command -v gtar || command -v tar)
"$tar" --version | grep -q '^tar (GNU tar)' || fail "GNU tar is needed (macOS: brew install gnu-tar)"

version=$(package_version)
export_epoch
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
case $target in
*-linux-*) system=linux flags=(-C target-feature=+crt-static) ;;
*-apple-darwin) system=macos flags=() ;;
*) fail "unsupported target: $target" ;;
esac
export_flags "$target_dir" ${flags[@]+"${flags[@]}"}
# With --target, the flags do not apply to build scripts and procedural macros, which cannot be static.
cargo build --locked --profile dist --target "$target" --target-dir "$target_dir" --bin capture2pcap
binary=$target_dir/$target/dist/capture2pcap

mkdir -p "$out"
out=$(cd "$out" && pwd)
name=capture2pcap-$version-${target%%-*}-$system
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
folder=$staging/$name
mkdir "$folder"
install -m 755 "$binary" "$folder/capture2pcap"
generate "$binary" man "$folder/capture2pcap.1"
generate "$binary" bash "$folder/completions/capture2pcap.bash"
generate "$binary" zsh "$folder/completions/_capture2pcap"
generate "$binary" fish "$folder/completions/capture2pcap.fish"
generate "$binary" powershell "$folder/completions/_capture2pcap.ps1"
if has_wireshark_plugin "$binary"; then
    generate "$binary" wireshark "$folder/wireshark/capture2pcap.lua"
fi
cp LICENSE README.md CHANGELOG.md "$folder"
packaging/third-party.sh "$target" >"$folder/THIRD-PARTY.txt"

archive=$name.tar.gz
"$tar" --create --directory "$staging" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$name" | gzip -9n >"$out/$archive"
(cd "$out" && sha256 "$archive" >"$archive.sha256")
echo "$out/$archive"
