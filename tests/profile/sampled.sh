#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Sampled attribution: within the sampling error's bound over 80 seeds, and adding up to all that is pinned.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
build sampled
for seed in $(seq 80); do
    capture "$work/$seed.cap" --sample 16K -- "$work/sampled" >"$work/truth"
    "$ANYDMA" report --json --at end "$work/$seed.cap" >"$work/$seed.json"
done
expect "live bytes by call site, within three standard errors of 80 runs" python3 -c "
import json, math
truth = {line.split()[0]: int(line.split()[1]) for line in open('$work/truth')}
size = {'allocates_small': 200, 'allocates_large': 20000, 'main': 40000}
sums = dict.fromkeys(truth, 0)
for seed in range(1, 81):
    report = json.load(open('$work/%d.json' % seed))
    for site in report['sites']:
        name = site['stack'][0]['function'] if site['stack'] else ''
        if name in sums: sums[name] += site['sampled_live']
for name, want in truth.items():
    chance = 1 - math.exp(-size[name] / 16384)
    n = want / size[name] * 80
    error = math.sqrt((1 - chance) / (chance * n))
    off = sums[name] / 80 / want - 1
    print(name, want, round(sums[name] / 80), f'{off:+.3f}', f'3 sigma {3 * error:.3f}')
    assert abs(off) <= 3 * error + 0.005"
expect "shares and the unattributed rest are all that is pinned" python3 -c "
import json
for seed in range(1, 81):
    report = json.load(open('$work/%d.json' % seed))
    assert sum(s['shared'] for s in report['sites']) + report['at']['unattributed'] == report['at']['pinned'] > 0"
capture "$work/each.cap" --sample 1 -- "$work/sampled" >"$work/truth"
"$ANYDMA" report --json --at end "$work/each.cap" >"$work/each.json"
expect "with every allocation a sample, each call site has what it has, to the byte" python3 -c "
import json
truth = {line.split()[0]: int(line.split()[1]) for line in open('$work/truth')}
for site in json.load(open('$work/each.json'))['sites']:
    truth.pop(site['stack'][0]['function'] if site['stack'] and truth.get(site['stack'][0]['function']) == site['sampled_live'] else '', 0)
assert not truth, truth"
# Each child draws lots of its own: with its parent's state, all of them would have the same samples, or all of them none.
cat >"$work/children.c" <<'C'
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static char *volatile kept;
int main(void)
{
    for (int i = 0; i < 8; i++) {
        if (fork() == 0) {
            for (int n = 0; n < 1024; n++)
                kept = malloc(1024);
            return 0;
        }
        wait(0);
    }
    return 0;
}
C
${CC:-gcc} -O1 -g -fno-builtin-malloc -o "$work/children" "$work/children.c" || exit 1
capture "$work/children.cap" --sample=64K -- "$work/children" 2>"$work/said"
for child in "$work"/children.cap.*; do "$ANYDMA" report --json --at end "$child" >"$child.json"; done
expect "each forked child has samples of its own" python3 -c "
import glob, json
live = [sum(s['sampled_live'] for s in json.load(open(name))['sites']) for name in glob.glob('$work/children.cap.*.json')]
assert len(live) == 8 and min(live) > 0 and len(set(live)) > 1, live"
capture "$work/auto.cap" --sample auto -- "$work/sampled" >/dev/null
expect "--sample=auto is one in 2 MiB" bash -c "'$ANYDMA' report --at end '$work/auto.cap' | grep -q 'sampled every 2 MiB'"
# 300,000 blocks of 64 KiB at once: at one in 2 MiB they would have 9,200 samples.
cat >"$work/fast.c" <<'C'
#include "anydma.h"
#include <stdlib.h>
#include <unistd.h>
static void *blocks[300000];
int main(void)
{
    for (int i = 0; i < 300000; i++)
        blocks[i] = malloc(65536);
    if (anydma_iova(blocks[0]) == ANYDMA_BAD_IOVA)
        return 1;
    _exit(0);
}
C
${CC:-gcc} -O1 -g -fno-builtin-malloc -Iinclude -o "$work/fast" "$work/fast.c" || exit 1
for seed in $(seq 8); do
    capture "$work/fast.$seed.cap" --sample auto -- "$work/fast"
    "$ANYDMA" report --json --at end "$work/fast.$seed.cap" >"$work/fast.$seed.json"
done
expect "auto samples a fast thread more rarely, and its live bytes stay right" python3 -c "
import json, math
total, live, samples, variance = 300000 * 65536, 0, 0, 0
for seed in range(1, 9):
    sites = json.load(open('$work/fast.%d.json' % seed))['sites']
    live += sum(site['sampled_live'] for site in sites)
    samples += sum(site['samples'] for site in sites)
    variance += total * (64 << 20) # no sample stands for more
print(live / 8 / total, samples / 8, math.sqrt(variance) / 8 / total)
assert samples / 8 < 6000
assert abs(live / 8 / total - 1) <= 3 * math.sqrt(variance) / 8 / total"
exit "$failures"
