#!/bin/bash
# SPDX-License-Identifier: MIT
# The program runs whatever is missing around it: address space, memlock, the arena's range, the shim itself. What the
# shim then gives is told by `basics tell`; nothing is ever written to stdout by the shim, nor to stderr without cause.
# @limit 100
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/basics tests/preload/plugins/occupy.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
basics=$BUILD/tests/preload/basics
occupy=$BUILD/tests/preload/plugins/occupy.so

# tell [NAME=VALUE]... [--] [COMMAND]...: what basics says of itself under the shim, run by COMMAND.
tell() {
    local settings=()
    while [[ ${1:-} == [A-Z]*=* ]]; do
        settings+=("$1")
        shift
    done
    "$@" env ANYDMA_IOMMU=sim LD_PRELOAD="$SHIM" "${settings[@]}" "$basics" tell 2>"$work/stderr"
}
limited() { # limited OPTION VALUE COMMAND...
    local option=$1 value=$2
    shift 2
    (ulimit "$option" "$value" && exec "$@")
}
# expect NAME PATTERN TEXT
expect() {
    # shellcheck disable=SC2254 # a pattern
    case $3 in
    $2) echo "ok - $1" ;;
    *)
        echo "not ok - $1"
        printf '%s: got: %s\n   expected: %s\n' "$1" "$3" "$2" >&2
        cat "$work/stderr" >&2
        status=1
        ;;
    esac
}
all_well='active=1 heap=arena large=arena mmap=arena works=1 iova=ok pinned=some version=*'

expect plain_run_says_nothing "$all_well|" "$(tell)|$(cat "$work/stderr")"

# Address space: what the program can have without the shim it has with it, but for a few MiB; there is a lookup for it.
for kib in 16000 24000 32000 48000; do
    out=$(tell limited -v $kib)
    expect "address_space_of_${kib}_kib_leaves_a_program" 'active=[01] *' "$out"
done
for kib in 64000 100000; do
    out=$(tell limited -v $kib)
    expect "address_space_of_${kib}_kib_is_enough_for_the_heap" 'active=1 heap=arena * works=1 iova=ok *' "$out"
done
for kib in 200000 2000000 400000000; do
    out=$(tell limited -v $kib)
    expect "address_space_of_${kib}_kib_serves_all" "$all_well" "$out"
done

# memlock, as a normal user. (The simulated IOMMU counts as the kernel does.)
cp "$SHIM" "$BUILD/tests/preload/basics" "$work"
chmod -R a+rX "$work"
as_user() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"
    else
        "$@"
    fi
}
saved=$SHIM basics=$work/basics SHIM=$work/$(basename "$SHIM")
expect memlock_of_64_kib_leaves_a_program 'active=1 heap=arena large=arena mmap=arena works=1 iova=[oE]* version=*' \
    "$(tell as_user prlimit --memlock=65536)"
expect memlock_of_nothing_leaves_a_program 'active=1 heap=arena large=arena mmap=arena works=1 iova=[oE]* version=*' \
    "$(tell as_user prlimit --memlock=0)"
basics=$BUILD/tests/preload/basics SHIM=$saved

# Somebody else's mappings in the arena's range.
for range in '256 512' '256 416' '416 512' '250 300' '400 420' '300 301'; do
    read -r from to <<<"$range"
    out=$(tell OCCUPY_FROM="$from" OCCUPY_TO="$to" LD_PRELOAD="$SHIM $occupy")
    expect "occupied_${from}_to_${to}_gib_is_gone_around" 'active=1 * works=1 iova=ok pinned=some *' "$out"
done

# Settings.
expect system_heap_is_the_c_librarys 'active=1 heap=elsewhere large=elsewhere * works=1 *' "$(tell ANYDMA_HEAP=system)"
expect no_iommu_means_promises_only 'active=1 heap=arena * works=1 iova=ok pinned=none *' "$(tell ANYDMA_IOMMU=none)"
expect eager_mode_serves_all "$all_well" "$(tell ANYDMA_MODE=eager)"
eager=(env ANYDMA_IOMMU=sim ANYDMA_MODE=eager ANYDMA_STATS=1 LD_PRELOAD="$SHIM")
expect eager_mode_pins_none_of_the_heaps_own_records '*now, 2048 KiB at peak; the app*' "$("${eager[@]}" true 2>&1 | grep pinned)"
expect small_granules_serve_all "$all_well" "$(tell ANYDMA_GRANULE=4K)"
expect large_granules_serve_all "$all_well" "$(tell ANYDMA_GRANULE=64M)"
expect no_huge_pages_serve_all "$all_well" "$(tell ANYDMA_THP=never)"

off='active=0 heap=elsewhere large=elsewhere mmap=elsewhere works=1 iova=ENOSYS pinned=none version=*'
expect disabled_is_a_pass_through "$off|" "$(tell ANYDMA_DISABLE=1)|$(cat "$work/stderr")"
maps=$(env ANYDMA_DISABLE=1 LD_PRELOAD="$SHIM" cat /proc/self/maps)
expect disabled_reserves_nothing 0 "$(grep -cE '^([4-7]|1[0-9a-f]{2})[0-9a-f]{9}-' <<<"$maps")"

tell ANYDMA_NONSENSE=1 ANYDMA_MODE=sometimes ANYDMA_GRANULE=3000 ANYDMA_LIMIT=many ANYDMA_STATS=2 >"$work/stdout"
expect settings_not_understood_change_nothing "$all_well" "$(cat "$work/stdout")"
for name in NONSENSE MODE GRANULE LIMIT STATS; do
    expect "setting_${name,,}_is_warned_about_once" 1 "$(grep -c "^anydma: .*ANYDMA_$name" "$work/stderr")"
done
expect warnings_are_all_there_is 5 "$(wc -l <"$work/stderr")"
exit $status
