#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# What the profile costs on malloc and free pairs, as ratios to the shim without it. The kinds run in turns, each round's
# ratios are taken within it, and the median of those is told: a neighbour that slows a round down slows all of it. Where there
# is a valgrind, instructions come first: they are the same in each run.
# heaptrack and jemalloc's own profiler are measured on the same where they are installed.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/../profile/common.bash"
build churn -O2
rounds=${ROUNDS:-25}
pairs=2000000
jemalloc=$(ldconfig -p | awk '/libjemalloc\.so\.2/ {print $NF; exit}')

run() {
    case $1 in
    shim) "$ANYDMA" run --iommu=sim -- "$work/churn" pin $pairs ;;
    capture) capture "$work/c.cap" -- "$work/churn" pin $pairs ;;
    sampling) capture "$work/s.cap" --sample=auto -- "$work/churn" pin $pairs ;;
    sampling-512K) capture "$work/s512.cap" --sample=512K -- "$work/churn" pin $pairs ;;
    jemalloc) LD_PRELOAD=$jemalloc "$work/churn" ;;
    jemalloc-prof) (cd "$work" && LD_PRELOAD=$jemalloc MALLOC_CONF=prof:true,lg_prof_sample:19 "$work/churn") ;;
    glibc) "$work/churn" ;;
    heaptrack) (cd "$work" && heaptrack --raw -o "$work/ht" "$work/churn" 2>&1 | grep -aoE "[0-9]+\.[0-9]{2}" | head -n 1) ;;
    esac
}
kinds="shim capture sampling sampling-512K glibc"
[ -z "$jemalloc" ] || kinds="$kinds jemalloc jemalloc-prof"
for round in $(seq "$rounds"); do
    for kind in $(if ((round % 2)); then tr ' ' '\n' | tac; else cat; fi <<<"$kinds"); do
        run "$kind" >>"$work/ns.$kind"
    done
done
if command -v heaptrack >/dev/null && run heaptrack >"$work/ns.heaptrack" && [ -s "$work/ns.heaptrack" ]; then
    kinds="$kinds heaptrack"
else
    rm -f "$work/ns.heaptrack"
fi
median() { sort -n "$work/ns.$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# The middle half's width over the median.
spread() { sort -n "$work/ns.$1" | awk '{v[NR] = $1} END {printf "%.3f", (v[int(NR * .75 + .5)] - v[int(NR * .25 + 1)]) / v[int((NR + 1) / 2)]}'; }
# The median of the rounds' own ratios.
ratio() {
    if [ "$(wc -l <"$work/ns.$1")" = "$(wc -l <"$work/ns.$2")" ]; then
        paste "$work/ns.$1" "$work/ns.$2" | awk '{print $1 / $2}' | sort -n | awk '{v[NR] = $1} END {printf "%.3f", v[int((NR + 1) / 2)]}'
    else
        awk "BEGIN {printf \"%.3f\", $(median "$1") / $(median "$2")}"
    fi
}
# instructions SETTING...: of churn's, a pair
counted=500000
instructions() {
    env ANYDMA_IOMMU=sim "$@" LD_PRELOAD="$SHIM" valgrind --soname-synonyms=somalloc=nouserintercepts --tool=callgrind \
        --callgrind-out-file=/dev/null "$work/churn" pin $counted 2>&1 >/dev/null |
        awk -v pairs=$counted '/Collected/ {printf "%.1f", $NF / pairs / 1.125}'
}
# emit NAME VALUE-KIND REF-KIND [GOAL]: a line of bench.jsonl
emit() {
    [ -n "${BENCH_JSONL:-}" ] || return 0
    printf '{"bench":"profile_%s","value":%s,"unit":"ns a pair","ref":"%s","ref_value":%s,"ratio":%s,"goal":%s,"spread":%s}\n' \
        "$1" "$(median "$2")" "$3" "$(median "$3")" "$(ratio "$2" "$3")" "${4:-null}" "$(spread "$2")" >>"$BENCH_JSONL"
}
if command -v valgrind >/dev/null; then
    shim=$(instructions) sampling=$(instructions ANYDMA_OUTPUT="$work/v.cap" ANYDMA_SAMPLE=auto)
    echo "instructions a pair       $shim, with sampling $sampling: $(awk "BEGIN {printf \"%.3f\", $sampling / $shim}")"
fi
for kind in $kinds; do
    printf '%-14s %8s ns a pair\n' "$kind" "$(median "$kind")"
done
echo "capture / shim            $(ratio capture shim)   (goal: at most 1.02)"
echo "capture + sampling / shim $(ratio sampling shim)   (goal: at most 1.10)"
echo "the same, every 512K      $(ratio sampling-512K shim)"
[ -z "$jemalloc" ] || echo "jemalloc prof / jemalloc  $(ratio jemalloc-prof jemalloc)   (every 512K)"
[ ! -e "$work/ns.heaptrack" ] || echo "heaptrack / glibc         $(ratio heaptrack glibc)"
# Of one processor that does nothing but allocate: no program writes more a minute.
per_minute() { awk "BEGIN {printf \"%.1f MiB\", $(stat -c %s "$1") / ($(median "$2") * $pairs * 1.125 / 6e10) / 1048576}"; }
echo "capture of a minute       $(per_minute "$work/c.cap" capture), with sampling $(per_minute "$work/s.cap" sampling), \
every 512K $(per_minute "$work/s512.cap" sampling-512K)"
emit capture capture shim 1.02
emit sampling sampling shim 1.1
[ -z "$jemalloc" ] || emit jemalloc jemalloc-prof jemalloc
[ ! -e "$work/ns.heaptrack" ] || emit heaptrack heaptrack glibc
