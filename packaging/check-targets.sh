#!/usr/bin/env bash
# Checks that the program compiles for macOS and for Linux on aarch64, with its unit tests, and that the library without
# the feature `cli` compiles for Windows. Nothing is linked or run.
#
# zig compiles the C code of crates; it is installed from PyPI, with cargo-zigbuild, into the target folder. If the
# toolchain has no standard library for a target, Debian's Rust builds one from source (apt-get install rustc-web
# cargo-web rust-web-src).
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh

target_dir=${CARGO_TARGET_DIR:-$PWD/target}/targets
venv=$target_dir/zig
if [ ! -x "$venv/bin/cargo-zigbuild" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" --disable-pip-version-check -q install cargo-zigbuild==0.24.0 ziglang==0.17.1
fi
export PATH=$venv/bin:$PATH

# check TARGET ARGUMENT...: compiles for the target as far as `cargo check` does.
check() {
    local target=$1 toolchain=() std=()
    shift
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        [ -e /usr/lib/rustlib/src/rust/library/Cargo.lock ] ||
            fail "no standard library for $target, nor its source: rustup target add $target, or on Debian:" \
                "apt-get install rustc-web cargo-web rust-web-src"
        toolchain=(RUSTC_BOOTSTRAP=1 CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc)
        std=("-Zbuild-std=std,panic_unwind,test,proc_macro")
    fi
    env ${toolchain[@]+"${toolchain[@]}"} cargo-zigbuild check --locked --target-dir "$target_dir" --target "$target" \
        ${std[@]+"${std[@]}"} "$@" || fail "it does not compile for $target"
    echo "$target: compiles"
}

check aarch64-apple-darwin --lib --bins --profile test
check aarch64-unknown-linux-gnu --lib --bins --profile test
check x86_64-pc-windows-gnu --lib --no-default-features --features json,unpack
