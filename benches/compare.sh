#!/usr/bin/env bash
#
# Compares the speed of capture2pcap with cp, tcpdump and editcap, and measures its memory, instructions and allocations.
#
#     benches/compare.sh [ROUNDS] [PART...]       7 rounds and all parts, by default
#
# Parts:
#
#     buffered-16K …  a trace and the size of its events: any of the kinds and sizes of make_trace.py, here
#                     buffered-16K buffered-64K buffered-100 json-16K json-100 text-16K text-100
#     many            3,000 traces of mixed sizes with one thread and with JOBS; 20,000 tiny ones against cp -r
#     merge           the same 3,000 traces into one capture, against converting each
#     live            the delay between an event and its packet in a pipe
#     info            --info of large events, against reading the trace; written in large and in small pieces
#     redact          --redact of HTTP/1, gRPC and other text, against the same without it, and instructions per event
#     instructions    instructions per event
#     allocations     allocations of a short and of a longer trace
#     memory          peak memory with traces of BIG_SIZE; by default only with BIG=1, as it needs disk space
#
# In each round, all commands run in turn, beginning with a different one. Each runs twice, and the second time
# counts: it writes to a new file, but the system reuses the memory that the same command has just freed, not that of
# another command. Times are compared within a round: a ratio is the median of the rounds' ratios, and a time is the
# median of the times. The first round is not counted, and shows the peak memory. Traces are in the page cache.
#
# Environment:
#
#     CAPTURE2PCAP    the program [built from this checkout]
#     SIZE            of a trace [256M], and of the 3,000 together
#     BIG, BIG_SIZE   whether to measure memory, with traces of that size [4G]
#     JOBS            threads for many traces [2]
#     DIR             the folder for temporary files [the current one]; it needs space for four times SIZE, and for
#                     memory twice BIG_SIZE in addition; many and merge need 120,000 inodes, or as many per round
#                     on an ext4 without a journal (see below)
#
# Needs Linux, bash 5, python3 3.9, awk, GNU time and coreutils; and tcpdump, editcap and valgrind for some parts. Parts
# whose programs are missing are reported and skipped.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
size=${SIZE:-256M}
big_size=${BIG_SIZE:-4G}
jobs=${JOBS:-2}

rounds=7
if [[ ${1-} =~ ^[1-9][0-9]*$ ]]; then
    rounds=$1
    shift
fi
parts=("$@")
if ((${#parts[@]} == 0)); then
    parts=(buffered-16K buffered-64K buffered-100 json-16K json-100 text-16K text-100)
    parts+=(many merge live redact instructions allocations)
    if [[ ${BIG-} == 1 ]]; then parts+=(memory); fi
fi

die() {
    printf 'compare.sh: %s\n' "$*" >&2
    exit 1
}

has() {
    type -P "$1" >/dev/null
}

for need in python3 awk; do
    has "$need" || die "needs $need"
done
gnu_time=$(type -P time) || die "needs GNU time (the program, not the shell's)"

if [[ -n ${CAPTURE2PCAP-} ]]; then
    tool=$(realpath "$CAPTURE2PCAP")
else
    (cd "$root" && cargo build --release --locked --quiet)
    tool=${CARGO_TARGET_DIR:-$root/target}/release/capture2pcap
fi
[[ -x $tool ]] || die "no program at $tool"

work=$(mktemp -d "$(realpath "${DIR:-.}")/compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

trace=$work/trace
capture=$work/capture.pcap
tree=
out=$work/out
cleared=$work/cleared
times=$work/times

make_trace() {
    python3 "$here/make_trace.py" "$@"
}

# The prefix of each command: empty, or a program that measures memory.
under=()

# The commands that are compared. Each reads $trace, $tree or $capture, and writes $out.
capture2pcap() { "${under[@]}" "$tool" "$trace" "$out"; }
cp_trace() { "${under[@]}" cp --reflink=never "$trace" "$out"; }
tcpdump_copy() { "${under[@]}" tcpdump -r "$capture" -w "$out"; }
editcap_copy() { "${under[@]}" editcap "$capture" "$out"; }
cp_tree() { "${under[@]}" cp -r --reflink=never "$tree" "$out"; }
convert_tree() { "${under[@]}" "$tool" "$tree" "$out/"; }
convert_tree_1() { "${under[@]}" "$tool" -j 1 "$tree" "$out/"; }
convert_tree_n() { "${under[@]}" "$tool" -j "$jobs" "$tree" "$out/"; }
merge_tree() { "${under[@]}" "$tool" -m "$tree" "$out"; }
info_of() { "${under[@]}" "$tool" --info "$trace"; }
redact() { "${under[@]}" "$tool" --redact "$trace" "$out"; }
read_trace() { "${under[@]}" dd if="$trace" of=/dev/null bs=1M; }
from_pipe() { cat "$trace" | "${under[@]}" "$tool" - "$out"; }

# Runs one of these commands, and exits if it fails.
run() {
    "$1" >/dev/null 2>"$work/stderr" || {
        cat "$work/stderr" >&2
        die "failed: $1"
    }
}

# The peak resident memory of a command, in KiB.
peak() {
    under=("$gnu_time" -q -f %M -o "$work/peak")
    run "$1"
    under=()
    cat "$work/peak"
}

declare -A peaks

# Whether $work is on an ext4 without a journal. Such a file system does not reuse an inode for some minutes, and checks
# every freed inode at each allocation, which takes up to a millisecond. So nothing is freed there before the end, and
# two runs of this script should be five minutes apart.
inodes_linger() {
    local device
    [[ $(findmnt -no FSTYPE -T "$work" | tail -n 1) == ext4 ]] || return 1
    device=$(findmnt -no SOURCE -T "$work" | tail -n 1)
    ! compgen -G "/proc/fs/jbd2/$(basename "$(realpath "$device")")-*" >/dev/null
}
keep_inodes=
if has findmnt && inodes_linger; then keep_inodes=1; fi

# Removes $out, or empties its files and keeps them until the end.
clear_away() {
    if [[ -n $keep_inodes && -d $out ]]; then
        find "$out" -type f -exec truncate --size 0 {} +
        mkdir -p "$cleared"
        mv "$out" "$(mktemp -d "$cleared/XXXXXX")"
    fi
    rm -rf "$out"
}

# Compares commands: stores their times, in µs, in $times, and their peak memory in $peaks.
race() {
    local command round before after turn
    : >"$times"
    for command in "$@"; do
        peaks[$command]=$(peak "$command")
        clear_away
    done
    for ((round = 0; round < rounds; round++)); do
        for ((turn = 0; turn < $#; turn++)); do
            # Each round begins with a different command, so that none always follows the same one.
            command=${@:(round + turn) % $# + 1:1}
            run "$command"
            clear_away
            before=${EPOCHREALTIME/./}
            run "$command"
            after=${EPOCHREALTIME/./}
            clear_away
            echo "$round $command $((after - before))" >>"$times"
        done
    done
}

# The median over the rounds, of a command's time or of the ratio of two commands' times.
median() {
    awk -v one="$1" -v other="${2-}" '
        $2 == one { a[$1] = $3 }
        $2 == other { b[$1] = $3 }
        END {
            for (round in a) {
                if (other != "" && !(round in b)) continue
                x = other == "" ? a[round] : a[round] / b[round]
                for (i = n++; i > 0 && v[i - 1] > x; i--) v[i] = v[i - 1]
                v[i] = x
            }
            if (n) print n % 2 ? v[(n - 1) / 2] : (v[n / 2 - 1] + v[n / 2]) / 2
        }' "$times"
}

# A number, or a dash if there is none: FORMAT NUMBER [DIVISOR]
shown() {
    awk -v format="$1" -v x="$2" -v by="${3-1}" 'BEGIN { if (x == "") print "-"; else printf format "\n", x / by }'
}

seconds() { shown %.3f "$(median "$1")" 1000000; }
ratio() { shown %.2f "$(median "$1" "$2")"; }
mebibytes() { shown %.1f "${peaks[$1]-}" 1024; }

# Compares the commands on one trace.
has_header=
columns='%-18s %8s %8s %8s %8s   %7s %9s %9s   %6s %8s\n'
part_trace() {
    local part=$1 kind=${1%-*} event=${1##*-} racers=(capture2pcap cp_trace) bytes

    make_trace "$kind" "$event" "$size" "$trace" >/dev/null || die "cannot make a trace for $part"
    "$tool" -q "$trace" "$capture"
    if has tcpdump; then racers+=(tcpdump_copy); fi
    if has editcap; then racers+=(editcap_copy); fi
    race "${racers[@]}"
    if [[ -z $has_header ]]; then
        has_header=1
        # shellcheck disable=SC2059
        {
            printf "$columns" '' seconds '' '' '' capture2pcap/ '' '' trace peak
            printf "$columns" 'trace' c2p cp tcpdump editcap cp tcpdump editcap MB/s MiB
        }
    fi
    bytes=$(stat -c %s "$trace")
    # shellcheck disable=SC2059
    printf "$columns" "$part" \
        "$(seconds capture2pcap)" "$(seconds cp_trace)" "$(seconds tcpdump_copy)" "$(seconds editcap_copy)" \
        "$(ratio capture2pcap cp_trace)" "$(ratio capture2pcap tcpdump_copy)" "$(ratio capture2pcap editcap_copy)" \
        "$(awk -v bytes="$bytes" -v time="$(median capture2pcap)" 'BEGIN { printf "%.0f", bytes / time }')" \
        "$(mebibytes capture2pcap)"
    rm -f "$trace" "$capture"
}

mixed_tree() {
    tree=$work/mixed
    [[ -d $tree ]] || make_trace --files 3000 --mixed delimited 100 "$size" "$tree" >/dev/null
}

part_many() {
    mixed_tree
    race convert_tree_1 convert_tree_n cp_tree
    echo "many: 3,000 mixed traces of $size: $(seconds convert_tree_1) s with one thread ($(mebibytes convert_tree_1) MiB)," \
        "$(seconds convert_tree_n) s with $jobs ($(mebibytes convert_tree_n) MiB), $(ratio convert_tree_1 convert_tree_n) times as fast;" \
        "cp -r $(seconds cp_tree) s: $(ratio convert_tree_1 cp_tree) and $(ratio convert_tree_n cp_tree) times as long"
    tree=$work/tiny
    make_trace --files 20000 buffered 100 20M "$tree" >/dev/null
    race convert_tree cp_tree
    echo "many: 20,000 tiny traces: $(seconds convert_tree) s ($(mebibytes convert_tree) MiB), cp -r $(seconds cp_tree) s:" \
        "$(ratio convert_tree cp_tree) times as long"
}

part_merge() {
    mixed_tree
    race merge_tree convert_tree_1 convert_tree_n
    echo "merge: 3,000 mixed traces of $size: $(seconds merge_tree) s ($(mebibytes merge_tree) MiB)," \
        "$(ratio merge_tree convert_tree_1) of converting each with one thread, $(ratio merge_tree convert_tree_n) with $jobs"
}

part_live() {
    local median max count
    read -r median max count < <(python3 "$here/live.py" "$tool" 1000)
    echo "live: from an event to its packet $median µs, at most $max µs, of $count"
}

part_info() {
    local event pieces
    for event in 16K 64K; do
        make_trace streamed "$event" "$size" "$trace" >/dev/null
        # Linux caches a file in units as large as the pieces it was written in. Envoy writes small ones.
        for pieces in large small; do
            if [[ $pieces == small ]]; then
                dd if="$trace" of="$trace.small" bs=8K status=none
                mv "$trace.small" "$trace"
            fi
            race info_of read_trace
            echo "info: a streamed trace of $size in $pieces pieces, events of $event: $(seconds info_of) s" \
                "($(mebibytes info_of) MiB), reading it $(seconds read_trace) s: $(ratio info_of read_trace) times as long"
        done
        rm -f "$trace"
    done
}

part_redact() {
    local payload event instructions
    for payload in heads bodies calls lines; do
        for event in 100 16K; do
            make_trace --payload "$payload" buffered "$event" "$size" "$trace" >/dev/null
            race redact capture2pcap
            instructions=
            if has valgrind; then
                instructions=", $(instructions_per_event "$payload" buffered "$event" --redact) instructions an event,"
                instructions+=" without it $(instructions_per_event "$payload" buffered "$event")"
            fi
            echo "redact: $payload, events of $event: $(seconds redact) s, without --redact $(seconds capture2pcap) s:" \
                "$(ratio redact capture2pcap) times as long$instructions"
        done
    done
    rm -f "$trace"
}

part_memory() {
    local kind
    for kind in streamed buffered; do
        make_trace "$kind" 16K "$big_size" "$trace" >/dev/null
        race_once capture2pcap
        echo "memory: $kind trace of $big_size: peak $(mebibytes capture2pcap) MiB from a file"
        race_once from_pipe
        echo "memory: $kind trace of $big_size: peak $(mebibytes from_pipe) MiB from a pipe"
        rm -f "$trace"
    done
}

race_once() {
    peaks[$1]=$(peak "$1")
    clear_away
}

# valgrind's counts are compared between a trace and one four times as long, so that the constant cost of a run is not
# included.
counted=(buffered-16K buffered-100 streamed-100 json-100 text-100)

# Instructions of a conversion with these options.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" "$tool" -q "$@" "$trace" "$out" 2>"$work/stderr"
    awk '/^(summary|totals):/ { n = $2 } END { print n }' "$work/callgrind"
    rm -f "$out" "$work/callgrind"
}

# Instructions of an event: PAYLOAD KIND SIZE [OPTION...]
instructions_per_event() {
    local traced=(--payload "$1" "$2" "$3") few many less more
    shift 3
    # Both so large that the conversion of either allocates all of its buffers.
    few=$(make_trace "${traced[@]}" 8M "$trace")
    less=$(instructions "$@")
    many=$(make_trace "${traced[@]}" 32M "$trace")
    more=$(instructions "$@")
    echo $(((more - less) / (many - few)))
}

# The number of allocations of a conversion, and their bytes.
allocations() {
    valgrind --tool=dhat --dhat-out-file=/dev/null "$tool" -q "$trace" "$out" 2>"$work/stderr"
    awk '/Total:/ { gsub(",", ""); print $(NF - 1), $(NF - 4) }' "$work/stderr"
    rm -f "$out"
}

part_instructions() {
    local part
    has valgrind || { echo "instructions: no valgrind here" && return; }
    for part in "${counted[@]}"; do
        echo "instructions: $part: $(instructions_per_event noise "${part%-*}" "${part##*-}") an event"
    done
    rm -f "$trace"
}

part_allocations() {
    local part few many less more
    has valgrind || { echo "allocations: no valgrind here" && return; }
    for part in "${counted[@]}"; do
        few=$(make_trace "${part%-*}" "${part##*-}" 2M "$trace")
        read -r -a less < <(allocations)
        many=$(make_trace "${part%-*}" "${part##*-}" 8M "$trace")
        read -r -a more < <(allocations)
        echo "allocations: $part: ${less[0]} (${less[1]} bytes) for $few events," \
            "${more[0]} (${more[1]} bytes) for $many"
    done
    rm -f "$trace"
}

# The first number with a dot in the version output of a program.
version() {
    # Reads to the end, because a broken pipe would be a failure.
    "$@" 2>&1 | awk '{ for (i = 1; i <= NF && !n; i++) if ($i ~ /^[0-9]+\.[0-9]/) n = $i } END { sub(/[.,]$/, "", n); print n }'
}

machine() {
    local tools filesystem
    # If several are mounted over one another, the last one is on top.
    filesystem=$(findmnt -no FSTYPE -T "$work" 2>/dev/null | tail -n 1 || stat -f -c %T "$work")
    tools="capture2pcap $(version "$tool" --version), cp $(version cp --version)"
    if has tcpdump; then tools+=", tcpdump $(version tcpdump --version)"; fi
    if has editcap; then tools+=", editcap $(version editcap --version)"; fi
    if has valgrind; then tools+=", valgrind $(valgrind --version | tr -d a-z-)"; fi
    echo "$rounds rounds, traces of $size; $(nproc) cores, $filesystem, $(uname -sm); $tools"
}

for part in "${parts[@]}"; do
    case $part in
    many | merge | live | memory | info | redact | instructions | allocations) "part_$part" ;;
    *-*) part_trace "$part" ;;
    *) die "no part is called $part" ;;
    esac
done
machine
