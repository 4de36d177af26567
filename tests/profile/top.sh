#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# anydma top: live processes, the dead swept, nobody else's business.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
cat >"$work/waits.c" <<'C'
#include "anydma.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    anydma_iova(p);
    puts("ready");
    fflush(stdout);
    if (fork() == 0)
        _exit(anydma_iova(p) != ANYDMA_BAD_IOVA);
    getchar();
    return 0;
}
C
gcc -O1 -Iinclude -o "$work/waits" "$work/waits.c" || exit 1
coproc run { "$ANYDMA" run --iommu=sim -- "$work/waits"; }
read -r _ <&"${run[0]}"
# shellcheck disable=SC2154 # set by coproc
pid=$run_PID
# shellcheck disable=SC2012 # one file, named by a number
page=$(ls "$XDG_RUNTIME_DIR/anydma" | head -n 1)
expect "a process with a device has a page of mode 0600" bash -c "[ \"\$(stat -c %a '$XDG_RUNTIME_DIR/anydma/$page')\" = 600 ]"
expect "top shows it with what it has pinned" bash -c "'$ANYDMA' top --batch | grep -E '^ *$page +1 MiB'"
expect "top of another process shows nothing" bash -c "! '$ANYDMA' top --batch 1 | grep -q waits"
kill -9 "$page"
wait "$pid" 2>/dev/null
expect "what a killed process left is swept" bash -c "'$ANYDMA' top --batch >/dev/null; [ -z \"\$(ls '$XDG_RUNTIME_DIR/anydma')\" ]"
"$ANYDMA" run --iommu=sim -- "$work/waits" </dev/null >/dev/null
expect "an orderly exit leaves nothing" bash -c "[ -z \"\$(ls '$XDG_RUNTIME_DIR/anydma')\" ]"
exit "$failures"
