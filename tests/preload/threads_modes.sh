#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/preload/threads in the modes that add locks and calls of their own: check mode, eager mode with a capture and samples.
# @limit 900
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/threads
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ANYDMA_IOMMU=sim
status=0

# with NAME VARIABLE=VALUE...
with() {
    local name=$1
    shift
    # -k: a thread that hangs has its signals blocked
    timeout -k 1 400 env LD_PRELOAD="$SHIM" "$@" "$BUILD/tests/preload/threads" 2>"$work/err" | sed "s/^\(not \)\?ok - .*/&, $name/"
    [ "${PIPESTATUS[0]}" -eq 0 ] || { status=1 && tail -n 5 "$work/err" >&2; }
}
with 'check mode' ANYDMA_CHECK=1
with 'eager, captured' ANYDMA_MODE=eager ANYDMA_OUTPUT="$work/capture.%p" ANYDMA_SAMPLE=64K
exit $status
