#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/preload/forks in check mode, with a capture of its own for each child and without one.
# @limit 120
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/forks
# shellcheck source=tests/preload/modes.bash
. tests/preload/modes.bash
export ANYDMA_IOMMU=sim ANYDMA_CHECK=1
run_in_mode 60 forks 'check mode'
run_in_mode 60 forks 'check mode, captured' ANYDMA_OUTPUT="$work/capture.%p"
exit $status
