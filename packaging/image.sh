#!/usr/bin/env bash
# Makes the container image from the archive of packaging/dist.sh, as target/publish/capture2pcap-0.1.0-x86_64-image.tar,
# an OCI archive. It needs buildah or podman, but neither a daemon nor a registry.
#
#   packaging/image.sh [ARCHIVE]
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

version=$(package_version)
archive=${1:-$(find target/publish -name "capture2pcap-$version-*-linux.tar.gz" | sort | tail -n 1)}
[ -n "$archive" ] || fail "no archive: run packaging/dist.sh"
builder=$(command -v buildah || command -v podman) || fail "buildah or podman is missing: apt-get install buildah"
export_epoch

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
tar -xzf "$archive" -C "$context" --strip-components=1
name=$(basename "$archive" -linux.tar.gz)
architecture=${name##*-}
case $architecture in
x86_64) platform=linux/amd64 ;;
aarch64) platform=linux/arm64 ;;
*) fail "unsupported architecture: $architecture" ;;
esac
"$builder" build --platform "$platform" --timestamp "$SOURCE_DATE_EPOCH" --file packaging/Containerfile \
    --label org.opencontainers.image.title=capture2pcap \
    --label org.opencontainers.image.version="$version" \
    --label org.opencontainers.image.licenses=Apache-2.0 \
    --tag "capture2pcap:$version" "$context" >&2
image=$(dirname "$archive")/$name-image.tar
rm -f "$image"
"$builder" push "capture2pcap:$version" "oci-archive:$image:capture2pcap:$version" >&2
echo "$image"
