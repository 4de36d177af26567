#!/bin/bash
# SPDX-License-Identifier: MIT
# Every ioctl of the program tests/vm/failures.c on a real VFIO container, the shim's own among them, fails in turn with each
# errno that MAP, UNMAP and GET_INFO can give, and from there on. In the guest.
# @vm-failures tests/vm/failures.sh
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/vm/failures
program=$BUILD/tests/vm/failures log=$(mktemp) bad=0 runs=0
trap 'rm -f "$log"' EXIT
export ANYDMA_VERBOSE=0
command -v strace >/dev/null || { echo 'strace is not there' && exit 77; }

# fail WHEN ERRNO
fail() {
    local out
    runs=$((runs + 1))
    out=$(strace -f -qq -e trace=ioctl -e signal=none -e inject="ioctl:error=$2:when=$1" -o "$log" \
        env LD_PRELOAD="$BUILD/libanydma.so.0" "$program" "$EDU_BDF" 2>&1) && return
    bad=$((bad + 1))
    printf 'ioctl number %s fails with %s:\n%s\n' "$1" "$2" "$out"
    grep -m 1 INJECTED "$log"
}
strace -f -qq -e trace=ioctl,getppid -o "$log" env LD_PRELOAD="$BUILD/libanydma.so.0" "$program" "$EDU_BDF" || exit 1
before=$(sed '/getppid/,$d' "$log" | grep -c 'ioctl(')
total=$(grep -c 'ioctl(' "$log")
errors=(ENOMEM EINVAL EFAULT ENOSPC EEXIST EBUSY)
for ((when = before + 1; when <= total; when++)); do
    fail "$when" "${errors[when % ${#errors[@]}]}"
    fail "$when" EINVAL
done
fail "$((before + 4))+" ENOMEM
echo "$runs runs, $bad failed"
[ "$bad" -eq 0 ] && [ "$runs" -gt 10 ]
