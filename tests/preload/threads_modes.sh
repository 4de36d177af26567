#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/preload/threads in the modes that add locks and calls of their own: check mode, eager mode with a capture and samples.
# @limit 900
# @all
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/threads
# shellcheck source=tests/preload/modes.bash
. tests/preload/modes.bash
export ANYDMA_IOMMU=sim
run_in_mode 400 threads 'check mode' ANYDMA_CHECK=1
run_in_mode 400 threads 'eager, captured' ANYDMA_MODE=eager ANYDMA_OUTPUT="$work/capture.%p" ANYDMA_SAMPLE=64K
exit $status
