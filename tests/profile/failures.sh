#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# What fails is seen: refused lookups and the application's own failed MAP_DMA, by errno and call site, in the summary, the text,
# the JSON and check; on stderr once, with what to do about it.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
build failures
capture "$work/f.cap" --stats -- "$work/failures" 2>"$work/err" || { cat "$work/err" && exit 1; }
"$ANYDMA" report --json "$work/f.cap" >"$work/f.json"
"$ANYDMA" report "$work/f.cap" >"$work/f.txt"

expect "the application's first failed map is told on stderr, once" bash -c "
    [ \$(grep -cE \"^anydma: the application's own map of 4 KiB failed: .*error 14\" '$work/err') = 1 ]"
expect "the summary has the application's failures beside ours" grep -q "the application's own: 4 map, 0 unmap" "$work/err"
expect "and their errno with its reason" grep -qE "3 times the application's own map: error 14, nothing readable and writable" "$work/err"
expect "refused lookups too, with what helps" grep -qE '5 times lookup: error 95, .*; use malloc' "$work/err"
expect "the JSON has them by call, errno and call site" python3 -c "
import json
r = json.load(open('$work/f.json'))
got = {(f['call'], f['error'], f['stack'][0]['function']): f['count'] for f in r['failed']}
assert got == {('app_map', 'EFAULT', 'maps_it'): 3, ('app_map', 'EEXIST', 'maps_it'): 1, ('lookup', 'EOPNOTSUPP', 'looks_up_shared'): 5}, got
assert r['failures'] == 4 and r['refused'] == 5"
expect "the text names count, errno and place" bash -c "
    grep -qE \"5x lookup: EOPNOTSUPP\" '$work/f.txt' && grep -q 'looks_up_shared' '$work/f.txt' && grep -q \"3x the application's own map: EFAULT\" '$work/f.txt'"
expect "check counts all of them" bash -c "'$ANYDMA' check --max-failures 8 '$work/f.cap' | grep -q 'FAIL failures: 9, at most 8'"
expect "red on a terminal, and not with NO_COLOR" python3 -c "
import os, pty
def on_terminal():
    said = b''
    def read(fd):
        nonlocal said
        data = os.read(fd, 65536)
        said += data
        return b'.'
    pty.spawn(['$ANYDMA', 'report', '$work/f.cap'], read)
    return said
os.environ['TERM'] = 'xterm'
os.environ.pop('NO_COLOR', None)
assert b'\x1b[31mFAILED' in on_terminal()
os.environ['NO_COLOR'] = '1'
assert b'\x1b[' not in on_terminal()"
exit "$failures"
