#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# A simulated IOMMU has no memlock limit: what VFIO would have refused for this user is told, in the report, the JSON and the summary.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
limited() {
    if [ "$(id -u)" = 0 ]; then # root may lock everything
        setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock bash -c 'ulimit -l 4096; exec "$@"' - "$@"
    else
        (ulimit -l 4096 && "$@")
    fi
}
export -f capture
limited "$ANYDMA" run --iommu=sim --stats -o "$work/w.cap" -- "$BUILD/examples/wasteful" >"$work/said" 2>"$work/err" || { cat "$work/err" && exit 1; }
"$ANYDMA" report --json "$work/w.cap" >"$work/w.json"
# 28 maps of 2 MiB each, and 4 MiB: two fit.
expect "the report says what VFIO would have refused" bash -c "'$ANYDMA' report '$work/w.cap' | grep -qx 'SIMULATED with VFIO 26 of 28 maps would have been refused: memlock 4 MiB'"
expect "so does the JSON" python3 -c "
import json
r = json.load(open('$work/w.json'))
assert (r['simulated_maps'], r['simulated_refused'], r['process']['memlock_limit']) == (28, 26, 4 << 20), (r['simulated_maps'], r['simulated_refused'], r['process'])"
expect "and the summary at exit" grep -q 'the IOMMU is simulated: with VFIO 53248 KiB of that would have been refused' "$work/err"
capture "$work/free.cap" -- "$BUILD/examples/wasteful" >"$work/said"
if [ "$(ulimit -l)" = unlimited ] || [ "$(id -u)" = 0 ]; then
    expect "nothing is said where nothing would be" bash -c "! '$ANYDMA' report '$work/free.cap' | grep -q SIMULATED"
fi
exit "$failures"
