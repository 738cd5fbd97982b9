# shellcheck shell=bash
# Functions shared by the scripts in this folder, which source it from the root of the checkout.
# The same commit, toolchain and target give an archive and a Debian package with the same bytes.

# fail MESSAGE: prints the message with the name of the script, and exits.
fail() {
    echo "packaging/$(basename "$0"): $*" >&2
    exit 1
}

# Prints the version from Cargo.toml.
package_version() {
    local id
    id=$(cargo pkgid --locked)
    echo "${id##*[#@]}"
}

# Sets SOURCE_DATE_EPOCH, the time of files in archives, to the time of the commit unless it is set already.
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
    # rustc applies the last mapping that matches. The target directory may be inside the checkout, so it comes last.
    flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    flags+="$separator--remap-path-prefix=$PWD=/capture2pcap"
    flags+="$separator--remap-path-prefix=$target_dir=/target"
    local flag
    for flag in "$@"; do
        flags+="$separator$flag"
    done
    # The user's RUSTFLAGS would make the binary differ from one built elsewhere.
    unset RUSTFLAGS
    export CARGO_ENCODED_RUSTFLAGS=$flags
}

# generate BINARY KIND FILE: writes the output of `BINARY --generate KIND` to FILE.
generate() {
    mkdir -p "$(dirname "$3")"
    "$1" --generate "$2" >"$3" || fail "$1 --generate $2 failed"
}

# has_wireshark_plugin BINARY: whether it can print the plugin for Wireshark. The first releases cannot.
has_wireshark_plugin() {
    "$1" --generate wireshark >/dev/null 2>&1
}

# is_extcap BINARY: whether it can be a capture interface of Wireshark.
is_extcap() {
    "$1" --extcap-interfaces --extcap-version=4.0 2>/dev/null | grep -q '^interface '
}

# sha256 FILE...: prints checksums in the format of sha256sum, which macOS does not have.
sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$@"
    else
        shasum -a 256 "$@"
    fi
}
