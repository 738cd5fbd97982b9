#!/usr/bin/env bash
# Tests live taps with a real Envoy that runs docs/envoy/admin.yaml: --tap into a file and a pipe, and the capture
# interface through tshark. Runs in its own network namespace, because the ports in docs/envoy are fixed.
#
#   PATH=… tests/envoy/live.sh        with envoy, capture2pcap, curl and tshark in PATH; as root
set -euo pipefail
if [ "${1-}" != inside ]; then
    exec unshare --net "$0" inside
fi
ip link set lo up
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$work"' EXIT
export HOME=$work
unset XDG_CONFIG_HOME WIRESHARK_CONFIG_DIR http_proxy
cd "$work"
admin=http://localhost:9901

fail() {
    echo "tests/envoy/live.sh: $*" >&2
    tail -n 20 ./*.log >&2
    exit 1
}
# until_it_does COMMAND...: repeats a command until it succeeds, for a minute at most.
until_it_does() {
    local try
    for try in $(seq 600); do
        "$@" && return
        sleep 0.1
    done
    fail "waited in vain ($try times): $*"
}
holds() { grep -qF -- "$2" "$1" 2>/dev/null; }
request() { curl -q -sS "${@:2}" "http://localhost:10000/$1" -o /dev/null; }
# recorded FILE PATH: sends a request, and checks whether it is recorded. It is repeated until one is, because an
# attached tap reaches Envoy's workers only after a moment.
recorded() { request "$2" && holds "$1" "$2"; }
# Whether the tap is free: a client that disconnects at once is not refused.
is_free() {
    timeout 1 curl -q -s -N --data-binary "@$root/docs/envoy/tap.yaml" "$admin/tap" -o answer || :
    ! holds answer 'already exists'
}

envoy -c "$root/docs/envoy/admin.yaml" --disable-hot-restart --concurrency 1 -l warning 2>envoy.log &
until_it_does curl -q -s "$admin/ready" -o ready.log

# Into a pipe: packets are written as they are recorded, and the tap is free when the reader ends.
mkfifo pipe
cat pipe >piped.pcap &
reader=$!
capture2pcap --tap "$admin" pipe 2>tap.log &
tap=$!
until_it_does recorded piped.pcap one
code=0
capture2pcap --tap "$admin" second.pcap 2>taken.log || code=$?
[ $code = 1 ] && holds taken.log 'An attached /tap admin stream already exists. Detach it.' || fail 'the error for a tap that is taken'
kill $reader
wait $tap || fail 'the end of the reader was reported as a failure'
is_free || fail 'the tap is not free after its reader has ended'

# Into a file, until Ctrl-C.
env --default-signal=INT capture2pcap -v --tap "$admin" file.pcapng 2>file.log &
tap=$!
until_it_does eval 'compgen -G ".capture2pcap-*" >/dev/null'
# Packets appear in the file only when it is complete.
sleep 3
request two
request three --http2-prior-knowledge
sleep 1
kill -INT $tap
code=0
wait $tap || code=$?
[ $code = 130 ] || fail "exit status $code after Ctrl-C"
is_free || fail 'the tap is not free after Ctrl-C'
capture2pcap --install-wireshark 2>install.log
tshark -r file.pcapng >file.txt 2>tshark.log
holds file.txt 'GET /two' && holds file.txt 'GET /three' && holds file.txt 'HTTP2' || fail 'the requests are not in the file'

# Errors that Envoy answers with.
code=0
capture2pcap --tap "$admin" --config-id nope x.pcap 2>unknown.log || code=$?
[ $code = 1 ] && holds unknown.log "Unknown config id 'nope'." && holds unknown.log 'its taps: my_tap' || fail 'the error for an unknown id'
[ ! -e x.pcap ] || fail 'a capture without a tap'

# The capture interface: busy, then idle.
tshark -D >list.txt 2>tshark.log
holds list.txt 'envoy-tap (Envoy tap (live))' || fail 'the interface is not listed'
env --default-signal=INT tshark -i envoy-tap -a duration:60 -w live.pcapng 2>tshark.log &
tshark=$!
until_it_does recorded live.pcapng four
kill -INT $tshark
wait $tshark || fail 'tshark'
tshark -r live.pcapng >live.txt 2>>tshark.log
holds live.txt 'GET /four' || fail 'the request is not in the live capture'
is_free || fail 'the tap is not free after tshark'
tshark -i envoy-tap -a duration:3 -w idle.pcapng 2>tshark.log || fail 'an idle tap'
tshark -i envoy-tap -o extcap.envoy_tap.configid:nope -a duration:3 -w x.pcapng 2>tshark.log || :
holds tshark.log "Unknown config id 'nope'." || fail 'an unknown id through tshark'

echo 'live taps: into a pipe, a file and tshark, and free after each'
