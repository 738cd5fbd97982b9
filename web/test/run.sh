#!/usr/bin/env bash
# Builds the page and tests it in Chromium. With --allow-skip it says loudly where that cannot be done, and ends well.
# The next argument is a folder for screenshots.
set -euo pipefail
cd "$(dirname "$0")/../.."
skip=0
if [ "${1:-}" = --allow-skip ]; then skip=1; shift; fi

cannot() {
    echo "web/test/run.sh: NOT TESTED: the page in a browser: $1" >&2
    if [ "$skip" = 1 ]; then exit 0; fi
    exit 1
}

command -v node >/dev/null || cannot "node is missing"
command -v npm >/dev/null || cannot "npm is missing"
command -v "${CHROMIUM:-chromium}" >/dev/null || cannot "chromium is missing: apt-get install chromium"
code=0
web/build.sh || code=$?
[ "$code" != 77 ] || cannot "no toolchain compiles for wasm32-unknown-unknown"
[ "$code" = 0 ] || exit "$code"
cargo build --locked
mkdir -p target/page-test
cp web/test/package.json web/test/page.mjs target/page-test/
(cd target/page-test && { [ -d node_modules/playwright-core ] || npm install --silent --no-audit --no-fund; }) ||
    cannot "playwright-core cannot be had from npm"
CHROMIUM=$(command -v "${CHROMIUM:-chromium}") \
    node target/page-test/page.mjs target/page/index.html target/debug/capture2pcap testdata "$@"
