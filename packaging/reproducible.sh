#!/usr/bin/env bash
# Builds the archive of the last commit twice, in two folders with names of different lengths, and compares the bytes.
# If it runs as root, it also runs the binary in a chroot that is otherwise empty.
#
#   packaging/reproducible.sh [--out FOLDER] [ARGUMENT of dist.sh...]        keeps the first archive in FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

keep=target/publish
if [ "${1-}" = --out ]; then
    keep=$2
    shift 2
fi
mkdir -p "$keep"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folders=(a "another folder/for the second")
# Both are cloned before the first is built, because the branch may move in the meantime.
commit=$(git rev-parse HEAD)
for folder in "${folders[@]}"; do
    git clone -q --no-local . "$work/$folder"
    git -C "$work/$folder" checkout -q --detach "$commit"
done
for folder in "${folders[@]}"; do
    (
        cd "$work/$folder"
        unset CARGO_TARGET_DIR
        packaging/dist.sh "$@"
    )
done
# If the archives differ, both are kept for examination.
(cd "$work/a/target/publish" && find . -type f) | while read -r file; do
    cmp "$work/a/target/publish/$file" "$work/${folders[1]}/target/publish/$file" || {
        cp "$work/${folders[1]}/target/publish/$file" "$keep/other-${file##*/}"
        cp "$work/a/target/publish/$file" "$keep"
        fail "not reproducible: $file: compare it with other-${file##*/} in $keep"
    }
done
cp "$work"/a/target/publish/* "$keep"
echo "reproducible:"
cat "$keep"/*.sha256

if [ "$(uname)" = Linux ] && [ "$(id -u)" -eq 0 ]; then
    tar -xzf "$work"/a/target/publish/*.tar.gz -C "$work"
    mkdir "$work/root"
    cp "$work"/capture2pcap-*/capture2pcap testdata/path_0.pb "$work/root"
    chroot "$work/root" /capture2pcap -v path_0.pb path_0.pcap
    cmp -n 24 "$work/root/path_0.pcap" <(printf '\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\0\0\4\0\1\0\0\0') ||
        fail "in an empty chroot, the capture is wrong"
    echo "runs in an empty chroot"
fi
