#!/bin/bash
# SPDX-License-Identifier: MIT
# The bridges with their switch, for each of the programs tests/preload/bridges_*.c (which check.sh runs plainly led, with the
# bridges on): off they make no difference, a list turns on what it names, and a library's calls are led wherever it keeps
# the addresses that it calls: in pages that stay writable, in pages that are read-only since the start, or found at the first
# call only.
. "$(dirname "$0")/../setup.bash" tests/preload/bridges_spdk tests/preload/bridges_libvfn tests/preload/bridges_dpdk \
    tests/preload/plugins/asks.so
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

said=$(LD_PRELOAD=$SHIM ANYDMA_BRIDGES=spdk,nvme /bin/true 2>&1)
if [[ $said == *"ANYDMA_BRIDGES=spdk,nvme is not understood"* ]]; then
    echo "ok - an_unknown_bridge_is_said"
else
    echo "not ok - an_unknown_bridge_is_said"
    echo "$said" >&2
    status=1
fi
exit $status
