#!/bin/bash
# SPDX-License-Identifier: MIT
# The static probes, as gdb meets them: each is there, is passed where it says, and has the arguments that anydma(7) promises.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
cat >"$work/passes.c" <<'END'
#include <anydma.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *q = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fprintf(stderr, "p %p\nq %p\n", (void *)p, (void *)q);
    anydma_iova(p);
    anydma_iova(q);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, 0, 0);
    munmap(p, 1 << 20);
    return 0;
}
END
gcc -g -O1 -Iinclude -o "$work/passes" "$work/passes.c" || exit 1
cat >"$work/commands" <<END
set startup-with-shell off
set debuginfod enabled off
set breakpoint pending on
set environment LD_PRELOAD $SHIM
set environment ANYDMA_IOMMU sim
break -probe-stap anydma:register
commands
silent
printf "register %#lx %lu %#lx %d %d %d\n", \$_probe_arg0, \$_probe_arg1, \$_probe_arg2, \$_probe_arg3, \$_probe_arg4, \$_probe_arg5
continue
end
break -probe-stap anydma:unregister
commands
silent
printf "unregister %#lx %lu %#lx %d %d %d\n", \$_probe_arg0, \$_probe_arg1, \$_probe_arg2, \$_probe_arg3, \$_probe_arg4, \$_probe_arg5
continue
end
break -probe-stap anydma:refuse
commands
silent
printf "refuse %#lx %d\n", \$_probe_arg0, \$_probe_arg1
continue
end
break -probe-stap anydma:fork_copy
commands
silent
printf "fork_copy %lu\n", \$_probe_arg0
continue
end
run
END
gdb -batch -nx -x "$work/commands" "$work/passes" >"$work/out" 2>&1 </dev/null
if grep -qi 'ptrace: Operation not permitted\|Could not trace' "$work/out"; then
    echo 'gdb may not trace here'
    exit 77
fi
p=$(sed -n 's/^p //p' "$work/out") q=$(sed -n 's/^q //p' "$work/out")
# seen NAME LINE
seen() {
    if grep -qx -- "$2" "$work/out"; then
        echo "ok - $1"
    else
        echo "not ok - $1: wanted: $2"
        cat "$work/out" >&2
        status=1
    fi
}
seen register "register $p 1048576 $p 0 0 0"
seen refuse "refuse $q 95"
seen fork_copy 'fork_copy 1048576'
seen unregister "unregister $p 1048576 $p 0 0 0"
exit $status
