#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual: pages that format without a warning, for each function, command, option and variable; each example in them is run.
# @limit 120
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" man/anydma.1 man/anydma.7 examples/wasteful examples/where
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
man=$BUILD/man
[ "${TESTS_ARE_BUILT:-}" = 1 ] || make -s BUILD="$BUILD" manual || exit 1

if command -v groff >/dev/null && command -v tbl >/dev/null; then
    mkdir -p "$work/man3"
    cp "$man"/*.3 "$work/man3"
    said=$(cd "$work" && for page in "$man"/*; do
        soelim -r "$page" 2>/dev/null | tbl | groff -man -Tutf8 -ww 2>&1 >/dev/null | sed "s|^|$(basename "$page"): |"
    done)
    [ -z "$said" ]
    result 'the pages format without a warning' $? "$said"
else
    echo 'ok - formatting skipped: groff is not there'
fi

missing=''
for name in $(sed -n '/^global:/,/^local:/p' shim/libanydma.map | grep -oE 'anydma_[a-z]+(_[a-z]+)*;' | tr -d ';' | grep -v anydma_table); do
    [ -e "$man/$name.3" ] || missing+=" $name(3)"
done
[ -z "$missing" ]
result 'each function has a page' $? "$missing"
missing=''
for command in $("$ANYDMA" help | sed -nE 's/^  anydma ([a-z]+) .*/\1/p'); do
    [ "$command" = help ] || [ "$command" = version ] || grep -qx "\.SS $command" "$man/anydma.1" || missing+=" $command"
    for option in $("$ANYDMA" "$command" --help | grep -oE -- '--[a-z-]+' | sort -u); do
        grep -qF -- "\\-\\-$(sed 's/^--//; s/-/\\-/g' <<<"$option")" "$man/anydma.1" || missing+=" $command $option"
    done
done
[ -z "$missing" ]
result 'each command and option is in anydma(1)' $? "$missing"
missing=''
for variable in $(grep -oE '^    X\([A-Z_]+' shim/base/settings.h | sed 's/.*(//'); do
    grep -qF "ANYDMA_$variable" "$man/anydma.7" || missing+=" ANYDMA_$variable"
done
[ -z "$missing" ]
result 'each variable is in anydma(7)' $? "$missing"
! grep -n '^@[a-z]' "$man"/* && ! grep -l '@VERSION@' "$man"/*
result 'nothing is left to be filled in' $?

# --- the examples: those of a page in their order, in one folder; what begins with #include is a program ---------------------
for page in "$man"/*.[137]; do
    name=$(basename "$page")
    rm -rf "${work:?}/$name" && mkdir "$work/$name"
    awk -v out="$work/$name/block" '/^\.SH EXAMPLES/ {on = 1} on && /^\.EX/ {n++; take = 1; next} /^\.EE/ {take = 0}
        take {print > (out n)}' "$page"
    for block in "$work/$name"/block*; do
        [ -e "$block" ] || continue
        sed -i 's/\\e/\\/g; s/\\-/-/g; s/\\(dq/"/g' "$block"
        if grep -q '^#include' "$block"; then
            for flags in -O0 -O2; do
                said=$(gcc -std=c11 -Wall -Wextra -Werror $flags -Iinclude -x c -o "$block.program" "$block" 2>&1 &&
                    "$ANYDMA" run --iommu=sim -- "$block.program" 2>&1)
                result "$name: program $(basename "$block"), $flags" $? "$said"
            done
        else
            # The doctor may find this machine not ready: what counts is that it can be asked.
            said=$(cd "$work/$name" && PATH=$BUILD:$BUILD/examples:$PATH bash -ec ". '$block'" 2>&1)
            code=$?
            grep -q '^anydma doctor' "$block" && [ $code = 1 ] && code=0
            result "$name: $(head -n 1 "$block")" $code "$said"
        fi
    done
done
exit $status
