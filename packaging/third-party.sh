#!/usr/bin/env bash
# Prints the licences of all crates that are linked into the program, and of the C library.
#
#   packaging/third-party.sh TARGET
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh
target=$1

cat <<END
capture2pcap is licensed under the Apache License 2.0 (LICENSE). It is linked from the crates below, each under the
licence named beside it, and from Rust's standard library (MIT or Apache-2.0).
END
case $target in
*-linux-gnu*)
    cat <<END
A static Linux binary contains parts of the GNU C Library, which is licensed under the GNU Lesser General Public
License, version 2.1 or later (https://www.gnu.org/software/libc/). The program can be linked anew with another version
of it from this program's source: packaging/dist.sh.
END
    ;;
*-linux-musl*) echo "A static Linux binary contains musl, which is licensed under the MIT license (https://musl.libc.org/)." ;;
esac

# NAME VERSION, sorted. Crates for building and testing are not part of the program.
crates=$(cargo tree --locked --edges normal,no-proc-macro --target "$target" --prefix none --format '{p}' |
    sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/p' | LC_ALL=C sort -u)
sources=$(cargo metadata --locked --format-version 1 --filter-platform "$target" |
    tr ',' '\n' | sed -n 's/^"manifest_path":"\(.*\)\/Cargo.toml"$/\1/p')
while read -r name version; do
    [ "$name" != capture2pcap ] || continue
    folder=$(grep -F "/$name-$version" <<<"$sources" | grep -x ".*/$name-$version" | head -n 1) ||
        fail "the source of $name $version was not found"
    licence=$(sed -n 's/^license = "\(.*\)"$/\1/p' "$folder/Cargo.toml")
    printf '\n%s\n%s %s: %s\n' "$(printf '=%.0s' {1..100})" "$name" "$version" "$licence"
    texts=$(cd "$folder" && find . -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) |
        LC_ALL=C sort)
    # If a crate offers several licences, one is enough: the shortest. The Apache License is in LICENSE.
    short=$(grep -i -e mit -e zlib -e bsd <<<"$texts" || true)
    for text in ${short:-$texts}; do
        printf '%s\n\n' "$(printf -- '-%.0s' {1..100})"
        cat "$folder/$text"
    done
    if [ -z "$texts" ]; then
        echo "The package does not contain its text; its authors are listed at https://crates.io/crates/$name/$version."
    fi
done <<<"$crates"
