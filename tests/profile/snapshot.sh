#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154,SC2317 # work and failures are common.bash's, which calls what is below
# anydma snapshot: a running process's report and capture, and what is said where there is none to be had.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
build lives

# start NAME [anydma run options] -- what: its process id in $pid, its stdin is descriptor 8
start() {
    rm -f "$work/in" "$work/pid"
    mkfifo "$work/in" "$work/pid"
    "$ANYDMA" run --iommu=sim "${@:1:$#-2}" -- "$work/lives" "${@: -1}" <"$work/in" >"$work/pid" &
    job=$!
    exec 8>"$work/in"
    read -r pid <"$work/pid"
}
finish() {
    exec 8>&-
    wait "$job"
}
# says TEXT COMMAND...: fails with status 125, with TEXT in its message
says() {
    local text=$1 status
    shift
    "$@" >"$work/said" 2>&1
    status=$?
    [ "$status" = 125 ] && grep -qF -- "$text" "$work/said" && return
    echo "status $status: $(cat "$work/said")" && return 1
}
snapshot() {
    "$ANYDMA" snapshot "$@"
}
json() {
    python3 -c "
import json, sys
r = json.load(open('$1'))
$2"
}

start -o "$work/idle.cap" -- waits
snapshot "$pid" >"$work/idle.txt" 2>"$work/idle.err"
expect "an idle process is reported with its call sites" grep -q 'pins_blocks' "$work/idle.txt"
expect "the report says that the process was running" grep -q 'a snapshot: the process was running' "$work/idle.txt"
expect "and that an idle one did not tell afresh what is used" grep -q 'did nothing meanwhile' "$work/idle.err"
expect "-o writes a capture of its own" bash -c "'$ANYDMA' snapshot -o '$work/copy.cap' '$pid' 2>/dev/null && [ -s '$work/copy.cap' ]"
expect "the process's own file is refused for that" says 'is what the process is writing' snapshot -o "$work/idle.cap" "$pid"
snapshot --json "$pid" >"$work/idle.json" 2>/dev/null
truth=$("$ANYDMA" top --batch "$pid" | awk -v pid="$pid" '$1 == pid {print $2}')
expect "what is pinned is what top shows, and belongs to its call site" json "$work/idle.json" "
assert r['at']['pinned'] == $truth * 2**20 > 0, r['at']
assert sum(s['pinned'] for s in r['sites']) == r['at']['pinned']
assert any(f['function'] == 'pins_blocks' for s in r['sites'] if s['pinned'] for f in s['stack'])"
finish
"$ANYDMA" report --json "$work/copy.cap" >"$work/copy.json"
"$ANYDMA" report --json "$work/idle.cap" >"$work/whole.json"
expect "the copy is whole and says what it is; the original has its orderly end" python3 -c "
import json
copy, whole = json.load(open('$work/copy.json')), json.load(open('$work/whole.json'))
assert copy['health']['is_snapshot'] and not copy['health']['damaged'] and not copy['health']['unsealed'], copy['health']
assert whole['health']['is_orderly'] and not whole['health']['is_snapshot'] and not whole['health']['damaged']
assert copy['calls']['map'] == whole['calls']['map'] and copy['duration_ns'] < whole['duration_ns']"
expect "a copy can be held against limits" "$ANYDMA" check --max-peak 1G "$work/copy.cap"

start -o "$work/asks.cap" -- asks
snapshot --json "$pid" >"$work/asks.json" 2>"$work/asks.err"
expect "a process at its doors records afresh what is used" bash -c "[ ! -s '$work/asks.err' ]"
expect "what was freed since the last record is waste then" python3 -c "
import json
now, then = (json.load(open('$work/%s.json' % n))['at'] for n in ('asks', 'idle'))
assert now['pinned'] == then['pinned'] and now['waste_kinds']['free_in_heap'] > then['waste_kinds']['free_in_heap'] + 7 * 2**20, (now, then)
assert 7.9 * 2**20 <= now['used'] < 8.5 * 2**20, now"
mv "$work/asks.cap" "$work/moved.cap"
expect "a capture that was renamed" says 'was removed, renamed or replaced' snapshot "$pid"
cp "$work/moved.cap" "$work/asks.cap"
expect "another file in its place" says 'was removed, renamed or replaced' snapshot "$pid"
finish

start -o "$work/churns.cap" -- churns
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    snapshot -o "$work/$i.cap" "$pid" >/dev/null && "$ANYDMA" report --json "$work/$i.cap" >"$work/$i.json"
done
{ kill -9 "$pid" && wait "$job"; } 2>/dev/null
expect "every copy of a file that grows meanwhile is whole" python3 -c "
import json
counts = []
for i in range(1, 13):
    r = json.load(open('$work/%d.json' % i))
    assert r['health']['is_snapshot'] and not r['health']['damaged'] and not r['health']['unsealed'], r['health']
    counts.append(r['calls']['map']['count'])
assert counts == sorted(set(counts)), counts"
expect "a process that died, with what is left of it" says "has ended; its capture is whole up to then: \`anydma report $work/churns.cap\`" \
    snapshot "$pid"
"$ANYDMA" top --batch >/dev/null
expect "one whose page was swept" says "there is no process $pid" snapshot "$pid"
exec 8>&-

start -- waits
expect "a process without a capture" says 'writes no capture: start it with `anydma run -o FILE' snapshot "$pid"
finish
expect "a process that is none of anydma's" says 'it runs without anydma, has no device attached yet' snapshot $$
for bad in abc '' 0 -1 12x 99999999999; do
    expect "a bad process id: '$bad'" says "'$bad' is not a process id" snapshot -- "$bad"
done
expect "no process id at all" says 'usage: anydma snapshot' snapshot
head -c 4096 /dev/zero >"$XDG_RUNTIME_DIR/anydma/$$"
expect "a page that is none" says 'is no page of this version' snapshot $$
rm "$XDG_RUNTIME_DIR/anydma/$$"
ln -s /etc/passwd "$XDG_RUNTIME_DIR/anydma/$$"
expect "a page that is a link" says 'has no page in' snapshot $$
exit "$failures"
