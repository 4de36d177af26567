#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# A capture of the first format, which told only how much was used (examples/wasteful, with a sample each 16 KiB), still reads.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
old=tests/profile/version1.capture
"$ANYDMA" report --json "$old" >"$work/old.json"
expect "its figures are what they were" python3 -c "
import json
r = json.load(open('$work/old.json'))
at = r['at']
assert (r['peak']['bytes'], at['pinned'], at['mappings']) == (58720256, 58720256, 28), at
assert at['used'] + at['waste'] == at['used_known_of'] == at['pinned'] and at['waste'] == 48660480, at
assert at['waste_kinds'] == {'free_in_heap': 0, 'rounded_up': 0, 'never_touched': 0, 'never_looked_up': 0, 'not_told': at['waste']}
assert sum(s['shared'] for s in r['sites']) + at['unattributed'] == at['pinned']
assert not r['health']['damaged'] and r['health']['is_orderly']"
expect "the text and the page are made of it" bash -c "'$ANYDMA' report '$old' | grep -q 'in no live allocation or mapping' && '$ANYDMA' report --html '$work/old.html' '$old'"
expect "check judges its waste" status_is 1 "$ANYDMA" check --max-waste 50 "$old"
expect "it is exported" bash -c "'$ANYDMA' export -f folded '$old' | grep -qE ' 50331648$'"
exit "$failures"
