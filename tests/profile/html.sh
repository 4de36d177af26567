#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# The report's page in Chromium, by clicks and keys (page.py): at three moments what is shown adds up to what the JSON says;
# pictures of it at three widths, light and dark, stay in build/pages/.
# @all
# @limit 300
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
{ command -v chromium && command -v chromedriver; } >"$work/which" || { echo "no chromium or no chromedriver is installed" && exit 77; }
build exact
build owners
try() {
    "$ANYDMA" report --html "$work/$1.html" "$work/$1.cap" || exit 1
    mkdir -p "$BUILD/pages/$1"
    expect "$1: nothing is fetched from elsewhere" bash -c "! grep -qE '(src|href)=\"' '$work/$1.html'"
    python3 tests/profile/page.py "$work/$1.html" "$ANYDMA" "$work/$1.cap" "$BUILD/pages/$1" | sed "s/^\(\(not \)\?ok - \)/\1$1: /"
    [ "${PIPESTATUS[0]}" = 0 ] || failures=1
}
capture "$work/wasteful.cap" --sample=auto -- "$BUILD/examples/wasteful" >"$work/said"
try wasteful
capture "$work/eager.cap" --mode=eager --sample=auto -- "$work/owners" >"$work/said"
try eager
exit "$failures"
