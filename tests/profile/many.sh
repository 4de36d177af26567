#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# As many mappings as a container holds: the page stays small, and has all of them.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
cat >"$work/many.c" <<'C'
#include "anydma.h"
#include <sys/mman.h>
int main(void)
{
    char *p = mmap(0, 65535UL * 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < 65535; i++)
        if (anydma_iova(p + i * 8192) == ANYDMA_BAD_IOVA)
            return 1;
    return 0;
}
C
gcc -O1 -g -Iinclude -o "$work/many" "$work/many.c" || exit 1
capture "$work/many.cap" --granule=4K -- "$work/many" || exit 1
"$ANYDMA" report --html "$work/many.html" "$work/many.cap"
expect "the page of 65,535 mappings is below 4 MB, with all of them" python3 -c "
import json, os, re
size = os.path.getsize('$work/many.html')
data = json.loads(re.search(r'type=\"application/json\">(.*?)</script>', open('$work/many.html').read(), re.S).group(1))
maps = data['steps']['mappings']
print(size, len(maps['bytes']), sum(b for b, m in zip(maps['bytes'], maps['at_moment']) if m))
assert size < 4e6 and sum(maps['at_moment']) == 65535 == data['at']['mappings']
assert sum(b for b, m in zip(maps['bytes'], maps['at_moment']) if m) == data['at']['pinned']"
expect "what was never written to is seen, though not every page is read" python3 -c "
import json, subprocess
at = json.loads(subprocess.run(['$ANYDMA', 'report', '--json', '$work/many.cap'], stdout=subprocess.PIPE, check=True).stdout)['at']
assert at['waste_kinds']['never_touched'] > 0.9 * at['pinned'], at"
expect "check has a figure for its waste" bash -c "'$ANYDMA' check --max-waste 100 '$work/many.cap' | grep -qE '^ok +waste: [0-9.]+%'"
exit "$failures"
