# shellcheck shell=bash
# What the scripts of this folder share; they source it from the root of the checkout.
# The archive and the Debian package have the same bytes for the same commit, toolchain and target.

# A failure of the script that is running.
fail() {
    echo "packaging/$(basename "$0"): $*" >&2
    exit 1
}

# The version of Cargo.toml.
package_version() {
    local id
    id=$(cargo pkgid --locked)
    echo "${id##*[#@]}"
}

# The time that files get in archives: that of the commit, unless SOURCE_DATE_EPOCH sets it.
export_epoch() {
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
            fail "not a git checkout: set SOURCE_DATE_EPOCH, as to the time of the release in seconds"
    fi
    export SOURCE_DATE_EPOCH
}

# export_flags TARGET_DIR [FLAG...]: compiler flags that keep this machine's paths out of the binary.
export_flags() {
    local target_dir=$1 flags separator=$'\x1f'
    shift
    # The last one that matches counts, and the target directory may lie within the checkout.
    flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    flags+="$separator--remap-path-prefix=$PWD=/capture2pcap"
    flags+="$separator--remap-path-prefix=$target_dir=/target"
    local flag
    for flag in "$@"; do
        flags+="$separator$flag"
    done
    # RUSTFLAGS of the user would not be the same elsewhere.
    unset RUSTFLAGS
    export CARGO_ENCODED_RUSTFLAGS=$flags
}

# generate BINARY KIND FILE: what `BINARY --generate KIND` prints.
generate() {
    mkdir -p "$(dirname "$3")"
    "$1" --generate "$2" >"$3" || fail "$1 --generate $2 has failed"
}

# has_wireshark_plugin BINARY: whether it prints the plugin for Wireshark. Its first releases do not.
has_wireshark_plugin() {
    "$1" --generate wireshark >/dev/null 2>&1
}

# is_extcap BINARY: whether it answers Wireshark as a capture interface.
is_extcap() {
    "$1" --extcap-interfaces --extcap-version=4.0 2>/dev/null | grep -q '^interface '
}

# sha256 FILE...: as sha256sum prints it, which macOS lacks.
sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$@"
    else
        shasum -a 256 "$@"
    fi
}
