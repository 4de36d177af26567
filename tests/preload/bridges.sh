#!/bin/bash
# SPDX-License-Identifier: MIT
# The bridges with their switch, for each of the programs tests/preload/bridges_*.c (which check.sh runs plainly led, with the
# bridges on): off they make no difference, a list turns on what it names, and a library's calls are led wherever it keeps
# the addresses that it calls: in pages that stay writable, in pages that are read-only since the start, or found at the first
# call only.
. "$(dirname "$0")/../setup.bash" tests/preload/bridges_spdk tests/preload/bridges_libvfn tests/preload/bridges_dpdk \
    tests/preload/static_spdk tests/preload/plugins/asks.so
status=0

# run NAME VARIABLE=VALUE... -- PROGRAM ARGUMENT...: each behaviour that it reports, under a name.
run() {
    local name=$1 variables=() out seen
    shift
    while [ "$1" != -- ]; do
        variables+=("$1")
        shift
    done
    shift
    out=$(env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=sim "${variables[@]}" "$BUILD/tests/preload/$1" "${@:2}" 2>&1)
    seen=$?
    [ $seen != 77 ] || { tail -n 1 <<<"$out" && exit 77; }
    if [ $seen = 0 ] && grep -q '^ok - ' <<<"$out"; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        sed 's/^/    /' <<<"$out" >&2
        status=1
    fi
}

run spdk_off ANYDMA_BRIDGES=0 -- bridges_spdk plain
run spdk_not_named ANYDMA_BRIDGES=libvfn,dpdk -- bridges_spdk plain
run spdk_named ANYDMA_BRIDGES=dpdk,spdk -- bridges_spdk
run spdk_with_all_bound_at_the_start LD_BIND_NOW=1 -- bridges_spdk
run spdk_after_a_device_came_late -- bridges_spdk late
run libvfn_off ANYDMA_BRIDGES=0 -- bridges_libvfn plain
run libvfn_named ANYDMA_BRIDGES=libvfn -- bridges_libvfn
run dpdk_off ANYDMA_BRIDGES=spdk -- bridges_dpdk plain
run dpdk_with_physical_addresses -- bridges_dpdk pa
run dpdk_with_physical_addresses_off ANYDMA_BRIDGES=0 -- bridges_dpdk pa plain

run static_spdk_with_a_small_limit ANYDMA_LIMIT=50M ANYDMA_GRANULE=64K -- static_spdk limit
run static_spdk_in_lazy_mode ANYDMA_MODE=lazy -- static_spdk lazy
run static_spdk_off ANYDMA_BRIDGES=dpdk -- static_spdk plain

# says NAME TEXT VARIABLE=VALUE... -- COMMAND...: the program says it.
says() {
    local name=$1 text=$2 variables=() said
    shift 2
    while [ "$1" != -- ]; do
        variables+=("$1")
        shift
    done
    shift
    said=$(env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=sim "${variables[@]}" "$@" 2>&1)
    if [[ $said == *"$text"* ]]; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        printf 'it does not say: %s\n%s\n' "$text" "$said" >&2
        status=1
    fi
}

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$BUILD/tests/preload/static_spdk"
says a_stripped_spdk_is_said 'it was stripped of its symbol table' -- "$stripped" plain
says what_stays_unknown_is_said 'not of stacks and global variables' -- "$BUILD/tests/preload/static_spdk"
says lazy_mode_is_said 'in eager mode only' ANYDMA_MODE=lazy -- "$BUILD/tests/preload/static_spdk" lazy
says what_is_left_out_is_said 'is no longer told of memory' ANYDMA_LIMIT=50M ANYDMA_GRANULE=64K -- "$BUILD/tests/preload/static_spdk" limit
says a_failed_registration_is_said 'which SPDK ignores' -- "$BUILD/tests/preload/bridges_spdk"
says an_unknown_bridge_is_said 'ANYDMA_BRIDGES=spdk,nvme is not understood' ANYDMA_BRIDGES=spdk,nvme -- /bin/true
exit $status
