#!/bin/bash
# SPDX-License-Identifier: MIT
# Where memory is not overcommitted (vm.overcommit_memory=2) the arena's reservation costs nothing, programs run, and what
# is asked for beyond the limit is refused as without the shim. In the guest: the setting is the machine's.
# @vm type1/48/6.12,type1/48/6.1: tests/vm/overcommit.sh
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/basics tests/preload/mlockall
build=$BUILD
status=0
export ANYDMA_IOMMU=sim

check() { # check NAME PATTERN TEXT
    # shellcheck disable=SC2254 # a pattern
    case $3 in
    $2) echo "ok   $1" ;;
    *)
        echo "FAIL $1: got '$3', expected '$2'"
        status=1
        ;;
    esac
}
tell() {
    "$build/anydma" run -- "$build/tests/preload/basics" tell 2>&1
}
committed_kib() {
    awk '/^Committed_AS/ {print $2}' /proc/meminfo
}

echo 2 >/proc/sys/vm/overcommit_memory
for ratio in 80 50; do
    echo $ratio >/proc/sys/vm/overcommit_ratio
    check "a program runs at a ratio of $ratio" 'active=1 * works=1 iova=ok *' "$(tell)"
done
check 'its heap is the shim'"'"'s' 'active=1 heap=arena large=arena mmap=arena *' "$(tell)"
check 'too much is refused, and the program lives' 'True None' "$(LD_PRELOAD=$build/libanydma.so.0 python3 -c '
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
print(libc.malloc(ctypes.c_size_t(1 << 20)) is not None, libc.malloc(ctypes.c_size_t(1 << 36)))' 2>&1)"
before=$(committed_kib)
LD_PRELOAD=$build/libanydma.so.0 sleep 2 &
sleep 1
after=$(committed_kib)
check 'the reservation is not committed' yes "$([ $((after - before)) -lt 100000 ] && echo yes || echo "$((after - before)) KiB")"
wait

# What a machine where root may do everything adds to tests/preload/mlockall.
echo 0 >/proc/sys/vm/overcommit_memory
ulimit -l unlimited
out=$("$build/anydma" run -- "$build/tests/preload/mlockall" 2>&1)
check 'a user within the memlock limit locks all but the reservation' '*ok - user_within*' "$out"
check 'no other behaviour of mlockall fails' 0 "$(grep -c '^not ok' <<<"$out")"
exit $status
