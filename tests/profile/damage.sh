#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Captures of killed processes, on full disks, cut short, with flipped bits: what is whole is read, the rest is named.
# The wall clock's limit is for a machine that stands still: each process has so much processor time.
# @limit 900
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
ulimit -t 240

cat >"$work/churn.c" <<'C'
#define _GNU_SOURCE
#include "anydma.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int n = atoi(argv[1]);
    if (argc > 3 && chdir(argv[3]))
        return 1;
    for (char **variable = environ; argc > 4 && *variable; variable++) /* as a title is written there */
        memset(*variable, 0, strlen(*variable));
    if (argc > 2 && *argv[2] == 'f' && fork() == 0)
        n *= 2; /* the child: it has no device, its lookups are refused */
    for (int i = 0; i < n; i++) {
        char *p = mmap(0, 4096 * 4, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        anydma_iova(p);
        if (i % 2)
            munmap(p, 4096 * 4);
    }
    if (argc > 2 && *argv[2] == 'k')
        kill(getpid(), SIGKILL);
    while (wait(0) > 0)
        ;
    return 0;
}
C
gcc -O1 -g -Iinclude -o "$work/churn" "$work/churn.c" || exit 1

capture "$work/killed.cap" -- "$work/churn" 4000 k 2>/dev/null
"$ANYDMA" report --json "$work/killed.cap" >"$work/killed.json"
expect "SIGKILL loses nothing" python3 -c "
import json; r = json.load(open('$work/killed.json'))
assert r['calls']['map']['count'] == 4000 and r['calls']['unmap']['count'] == 2000, r['calls']
assert not r['health']['is_orderly'] and not r['health']['damaged']"

(ulimit -f 200 && capture "$work/full.cap" -- "$work/churn" 20000 2>"$work/full.err")
status=$?
"$ANYDMA" report --json "$work/full.cap" >"$work/full.json"
expect "a full disk ends the capture, not the program" test $status = 0
expect "the report of it says what is missing" python3 -c "
import json; r = json.load(open('$work/full.json'))
seen = r['calls']['map']['count'] + r['calls']['unmap']['count']
assert r['health']['lost_because'] and r['health']['lost_events'] > 0 and seen > 1000
assert seen + r['health']['lost_events'] >= 30000, (seen, r['health'])"

capture "$work/fork.cap" -- "$work/churn" 100 f
expect "a forked child has its own file" bash -c "ls '$work'/fork.cap.* && '$ANYDMA' report '$work'/fork.cap.* | grep -q '200 lookups refused'"
mkdir "$work/100%p" "$work/elsewhere"
(cd "$work/100%p" && capture fork.cap -- "$work/churn" 100 f ../elsewhere) 2>"$work/chdir.err"
expect "beside its parent's, wherever they have gone" bash -c "ls '$work/100%p/fork.cap' '$work/100%p'/fork.cap.[0-9]* && ! ls -A '$work/elsewhere' | grep ."
capture "$work/titled.cap" -- "$work/churn" 100 f "$work/elsewhere" titled
expect "and whatever they have made of their environment" bash -c "ls '$work'/titled.cap.[0-9]* && ! ls -A '$work/elsewhere' | grep ."
expect "the parent's is untouched by it" bash -c "'$ANYDMA' report --json '$work/fork.cap' | python3 -c '
import json,sys; r = json.load(sys.stdin); assert r[\"calls\"][\"map\"][\"count\"] == 100'"

size=$(stat -c %s "$work/killed.cap")
expect "every cut of a capture is read without a crash" bash -c "
    for cut in 0 1 23 24 25 100 1000 65535 65536 65537 $((size / 2)) $((size - 1)); do
        head -c \$cut '$work/killed.cap' >'$work/cut.cap'
        '$ANYDMA' report '$work/cut.cap' >/dev/null 2>&1
        status=\$?; [ \$status = 0 ] || [ \$status = 2 ] || { echo cut \$cut: status \$status; exit 1; }
    done"

# The reader, the model and the replay under ASan and UBSan, on thousands of damaged captures.
expect "thousands of flipped and cut captures under ASan and UBSan" bash -c "
    gcc -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -Ishim -Iinclude \
        -o '$work/fuzz' tests/profile/reader_fuzz.c shim/cli/report/reader.c shim/cli/report/progress.c shim/cli/report/model.c shim/cli/report/replay.c -lz &&
    '$work/fuzz' '$work/killed.cap' '$work/damaged.cap' ${FUZZ_ROUNDS:-600} 2>'$work/fuzz.err' || { grep -v 'not a capture' '$work/fuzz.err'; exit 1; }"
expect "thousands of damaged programs for it to take names from" bash -c "
    gcc -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -Ishim -Iinclude \
        -o '$work/names' tests/profile/symbols_fuzz.c shim/cli/report/symbols.c -ldw -lelf -liberty &&
    ASAN_OPTIONS=detect_leaks=0 '$work/names' '$work/churn' '$work/damaged' ${FUZZ_ROUNDS:-2000}" # libdw leaks

cp "$work/churn" "$work/gone"
capture "$work/gone.cap" -- "$work/gone" 10
rm "$work/gone" && mkfifo "$work/gone"
expect "a program whose place is taken by a FIFO is not waited for" timeout 20 "$ANYDMA" report "$work/gone.cap"

# A disk that is really full. The mount is nobody else's, and gone at the end.
full_disk() {
    mount -t tmpfs -o size=1M none "$1" && capture "$1/full.cap" -- "$work/churn" 60000 2>"$work/enospc.err" &&
        [ "$(stat -f -c %f "$1")" -lt 16 ] && "$ANYDMA" report --json "$1/full.cap" >"$work/enospc.json"
}
export -f full_disk capture
export work ANYDMA
mkdir "$work/disk"
if unshare -m true 2>/dev/null; then
    expect "a file system without room ends the capture, not the program" unshare -m bash -c "full_disk '$work/disk'"
    expect "and the report says what is missing" python3 -c "
import json; r = json.load(open('$work/enospc.json'))
seen = r['calls']['map']['count'] + r['calls']['unmap']['count']
assert 'No space left' in r['health']['lost_because'], r['health']
assert seen > 1000 and seen + r['health']['lost_events'] >= 90000 and not r['health']['damaged'], (seen, r['health'])"
else
    echo "(a full file system was not tried: no right to mount one)"
fi
exit "$failures"
