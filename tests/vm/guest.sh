#!/bin/bash
# SPDX-License-Identifier: MIT
# For commands in the guest: runs many tests in one boot, each argument being one command line, and prints one line
# for each: "PASS command", "FAIL command (why)" or, when it exits with 77, "SKIP command (its last line)".
#   tests/vm/run.sh tests/vm/guest.sh build/tests/vm/a 'build/tests/vm/b --size 64M' ...
# A failure's output follows its line, indented. A test that causes a DMA fault fails, unless its command line begins
# with FAULTS=allow. Each has EACH seconds (60). The status is 0 only when nothing failed.
failed=0
output=$(mktemp)
before=$(vm-dmar-faults)
for test in "$@"; do
    # The outer redirection hides this shell's own remark about a signal.
    { timeout -k 2 "${EACH:-60}" bash -c "$test" >"$output" 2>&1 </dev/null; } 2>/dev/null
    status=$?
    now=$(vm-dmar-faults)
    why=
    if [ $status -eq 77 ]; then
        echo "SKIP $test ($(tail -n 1 "$output"))"
    elif [ $status -eq 124 ]; then
        why="no end within ${EACH:-60} s"
    elif [ $status -gt 128 ]; then
        why="signal $((status - 128))"
    elif [ $status -ne 0 ]; then
        why="status $status"
    elif [ "$now" -gt "$before" ] && [[ $test != FAULTS=allow* ]]; then
        why="$((now - before)) DMA faults"
    else
        echo "PASS $test"
    fi
    if [ -n "$why" ]; then
        failed=1
        echo "FAIL $test ($why)"
        sed 's/^/    /' "$output"
    fi
    before=$now
done
rm -f "$output"
exit $failed
