#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# anydma check's exit statuses, and diff.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
capture "$work/w.cap" -- "$BUILD/examples/wasteful" >/dev/null
capture "$work/small.cap" --granule=64K -- "$BUILD/examples/wasteful" >/dev/null
head -c 700 "$work/w.cap" >"$work/cut.cap"

expect "0 within the limits" status_is 0 "$ANYDMA" check --max-peak 64M --max-waste 95% --max-ioctls 100 --no-hazards "$work/w.cap"
expect "1 above the peak" status_is 1 "$ANYDMA" check --max-peak 10MiB "$work/w.cap"
expect "1 above the waste" status_is 1 "$ANYDMA" check --max-waste 10 "$work/w.cap"
expect "1 above the ioctls" status_is 1 "$ANYDMA" check --max-ioctls 5 "$work/w.cap"
expect "2 for what is not a capture" status_is 2 "$ANYDMA" check --max-peak 1G "$BUILD/anydma"
expect "2 for a file that is not there" status_is 2 "$ANYDMA" check --max-peak 1G "$work/none.cap"
expect "2 for a capture that is not whole" status_is 2 "$ANYDMA" check --max-peak 1G "$work/cut.cap"
expect "2 for a limit that is none" status_is 2 "$ANYDMA" check --max-peak lots "$work/w.cap"
expect "125 for what an option does not take" bash -c "
    refused() { \"\$@\" >'$work/said' 2>&1; [ \$? = 125 ] && grep -q \"^anydma \$2: .*does not take\" '$work/said' || { echo \"\$@\"; exit 1; }; }
    for bad in 'report --top x' 'report --top 3x' 'report --depth -1' 'report --depth 1e3' 'report --at noon' 'diff --top many' 'diff --at noon'; do
        refused '$ANYDMA' \$bad '$work/w.cap' '$work/w.cap'
    done"
expect "diff names the call site that changed" bash -c "'$ANYDMA' diff '$work/w.cap' '$work/small.cap' | grep -q 'give_to_device'"
expect "diff of a capture with itself finds nothing" bash -c "'$ANYDMA' diff '$work/w.cap' '$work/w.cap' | grep -q 'no call site'"
"$ANYDMA" diff --json "$work/w.cap" "$work/small.cap" >"$work/diff.json"
"$ANYDMA" diff --html "$work/diff.html" "$work/w.cap" "$work/small.cap"
expect "diff's JSON and page have every call site, and its figures" python3 -c "
import json, re
diff = json.load(open('$work/diff.json'))
page = json.loads(re.search(r'type=\"application/json\">(.*?)</script>', open('$work/diff.html').read(), re.S).group(1))
assert page == diff
pinned = next(f for f in diff['figures'] if f['name'] == 'pinned')
assert sum(s['before'] for s in diff['sites']) == pinned['before'] == 58720256 > sum(s['after'] for s in diff['sites']) == pinned['after'] > 0"
expect "diff's page has its text for those without JavaScript" bash -c "sed -n '/<noscript>/,/<.noscript>/p' '$work/diff.html' | grep -q 'give_to_device'"
expect "a capture is read from a pipe" bash -c "cat '$work/w.cap' | '$ANYDMA' report - | grep -q 'give_to_device  wasteful.c'"
expect "so are the two that are compared" bash -c "'$ANYDMA' diff <(cat '$work/w.cap') <(cat '$work/small.cap') | grep -q 'give_to_device'"
expect "the page goes to stdout" bash -c "cd '$work' && '$ANYDMA' report --html - w.cap | head -n 1 | grep -qx '<!DOCTYPE html>' && [ ! -e - ]"
expect "one line says it all" bash -c "'$ANYDMA' report --summary '$work/w.cap' | grep -qE '^anydma: .*: peak 56 MiB, waste .* \(8[0-9]%\), most of it by give_to_device'"
# In eager mode memory is registered before the program begins, and what it frees then comes before any other door.
cat >"$work/quiet.c" <<'C'
#include <stdlib.h>
#include <string.h>
int main(void)
{
    for (int i = 0; i < 100; i++)
        free(memset(malloc(1000), 1, 1000));
    return 0;
}
C
${CC:-gcc} -O0 -o "$work/quiet" "$work/quiet.c" || exit 1
capture "$work/quiet.cap" --mode=eager --sample=1K -- "$work/quiet" 2>"$work/quiet.err"
expect "the waste of what is registered before main is known" bash -c "'$ANYDMA' check --max-waste 100 '$work/quiet.cap' | grep -qE '^ok +waste: [0-9.]+%, at most'"
expect "run's last line says so" grep -qE 'peak 2 MiB, waste .* \([0-9]+%\)' "$work/quiet.err"
# One figure, one percentage: the text, the JSON, check and the summary.
cat >"$work/agree.py" <<'PY'
import json, re, subprocess, sys
anydma, capture = sys.argv[1:]
def said(*arguments):
    return subprocess.run([anydma, *arguments, capture], stdout=subprocess.PIPE, check=True, text=True).stdout
at = json.loads(said("report", "--json"))["at"]
exact = 100 * at["waste"] / at["used_known_of"]
percent = int(exact + 0.5)
text = re.search(r"^waste .* registered by anydma \((\d+)%\)", said("report"), re.M).group(1)
line = re.search(r"waste [^(]*\((\d+)%\)", said("report", "--summary")).group(1)
judged = re.search(r"^ok +waste: ([\d.]+)%", said("check", "--max-waste", "100"), re.M).group(1)
assert int(text) == int(line) == percent and judged == "%.1f" % exact, (exact, text, line, judged)
PY
expect "text, JSON, check and summary agree" python3 "$work/agree.py" "$ANYDMA" "$work/w.cap"
exit "$failures"
