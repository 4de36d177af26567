#!/bin/bash
# SPDX-License-Identifier: MIT
# The lines of bpftrace that anydma(7) shows, as they stand but for where the library is: each attaches to its probe, and says something
# of a program that registers, is refused, forks and unmaps. Here where that is allowed, else in the VM. (tests/programs/probes.sh looks
# at the arguments.)
# @host tests/vm/bpftrace.sh
# @all
# @limit 400
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" man/anydma.7
tests/deps.sh tracing || exit 77
work=$(mktemp -d "$BUILD/bpftrace.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/passes.c" <<'END'
#include <anydma.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    anydma_iova(p);
    anydma_iova(mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (fork() == 0)
        _exit(0);
    wait(NULL);
    munmap(p, 1 << 20);
    return 0;
}
END
gcc -Iinclude -o "$work/passes" "$work/passes.c" || exit 1
awk '/^\.SH TRACING/ {on = 1} on && /^\.EX/ {take = 1; next} /^\.EE/ {take = 0; on = 0} take' "$BUILD/man/anydma.7" |
    sed "s/\\\\e/\\\\/g; s/\\\\-/-/g; s|/usr/local/lib/libanydma.so.0|$SHIM|g" >"$work/lines"
[ "$(wc -l <"$work/lines")" = 4 ] || { echo 'not ok - four lines of bpftrace' && exit 1; }
# Each with a clock behind its probes: when that ticks, they are attached. Then the program runs, and bpftrace is interrupted.
nr=0
while read -r line; do
    nr=$((nr + 1))
    cat <<END
${line%\'} interval:ms:200 { printf("tick\\n"); }' >\$VM_OUT/$nr 2>&1 &
until grep -q tick \$VM_OUT/$nr || ! kill -0 \$!; do sleep 0.2; done 2>/dev/null
$ANYDMA run --iommu=sim -- $work/passes
kill -INT \$!
wait \$!
END
done <"$work/lines" >"$work/guest"
mkdir "$work/out"
if bpftrace -e 'BEGIN { printf("works\n"); exit(); }' 2>/dev/null | grep -q works; then
    VM_OUT=$work/out bash "$work/guest" >"$work/log" 2>&1
else
    tests/deps.sh vm || exit 77
    TIMEOUT=350 OUT=$work/out tests/vm/run.sh "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
        mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; . $work/guest" >"$work/log" 2>&1
fi
status=0
# says NUMBER WHAT WORDS
says() {
    if grep -qE -- "$3" "$work/out/$1" 2>/dev/null; then
        echo "ok - $2"
    else
        echo "not ok - $2"
        tail -n 20 "$work/log" "$work/out/$1" >&2
        status=1
    fi
}
says 1 'who registers how much' ': 1048576$'
says 2 'how long memory stays registered' '@ms:'
says 3 'which lookups are refused' '@refused\[passes, 95\]: 1'
says 4 'what a fork copies' 'passes copies 1024 KiB'
exit $status
