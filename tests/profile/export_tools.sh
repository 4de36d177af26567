#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Exports, opened by the tools that they are for: go's pprof, speedscope's own schema, promtool.
# @all
# @limit 240
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
capture "$work/w.cap" -- "$BUILD/examples/wasteful" >"$work/said"
for format in pprof speedscope openmetrics; do
    "$ANYDMA" export -f $format -o "$work/w.$format" "$work/w.cap" || exit 1
done
tried=0
pprof=$(find /usr/lib/go-* -path '*/pkg/tool/*/pprof' 2>"$work/none" | sort -V | tail -n 1)
if [ -n "$pprof" ]; then
    tried=1
    expect "pprof: all that is pinned, by its call sites" bash -c "
        PPROF_TMPDIR='$work' '$pprof' -top -unit=B -sample_index=pinned_space '$work/w.pprof' >'$work/top' 2>&1 &&
        grep -q 'Showing nodes accounting for 58720256B, 100%' '$work/top' && grep -qE '50331648B .* give_to_device' '$work/top'"
fi
if command -v promtool >"$work/which"; then
    tried=1
    # It wants help for the _total of a counter, where OpenMetrics has it for the counter: what it parses is the question.
    expect "openmetrics: promtool parses it" bash -c "
        promtool check metrics <'$work/w.openmetrics' >'$work/said' 2>&1; ! grep -vE '_total no help text$' '$work/said'"
fi
if command -v npm >"$work/which" && /usr/bin/python3 -c 'import jsonschema' 2>"$work/none" &&
    (cd "$work" && npm pack speedscope >"$work/said" 2>&1 && tar xzf speedscope-*.tgz); then
    tried=1
    expect "speedscope: its schema holds" /usr/bin/python3 -c "
import json, jsonschema
jsonschema.validate(json.load(open('$work/w.speedscope')), json.load(open('$work/package/dist/release/file-format-schema.json')))"
fi
[ $tried = 1 ] || { echo "neither pprof (golang-go) nor promtool (prometheus) nor npm is installed" && exit 77; }
exit "$failures"
