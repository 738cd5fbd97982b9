#!/usr/bin/env bash
# Checks a Debian package with lintian, installs it in a new Debian, runs it there, and removes it again. After that, no file
# of it may be left. It needs lintian, mmdebstrap and root.
#
#   packaging/test-deb.sh [PACKAGE] [SUITE]        defaults: the last package of packaging/deb.sh, this machine's release
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

package=${1:-$(find target/publish -name 'capture2pcap_*.deb' | sort | tail -n 1)}
suite=${2:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
[ -n "$package" ] || fail "no package: run packaging/deb.sh"
for tool in lintian mmdebstrap; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
done

lintian --fail-on error "$package"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
# tshark is installed from the start, so that only the package itself is added and removed.
mmdebstrap --quiet --variant=apt --include=tshark,man-db,bash-completion "$suite" "$tree/root"
inside() {
    chroot "$tree/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}
# Lists all files, except for the records of dpkg and apt, logs and caches.
listing() {
    (cd "$tree/root" && find . -xdev ! -path './var/lib/dpkg/*' ! -path './var/lib/apt/*' ! -path './var/log/*' \
        ! -path './var/cache/*' ! -path './tmp/*' ! -path './proc/*' ! -path './root/*' | sort)
}
interfaces() { inside tshark -D 2>/dev/null | sed 's/^[0-9]*\. //' | sort; }
listing >"$tree/before"
interfaces >"$tree/interfaces"
cp "$package" "$tree/root/tmp/capture2pcap.deb"
cp testdata/path_0.pb "$tree/root/tmp"
inside apt-get -qq install --no-install-recommends /tmp/capture2pcap.deb
listing >"$tree/with"
echo "installed:"
comm -13 "$tree/before" "$tree/with"

inside capture2pcap --version
inside capture2pcap -q /tmp/path_0.pb /tmp/path_0.pcap
inside tshark -r /tmp/path_0.pcap -d tcp.port==10000,http2 2>/dev/null | grep -q 'GET /index.html' ||
    fail "tshark shows no request of the capture"
inside man -w capture2pcap >/dev/null || fail "no manual page"
if grep -q /extcap/capture2pcap "$tree/with"; then
    interfaces | comm -13 "$tree/interfaces" - | grep . || fail "tshark -D does not list the interface"
else
    echo "packaging/test-deb.sh: NOT TESTED: the package has no capture interface for Wireshark" >&2
fi
if grep -q /plugins/capture2pcap.lua "$tree/with"; then
    inside tshark -r /tmp/path_0.pcap 2>/dev/null | grep -q HTTP2 || fail "the plugin shows no HTTP/2"
else
    echo "packaging/test-deb.sh: NOT TESTED: the package has no plugin for Wireshark" >&2
fi

inside dpkg --purge capture2pcap
listing >"$tree/after"
diff "$tree/before" "$tree/after" || fail "files are left after the removal"
echo "removed: no files are left"
