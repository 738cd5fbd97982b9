#!/usr/bin/env bash
# Builds the page into a folder (default: target/page). It is a single file, index.html, which contains the module, the styles
# and the script. It can be opened from the disk or from any static server. The exit status is 77 if no toolchain compiles
# for browsers.
set -euo pipefail
cd "$(dirname "$0")/.."
page=${1:-target/page}
target=wasm32-unknown-unknown
build=(--manifest-path web/Cargo.toml --locked --release --target "$target" --target-dir target/web)
# Only small functions are inlined, because the page contains the module, and a large one takes longer to load.
flags="-Ctarget-feature=+simd128,+bulk-memory -Cllvm-args=-inline-threshold=40 --remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"

# Prints the path of the linker of a toolchain, or of the system.
linker() {
    local toolchain
    for toolchain in "$(rustc --print sysroot 2>/dev/null || true)" /usr; do
        ls "$toolchain"/lib/rustlib/*/bin/rust-lld 2>/dev/null && return
    done
    command -v rust-lld || command -v wasm-ld || command -v wasm-ld-19 || command -v wasm-ld-14
}

if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    RUSTFLAGS="$flags" cargo build "${build[@]}"
elif [ -e /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] && [ -x /usr/bin/cargo ] && lld=$(linker | head -n 1) && [ -n "$lld" ]; then
    # Debian's newer Rust has only the source of the standard library for browsers: rust-web-src.
    flags+=" --remap-path-prefix=/usr/lib/rustlib/src=rust --remap-path-prefix=/usr/src=rust"
    RUSTC_BOOTSTRAP=1 CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTFLAGS="$flags" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$lld \
        /usr/bin/cargo build "${build[@]}" -Zbuild-std=std,panic_abort
else
    echo "web/build.sh: no toolchain for $target: rustup target add $target, or on Debian:" \
        "apt-get install rustc-web cargo-web rust-web-src lld" >&2
    exit 77
fi

mkdir -p "$page"
python3 - "target/web/$target/release/capture2pcap_web.wasm" "$page/index.html" <<'END'
import base64, hashlib, sys

def read(name):
    return open(f"web/page/{name}", encoding="utf-8").read()

def allowed(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

module = open(sys.argv[1], "rb").read()
page, style = read("index.html"), read("page.css")
script = read("page.js") + read("choosing.js")
worker = read("reading.js") + read("worker.js")
# The page may run its script, a worker made of a Blob, and the compiled module. It may request nothing.
policy = "; ".join([
    "default-src 'none'", f"script-src {allowed(script)} 'wasm-unsafe-eval' blob:", f"style-src {allowed(style)}",
    "worker-src blob:", "connect-src 'none'", "base-uri 'none'", "form-action 'none'",
])
for name, text in [("POLICY", policy), ("STYLE", style), ("WORKER", worker), ("SCRIPT", script),
                   ("MODULE", base64.b64encode(module).decode())]:
    assert page.count(f"%{name}%") == 1, name
    page = page.replace(f"%{name}%", text)
open(sys.argv[2], "w", encoding="utf-8").write(page)
print(f"{sys.argv[2]}: {len(page):,} bytes, of which the module is {len(module):,} before base64")
END
