#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# The profile equals the truth: what anydma_stats says, call site by call site, to the byte; lazy and eager.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
build exact

cat >"$work/compare.py" <<'PY'
import json, re, sys
truth, sites = {}, {}
for line in open(sys.argv[1]):
    words = line.split()
    if words[0] == "site":
        sites[words[1]] = int(words[2])
    elif words[0] == "total":
        truth = dict(zip(words[0::2], map(int, words[1::2])))
report = json.load(open(sys.argv[2]))
found = {}
for site in report["sites"]:
    names = [frame["function"] for frame in site["stack"]]
    owner = next((name for name in names if name in sites), "others")
    found[owner] = found.get(owner, 0) + site["pinned"]
bad = []
def same(what, is_, want):
    if is_ != want:
        bad.append(f"{what}: {is_} in the capture, {want} in truth")
mode = sys.argv[3]
if mode == "lazy":
    for name, want in sites.items():
        same(name, found.get(name, 0), want)
same("total", report["at"]["pinned"], truth["total"])
same("sum of the sites", sum(found.values()), truth["total"])
same("sum of the mappings", sum(m["bytes"] for m in report["mappings"]), truth["total"])
same("peak", report["peak"]["bytes"], truth["peak"])
same("maps", report["calls"]["map"]["count"], truth["maps"])
same("unmaps", report["calls"]["unmap"]["count"], truth["unmaps"])
same("mappings", report["at"]["mappings"], truth["registrations"])
same("refused", report["refused"], truth["refused"])
print("\n".join(bad))
sys.exit(bool(bad) or not truth["total"])
PY

for mode in lazy eager; do
    capture "$work/$mode.cap" --mode=$mode -- "$work/exact" >"$work/$mode.truth"
    "$ANYDMA" report --json --at end "$work/$mode.cap" >"$work/$mode.json"
    expect "$mode: the report equals anydma_stats and the program's own sums" \
        python3 "$work/compare.py" "$work/$mode.truth" "$work/$mode.json" $mode
done
expect "labels are kept" grep -q '"label": "heap"' "$work/lazy.json"
expect "the waste of examples/wasteful is found where it is made" bash -c "
    '$ANYDMA' run --iommu=sim -o '$work/w.cap' -- '$BUILD/examples/wasteful' &&
    '$ANYDMA' report '$work/w.cap' --sort waste --top 1 | grep -q 'give_to_device  wasteful.c'"
exit "$failures"
