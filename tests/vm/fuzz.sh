#!/bin/bash
# SPDX-License-Identifier: MIT
# The random program of tests/fuzz through the preloaded doors, with a real VFIO container and with the simulated one: both
# as the model says, and step for step the same answers, errno for errno. In the guest; EDU_GROUP names the group.
# At 39 bits, where other memory gets IOVAs elsewhere, and with iommufd, whose rules the program then follows: the model only.
# @vm-fuzz tests/vm/fuzz.sh
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/fuzz/doors
export LD_PRELOAD=$BUILD/libanydma.so.0 ANYDMA_VERBOSE=0
doors=$BUILD/tests/fuzz/doors work=$(mktemp -d) status=0
trap 'rm -rf "$work"' EXIT
cap=$(cat /sys/class/iommu/dmar0/intel-iommu/cap) # bits 16 to 21: the widest address, less one
bits=$(((16#$cap >> 16 & 63) + 1))
compare=''
[ "$bits" -lt 48 ] || [ "${BACKEND:-type1}" != type1 ] || compare=1
for seed in ${SEEDS:-1 2 3 4}; do
    [ -z "$compare" ] || ANYDMA_IOMMU=sim "$doors" --trace --no-device "$seed" 1 "${STEPS:-800}" >"$work/sim" 2>"$work/sim.err" || status=1
    "$doors" --trace --vfio "--aperture=$bits" "$seed" 1 "${STEPS:-800}" >"$work/vfio" 2>"$work/vfio.err" || status=1
    [ -n "$compare" ] || cp "$work/vfio" "$work/sim"
    if ! cmp -s "$work/sim" "$work/vfio" || [ $status -ne 0 ]; then
        echo "seed $seed: simulated (<) and VFIO (>) differ, or one failed:"
        diff "$work/sim" "$work/vfio" | head -n 6
        tail -n 3 "$work"/*.err
        exit 1
    fi
    echo "seed $seed: $(wc -l <"$work/sim") answers alike"
done
