#!/bin/bash
# SPDX-License-Identifier: MIT
# The README's commands: each block is run as it stands, in the repository with what is built there. The first, which is what
# continuous integration runs, is compared with what that runs; those for a device are tests/vm/readme.sh's. Its program is
# compiled without a warning. It keeps to its length, and what it names is there.
# @limit 180
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" examples/where examples/wasteful
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
unset MAKEFLAGS MAKELEVEL

[ "$(wc -l <README.md)" -le 150 ]
result 'at most 150 lines' $?
awk -v out="$work/block" '/^```[a-z]/ {n++; kind = substr($0, 4); take = 1; next} /^```/ {take = 0} take {print > (out n "." kind)}' README.md

# A repository of its own, whose build folder is this one: what the commands write is left there.
mkdir "$work/here" "$work/home"
for file in * .ci; do
    ln -s "$PWD/$file" "$work/here/$file"
done
ln -sfn "$BUILD" "$work/here/build"
for block in "$work"/block*.c; do
    for flags in -O0 -O2; do
        said=$(gcc -std=c11 -Wall -Wextra -Werror "$flags" -Iinclude -o "$work/program" "$block" 2>&1 && "$ANYDMA" run --iommu=sim -- "$work/program" 2>&1)
        [ $? = 0 ] && [[ $said == '0x'*', 1 run(s)' ]]
        result "the program, $flags" $? "$said"
    done
    cp "$block" "$work/here/program.c"
done
nr=0
for block in "$work"/block*.sh; do
    nr=$((nr + 1))
    first=$(head -n 1 "$block")
    if grep -q '^make check' "$block"; then
        [ "$(grep -o '^make [a-z]*' "$block")" = "$(grep -oE 'make (demo|check)\b.*/dev/null' .ci/run | grep -oE '^make [a-z]+')" ]
        result 'the two commands are those of continuous integration, in their order' $?
        continue
    fi
    grep -qE '_BDF|\$BDF' "$block" && continue
    # shellcheck disable=SC2016 # for the block's own shell
    said=$(cd "$work/here" && env -u BUILD HOME="$work/home" bash -ec '. "$1"' - "$block" 2>&1)
    result "$first" $? "$said"
done
[ $nr -ge 4 ]
result 'there are blocks' $?
[ -s "$work/here/wasteful.html" ] && [ -x "$work/home/.local/bin/anydma" ]
result 'they leave what they say' $?

said=$(grep -oE 'LOCK_[A-Z]+' <(grep '^enum lock_rank' shim/base/lock.h) | grep -v LOCK_NR | tr '\n' ' ')
[ -n "$said" ] && [ "$said" = "$(grep -oE '^[0-9]\. `LOCK_[A-Z]+' CONTRIBUTING.md | grep -oE 'LOCK_[A-Z]+' | tr '\n' ' ')" ]
result 'the order of locks is that of base/lock.h' $? "$said"

# Names in `code` that look like files: below the folder of their row, or anywhere.
missing=''
for name in $(grep -oE '`[a-zA-Z0-9_/.-]+(\.[ch]|\.sh|\.mk|\.md|/)`' README.md CONTRIBUTING.md | cut -d: -f2- | tr -d '`' | sort -u); do
    find . -path ./build -prune -o -path "*/${name%/}" -print -quit | grep -q . || [ -e "$name" ] || missing+=" $name"
done
[ -z "$missing" ]
result 'the files that are named are there' $? "$missing"
exit $status
