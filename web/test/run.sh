#!/usr/bin/env bash
# Builds the page and tests it in Chromium. First installs what is missing, if possible: Debian's packages chromium, nodejs,
# npm, python3 and zstd, and Rust's target wasm32-unknown-unknown.
#
#   web/test/run.sh [--allow-skip] [--speed] [SCREENSHOTS]
#
# If something cannot be installed, this script fails; with --allow-skip, it reports that and exits with status 0. --speed
# also compares the page's time with that of the command, which is built for release. SCREENSHOTS is a folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
skip=0 speed=0
while :; do
    case ${1:-} in
        --allow-skip) skip=1 ;;
        --speed) speed=1 ;;
        *) break ;;
    esac
    shift
done

cannot() {
    echo "web/test/run.sh: NOT TESTED: the page in a browser: $1" >&2
    if [ "$skip" = 1 ]; then exit 0; fi
    exit 1
}

browser=${CHROMIUM:-chromium}
packages=()
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v python3 >/dev/null || packages+=(python3)
command -v zstd >/dev/null || packages+=(zstd)
if [ ${#packages[@]} -gt 0 ]; then
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    if command -v apt-get >/dev/null && { [ ${#root[@]} -eq 0 ] || command -v sudo >/dev/null; }; then
        echo "web/test/run.sh: installing ${packages[*]}" >&2
        # env, because sudo does not pass variables on.
        quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
        "${root[@]}" "${quiet[@]}" update >&2 || true
        "${root[@]}" "${quiet[@]}" install --no-install-recommends "${packages[@]}" >&2 || true
    fi
fi
for program in "$browser" node npm python3 zstd; do
    command -v "$program" >/dev/null || cannot "$program is missing, and cannot be installed"
done
target=wasm32-unknown-unknown
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && command -v rustup >/dev/null; then
    rustup target add "$target" >&2 || true
fi

code=0
web/build.sh || code=$?
[ "$code" != 77 ] || cannot "no toolchain compiles for $target"
[ "$code" = 0 ] || exit "$code"
cargo build --locked
if [ "$speed" = 1 ]; then
    cargo build --release --locked
    CAPTURE2PCAP_SPEED=$(realpath "${CARGO_TARGET_DIR:-target}/release/capture2pcap")
    export CAPTURE2PCAP_SPEED
fi
mkdir -p target/page-test
cp web/test/package.json web/test/*.mjs target/page-test/
(cd target/page-test && { [ -d node_modules/playwright-core ] || npm install --silent --no-audit --no-fund; }) ||
    cannot "playwright-core cannot be installed from npm"
CHROMIUM=$(command -v "$browser") \
    node target/page-test/page.mjs target/page/index.html target/debug/capture2pcap testdata benches/make_trace.py "$@"
