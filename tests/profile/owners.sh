#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Whose live memory lies in what is pinned: blocks larger than a registration, mappings, and what the heap keeps of freed ones.
# The kinds of waste, lazily and in eager mode, at the peak and in a snapshot.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
build owners

cat >"$work/compare.py" <<'PY'
import json, sys
truth = {line.split()[0]: int(line.split()[1]) for line in open(sys.argv[1])}
at, report = sys.argv[3], json.load(open(sys.argv[2]))
now = report["at"]
shares = {}
for site in report["sites"]:
    names = [frame["function"] for frame in site["stack"]]
    owner = next((name for name in names if name in truth), "others")
    shares[owner] = shares.get(owner, 0) + site["shared"]
kinds, rest = now["waste_kinds"], now["unattributed_kinds"]
print(shares, kinds, rest, now["pinned"])
assert sum(shares.values()) + now["unattributed"] == now["pinned"] > 0
assert sum(rest.values()) == now["unattributed"]
assert sum(kinds.values()) == now["waste"] and now["waste"] + now["used"] == now["used_known_of"] == now["pinned"]
assert sum(s["waste"] for s in report["sites"]) == now["waste"]
for name in ("has_big", "has_mapped", "has_untouched"):
    assert shares.get(name, 0) == truth[name], (name, shares.get(name), truth[name])
if at == "end":
    assert now["pinned"] == truth["pinned"]
    assert shares.get("freed_by", 0) < 1 << 20, shares
assert rest["free_in_heap"] == kinds["free_in_heap"]
# One page in several stands for its neighbours.
assert abs(kinds["never_touched"] - truth["has_untouched"]) < truth["has_untouched"] / 10, kinds
PY
for mode in lazy eager; do
    capture "$work/$mode.cap" --mode=$mode --sample=auto -- "$work/owners" >"$work/$mode.truth"
    for at in peak end; do
        "$ANYDMA" report --json --at $at "$work/$mode.cap" >"$work/$mode.$at.json"
        expect "$mode, $at: each owner has what it has, and all adds up" \
            python3 "$work/compare.py" "$work/$mode.truth" "$work/$mode.$at.json" $at
    done
    expect "$mode: check --max-waste has a figure" bash -c "'$ANYDMA' check --max-waste 100 '$work/$mode.cap' | grep -qE '^ok +waste: [0-9.]+%, at most 100.0%'"
done
expect "the report names what the heap keeps, and does not call it the program's" bash -c "
    '$ANYDMA' report --at end '$work/lazy.cap' | grep -q 'free in the heap, which keeps it'"
# A program that relies on IOVA == address looks nothing up, though its own mapping lies over one of ours: what else is pinned is
# not called "never looked up". Of one that asks for some of it, the rest is.
cat >"$work/relies.c" <<'C'
#include "anydma.h"
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
    int fd = memfd_create("container", 0);
    char *blocks[4];
    anydma_attach(fd, 0);
    for (int i = 0; i < 4; i++)
        memset(blocks[i] = mmap(0, 4 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 4 << 20);
    struct vfio_iommu_type1_dma_map map = {sizeof(map), 3, (unsigned long)blocks[0], (unsigned long)blocks[0], 4 << 20};
    if (argc > 1)
        return anydma_iova(blocks[0]) == ANYDMA_BAD_IOVA;
    return ioctl(fd, VFIO_IOMMU_MAP_DMA, &map) != 0;
}
C
gcc -O1 -g -Iinclude -o "$work/relies" "$work/relies.c" || exit 1
never() {
    capture "$work/relies.cap" --mode=eager -- "$work/relies" "${@:2}" && "$ANYDMA" report --json --at end "$work/relies.cap" >"$work/relies.json" &&
        python3 -c "
import json
at = json.load(open('$work/relies.json'))['at']
assert $1, at"
}
expect "what a program relies on without asking is not called never looked up" never "at['waste_kinds']['never_looked_up'] == 0 and at['pinned']"
expect "what it did not ask for beside what it did, is" never "at['waste_kinds']['never_looked_up'] >= 12 << 20" asks
# What was freed is free in the heap, and nobody's but the heap's: with a whole share as the program's, nothing would be.
expect "freed blocks are free in the heap" python3 -c "
import json
r = json.load(open('$work/lazy.end.json'))
truth = {line.split()[0]: int(line.split()[1]) for line in open('$work/lazy.truth')}
kinds = r['at']['waste_kinds']
assert kinds['free_in_heap'] + kinds['rounded_up'] >= truth['freed'] * 0.9, (kinds, truth)"
exit "$failures"
