#!/bin/bash
# SPDX-License-Identifier: MIT
# Every mmap, munmap, madvise, mprotect, mremap, userfaultfd, ioctl and open of the fixed program routes_failures, the shim's
# own among them, fails in turn, once and from then on, by strace's injection. The program must live and be told the truth.
# @limit 300
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/routes_failures
program=$BUILD/tests/preload/routes_failures work=$(mktemp -d) status=0
trap 'rm -rf "$work"' EXIT
export ANYDMA_IOMMU=sim ANYDMA_VERBOSE=0
command -v strace >/dev/null || { echo 'strace is not there' && exit 77; }

calls=mmap,munmap,madvise,mprotect,mremap,userfaultfd,ioctl,openat,getppid
strace -f -qq -e trace=$calls -e signal=none -o "$work/log" env LD_PRELOAD="$SHIM" "$program" >/dev/null 2>&1 ||
    { cat "$work/log" | tail -n 3 && echo 'strace can not trace here' && exit 77; }

pid=$(sed -nE 's/^([0-9]+) +getppid.*/\1/p' "$work/log") # counts are each thread's own

# one CALL ERRNO WHEN: one run with one failure.
one() {
    local out
    out=$(timeout 60 strace -f -qq -e trace="$1" -e signal=none -e inject="$1:error=$2:when=$3" -o /dev/null \
        env LD_PRELOAD="$SHIM" "$program" 2>&1) && return
    echo "not ok - $1 fails with $2, when=$3"
    tail -n 5 <<<"$out" >&2
    return 1
}
while read -r call error step; do
    # The calls between the mark and the end.
    before=$(sed '/getppid/,$d' "$work/log" | grep -cE "^$pid +$call\(") || true
    after=$(sed '1,/getppid/d' "$work/log" | grep -cE "^$pid +$call\(") || true
    runs=0 bad=0
    for ((when = before + 1; when <= before + after; when += step)); do
        one "$call" "$error" "$when" || bad=1
        runs=$((runs + 1))
    done
    if [ "$after" -gt 0 ] && [ "$call" != mmap ] && [ "$call" != munmap ] && [ "$call" != openat ]; then
        one "$call" "$error" "$((before + 1))+" || bad=1
    fi
    [ $bad = 1 ] && status=1 || echo "ok - $call fails with $error, each of $runs times"
done <<'CALLS'
mmap ENOMEM 1
munmap ENOMEM 1
madvise EINVAL 2
madvise ENOMEM 3
mprotect ENOMEM 1
userfaultfd EPERM 1
ioctl EAGAIN 7
ioctl ENOENT 5
ioctl ENOMEM 6
openat EMFILE 3
CALLS
exit $status
