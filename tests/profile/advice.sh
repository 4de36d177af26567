#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# The advice is taken, and saves what it said.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
capture "$work/before.cap" -- "$BUILD/examples/wasteful" >"$work/said"
"$ANYDMA" report --json "$work/before.cap" >"$work/before.json"
granule=$(python3 -c "
import json, re
first = json.load(open('$work/before.json'))['advice'][0]['text']
assert re.match(r'24 registrations by give_to_device .*hold 6[48] KiB each and keep 2 MiB each', first), first
print(re.search(r'--granule=(\w+)', first).group(1))")
expect "24 queues of 64 KiB that keep 2 MiB each are the first advice, with a unit" [ "$granule" = 64K ]
capture "$work/after.cap" --granule="$granule" -- "$BUILD/examples/wasteful" >"$work/said"
"$ANYDMA" report --json "$work/after.cap" >"$work/after.json"
expect "taken, it saves what it said" python3 -c "
import json
before, after = (json.load(open('$work/%s.json' % n)) for n in ('before', 'after'))
saved, said = before['peak']['bytes'] - after['peak']['bytes'], before['advice'][0]['bytes']
assert abs(saved - said) <= said / 20, (saved, said)
assert not any('registrations by give_to_device' in a['text'] for a in after['advice']), after['advice']"
expect "what the program needs is its peak and a quarter" python3 -c "
import json
r = json.load(open('$work/before.json'))
assert r['needs']['memlock'] == r['peak']['bytes'] * 5 // 4 and r['needs']['mappings'] == 28 * 5 // 4 + 1, r['needs']"
expect "the text has both" bash -c "'$ANYDMA' report '$work/before.cap' | grep -c -E '^advice    24 registrations|^needs     memlock 70 MiB, 36 mappings' | grep -qx 2"
# Forks and small pages.
cat >"$work/forks.c" <<'C'
#include "anydma.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) void have_a_child(void)
{
    if (fork() == 0)
        _exit(0);
}
int main(void)
{
    char *p = mmap(0, 8 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 8 << 20; i += 4096)
        anydma_iova(p + i), p[i] = 1;
    for (int i = 0; i < 3; i++)
        have_a_child();
    while (wait(0) > 0)
        ;
    return 0;
}
C
gcc -O1 -g -Iinclude -o "$work/forks" "$work/forks.c" || exit 1
capture "$work/forks.cap" -- "$work/forks"
expect "forks that copied pinned memory are named" bash -c "'$ANYDMA' report '$work/forks.cap' | grep -q '3 forks copied 24 MiB of pinned memory in all'"
expect "with their call site" bash -c "'$ANYDMA' report '$work/forks.cap' | grep -A 1 '^forks ' | grep -qE '^ +3x 24 MiB at have_a_child '"
expect "also as JSON" python3 -c "
import json, subprocess
r = json.loads(subprocess.run(['$ANYDMA', 'report', '--json', '$work/forks.cap'], stdout=subprocess.PIPE, check=True).stdout)
assert [(f['count'], f['bytes'], f['place'].split()[0]) for f in r['forks_by_place']] == [(3, 24 << 20, 'have_a_child')], r['forks_by_place']"
capture "$work/small.cap" --thp=never -- "$work/forks"
expect "what huge pages would have bought is said" bash -c "'$ANYDMA' report '$work/small.cap' | grep -q '8 MiB are pinned in pages of 4 KiB; as 4 huge pages they would take 2044 entries less'"
expect "and nothing of it where all is huge" bash -c "! '$ANYDMA' report '$work/forks.cap' | grep -q 'pages of 4 KiB'"
exit "$failures"
