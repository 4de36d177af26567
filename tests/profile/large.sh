#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# A capture of 250,000 maps and unmaps (EVENTS; a million in check-all) from 10,000 call sites: the report is right, in memory
# that does not grow with the events, and on a terminal a bar shows how far it is. The wall clock's limit is for a machine that
# stands still: a report has so much processor time.
# @limit 900
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
events=${EVENTS:-${CHECK_ALL:+1000000}}
events=${events:-250000}
${CC:-gcc} -std=c11 -D_GNU_SOURCE -O2 -g -Ishim -o "$work/generate" tests/profile/generate.c -lz || exit 1
"$work/generate" "$work/large.cap" "$events" 10000 >"$work/truth" || exit 1
ulimit -t $((60 + events / 100000))

cat >"$work/report.py" <<'PY'
import json, resource, subprocess, sys
anydma, capture, truth, bound = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3])), int(sys.argv[4])
page = subprocess.run([anydma, "report", capture], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert page.returncode == 0 and page.stderr == b"", (page.returncode, page.stderr)
assert used < bound * 1024, "%d KiB" % used
print(used, "KiB")
r = json.loads(subprocess.run([anydma, "report", "--json", "--at", "end", capture], stdout=subprocess.PIPE, check=True).stdout)
assert r["at"]["used_known_of"] == r["at"]["pinned"] and r["at"]["used"] == r["at"]["mappings"] * 4096, r["at"]
assert r["at"]["pinned"] == truth["pinned"] and r["peak"]["bytes"] == truth["peak"], (r["at"], r["peak"], truth)
assert r["calls"]["map"]["count"] == truth["maps"] and r["calls"]["unmap"]["count"] == truth["unmaps"], r["calls"]
assert sum(s["pinned"] for s in r["sites"]) == truth["pinned"] and sum(s["maps"] for s in r["sites"]) == truth["maps"]
assert sum(s["shared"] for s in r["sites"]) + r["at"]["unattributed"] == truth["pinned"]
assert len([s for s in r["sites"] if s["maps"]]) == truth["sites"], len(r["sites"])
PY
expect "the report of $events events is right, in bounded memory" \
    python3 "$work/report.py" "$ANYDMA" "$work/large.cap" "$work/truth" 160
expect "so is the page" bash -c "'$ANYDMA' report --html '$work/large.html' '$work/large.cap' && [ -s '$work/large.html' ]"

# A clock that runs fast, so that reading takes long.
cat >"$work/late.c" <<'C'
#include <time.h>
time_t time(time_t *to)
{
    static time_t now;
    (void)to;
    return now += 10;
}
C
${CC:-gcc} -shared -fPIC -o "$work/late.so" "$work/late.c" || exit 1
"$work/generate" "$work/middle.cap" 100000 100 >"$work/said" || exit 1
cat >"$work/terminal.py" <<'PY'
import os, pty, sys
os.environ["LD_PRELOAD"] = sys.argv[1]
said = b""
def read(fd):
    global said
    data = os.read(fd, 65536)
    said += data
    return data
status = pty.spawn(["sh", "-c", 'exec "$0" report "$1" >/dev/null'] + sys.argv[2:], read)
assert status == 0 and b"\rreading [#" in said and b"\rnaming [#" in said and b"#]" not in said.split(b"\r")[-1], (status, said[-200:])
PY
expect "a bar on a terminal, gone at the end" python3 "$work/terminal.py" "$work/late.so" "$ANYDMA" "$work/middle.cap"
expect "and none elsewhere" bash -c "LD_PRELOAD='$work/late.so' '$ANYDMA' report '$work/middle.cap' 2>&1 >/dev/null | { ! grep -q reading; }"
exit "$failures"
