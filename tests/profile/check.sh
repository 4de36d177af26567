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
expect "diff names the call site that changed" bash -c "'$ANYDMA' diff '$work/w.cap' '$work/small.cap' | grep -q 'give_to_device'"
expect "diff of a capture with itself finds nothing" bash -c "'$ANYDMA' diff '$work/w.cap' '$work/w.cap' | grep -q 'no call site'"
exit "$failures"
