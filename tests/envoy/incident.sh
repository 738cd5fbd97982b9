#!/usr/bin/env bash
# Runs the commands of docs/incident.md without changes, section by section, and checks their output; also lets tshark
# parse the display filters. Each section runs in its own network namespace and folder, because the ports in docs/envoy
# are fixed.
#
#   PATH=… tests/envoy/incident.sh        with envoy, capture2pcap, curl and tshark in PATH; as root
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# section HEADING TEXT...: runs a section; fails unless its output contains each TEXT.
section() {
    local heading=$1 folder script output part
    shift
    folder=$work/$heading
    mkdir -p "$folder"
    ln -s "$root/docs" "$folder/docs"
    script=$folder/script
    {
        echo 'set -eu; ip link set lo up'
        # Commands in the background get time to start, and then to send or to write. They are ended with the section.
        awk -v heading="## $heading" '
            /^## / { below = ($0 == heading) }
            below && $0 == "```sh" { inside = 1; next }
            inside && $0 == "```" { inside = 0; if (wait) print "sleep 2"; wait = 0; print "sleep 1"; next }
            inside { if (sub(/ &$/, " 2>>background.log &")) wait = 1; print }' "$root/docs/incident.md"
        printf '%s\n' 'jobs -p | xargs -r kill || :' 'wait || :'
    } >"$script"
    output=$folder/output
    (cd "$folder" && timeout 60 unshare --net bash script >output 2>&1) || {
        echo "docs/incident.md, $heading: exit status $?" >&2
        cat "$folder"/{script,output} >&2
        tail -n 5 "$folder/background.log" >&2
        return 1
    }
    for part in "$@"; do
        grep -qF -- "$part" "$output" || {
            echo "docs/incident.md, $heading: the output lacks $part" >&2
            cat "$folder"/{script,output} >&2
            return 1
        }
    done
    echo "docs/incident.md, $heading: works as described"
}

section 'A socket tap' 'HTTP/2' 'GET /cart' 'GET /pay' '200 OK'
section 'An HTTP tap' '/cart' '/pay'
section '/tap' 'GET /cart' '200 OK'

# The filters in the second column of the table. A row may have two.
# shellcheck disable=SC2016
filters=$(awk '/^## / { below = ($0 == "## In Wireshark") } below && /^\|.*`/' "$root/docs/incident.md" |
    sed 's/^|[^|]*|//; s/\\|/|/g' | grep -o '`[^`]*`' | tr -d '`')
while read -r filter; do
    tshark -r "$work/A socket tap/incident.pcapng" -d tcp.port==10000,http2 -Y "$filter" >/dev/null 2>"$work/said" || {
        echo "docs/incident.md: tshark refuses the filter $filter" >&2
        cat "$work/said" >&2
        exit 1
    }
done <<<"$filters"
echo "docs/incident.md, In Wireshark: tshark reads $(wc -l <<<"$filters") filters"
