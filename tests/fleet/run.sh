#!/usr/bin/env bash
# Runs the commands of docs/fleet.md that need an engine, without changes: GNU parallel over three ssh servers, and the
# Slurm array on two nodes. Everything runs on this machine, with its own configurations, keys and ports in a temporary
# folder. `cargo test` does not run this.
#
#   tests/fleet/run.sh [--allow-skip] [ssh] [slurm]
#
# It installs these Debian packages if they are missing: parallel, openssh-server, slurm-wlm and munge. It has to run as
# root. An engine that cannot be installed is a failure; with --allow-skip, or CAPTURE2PCAP_ALLOW_SKIP=1, it is only
# reported.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

allow_skip=${CAPTURE2PCAP_ALLOW_SKIP:-}
if [ "${1-}" = --allow-skip ]; then
    allow_skip=1
    shift
fi
engines=("$@")
[ $# -gt 0 ] || engines=(ssh slurm)

passed=0 failed=0 skipped=0
say() { echo "tests/fleet/run.sh: $*" >&2; }
# lacking ENGINE WHY: reports conspicuously that an engine was not tested.
lacking() {
    {
        echo "================================================================================"
        echo "tests/fleet/run.sh: NOT TESTED with $1: $2"
        echo "================================================================================"
    } >&2
    skipped=$((skipped + 1))
}

# install PACKAGE...: installs missing packages, without starting services.
install() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || return 1
    say "installing ${missing[*]}"
    # An existing policy is kept.
    local policy=/usr/sbin/policy-rc.d made='' code=0
    if [ ! -e $policy ]; then
        made=1
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    { DEBIAN_FRONTEND=noninteractive apt-get -q -y update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"; } >&2 || code=1
    [ -z "$made" ] || rm -f $policy
    return $code
}

# block HEADING LANGUAGE NUMBER: the NUMBERth block of that language below a heading of docs/fleet.md.
block() {
    awk -v heading="$1" -v fence="\`\`\`$2" -v number="$3" '
        /^#+ / { line = $0; sub(/^#+ /, "", line); below = (line == heading); next }
        below && !inside && $0 == fence { seen++; inside = 1; next }
        inside && $0 == "```" { inside = 0; next }
        inside && below && seen == number { print }' "$root/docs/fleet.md"
}

work=$(mktemp -d /tmp/fleet.XXXXXX)
chmod 755 "$work"
pids=()
stop() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do
        kill "$pid" 2>/dev/null || true
    done
    wait ${pids[@]+"${pids[@]}"} 2>/dev/null || true
    pids=()
}
trap 'stop; rm -rf "$work"' EXIT

# start NAME COMMAND...: starts a process that ends with this script; its output goes to NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
}

# wait_until WHAT COMMAND...: repeats the command until it succeeds, for ten seconds at most.
wait_until() {
    local what=$1 try
    shift
    for try in {1..100}; do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    say "waited in vain for $what ($try tries)"
    return 1
}

# free_ports N: prints N ports that are free now.
free_ports() {
    python3 - "$1" <<'END'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
END
}

# traces FOLDER: makes a folder of traces, their list, and the expected captures.
traces() {
    mkdir -p "$1"
    (
        cd "$1"
        local i kind
        for i in {0..239}; do
            mkdir -p "taps/host $((i % 3))"
            case $((i % 3)) in
            0) kind=buf_proto_binary_0.pb ;;
            1) kind=buf_json_body_as_bytes_27.json ;;
            *) kind=buf_proto_text_18.pb_text ;;
            esac
            cp "$root/testdata/envoy-1.40/taps/$kind" "taps/host $((i % 3))/path_$i.${kind##*.}"
        done
        bash -euo pipefail -c "$(block 'The list' sh 1)"
        capture2pcap -q taps expected/
    )
}

# sums FOLDER: prints the checksums of the captures in it, without their names.
sums() { find "$1" -name '*.pcap' -exec sha256sum {} + | cut -d' ' -f1 | sort; }

# judge ENGINE FOLDER: checks that out/ contains the expected captures.
judge() {
    if [ "$(find "$2/out" -name '*.pcap' | wc -l)" -eq 240 ] && diff <(sums "$2/expected") <(sums "$2/out") >/dev/null; then
        passed=$((passed + 1))
        say "$1: 240 captures in $(find "$2/out" -mindepth 1 -maxdepth 1 -type d | wc -l) shards: the same as from one process"
    else
        failed=$((failed + 1))
        say "$1: FAILED: $(find "$2/out" -name '*.pcap' | wc -l) captures, or different ones than from one process"
    fi
}

# check ENGINE WHAT COMMAND...: counts and reports a check, which passes if the command succeeds.
check() {
    local engine=$1 what=$2
    shift 2
    if "$@"; then
        passed=$((passed + 1))
        say "$engine: $what"
    else
        failed=$((failed + 1))
        say "$engine: FAILED: $what"
    fi
}

test_ssh() {
    local dir=$work/ssh ports i
    install parallel openssh-server openssh-client python3 ||
        { lacking "GNU parallel over ssh" "parallel and openssh-server could not be installed" && return; }
    mkdir -p "$dir" /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
    cp "$dir/key.pub" "$dir/authorized"
    read -ra ports < <(free_ports 3)
    for i in 0 1 2; do
        ssh-keygen -q -t ed25519 -N '' -f "$dir/host$i"
        cat >"$dir/sshd$i.conf" <<END
ListenAddress 127.0.0.$((i + 1)):${ports[i]}
HostKey $dir/host$i
AuthorizedKeysFile $dir/authorized
PidFile $dir/sshd$i.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
SetEnv PATH=$PATH
END
        cat >>"$dir/config" <<END
Host host$((i + 1))
    HostName 127.0.0.$((i + 1))
    Port ${ports[i]}
    HostKeyAlias host$((i + 1))
END
        echo "host$((i + 1)) $(cut -d' ' -f1,2 "$dir/host$i.pub")" >>"$dir/known"
        start "sshd$i" /usr/sbin/sshd -D -e -f "$dir/sshd$i.conf"
    done
    cat >>"$dir/config" <<END
Host *
    User root
    IdentityFile $dir/key
    IdentitiesOnly yes
    UserKnownHostsFile $dir/known
    StrictHostKeyChecking yes
END
    export PARALLEL_SSH="ssh -F $dir/config"
    for i in 1 2 3; do
        wait_until "the ssh server $i" ssh -F "$dir/config" "host$i" capture2pcap -V ||
            { lacking "GNU parallel over ssh" "no ssh server: $(tail -n 3 "$work/sshd$((i - 1)).log")" && return; }
    done

    traces "$dir/job"
    # As printed, except for the number of traces per shard: with 240 traces, a smaller one makes more than three shards.
    local printed code=0
    printed=$(block 'GNU parallel' sh 2)
    (cd "$dir/job" && bash -euo pipefail -c "${printed/-N 1000/-N 20}") || code=$?
    check "parallel over ssh" "exit status 0" [ "$code" -eq 0 ]
    judge "parallel over ssh" "$dir/job"
    for i in 0 1 2; do
        check "parallel over ssh" "127.0.0.$((i + 1)) was logged in to more than once" \
            [ "$(grep -c 'Accepted publickey' "$work/sshd$i.log")" -gt 1 ]
    done

    # A bad trace fails only its own shard.
    rm -rf "$dir/job/out"
    echo 'hello, world' >"$dir/job/taps/host 0/path_0.pb"
    code=0
    (cd "$dir/job" && bash -euo pipefail -c "${printed/-N 1000/-N 20}") 2>"$dir/messages" || code=$?
    check "parallel over ssh" "exit status 1 with one bad trace" [ "$code" -eq 1 ]
    check "parallel over ssh" "its message arrives" grep -q 'host 0/path_0.pb: ' "$dir/messages"
    check "parallel over ssh" "the other 239 captures are there" [ "$(find "$dir/job/out" -name '*.pcap' | wc -l)" -eq 239 ]
    stop
}

test_slurm() {
    local dir=$work/slurm ports node
    install slurm-wlm munge python3 || { lacking Slurm "slurm-wlm and munge could not be installed" && return; }
    mkdir -p "$dir"/{state,munge}
    chmod 700 "$dir/munge"
    dd if=/dev/urandom of="$dir/munge/key" bs=1024 count=1 status=none
    chmod 400 "$dir/munge/key"
    start munged munged --foreground --force --key-file="$dir/munge/key" --socket="$dir/munge.socket" \
        --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    wait_until munge munge -S "$dir/munge.socket" -n ||
        { lacking Slurm "munge does not run: $(tail -n 3 "$work/munged.log")" && return; }

    read -ra ports < <(free_ports 3)
    local host
    host=$(hostname -s)
    cat >"$dir/slurm.conf" <<END
ClusterName=fleet
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
# The job requests four CPUs per task, and this machine may have fewer.
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=4
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=4
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=10 State=UP
END
    # With cgroup version 2, Slurm requests a group from systemd. This test needs no groups at all.
    echo 'CgroupPlugin=cgroup/v1' >"$dir/cgroup.conf"
    export SLURM_CONF=$dir/slurm.conf
    start slurmctld slurmctld -D
    for node in node1 node2; do
        mkdir -p "$dir/spool.$node"
        start "slurmd-$node" slurmd -D -N $node
    done
    two_idle() { [ "$(sinfo -h -N -t idle -o %N | sort -u | wc -l)" -eq 2 ]; }
    wait_until "two idle nodes" two_idle || {
        lacking Slurm "no two nodes: $(sinfo 2>&1; tail -n 3 "$work"/slurm*.log)"
        return
    }

    traces "$dir/job"
    block 'A Slurm array' sh 1 >"$dir/job/array.sh"
    local code=0
    (cd "$dir/job" && timeout 300 sbatch --wait array.sh) >&2 || code=$?
    check Slurm "exit status 0" [ "$code" -eq 0 ]
    judge Slurm "$dir/job"
    for node in node1 node2; do
        check Slurm "tasks ran on $node" grep -q "Launching batch job" "$work/slurmd-$node.log"
    done

    rm -rf "$dir/job/out"
    echo 'hello, world' >"$dir/job/taps/host 0/path_0.pb"
    code=0
    (cd "$dir/job" && timeout 300 sbatch --wait array.sh) >&2 || code=$?
    check Slurm "exit status 1 with one bad trace" [ "$code" -eq 1 ]
    check Slurm "its message is in the output of its task" \
        test -n "$(grep -l 'host 0/path_0.pb: ' "$dir"/job/slurm-*.out)"
    check Slurm "the other 239 captures are there" [ "$(find "$dir/job/out" -name '*.pcap' | wc -l)" -eq 239 ]
    stop
}

cargo build --locked
PATH=${CARGO_TARGET_DIR:-$root/target}/debug:$PATH
export PATH
if [ "$(id -u)" -ne 0 ]; then
    lacking "${engines[*]}" "it has to run as root, to start the servers"
else
    for engine in "${engines[@]}"; do
        case $engine in
        ssh) test_ssh ;;
        slurm) test_slurm ;;
        *) say "unknown engine: $engine" && exit 2 ;;
        esac
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && { [ "$skipped" -eq 0 ] || [ -n "$allow_skip" ]; }
