#!/bin/bash
# SPDX-License-Identifier: MIT
# Exceptions and cancellation also where the shim unwinds stacks itself, and where it is switched off.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/unwinding tests/preload/plugins/unwinds.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# in_mode NAME [ARGUMENT] NAME=VALUE...
in_mode() {
    local name=$1 argument=()
    shift
    [[ $1 == *=* ]] || { argument=("$1") && shift; }
    if timeout 30 env LD_PRELOAD="$SHIM" "$@" "$BUILD/tests/preload/unwinding" "${argument[@]}" >"$work/out" 2>&1; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        cat "$work/out" >&2
        status=1
    fi
}

in_mode with_a_capture ANYDMA_IOMMU=sim ANYDMA_OUTPUT="$work/capture"
in_mode with_samples ANYDMA_IOMMU=sim ANYDMA_OUTPUT="$work/samples" ANYDMA_SAMPLE=64K ANYDMA_MODE=eager
in_mode in_check_mode any ANYDMA_IOMMU=sim ANYDMA_CHECK=1
in_mode with_the_systems_heap any ANYDMA_IOMMU=sim ANYDMA_HEAP=system ANYDMA_OUTPUT="$work/system"
in_mode switched_off any ANYDMA_DISABLE=1
[ -s "$work/capture" ] && [ -s "$work/samples" ] && [ -s "$work/system" ] || { echo "not ok - captures_were_made" && status=1; }
exit $status
