#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/preload/forks in check mode, with a capture of its own for each child and without one.
# @limit 120
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/forks
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ANYDMA_IOMMU=sim ANYDMA_CHECK=1
status=0

# with NAME VARIABLE=VALUE...
with() {
    local name=$1
    shift
    timeout -k 1 60 env LD_PRELOAD="$SHIM" "$@" "$BUILD/tests/preload/forks" 2>"$work/err" | sed "s/^\(not \)\?ok - .*/&, $name/"
    [ "${PIPESTATUS[0]}" -eq 0 ] || { status=1 && tail -n 5 "$work/err" >&2; }
}
with 'check mode'
with 'check mode, captured' ANYDMA_OUTPUT="$work/capture.%p"
exit $status
