#!/bin/bash
# SPDX-License-Identifier: MIT
# A library that is preloaded behind the shim has its constructor run before the shim's: it is served all the same.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/plugins/early.so
out=$(ANYDMA_IOMMU=sim ANYDMA_STATS=1 LD_PRELOAD="$SHIM $BUILD/tests/preload/plugins/early.so" \
    python3 -c '
import ctypes
early = ctypes.CDLL(None)
print("whole", early.early_is_whole())
print("active", ctypes.c_bool.in_dll(early, "early_was_active").value)
print("iova", ctypes.c_uint64.in_dll(early, "early_iova").value >> 38)' 2>&1)
[[ $out == *"whole 1"* && $out == *"active True"* && $out == *"iova 1"* && $out == *"anydma: summary"* ]] && exit
echo "$out"
exit 1
