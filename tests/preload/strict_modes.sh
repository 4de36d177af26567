#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs of this folder under ANYDMA_STRICT: every route of the arena's memory, gone by an instruction, too, which is nowhere
# stale then; and signals, forks and ends, which are as without it.
# @limit 300
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/strict tests/preload/routes_own tests/preload/signals \
    tests/preload/handlers tests/preload/forks tests/preload/ends
# shellcheck source=tests/preload/modes.bash
. tests/preload/modes.bash
export ANYDMA_IOMMU=sim ANYDMA_STRICT=1
if LD_PRELOAD="$SHIM" "$BUILD/tests/preload/strict" 2>/dev/null | grep 'this kernel has no'; then
    exit 77
fi
for program in routes_own signals handlers forks ends; do
    run_in_mode 100 "$program" strict
done
exit $status
