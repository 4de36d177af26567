#!/bin/bash
# SPDX-License-Identifier: MIT
# The fork handlers of a library whose constructor runs before the shim's may allocate, also in a program with threads,
# for which fork takes the heap's locks.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/plugins/early_fork.so
out=$(timeout 20 env ANYDMA_IOMMU=sim ANYDMA_STATS=1 LD_PRELOAD="$SHIM $BUILD/tests/preload/plugins/early_fork.so" \
    python3 -c '
import os, threading
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
child = os.fork()
if child == 0:
    os._exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()' 2>&1)
[[ $out == *"child 7"* && $out == *"anydma: summary"* ]] && exit
echo "no end, or a wrong one: $out"
exit 1
