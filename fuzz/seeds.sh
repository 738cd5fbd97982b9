#!/usr/bin/env bash
# Makes the seeds of the fuzz targets in corpus/ from the short traces in testdata/. Seeds with other names (made_…)
# were written by hand, for cases that no recording has, and are kept.
set -euo pipefail
cd "$(dirname "$0")"

# The length of the longest seed, in bytes. A longer one makes runs slower, and tests nothing new.
longest=3072

# The six bytes of a conversion's options (src/options.rs): the defaults, and some others in turn.
choices=('\0\0\0\0\0\0' '\2\0\0\0\0\0' '\5\0\144\0\0\0' '\6\0\0\0\5\0' '\12\100\0\0\12\0' '\44\0\0\4\0\0' '\0\120\0\0\0\0')
# The sizes of a stream's chunks (src/stream.rs).
sizes=('\0\100\377\7' '\77\1\377\0' '\20\21\222\23')

rm -f corpus/*/recorded_*
mkdir -p corpus/{binary,text,json,convert,stream,merge}
mapfile -t traces < <(
    cd ../testdata
    find envoy-* -type f -size "-$((longest + 1))c" \
        \( -name '*.pb' -o -name '*.pb_*' -o -name '*.json' -o -name '*.out' \) ! -name ports.json | LC_ALL=C sort
)
for i in "${!traces[@]}"; do
    trace=../testdata/${traces[i]}
    name=recorded_${traces[i]//\//_}
    case $name in
        *.pb_text) decoder=text ;;
        *.json | *JSON*) decoder=json ;;
        *) decoder=binary ;;
    esac
    cp "$trace" "corpus/$decoder/$name"
    options=${choices[i % ${#choices[@]}]}
    { printf "$options"; cat "$trace"; } >"corpus/convert/$name"
    { printf "${sizes[i % ${#sizes[@]}]}$options"; cat "$trace"; } >"corpus/stream/$name"
    # Three traces at a time. The last one is also the first of the next three.
    if ((i % 2 == 0 && i + 2 < ${#traces[@]})); then
        {
            printf "$options"
            cat "$trace"
            printf '\377--\377'
            cat "../testdata/${traces[i + 1]}"
            printf '\377--\377'
            cat "../testdata/${traces[i + 2]}"
        } >"corpus/merge/$name"
    fi
done
