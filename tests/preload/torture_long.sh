#!/bin/bash
# SPDX-License-Identifier: MIT
# The race torture for two minutes: with the default granules, with granules of 4K, and eager.
# @all
# @limit 300
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/routes_torture
export ANYDMA_IOMMU=sim TORTURE_SECONDS=40 LD_PRELOAD=$SHIM
status=0
for setting in ANYDMA_GRANULE=auto ANYDMA_GRANULE=4K ANYDMA_MODE=eager; do
    echo "# $setting"
    env "$setting" "$BUILD/tests/preload/routes_torture" | sed "s/^\(not \)\?ok - .*/&, $setting/"
    [ "${PIPESTATUS[0]}" -eq 0 ] || status=1
done
exit $status
