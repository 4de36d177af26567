#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154,SC2317 # work and failures are common.bash's; expect calls functions
# What a capture and sampling cost a pair of malloc and free, in instructions, as callgrind counts them: exact on any machine,
# however busy. tests/bench/profile.sh has the same in nanoseconds.
# @limit 300
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
command -v valgrind >"$work/which" || { echo "no valgrind is installed" && exit 77; }
build churn -O2

# instructions PAIRS NAME=VALUE...: of the whole program. The heap stays the shim's.
instructions() {
    local pairs=$1
    shift
    env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=sim "$@" valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" \
        --soname-synonyms=somalloc=nouserintercepts "$work/churn" pin "$pairs" 2>"$work/err" >"$work/said"
    awk '/Collected :/ {n = $NF} END {print n + 0}' "$work/err"
}
# of_pairs NAME NAME=VALUE...: those of 800,000 pairs, a program's start and end left out.
of_pairs() {
    local name=$1 few many
    shift
    few=$(instructions 200000 "$@")
    many=$(instructions 1000000 "$@")
    echo $((many - few)) >"$work/$name"
}
of_pairs shim ANYDMA_VERBOSE=1
of_pairs capture ANYDMA_OUTPUT="$work/c.cap"
of_pairs sampling ANYDMA_OUTPUT="$work/s.cap" ANYDMA_SAMPLE=auto

# costs KIND PERCENT
costs() {
    awk -v shim="$(cat "$work/shim")" -v with="$(cat "$work/$1")" -v most="$2" \
        'BEGIN {printf "%d for %d instructions: %.4f\n", with, shim, with / shim; exit !(shim > 50e6 && with >= 0.99 * shim && with <= most / 100 * shim)}'
}
expect "a capture costs pairs of malloc and free 2% of their instructions at most" costs capture 102
cat "$work/out"
expect "sampling costs them 10% at most" costs sampling 110
cat "$work/out"
expect "and both have told what happened" bash -c "for name in c s; do '$ANYDMA' report --summary '$work/'\$name.cap | grep -q 'peak [1-9].* MiB' || exit 1; done"
expect "samples among it" bash -c "'$ANYDMA' report '$work/s.cap' | grep -q 'live allocations in it, sampled every 2 MiB'"
exit "$failures"
